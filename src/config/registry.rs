//! The names that a configuration may use, and how each named part is made.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use reqwest::ClientBuilder;
use serde::de::DeserializeOwned;

use crate::endpoint::TokenEndpoint;
use crate::parameters::{ConfigError, Problem, Table, Value, names, read, read_with};
use crate::store::TokenStore;
use crate::strategy::RefreshStrategy;

/// The strategies, endpoints and stores that a configuration can name, and how each is made from its
/// parameters.
///
/// ```
/// use std::convert::Infallible;
/// use std::time::Duration;
///
/// use evertoken::config::{Registry, duration};
/// use evertoken::{Lifetime, Plan, RefreshStrategy};
/// use serde::Deserialize;
///
/// /// `strategy = { kind = "every", age = "5m" }`
/// #[derive(Debug, Deserialize)]
/// struct Every {
///     #[serde(deserialize_with = "duration")]
///     age: Duration,
/// }
///
/// impl RefreshStrategy for Every {
///     fn plan(&self, life: &Lifetime) -> Plan {
///         Plan::on_request(life).wake_at(self.age)
///     }
/// }
///
/// let registry = Registry::builtin().strategy("every", |every: Every| Ok::<_, Infallible>(every));
/// ```
#[derive(Clone)]
pub struct Registry {
    strategies: BTreeMap<String, MakeStrategy>,
    endpoints: BTreeMap<String, MakeEndpoint>,
    stores: BTreeMap<String, MakeStore>,
    http: Arc<dyn Fn() -> ClientBuilder + Send + Sync>,
}

type Made<T> = Result<Arc<T>, ConfigError>;
/// `None` is the store that a manager has by default, with the manager's clock.
type MadeStore = Result<Option<Arc<dyn TokenStore>>, ConfigError>;
type MakeStrategy = Arc<dyn Fn(&Component, &Path) -> Made<dyn RefreshStrategy> + Send + Sync>;
type MakeEndpoint =
    Arc<dyn Fn(&Component, &Path, ClientBuilder) -> Made<dyn TokenEndpoint> + Send + Sync>;
type MakeStore =
    Arc<dyn Fn(&Component, &Path) -> Pin<Box<dyn Future<Output = MadeStore> + Send>> + Send + Sync>;

impl Registry {
    /// A registry without any name.
    pub(super) fn empty() -> Self {
        Self {
            strategies: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            stores: BTreeMap::new(),
            http: Arc::new(crate::endpoint::http_builder),
        }
    }

    /// Adds a strategy. `make` gets the table of the strategy, without `kind`, as a type of its choice. An
    /// unknown key in the table is refused, and an error of `make` is reported with the path of the table. A
    /// strategy, endpoint or store that is added under a known name replaces the earlier one.
    #[must_use]
    pub fn strategy<P, S, E>(
        mut self,
        name: impl Into<String>,
        make: impl Fn(P) -> Result<S, E> + Send + Sync + 'static,
    ) -> Self
    where
        P: DeserializeOwned,
        S: RefreshStrategy,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let make: MakeStrategy = Arc::new(move |component, base| {
            let made = make(component.read(base)?);
            Ok(Arc::new(made.map_err(|error| component.refused(error))?))
        });
        self.strategies.insert(name.into(), make);
        self
    }

    /// Adds an endpoint. `make` gets `[endpoint]` without `kind`, as for a [`strategy`](Self::strategy).
    #[must_use]
    pub fn endpoint<P, T, E>(
        self,
        name: impl Into<String>,
        make: impl Fn(P) -> Result<T, E> + Send + Sync + 'static,
    ) -> Self
    where
        P: DeserializeOwned,
        T: TokenEndpoint,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.endpoint_by_http(name, move |parameters, _| make(parameters))
    }

    pub(super) fn endpoint_by_http<P, T, E>(
        mut self,
        name: impl Into<String>,
        make: impl Fn(P, ClientBuilder) -> Result<T, E> + Send + Sync + 'static,
    ) -> Self
    where
        P: DeserializeOwned,
        T: TokenEndpoint,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let make: MakeEndpoint = Arc::new(move |component, base, http| {
            let made = make(component.read(base)?, http);
            Ok(Arc::new(made.map_err(|error| component.refused(error))?))
        });
        self.endpoints.insert(name.into(), make);
        self
    }

    /// Adds a store. `make` gets `[store]` without `kind` and `timeout`, as for a
    /// [`strategy`](Self::strategy), and may wait, to connect for example.
    #[must_use]
    pub fn store<P, F, S, E>(
        mut self,
        name: impl Into<String>,
        make: impl Fn(P) -> F + Send + Sync + 'static,
    ) -> Self
    where
        P: DeserializeOwned,
        F: Future<Output = Result<S, E>> + Send + 'static,
        S: TokenStore,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let make: MakeStore = Arc::new(move |component, base| {
            let path = component.path.clone();
            let making = component.read(base).map(&make);
            Box::pin(async move {
                let made = making?.await;
                let store = made.map_err(|error| ConfigError::not_made(&path, error.into()))?;
                Ok(Some(Arc::new(store) as Arc<dyn TokenStore>))
            })
        });
        self.stores.insert(name.into(), make);
        self
    }

    pub(super) fn default_store(mut self, name: &str) -> Self {
        #[derive(serde::Deserialize)]
        struct Nothing {}

        let make: MakeStore = Arc::new(|component, base| {
            let made = component.read::<Nothing>(base).map(|_| None);
            Box::pin(std::future::ready(made))
        });
        self.stores.insert(name.to_owned(), make);
        self
    }

    /// Sets the builder of the HTTP client of the endpoints `oauth2` and `folio`, for what `[endpoint.http]` has
    /// no key for; see [`OAuth2::http`](crate::OAuth2::http). The keys of that table are applied to the builder:
    /// `proxy` takes the place of its proxies, and `ca_file` and `private_key` choose rustls for it. Default:
    /// `reqwest::Client::builder`, with `evertoken/<version>` as `User-Agent`.
    #[must_use]
    pub fn http(mut self, client: impl Fn() -> ClientBuilder + Send + Sync + 'static) -> Self {
        self.http = Arc::new(client);
        self
    }

    pub(super) fn make_strategy(
        &self,
        component: &Component,
        base: &Path,
    ) -> Made<dyn RefreshStrategy> {
        named(&self.strategies, component, "strategy")?(component, base)
    }

    pub(super) fn make_endpoint(
        &self,
        component: &Component,
        base: &Path,
    ) -> Made<dyn TokenEndpoint> {
        named(&self.endpoints, component, "endpoint")?(component, base, (self.http)())
    }

    pub(super) async fn make_store(&self, component: &Component, base: &Path) -> MadeStore {
        named(&self.stores, component, "store")?(component, base).await
    }
}

