//! Where `tests/all.sh` puts the servers, and whether they are there as the lists in this directory say.

use std::path::{Path, PathBuf};

use super::Kind;
use crate::services::{Missing, program};

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
}

/// The program that runs the server's script.
pub(super) fn interpreter(kind: Kind) -> Result<PathBuf, Missing> {
    match kind {
        Kind::OidcProvider => program("node", &[]),
        Kind::Django => Ok(installed(kind).join("bin/python")),
    }
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
    interpreter(kind)?;
    // The list that was installed is copied beside it when all of it is there.
    let was = std::fs::read(installed(kind).join("installed"));
    let is = std::fs::read(source(kind).join(kind.list())).expect("it is in the repository");
    match was {
        Ok(was) if was == is => Ok(()),
        Ok(_) => Err(Missing(format!(
            "`{}` is installed as another list says",
            kind.directory()
        ))),
        Err(_) => Err(Missing(format!("`{}` is not installed", kind.directory()))),
    }
}
