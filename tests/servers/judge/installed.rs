//! Where `tests/all.sh` puts the servers, and whether they are there as the lists in this directory say.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Kind;
use crate::services::Missing;

impl Kind {
    pub(super) fn directory(self) -> &'static str {
        match self {
            Self::OidcProvider => "oidc-provider",
            Self::Django => "django-oauth-toolkit",
        }
    }

    fn list(self) -> &'static str {
        match self {
            Self::OidcProvider => "package-lock.json",
            Self::Django => "requirements.txt",
        }
    }

    /// The script that fails where what is installed cannot be loaded.
    fn loads(self) -> &'static str {
        match self {
            Self::OidcProvider => "loads.js",
            Self::Django => "loads.py",
        }
    }
}

/// The program that runs a script of the server's.
pub(super) fn interpreter(kind: Kind) -> Command {
    interpreter_in(&installed(kind), kind)
}

fn interpreter_in(installed: &Path, kind: Kind) -> Command {
    let program = match kind {
        // The one that the server was installed with.
        Kind::OidcProvider => "node",
        Kind::Django => "bin/python",
    };
    let mut command = Command::new(installed.join(program));
    command.env("INSTALLED", installed);
    // Python would write what it compiles beside the script.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

pub(super) fn installed(kind: Kind) -> PathBuf {
    // target/tmp
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("it has one");
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
    // The list that was installed is copied beside it when all of it is there.
    let was = std::fs::read(installed.join("installed"));
    let is = std::fs::read(source(kind).join(kind.list())).expect("it is in the repository");
    let name = kind.directory();
    match was {
        Ok(was) if was == is => {}
        Ok(_) => {
            return Err(Missing(format!(
                "`{name}` is installed as another list says"
            )));
        }
        Err(_) => return Err(Missing(format!("`{name}` is not installed"))),
    }
    // It may have been broken since.
    let loaded = interpreter_in(installed, kind)
        .arg(source(kind).join(kind.loads()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !loaded.is_ok_and(|status| status.success()) {
        return Err(Missing(format!(
            "`{name}` is installed, and cannot be loaded"
        )));
    }
    Ok(())
}

/// A test of its own, beside those that the servers judge.
pub(crate) fn what_cannot_be_loaded_is_missing() {
    for kind in [Kind::OidcProvider, Kind::Django] {
        let directory = tempfile::tempdir().unwrap();
        let missing = || check_in(directory.path(), kind).unwrap_err().0;
        assert!(missing().ends_with("is not installed"), "{}", missing());
        let list = directory.path().join("installed");
        std::fs::write(&list, "another").unwrap();
        assert!(missing().ends_with("as another list says"), "{}", missing());
        // All was there, and the interpreter went, as when a distribution replaces its Python.
        std::fs::copy(source(kind).join(kind.list()), list).unwrap();
        assert!(missing().ends_with("cannot be loaded"), "{}", missing());
    }
}
