//! Builds a manager from a configuration: TOML, JSON, or any other serde format. The configuration has no
//! defaults of its own: every default is that of the [`Builder`], and every check is made before anything is
//! started.
//!
//! An unknown key, a value of the wrong kind or out of range, and settings that contradict each other are
//! errors. Each [`ConfigError`] names the place and what is allowed there. Secrets are read from the
//! environment or from files when a manager is built, and no error repeats a value that could be a secret.
//! For that reason every format is read into one tree of values first: the formats' own errors quote the text
//! that they refuse, which may be a password in the wrong place.
//!
//! ```no_run
//! use evertoken::{Config, Registry};
//!
//! # async fn connect() -> Result<(), evertoken::ConfigError> {
//! let config = Config::from_toml(
//!     r#"
//!     [refresh]
//!     strategy = { kind = "optimistic-early", window = "60s" }
//!     wait = "35s"
//!
//!     [http]
//!     origins = ["https://api.example.org"]
//!
//!     [endpoint]
//!     kind = "oauth2"
//!     token_url = "https://id.example.org/token"
//!     client_id = "importer"
//!     client_secret = { env = "IMPORTER_SECRET" }
//!     timeout = "30s"
//!
//!     [seed]
//!     refresh_token = { file = "first-token" }
//!     "#,
//! )?;
//! let tokens = config.connect(&Registry::builtin()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/evertoken.toml` has every key, with its default. A [`Registry`] adds strategies, endpoints and
//! stores of your own by name. [`Config::builder`] returns a builder to which the program can add what a file
//! cannot express (a clock, a callback), and [`Config::builder_for`] takes an endpoint of the program.

mod builtin;
mod document;
mod endpoints;
mod http;
mod registry;
mod seed;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _};
use zeroize::Zeroizing;

use self::document::Document;
use self::registry::Component;
pub use self::registry::Registry;
use self::seed::Seed;
use crate::build_error::BuildError;
use crate::endpoint::TokenEndpoint;
use crate::manager::{Builder, TokenManager};
use crate::origin::Origins;
pub use crate::parameters::{ConfigError, Secret, duration, path};
use crate::parameters::{Source, Span, Value, json, read, set};

/// A configuration that was read, and not yet applied. Its keys and the kinds of its values are checked, except
/// those of endpoint, store and strategy, which [`builder`](Self::builder) checks.
#[derive(Clone)]
pub struct Config {
    source: Source,
    document: Document,
    strategy: Component,
    store: Component,
    store_timeout: Option<Span>,
    endpoint: Option<Component>,
}

