//! The store that `--store` names, for `instances` and `soak`.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use evertoken::{FileStore, TokenStore};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// The place of a store. `Debug` does not print it, because the URL of a server may hold a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Location {
    File(PathBuf),
    Redis(String),
    Postgres(String),
}

impl Location {
    /// The given place, or a new directory that lives as long as the returned handle.
    pub(crate) fn or_scratch(given: Option<&Self>) -> anyhow::Result<(Self, Option<TempDir>)> {
        if let Some(location) = given {
            return Ok((location.clone(), None));
        }
        let directory = tempfile::tempdir()?;
        let sessions = Self::File(directory.path().join("sessions"));
        Ok((sessions, Some(directory)))
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Redis(_) => "redis",
            Self::Postgres(_) => "postgres",
        }
    }

    pub(crate) async fn open(&self) -> anyhow::Result<Arc<dyn TokenStore>> {
        Ok(match self {
            Self::File(directory) => Arc::new(FileStore::new(directory)?),
            #[cfg(feature = "redis")]
            Self::Redis(url) => Arc::new(evertoken::RedisStore::connect(url).await?),
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => Arc::new(evertoken::PostgresStore::connect(url).await?),
            #[cfg(not(all(feature = "redis", feature = "postgres")))]
            _ => {
                let kind = self.kind();
                anyhow::bail!(
                    "this store needs the feature `{kind}`: cargo run --features {kind} .."
                )
            }
        })
    }
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.to_owned();
        match text.split_once(':') {
            Some(("file", directory)) if !directory.is_empty() => Ok(Self::File(directory.into())),
            Some(("redis" | "rediss", _)) => Ok(Self::Redis(text)),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(text)),
            _ => Err("must be `file:DIRECTORY`, `redis://..` or `postgres://..`".to_owned()),
        }
    }
}

impl std::fmt::Debug for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Location({})", self.kind())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_of_a_location_names_the_kind_of_store() {
        for (text, kind) in [
            ("file:session", "file"),
            ("file:/var/lib/session", "file"),
            ("redis://127.0.0.1:6379", "redis"),
            ("rediss://127.0.0.1:6379", "redis"),
            ("postgres://127.0.0.1/sessions", "postgres"),
            ("postgresql://127.0.0.1/sessions", "postgres"),
        ] {
            assert_eq!(text.parse().map(|at: Location| at.kind()), Ok(kind));
        }
        for text in ["", "session", "file:", "http://127.0.0.1"] {
            assert!(text.parse::<Location>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_debug_form_of_a_location_has_no_password() -> Result<(), String> {
        let at: Location = "redis://:sesame@127.0.0.1".parse()?;
        assert!(!format!("{at:?}").contains("sesame"));
        Ok(())
    }
}
