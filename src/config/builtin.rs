//! Registers the strategies, endpoints and stores of the crate by their names, and makes the strategies and stores.

#![cfg_attr(
    not(all(feature = "folio", feature = "postgres", feature = "redis")),
    allow(
        dead_code,
        reason = "a wrong key is reported even where the feature is missing"
    )
)]

mod endpoints;

use std::convert::Infallible;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::document::set;
use super::error::ConfigError;
use super::registry::Registry;
use super::scalar::path;
use super::secret::Secret;
use crate::clock::span::{PositiveSpan, Span};
use crate::store::{FileStore, GroupAccess};
use crate::strategy::{self, RefreshStrategy, Strategies};

impl Registry {
    /// A registry of all that the crate supplies: the strategies `on-request`, `background-timer` and `optimistic-early`,
    /// the endpoints `oauth2`, `folio` and `static`, the stores `memory`, `file`, `redis` and `postgres`.
    #[must_use]
    pub fn builtin() -> Self {
        strategy::builtin(Self::empty())
            .endpoint_by_http("oauth2", endpoints::oauth2)
            .endpoint_by_http("folio", endpoints::folio)
            .endpoint("static", endpoints::static_token)
            .default_store("memory")
            .store("file", file_store)
            .store("redis", redis_store)
            .store("postgres", postgres_store)
    }
}

impl Strategies for Registry {
    fn strategy_type<S: RefreshStrategy + DeserializeOwned>(self, name: &str) -> Self {
        self.strategy(name, Ok::<S, Infallible>)
    }
}

#[derive(Deserialize)]
struct Directory {
    #[serde(deserialize_with = "path")]
    path: PathBuf,
    #[serde(default)]
    group: GroupAccess,
}

async fn file_store(directory: Directory) -> Result<FileStore, ConfigError> {
    FileStore::with_group(directory.path, directory.group)
        .map_err(|error| ConfigError::not_made("path", error.into()))
}

#[derive(Deserialize)]
#[cfg_attr(
    not(feature = "redis"),
    expect(dead_code, reason = "without the feature too, a wrong key is reported")
)]
struct Redis {
    url: Secret,
    prefix: Option<String>,
    replicas: Option<u32>,
    replica_timeout: Option<PositiveSpan>,
}

#[cfg(feature = "redis")]
async fn redis_store(parameters: Redis) -> Result<crate::store::RedisStore, ConfigError> {
    use std::time::Duration;

    use crate::store::RedisStore;

    /// About a hundred times what a replica in the same network needs.
    const REPLICA_TIMEOUT: Duration = Duration::from_secs(1);

    let url = parameters.url.read_at("url")?;
    let timeout = parameters.replica_timeout.map(|timeout| timeout.0);
    if timeout.is_some() && parameters.replicas.is_none() {
        let problem = "requires `replicas`; set `replicas`, or remove this key";
        return Err(ConfigError::new("replica_timeout", problem));
    }
    let connecting = RedisStore::connect(&url).await;
    let store = connecting.map_err(|error| ConfigError::not_made("url", error.into()))?;
    let store = set(store, parameters.prefix, RedisStore::prefix);
    Ok(set(store, parameters.replicas, |store, count| {
        store.replicas(count, timeout.unwrap_or(REPLICA_TIMEOUT))
    }))
}

#[cfg(not(feature = "redis"))]
async fn redis_store(_: Redis) -> Result<crate::store::MemoryStore, ConfigError> {
    Err(ConfigError::without_feature("kind", "`redis` ", "redis"))
}

#[derive(Deserialize)]
#[cfg_attr(
    not(feature = "postgres"),
    expect(dead_code, reason = "without the feature too, a wrong key is reported")
)]
struct Postgres {
    url: Secret,
    retention: Option<Span>,
}

#[cfg(feature = "postgres")]
async fn postgres_store(parameters: Postgres) -> Result<crate::store::PostgresStore, ConfigError> {
    use crate::store::PostgresStore;

    let url = parameters.url.read_at("url")?;
    let connecting = PostgresStore::connect(&url).await;
    let store = connecting.map_err(|error| ConfigError::not_made("url", error.into()))?;
    let retention = parameters.retention.map(|span| span.0);
    Ok(set(store, retention, PostgresStore::retention))
}

#[cfg(not(feature = "postgres"))]
async fn postgres_store(_: Postgres) -> Result<crate::store::MemoryStore, ConfigError> {
    Err(ConfigError::without_feature(
        "kind",
        "`postgres` ",
        "postgres",
    ))
}
