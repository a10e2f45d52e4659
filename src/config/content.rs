//! What a configuration says: the checked document, and how it is applied to a builder.

use std::path::Path;
use std::sync::Arc;

use super::document::Document;
#[cfg(feature = "gateway")]
use super::gateway::GatewayTable;
use super::registry::{Component, Registry};
use super::seed::Seed;
use super::sessions::{NamedPolicy, SessionsTable};
use crate::build_error::BuildError;
use crate::endpoint::TokenEndpoint;
use crate::manager::Builder;
use crate::origin::Origins;
use crate::parameters::{ConfigError, Problem, Span, Table, Value, read, read_with, set};

/// A configuration whose keys and kinds of values are checked. Paths in its errors begin at its own top.
#[derive(Clone)]
pub(super) struct Content {
    document: Document,
    strategy: Component,
    policies: Vec<NamedPolicy>,
    store: Component,
    store_timeout: Option<Span>,
    pub(super) endpoint: Option<Component>,
}

impl Content {
    /// Reads a whole configuration. The keys `beside` are the program's own, and are not read.
    pub(super) fn of(value: &Value, base: &Path, beside: &[String]) -> Result<Self, ConfigError> {
        let document = read_document(value, base, beside)?;
        if document.gateway.is_some() && !cfg!(feature = "gateway") {
            return Err(ConfigError::without_feature("gateway", "", "gateway"));
        }
        let empty = Value::default();
        let strategy = document.refresh.strategy.as_ref().unwrap_or(&empty);
        let (strategy, _) =
            Component::parse("refresh.strategy", strategy, "on-request", &["kind"])?;
        let sessions = document.sessions.as_ref();
        let policies = sessions.map(SessionsTable::policies).transpose()?;
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
        // Checks the form of the seed. Its secrets are read when a builder is made.
        if let Some(seed) = &document.seed {
            read::<Seed>("seed", seed, base)?;
        }
        Ok(Self {
            document,
            strategy,
            policies: policies.unwrap_or_default(),
            store,
            store_timeout,
            endpoint,
        })
    }

    pub(super) fn has_seed(&self) -> bool {
        self.document.seed.is_some()
    }

    pub(super) fn has_sessions(&self) -> bool {
        self.document.sessions.is_some()
    }

    pub(super) fn has_gateway(&self) -> bool {
        self.document.gateway.is_some()
    }

    #[cfg(feature = "gateway")]
    pub(super) fn gateway(&self) -> Result<&GatewayTable, ConfigError> {
        self.document.gateway.as_ref().ok_or_else(|| {
            let problem = "is missing; add a table with at least `keys`";
            ConfigError::new("gateway", problem)
        })
    }

    /// A builder for `endpoint` with everything applied.
    pub(super) async fn apply<T>(
        &self,
        endpoint: Arc<dyn TokenEndpoint>,
        registry: &Registry,
        base: &Path,
    ) -> Result<Builder<T>, ConfigError> {
        let document = &self.document;
        let key = document.session.over(endpoint.key());
        let strategy = registry.make_strategy(&self.strategy, base)?;
        let builder = Builder::new(endpoint).with_key(key).strategy(strategy);
        let builder = document.http.apply(document.refresh.apply(builder))?;
        let timeout = self.store_timeout.map(|span| span.0);
        let mut builder = set(builder, timeout, Builder::store_timeout);
        if let Some(sessions) = &document.sessions {
            builder = sessions.apply(builder);
        }
        for policy in &self.policies {
            builder = policy.apply(builder, registry, base)?;
        }
        if let Some((name, problem)) = builder.problem() {
            return Err(refused(BuildError::invalid(name, problem)));
        }
        for (at, origin) in document.http.origins.iter().enumerate() {
            if let Err(BuildError::Invalid { problem, .. }) =
                Origins::parse(std::slice::from_ref(origin))
            {
                return Err(ConfigError::new(format!("http.origins[{at}]"), problem));
            }
        }
        let seed = document.seed.as_ref();
        let seed = seed.map(|seed| read::<Seed>("seed", seed, base));
        let seed = seed.transpose()?;
        if let Some(seed) = &seed {
            seed.first_pair()?;
            builder = set(builder, seed.on_conflict, Builder::on_seed_conflict);
        }
        // The store comes after every check, because it may connect to a server.
        let store = registry.make_store(&self.store, base).await?;
        builder = set(builder, store, Builder::store);
        if let Some(seed) = &seed {
            // Only now, because that may have taken a while, and the lifetimes count from here.
            builder = builder.with_seed(seed.first_pair()?);
        }
        Ok(builder)
    }
}

fn read_document(value: &Value, base: &Path, beside: &[String]) -> Result<Document, ConfigError> {
    let Value::Table(table) = value else {
        return read("", value, base);
    };
    let mut table = table.clone();
    for name in beside {
        // A null counts as absent where the key is known, and is refused where it is not.
        let alone = Value::Table(Table::from([(name.clone(), Value::Null)]));
        if read::<Document>("", &alone, base).is_ok() {
            let problem =
                "is a key of evertoken's own; the program must give its own table another name";
            return Err(ConfigError::new(name, problem));
        }
        table.remove(name);
    }
    read_with("", &Value::Table(table), base, |problem| {
        if let Problem::UnknownKey { allowed, .. } = problem {
            allowed.extend_from_slice(beside);
        }
    })
}

/// An error of the builder, with the builder's name of the setting as a path.
pub(super) fn refused(error: BuildError) -> ConfigError {
    let BuildError::Invalid { name, problem } = error else {
        return ConfigError::new("", error.to_string()).with_source(error);
    };
    let path = match name {
        "timeout" => "endpoint.timeout".to_owned(),
        "store_timeout" => "store.timeout".to_owned(),
        "origin" => "http.origins".to_owned(),
        "cookie" => "http.cookie".to_owned(),
        "exchanges_at_once" | "kept_for" => format!("sessions.{name}"),
        "policy" => "sessions.policies".to_owned(),
        "default_policy" => "sessions.policy".to_owned(),
        _ => format!("refresh.{name}"),
    };
    ConfigError::new(path, problem)
}

/// An error of a gateway's builder, with the builder's name of the setting as a path.
#[cfg(feature = "gateway")]
pub(super) fn refused_gateway(error: BuildError) -> ConfigError {
    let BuildError::Invalid { name, problem } = error else {
        return ConfigError::new("gateway", error.to_string()).with_source(error);
    };
    let path = match name {
        "origin" => "gateway.origins".to_owned(),
        "sealer" => "gateway.keys".to_owned(),
        _ => format!("gateway.{name}"),
    };
    ConfigError::new(path, problem)
}
