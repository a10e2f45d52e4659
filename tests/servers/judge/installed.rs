//! The place where `tests/all.sh` installs the servers, and the check that they match the lists in this directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Kind;
use crate::services::Missing;

impl Kind {
    pub(super) fn directory(self) -> &'static str {
        self.files().0
    }

    /// The directory, the list of packages, and the script that fails when an installed package cannot be loaded.
    fn files(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::OidcProvider => ("oidc-provider", "package-lock.json", "loads.js"),
            Self::Django => ("django-oauth-toolkit", "requirements.txt", "loads.py"),
        }
    }
}

/// The program that runs a script of this server.
pub(super) fn interpreter(kind: Kind) -> Command {
    interpreter_in(&installed(kind), kind)
}

fn interpreter_in(installed: &Path, kind: Kind) -> Command {
    let program = match kind {
        // The interpreter that the server was installed with.
        Kind::OidcProvider => "node",
        Kind::Django => "bin/python",
    };
    let mut command = Command::new(installed.join(program));
    command.env("INSTALLED", installed);
    // Without this variable Python writes its compiled files beside the script.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

pub(super) fn installed(kind: Kind) -> PathBuf {
    // target/tmp
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the target directory has a parent");
    target.join("servers").join(kind.directory())
}

/// The script of this repository that starts the server.
pub(super) fn source(kind: Kind) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers");
    here.join(kind.directory())
}

pub(super) fn check(kind: Kind) -> Result<(), Missing> {
    check_in(&installed(kind), kind)
}

fn check_in(installed: &Path, kind: Kind) -> Result<(), Missing> {
    // `tests/all.sh` copies the list beside the packages when all packages are installed.
    let was = std::fs::read(installed.join("installed"));
    let (_, list, loads) = kind.files();
    let is = std::fs::read(source(kind).join(list)).expect("the list is in the repository");
    let missing = |why: &str| Err(Missing(format!("`{}` {why}", kind.directory())));
    match was {
        Ok(was) if was == is => {}
        Ok(_) => return missing("is installed as another list says"),
        Err(_) => return missing("is not installed"),
    }
    // An installation can break later.
    let loaded = interpreter_in(installed, kind)
        .arg(source(kind).join(loads))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !loaded.is_ok_and(|status| status.success()) {
        return missing("is installed, and cannot be loaded");
    }
    Ok(())
}

/// This test is not run against a server.
pub(crate) fn a_server_that_cannot_be_loaded_is_missing() {
    for kind in [Kind::OidcProvider, Kind::Django] {
        let directory = tempfile::tempdir().unwrap();
        let missing = || check_in(directory.path(), kind).unwrap_err().0;
        assert!(missing().ends_with("is not installed"), "{}", missing());
        let list = directory.path().join("installed");
        std::fs::write(&list, "another").unwrap();
        assert!(missing().ends_with("as another list says"), "{}", missing());
        // All packages are installed, and the interpreter is gone, as when a distribution replaces its Python.
        std::fs::copy(source(kind).join(kind.files().1), list).unwrap();
        assert!(missing().ends_with("cannot be loaded"), "{}", missing());
    }
}
