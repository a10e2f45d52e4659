use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use reqwest::ClientBuilder;
use serde::de::DeserializeOwned;

use super::builtin;
use super::error::ConfigError;
use super::problem::names;
use super::reader::read_component;
use super::value::{Table, Value};
use crate::endpoint::TokenEndpoint;
use crate::store::TokenStore;
use crate::strategy::RefreshStrategy;

/// What a configuration can name: strategies, endpoints and stores, and how each is made of its
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

type MakeStrategy =
    Arc<dyn Fn(&Parameters<'_>) -> Result<Arc<dyn RefreshStrategy>, ConfigError> + Send + Sync>;
type MakeEndpoint = Arc<
    dyn Fn(&Parameters<'_>, ClientBuilder) -> Result<Arc<dyn TokenEndpoint>, ConfigError>
        + Send
        + Sync,
>;
type MakeStore = Arc<dyn Fn(&Parameters<'_>) -> StoreComes + Send + Sync>;
/// `None` is the store that a manager has by itself, with its own clock.
pub(super) type StoreComes =
    Pin<Box<dyn Future<Output = Result<Option<Arc<dyn TokenStore>>, ConfigError>> + Send>>;

impl Registry {
    /// What comes with the crate: the strategies `on-request`, `background-timer` and `optimistic-early`,
    /// the endpoints `oauth2`, `folio` and `static`, the stores `memory`, `file`, `redis` and `postgres`.
    #[must_use]
    pub fn builtin() -> Self {
        let registry = Self {
            strategies: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            stores: BTreeMap::new(),
            http: Arc::new(crate::endpoint::http_builder),
        };
        builtin::register(registry)
    }

    /// Adds a strategy. `make` is given the table it is configured in, without `kind`, as a type of its
    /// choice: unknown keys are refused, and its error is told with the path of the table. A name that is
    /// there already means this one from now on, for endpoints and stores as well.
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
        let make: MakeStrategy = Arc::new(move |parameters| {
            let made = make(parameters.read()?);
            let strategy = made.map_err(|error| parameters.refused(error))?;
            Ok(Arc::new(strategy))
        });
        self.strategies.insert(name.into(), make);
        self
    }

    /// Adds an endpoint. `make` is given `[endpoint]` without `kind`, as for a
    /// [`strategy`](Self::strategy).
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
        let make: MakeEndpoint = Arc::new(move |parameters, http| {
            let made = make(parameters.read()?, http);
            let endpoint = made.map_err(|error| parameters.refused(error))?;
            Ok(Arc::new(endpoint))
        });
        self.endpoints.insert(name.into(), make);
        self
    }

    /// Adds a store. `make` is given `[store]` without `kind` and `timeout`, as for a
    /// [`strategy`](Self::strategy), and may take its time, to connect for example.
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
        let make: MakeStore = Arc::new(move |parameters| {
            let path = parameters.path.to_owned();
            let making = parameters.read().map(&make);
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

        let make: MakeStore = Arc::new(|parameters| {
            let made = parameters.read::<Nothing>().map(|_| None);
            Box::pin(std::future::ready(made))
        });
        self.stores.insert(name.to_owned(), make);
        self
    }

    /// What the HTTP client of the endpoints `oauth2` and `folio` is built from, for proxies, certificates
    /// and the like; see [`OAuth2::http`](crate::OAuth2::http). Default: `reqwest::Client::builder`, with
    /// `evertoken/<version>` as `User-Agent`.
    #[must_use]
    pub fn http(mut self, client: impl Fn() -> ClientBuilder + Send + Sync + 'static) -> Self {
        self.http = Arc::new(client);
        self
    }

    pub(super) fn make_strategy(
        &self,
        component: &Component,
        base: &Path,
    ) -> Result<Arc<dyn RefreshStrategy>, ConfigError> {
        let make = named(&self.strategies, component, "strategy")?;
        make(&component.parameters(base))
    }

    pub(super) fn make_endpoint(
        &self,
        component: &Component,
        base: &Path,
    ) -> Result<Arc<dyn TokenEndpoint>, ConfigError> {
        let make = named(&self.endpoints, component, "endpoint")?;
        make(&component.parameters(base), (self.http)())
    }

    pub(super) async fn make_store(
        &self,
        component: &Component,
        base: &Path,
    ) -> Result<Option<Arc<dyn TokenStore>>, ConfigError> {
        let making = named(&self.stores, component, "store")?(&component.parameters(base));
        making.await
    }
}

/// Shows the names.
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
        let problem = format!("is no {what}; known here: {}", names(&known));
        // What is no word may be a URL, with a password.
        let is_word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let problem = match kind.chars().all(is_word) {
            true => format!("`{kind}` {problem}"),
            false => problem,
        };
        ConfigError::new(component.kind_path.clone(), problem)
    })
}

/// A part of the configuration that names what it is of, and has parameters for that.
#[derive(Debug, Clone)]
pub(super) struct Component {
    path: &'static str,
    kind: String,
    kind_path: String,
    /// Its table, without the keys that it has in common with others.
    own: Value,
    common: &'static [&'static str],
}

impl Component {
    /// From a table, or from a name alone.
    pub(super) fn parse(
        path: &'static str,
        value: &Value,
        default: &str,
        common: &'static [&'static str],
    ) -> Result<(Self, Table), ConfigError> {
        let kind_path = format!("{path}.kind");
        let mut taken = Table::new();
        let (kind, kind_path, own) = match value {
            Value::Text(name) => (name.to_string(), path.to_owned(), Value::default()),
            Value::Table(table) => {
                let mut own = table.clone();
                taken.extend(common.iter().filter_map(|key| own.remove_entry(*key)));
                let kind = match taken.get("kind") {
                    None => default.to_owned(),
                    Some(Value::Text(name)) => name.to_string(),
                    Some(other) => {
                        let problem = format!("is {}, but must be a string", other.kind());
                        return Err(ConfigError::new(kind_path, problem));
                    }
                };
                (kind, kind_path, Value::Table(own))
            }
            other => {
                let problem = format!("is {}, but must be a table or a name", other.kind());
                return Err(ConfigError::new(path, problem));
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

    fn parameters<'a>(&'a self, base: &'a Path) -> Parameters<'a> {
        Parameters {
            path: self.path,
            kind: &self.kind,
            own: &self.own,
            common: self.common,
            base,
        }
    }
}

/// What a factory is given.
struct Parameters<'a> {
    path: &'a str,
    kind: &'a str,
    own: &'a Value,
    common: &'a [&'a str],
    base: &'a Path,
}

impl Parameters<'_> {
    fn read<P: DeserializeOwned>(&self) -> Result<P, ConfigError> {
        read_component(self.path, self.kind, self.own, self.base, self.common)
    }

    fn refused(&self, error: impl Into<Box<dyn StdError + Send + Sync>>) -> ConfigError {
        ConfigError::not_made(self.path, error.into())
    }
}
