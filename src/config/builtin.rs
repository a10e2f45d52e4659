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
use serde::de::{Deserializer, Error};

use super::document::set;
use super::error::ConfigError;
use super::registry::Registry;
use super::scalar::{PositiveSpan, Span, path};
use super::secret::Secret;
use crate::store::{FileStore, GroupAccess};
use crate::strategy::{BackgroundTimer, OnExpiry, OnRequest, OptimisticEarly};

impl Registry {
    /// A registry of all that the crate supplies: the strategies `on-request`, `background-timer` and `optimistic-early`,
    /// the endpoints `oauth2`, `folio` and `static`, the stores `memory`, `file`, `redis` and `postgres`.
    #[must_use]
    pub fn builtin() -> Self {
        Self::empty()
            .strategy("on-request", on_request)
            .strategy("background-timer", background_timer)
            .strategy("optimistic-early", optimistic_early)
            .endpoint_by_http("oauth2", endpoints::oauth2)
            .endpoint_by_http("folio", endpoints::folio)
            .endpoint("static", endpoints::static_token)
            .default_store("memory")
            .store("file", file_store)
            .store("redis", redis_store)
            .store("postgres", postgres_store)
    }
}

#[derive(Deserialize)]
struct AtFraction {
    #[serde(default, deserialize_with = "fraction")]
    at_fraction: Option<f64>,
}

/// Reads a share of a lifetime. At a share of 0, a manager would rotate without end.
fn fraction<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let fraction = Option::deserialize(deserializer)?;
    if fraction.is_none_or(|fraction| fraction > 0.0 && fraction <= 1.0) {
        return Ok(fraction);
    }
    Err(D::Error::custom("must be more than 0 and at most 1"))
}

fn on_request(AtFraction { at_fraction }: AtFraction) -> Result<OnRequest, Infallible> {
    Ok(set(
        OnRequest::default(),
        at_fraction,
        OnRequest::at_fraction,
    ))
}

fn background_timer(AtFraction { at_fraction }: AtFraction) -> Result<BackgroundTimer, Infallible> {
    Ok(set(
        BackgroundTimer::default(),
        at_fraction,
        BackgroundTimer::at_fraction,
    ))
}

#[derive(Deserialize)]
struct Early {
    window: Option<PositiveSpan>,
    on_expiry: Option<OnExpiry>,
}

fn optimistic_early(parameters: Early) -> Result<OptimisticEarly, Infallible> {
    let window = parameters.window.map(|span| span.0);
    let strategy = set(OptimisticEarly::default(), window, OptimisticEarly::window);
    let on_expiry = parameters.on_expiry;
    Ok(set(strategy, on_expiry, OptimisticEarly::on_expiry))
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
