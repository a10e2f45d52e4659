//! A manager from a configuration: TOML, JSON, or any other serde format. It decides nothing; every default
//! is that of the [`Builder`], and every check is made before anything is started.
//!
//! Whatever cannot be meant is an error that says where it is and what is allowed: unknown keys, values of
//! another kind or out of their range, settings that cannot hold together. Secrets are read from the
//! environment or from files when a manager is built, and no error repeats a value that could be one.
//! That is why every format is read into one tree of values first: the formats' own errors quote what they
//! refuse, and a password in the wrong place would be in them.
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
//! stores of your own by name, [`Config::builder`] leaves to the program what no file can say (a clock, a
//! callback), and [`Config::builder_for`] takes an endpoint that the program made.

mod builtin;
mod document;
mod error;
mod parts;
mod problem;
mod reader;
mod registry;
mod scalar;
mod secret;
mod seed;
mod source;
mod value;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _};
use zeroize::Zeroizing;

pub use self::error::ConfigError;
use self::parts::Parts;
use self::reader::read;
pub use self::registry::Registry;
use self::scalar::Span;
pub use self::scalar::{duration, path};
pub use self::secret::Secret;
use self::seed::Seed;
use self::source::Source;
use self::value::Value;
use crate::endpoint::TokenEndpoint;
use crate::error::BuildError;
use crate::manager::{Builder, TokenManager};
use crate::origin::Origins;

/// A configuration that was read, and not yet applied. Its keys are known to be keys and its values to be of
/// the right kind, save those of endpoint, store, strategy and seed, which [`builder`](Self::builder) judges.
#[derive(Clone)]
pub struct Config {
    source: Source,
    parts: Parts,
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
        Self::parse(Source::default(), |_| source::json(text))
    }

    /// Reads a file: TOML if its name ends with `.toml`, JSON if with `.json`. Relative paths in it start at
    /// its directory.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], which names the file.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let extension = path.extension().and_then(|extension| extension.to_str());
        Self::parse(Source::of_file(path), |source| {
            let parse = match extension {
                Some("toml") => Source::toml,
                Some("json") => |_: &mut Source, text: &str| source::json(text),
                _ => {
                    let problem =
                        "is of an unknown kind; its name must end with `.toml` or `.json`";
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

    /// Where relative paths start, if not where the text came from.
    #[must_use]
    pub fn relative_to(mut self, directory: impl Into<PathBuf>) -> Self {
        self.source.base = directory.into();
        self
    }

    /// A builder with everything applied: the store is open, the secrets are read, and the settings hold
    /// together. The program may go on with what no file can say.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; also without `[endpoint]`, see [`builder_for`](Self::builder_for).
    pub async fn builder(&self, registry: &Registry) -> Result<Builder, ConfigError> {
        let built = async {
            let component = self.parts.endpoint.as_ref().ok_or_else(|| {
                let problem = "is missing; it is a table with at least `token_url` and `client_id`";
                ConfigError::new("endpoint", problem)
            })?;
            let endpoint = registry.make_endpoint(component, &self.source.base)?;
            self.apply(endpoint, registry).await
        };
        built.await.map_err(|error| self.source.locate(error))
    }

    /// The same for an endpoint that the program made.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; also if there is an `[endpoint]` in the configuration.
    pub async fn builder_for(
        &self,
        endpoint: impl TokenEndpoint,
        registry: &Registry,
    ) -> Result<Builder, ConfigError> {
        let built = async {
            if self.parts.endpoint.is_some() {
                let problem = "is not allowed: the program brings an endpoint of its own";
                return Err(ConfigError::new("endpoint", problem));
            }
            self.apply(Arc::new(endpoint), registry).await
        };
        built.await.map_err(|error| self.source.locate(error))
    }

    /// A manager, built on the tokio runtime this is called in.
    ///
    /// # Errors
    ///
    /// As [`builder`](Self::builder), and as [`Builder::build`].
    pub async fn connect(&self, registry: &Registry) -> Result<TokenManager, ConfigError> {
        let builder = self.builder(registry).await?;
        let built = builder.build();
        built.map_err(|error| self.source.locate(refused(error)))
    }

    fn parse(
        mut source: Source,
        text: impl FnOnce(&mut Source) -> Result<Value, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let parsed = text(&mut source).and_then(|value| Parts::of(&value, &source.base));
        match parsed {
            Ok(parts) => Ok(Self { source, parts }),
            Err(error) => Err(source.locate(error)),
        }
    }

    async fn apply(
        &self,
        endpoint: Arc<dyn TokenEndpoint>,
        registry: &Registry,
    ) -> Result<Builder, ConfigError> {
        let base = &self.source.base;
        let Parts {
            document,
            strategy,
            store,
            store_timeout,
            endpoint: _,
        } = &self.parts;
        let key = document.session.over(endpoint.key());
        let strategy = registry.make_strategy(strategy, base)?;
        let builder = TokenManager::builder(endpoint).key(key).strategy(strategy);
        let mut builder = document.http.apply(document.refresh.apply(builder))?;
        if let Some(Span(timeout)) = *store_timeout {
            builder = builder.store_timeout(timeout);
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
        if let Some(seed) = &document.seed {
            let seed: Seed = read("seed", seed, base)?;
            builder = builder.seed(seed.first_pair()?);
            if let Some(policy) = seed.on_conflict() {
                builder = builder.on_seed_conflict(policy);
            }
        }
        // Last: it may connect to something.
        if let Some(store) = registry.make_store(store, base).await? {
            builder = builder.store(store);
        }
        Ok(builder)
    }
}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::parse(Source::default(), |_| Ok(value)).map_err(D::Error::custom)
    }
}

/// Shows no value: any could be a secret, in the wrong place.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("file", &self.source.file)
            .finish_non_exhaustive()
    }
}

/// The builder's words for settings, as paths.
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
