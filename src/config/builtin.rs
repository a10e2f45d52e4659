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
    ///
    /// The endpoints `oauth2` and `folio` have a table `[endpoint.http]` for their HTTP client: the certificates of the
    /// authorities to trust (`ca_file`), a certificate of the client's own (`certificate_file`, `private_key`), a `proxy`,
    /// `headers` and a `user_agent`. The client that calls the API is the program's, and has none of these.
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
