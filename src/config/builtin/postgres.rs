use serde::Deserialize;

use crate::config::error::ConfigError;
use crate::config::scalar::Span;
use crate::config::secret::Secret;

#[derive(Deserialize)]
#[cfg_attr(
    not(feature = "postgres"),
    expect(
        dead_code,
        reason = "they are read, and their errors told, all the same"
    )
)]
pub(super) struct Parameters {
    url: Secret,
    retention: Option<Span>,
}

#[cfg(feature = "postgres")]
pub(super) async fn store(
    parameters: Parameters,
) -> Result<crate::store::PostgresStore, ConfigError> {
    use crate::store::PostgresStore;

    let Parameters { url, retention } = parameters;
    let url = url.read_at("url")?;
    let connecting = PostgresStore::connect(&url).await;
    let store = connecting.map_err(|error| ConfigError::not_made("url", error.into()))?;
    Ok(match retention {
        Some(Span(retention)) => store.retention(retention),
        None => store,
    })
}

#[cfg(not(feature = "postgres"))]
pub(super) async fn store(_: Parameters) -> Result<crate::store::MemoryStore, ConfigError> {
    let problem =
        "`postgres` takes evertoken's feature `postgres`, and this program was built without it";
    Err(ConfigError::new("kind", problem))
}