impl Config {
    /// Reads TOML. Relative paths in it start at the working directory.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], with line and column.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Self::parse(Source::default(), |source| source.toml(text))
    }

    /// Reads JSON, with the same keys. Relative paths in it start at the working directory.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        Self::parse(Source::default(), |_| json(text))
    }

    /// Reads a file: TOML if the name ends with `.toml`, JSON if the name ends with `.json`. Relative paths in
    /// the file start at its directory.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], with the file.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let extension = path.extension().and_then(|extension| extension.to_str());
        Self::parse(Source::of_file(path), |source| {
            let parse = match extension {
                Some("toml") => Source::toml,
                Some("json") => |_: &mut Source, text: &str| json(text),
                _ => {
                    let problem =
                        "has an unknown format; its name must end with `.toml` or `.json`";
                    return Err(ConfigError::new("", problem));
                }
            };
            let text = fs::read_to_string(path).map(Zeroizing::new);
            let text = text.map_err(|error| {
                ConfigError::new("", format!("cannot be read: {error}")).with_source(error)
            })?;
            parse(source, &text)
        })
    }

    /// Sets the directory in which relative paths start.
    #[must_use]
    pub fn relative_to(mut self, directory: impl Into<PathBuf>) -> Self {
        self.source.base = directory.into();
        self
    }

    /// Returns a builder with the whole configuration applied: the store is open, the secrets are read, and the
    /// settings do not contradict each other. The program may add what a file cannot express.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; also without `[endpoint]`, see [`builder_for`](Self::builder_for).
    pub async fn builder(&self, registry: &Registry) -> Result<Builder, ConfigError> {
        let built = async {
            let component = self.endpoint.as_ref().ok_or_else(|| {
                let problem = "is missing; add a table with at least `token_url` and `client_id`";
                ConfigError::new("endpoint", problem)
            })?;
            let endpoint = registry.make_endpoint(component, &self.source.base)?;
            self.apply(endpoint, registry).await
        };
        built.await.map_err(|error| self.source.locate(error))
    }

    /// Returns the same builder for an endpoint of the program.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; also if the configuration has an `[endpoint]`.
    pub async fn builder_for(
        &self,
        endpoint: impl TokenEndpoint,
        registry: &Registry,
    ) -> Result<Builder, ConfigError> {
        let built = async {
            if self.endpoint.is_some() {
                let problem = "must be removed, because the program has its own endpoint";
                return Err(ConfigError::new("endpoint", problem));
            }
            self.apply(Arc::new(endpoint), registry).await
        };
        built.await.map_err(|error| self.source.locate(error))
    }

    /// Builds a manager on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// The errors of [`builder`](Self::builder) and of [`Builder::build`].
    pub async fn connect(&self, registry: &Registry) -> Result<TokenManager, ConfigError> {
        let builder = self.builder(registry).await?;
        let built = builder.build();
        built.map_err(|error| self.source.locate(refused(error)))
    }

    fn parse(
        mut source: Source,
        text: impl FnOnce(&mut Source) -> Result<Value, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let value = text(&mut source);
        let config = value.and_then(|value| Self::of(&value, source.clone()));
        config.map_err(|error| source.locate(error))
    }

    fn of(value: &Value, source: Source) -> Result<Self, ConfigError> {
        let base = &source.base;
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
        // Checks the form of the seed. Its secrets are read when a builder is made.
        if let Some(seed) = &document.seed {
            read::<Seed>("seed", seed, base)?;
        }
        Ok(Self {
            document,
            strategy,
            store,
            store_timeout,
            endpoint,
            source,
        })
    }

    async fn apply(
        &self,
        endpoint: Arc<dyn TokenEndpoint>,
        registry: &Registry,
    ) -> Result<Builder, ConfigError> {
        let base = &self.source.base;
        let document = &self.document;
        let key = document.session.over(endpoint.key());
        let strategy = registry.make_strategy(&self.strategy, base)?;
        let builder = TokenManager::builder(endpoint).key(key).strategy(strategy);
        let builder = document.http.apply(document.refresh.apply(builder))?;
        let timeout = self.store_timeout.map(|span| span.0);
        let mut builder = set(builder, timeout, Builder::store_timeout);
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
        if let Some(seed) = &document.seed {
            let seed: Seed = read("seed", seed, base)?;
            builder = builder.seed(seed.first_pair()?);
            builder = set(builder, seed.on_conflict, Builder::on_seed_conflict);
        }
        // The store comes last, because it may connect to a server.
        let store = registry.make_store(&self.store, base).await?;
        Ok(set(builder, store, Builder::store))
    }
}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::parse(Source::default(), |_| Ok(value)).map_err(D::Error::custom)
    }
}

/// Prints no value, because any value could be a secret in the wrong place.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("file", &self.source.file)
            .finish_non_exhaustive()
    }
}

/// An error of the builder, with the builder's name of the setting as a path.
fn refused(error: BuildError) -> ConfigError {
    let BuildError::Invalid { name, problem } = error else {
        return ConfigError::new("", error.to_string()).with_source(error);
    };
    let path = match name {
        "timeout" => "endpoint.timeout".to_owned(),
        "store_timeout" => "store.timeout".to_owned(),
        "origin" => "http.origins".to_owned(),
        "cookie" => "http.cookie".to_owned(),
        _ => format!("refresh.{name}"),
    };
    ConfigError::new(path, problem)
}
