use serde::Deserialize;

use crate::config::error::ConfigError;
use crate::config::scalar::PositiveSpan;
use crate::config::secret::Secret;

#[derive(Deserialize)]
#[cfg_attr(
    not(feature = "redis"),
    expect(
        dead_code,
        reason = "they are read, and their errors told, all the same"
    )
)]
pub(super) struct Parameters {
    url: Secret,
    prefix: Option<String>,
    replicas: Option<u32>,
    replica_timeout: Option<PositiveSpan>,
}

#[cfg(feature = "redis")]
pub(super) async fn store(parameters: Parameters) -> Result<crate::store::RedisStore, ConfigError> {
    use std::time::Duration;

    use crate::store::RedisStore;

    /// Some hundred times what a replica nearby takes.
    const REPLICA_TIMEOUT: Duration = Duration::from_secs(1);

    let Parameters {
        url,
        prefix,
        replicas,
        replica_timeout,
    } = parameters;
    let url = url.read_at("url")?;
    let timeout = replica_timeout.as_ref().map(|timeout| timeout.0);
    if timeout.is_some() && replicas.is_none() {
        let problem = "is the time that `replicas` have, and none are asked for";
        return Err(ConfigError::new("replica_timeout", problem));
    }
    let connecting = RedisStore::connect(&url).await;
    let mut store = connecting.map_err(|error| ConfigError::not_made("url", error.into()))?;
    if let Some(prefix) = prefix {
        store = store.prefix(prefix);
    }
    if let Some(replicas) = replicas {
        store = store.replicas(replicas, timeout.unwrap_or(REPLICA_TIMEOUT));
    }
    Ok(store)
}

#[cfg(not(feature = "redis"))]
pub(super) async fn store(_: Parameters) -> Result<crate::store::MemoryStore, ConfigError> {
    let problem =
        "`redis` takes evertoken's feature `redis`, and this program was built without it";
    Err(ConfigError::new("kind", problem))
}
