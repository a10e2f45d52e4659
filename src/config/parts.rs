use std::path::Path;

use super::document::Document;
use super::error::ConfigError;
use super::reader::read;
use super::registry::Component;
use super::scalar::Span;
use super::seed::Seed;
use super::value::Value;

/// What a configuration says, apart from where it came from.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) document: Document,
    pub(super) strategy: Component,
    pub(super) store: Component,
    pub(super) store_timeout: Option<Span>,
    pub(super) endpoint: Option<Component>,
}

impl Parts {
    pub(super) fn of(value: &Value, base: &Path) -> Result<Self, ConfigError> {
        let document: Document = read("", value, base)?;
        let empty = Value::default();
        let strategy = document.refresh.strategy.as_ref().unwrap_or(&empty);
        let (strategy, _) =
            Component::parse("refresh.strategy", strategy, "on-request", &["kind"])?;
        let store = document.store.as_ref().unwrap_or(&empty);
        let (store, common) = Component::parse("store", store, "memory", &["kind", "timeout"])?;
        let timeout = common.get("timeout");
        let store_timeout = timeout
            .map(|timeout| read("store.timeout", timeout, base))
            .transpose()?;
        let endpoint = document.endpoint.as_ref();
        let endpoint = endpoint
            .map(|endpoint| Component::parse("endpoint", endpoint, "oauth2", &["kind"]))
            .transpose()?
            .map(|(endpoint, _)| endpoint);
        // Only its form: the secrets are read when they are needed.
        if let Some(seed) = &document.seed {
            read::<Seed>("seed", seed, base)?;
        }
        Ok(Self {
            document,
            strategy,
            store,
            store_timeout,
            endpoint,
        })
    }
}
