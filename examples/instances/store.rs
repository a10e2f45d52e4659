//! The store that a location names.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use evertoken::{FileStore, TokenStore};
use serde::{Deserialize, Serialize};

/// Where a store is. The URL of a server may hold a password, so it is not printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Location {
    File(PathBuf),
    Redis(String),
    Postgres(String),
}

impl Location {
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
            Self::Redis(url) => redis(url).await?,
            Self::Postgres(url) => postgres(url).await?,
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
            _ => Err("`file:DIRECTORY`, `redis://..` or `postgres://..` is allowed".to_owned()),
        }
    }
}

impl std::fmt::Debug for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Location({})", self.kind())
    }
}

#[cfg(feature = "redis")]
async fn redis(url: &str) -> anyhow::Result<Arc<dyn TokenStore>> {
    Ok(Arc::new(evertoken::RedisStore::connect(url).await?))
}

#[cfg(not(feature = "redis"))]
async fn redis(_: &str) -> anyhow::Result<Arc<dyn TokenStore>> {
    anyhow::bail!("a store in Redis takes the feature: cargo run --features redis ..")
}

#[cfg(feature = "postgres")]
async fn postgres(url: &str) -> anyhow::Result<Arc<dyn TokenStore>> {
    Ok(Arc::new(evertoken::PostgresStore::connect(url).await?))
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_: &str) -> anyhow::Result<Arc<dyn TokenStore>> {
    anyhow::bail!("a store in PostgreSQL takes the feature: cargo run --features postgres ..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_told_by_its_scheme() {
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
    fn a_password_is_not_printed() -> Result<(), String> {
        let at: Location = "redis://:sesame@127.0.0.1".parse()?;
        assert!(!format!("{at:?}").contains("sesame"));
        Ok(())
    }
}
