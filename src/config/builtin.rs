//! Registers the strategies, endpoints and stores of the crate by their names.

use std::convert::Infallible;

use serde::de::DeserializeOwned;

use super::endpoints;
use super::registry::Registry;
use crate::parameters::{ConfigError, FromParameters, Value};
use crate::store::{self, MemoryStore, Stores, TokenStore};
use crate::strategy::{self, RefreshStrategy, Strategies};

impl Registry {
    /// A registry of all that the crate supplies: the strategies `on-request`, `background-timer` and `optimistic-early`,
    /// the endpoints `oauth2`, `folio` and `static`, the stores `memory`, `file`, `redis` and `postgres`.
    #[must_use]
    pub fn builtin() -> Self {
        let registry = Self::empty()
            .endpoint_by_http("oauth2", endpoints::oauth2)
            .endpoint_by_http("folio", endpoints::folio)
            .endpoint("static", endpoints::static_token)
            .default_store("memory");
        store::builtin(strategy::builtin(registry))
    }
}

impl Strategies for Registry {
    fn strategy_type<S: RefreshStrategy + DeserializeOwned>(self, name: &str) -> Self {
        self.strategy(name, Ok::<S, Infallible>)
    }
}

impl Stores for Registry {
    fn store_type<S: TokenStore + FromParameters>(self, name: &str) -> Self {
        self.store(name, S::from_parameters)
    }

    fn missing_store(self, name: &'static str, feature: &'static str) -> Self {
        self.store(name, move |_: Value| async move {
            let name = format!("`{name}` ");
            Err::<MemoryStore, _>(ConfigError::without_feature("kind", &name, feature))
        })
    }
}