/// Prints the names.
impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("strategies", &self.strategies.keys())
            .field("endpoints", &self.endpoints.keys())
            .field("stores", &self.stores.keys())
            .finish_non_exhaustive()
    }
}

fn named<'a, M>(
    known: &'a BTreeMap<String, M>,
    component: &Component,
    what: &str,
) -> Result<&'a M, ConfigError> {
    known.get(&component.kind).ok_or_else(|| {
        let known: Vec<_> = known.keys().collect();
        let kind = &component.kind;
        let problem = format!("is not a known {what}; choose one of {}", names(&known));
        // A kind that is not a word may be a URL with a password, and is not repeated.
        let is_word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let shown = if kind.chars().all(is_word) {
            format!("`{kind}` ")
        } else {
            String::new()
        };
        ConfigError::new(component.kind_path.clone(), shown + &problem)
    })
}

/// A strategy, endpoint or store as the configuration names it, with its parameters.
#[derive(Debug, Clone)]
pub(super) struct Component {
    path: String,
    kind: String,
    kind_path: String,
    /// The table of the component, without the common keys.
    own: Value,
    /// The keys that a component of every kind may have.
    common: &'static [&'static str],
}

impl Component {
    /// Reads a component from a table, or from a name alone. Returns the common keys separately.
    pub(super) fn parse(
        path: impl Into<String>,
        value: &Value,
        default: &str,
        common: &'static [&'static str],
    ) -> Result<(Self, Table), ConfigError> {
        let path = path.into();
        let mut taken = Table::new();
        let (kind, kind_path, own) = match value {
            Value::Text(name) => (name.to_string(), path.clone(), Value::default()),
            Value::Table(table) => {
                let mut own = table.clone();
                taken.extend(common.iter().filter_map(|key| own.remove_entry(*key)));
                let kind_path = format!("{path}.kind");
                let kind = taken.get("kind");
                let kind = kind.map(|kind| read(&kind_path, kind, Path::new("")));
                let kind = kind.transpose()?.unwrap_or_else(|| default.to_owned());
                (kind, kind_path, Value::Table(own))
            }
            other => {
                let problem = Problem::kind(other.kind(), "a table or a name");
                return Err(ConfigError::new(path, problem.to_string()));
            }
        };
        let component = Self {
            path,
            kind,
            kind_path,
            own,
            common,
        };
        Ok((component, taken))
    }

    fn read<P: DeserializeOwned>(&self, base: &Path) -> Result<P, ConfigError> {
        read_with(&self.path, &self.own, base, |problem| {
            if let Problem::UnknownKey { of, allowed } = problem {
                *of = Some(self.kind.clone());
                allowed.extend(self.common.iter().map(|&key| key.to_owned()));
            }
        })
    }

    fn refused(&self, error: impl Into<Box<dyn StdError + Send + Sync>>) -> ConfigError {
        ConfigError::not_made(&self.path, error.into())
    }
}
