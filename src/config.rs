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
//!
//! A program that has a configuration already makes a [`Config`] a part of it, or reads its own file by a
//! [`ConfigReader`].

mod builtin;
mod content;
mod document;
mod endpoints;
#[cfg(feature = "gateway")]
mod gateway;
mod http;
mod reader;
mod registry;
mod seed;
mod sessions;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer};

use self::content::{Content, refused};
pub use self::reader::ConfigReader;
pub use self::registry::Registry;
use crate::endpoint::TokenEndpoint;
#[cfg(feature = "gateway")]
use crate::gateway::GatewayBuilder;
use crate::manager::{Builder, TokenManager};
pub use crate::parameters::{ConfigError, Secret, duration, path};
use crate::parameters::{Source, Value};
use crate::sessions::Sessions;

/// A configuration that was read, and not yet applied. Its keys and the kinds of its values are checked, except
/// those of endpoint, store and strategy, which [`builder`](Self::builder) checks.
///
/// # Inside a configuration of the program's own
///
/// A `Config` can be a field of a struct, in any format of serde:
///
/// ```
/// use evertoken::Config;
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Settings {
///     batch: u32,
///     login: Config,
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = r#"
///     batch = 500
///     [login.refresh]
///     wait = 35
///     [login.endpoint]
///     token_url = "https://id.example.org/token"
///     client_id = "importer"
/// "#;
/// let settings: Settings = toml::from_str(text)?;
/// let error = settings.login.within("login").unwrap_err();
/// assert_eq!(error.path(), "login.refresh.wait");
/// # assert_eq!(settings.batch, 500);
/// # Ok(())
/// # }
/// ```
///
/// serde accepts whatever the field holds. A problem in it is reported by [`within`](Self::within), and without that call by
/// [`builder`](Self::builder) and the like. The reason is that a format adds its own to an error: toml, for example, quotes
/// the line at which the table begins, and its `Debug` shows the whole document, with every secret in it.
///
/// Relative paths start at the working directory, or where [`relative_to`](Self::relative_to) says. `{ env = ".." }` and
/// `{ file = ".." }` work as they do in a file of evertoken's own.
///
/// A misspelled name of the field is not an error of serde's, and an `Option<Config>` is `None` then. So the struct has
/// `#[serde(deny_unknown_fields)]`.
///
/// The field may also be flattened (`#[serde(flatten)]`): the configuration then is what no other field of the struct takes, and
/// refuses every key that it does not know. The field is declared last, because serde gives it also what a flattened field
/// after it takes. `deny_unknown_fields` is not for such a struct.
///
/// A [`ConfigReader`] reads one table of a file and leaves the others to the program. Its errors have the file, line and
/// column, which a field cannot know.
#[derive(Clone)]
pub struct Config {
    source: Source,
    /// What serde deserialized may be wrong, which is reported when the configuration is used.
    content: Result<Content, ConfigError>,
}

impl Config {
    /// Reads TOML. Relative paths in it start at the working directory.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], with line and column.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        ConfigReader::new().toml(text)
    }

    /// Reads JSON, with the same keys. Relative paths in it start at the working directory.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        ConfigReader::new().json(text)
    }

    /// Reads a file: TOML if the name ends with `.toml`, JSON if the name ends with `.json`. Relative paths in
    /// the file start at its directory.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], with the file.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        ConfigReader::new().file(path)
    }

    /// Sets the directory in which relative paths start.
    #[must_use]
    pub fn relative_to(mut self, directory: impl Into<PathBuf>) -> Self {
        self.source.base = directory.into();
        self
    }

    /// Checks a configuration that serde deserialized as a part of the program's own, at the path `login` or `logins[1]` for
    /// example. From then on, the path of every error begins with that.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], if a key is unknown or a value is of the wrong kind. The keys of endpoint, store and strategy, the
    /// ranges of values, the origins, and what values mean together are checked by [`builder`](Self::builder).
    pub fn within(mut self, path: impl AsRef<str>) -> Result<Self, ConfigError> {
        self.source.within(path.as_ref());
        match &self.content {
            Ok(_) => Ok(self),
            Err(error) => Err(self.source.locate(error.clone())),
        }
    }

    /// Returns a builder with the whole configuration applied: the store is open, the secrets are read, and the
    /// settings do not contradict each other. The program may add what a file cannot express.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; also without `[endpoint]`, see [`builder_for`](Self::builder_for), and with a `[sessions]`, which is
    /// about [many sessions](Self::sessions).
    pub async fn builder(&self, registry: &Registry) -> Result<Builder, ConfigError> {
        self.refuse_sessions()?;
        self.builder_of(registry).await
    }

    async fn builder_of<T>(&self, registry: &Registry) -> Result<Builder<T>, ConfigError> {
        let built = async {
            let content = self.content.as_ref().map_err(Clone::clone)?;
            let component = content.endpoint.as_ref().ok_or_else(|| {
                let problem = "is missing; add a table with at least `token_url` and `client_id`";
                ConfigError::new("endpoint", problem)
            })?;
            let base = &self.source.base;
            let endpoint = registry.make_endpoint(component, base)?;
            content.apply(endpoint, registry, base).await
        };
        built.await.map_err(|error| self.source.locate(error))
    }

    /// Returns the same builder for an endpoint of the program.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; also if the configuration has an `[endpoint]` or a `[sessions]`.
    pub async fn builder_for(
        &self,
        endpoint: impl TokenEndpoint,
        registry: &Registry,
    ) -> Result<Builder, ConfigError> {
        self.refuse_sessions()?;
        let built = async {
            let content = self.content.as_ref().map_err(Clone::clone)?;
            if content.endpoint.is_some() {
                let problem = "must be removed, because the program has its own endpoint";
                return Err(ConfigError::new("endpoint", problem));
            }
            let base = &self.source.base;
            content.apply(Arc::new(endpoint), registry, base).await
        };
        built.await.map_err(|error| self.source.locate(error))
    }

    /// What holds for many sessions together would have no effect in a manager of one.
    fn refuse_sessions(&self) -> Result<(), ConfigError> {
        let has = |of: fn(&Content) -> bool| self.content.as_ref().is_ok_and(of);
        let table = match () {
            () if has(Content::has_sessions) => "sessions",
            () if has(Content::has_gateway) => "gateway",
            () => return Ok(()),
        };
        let problem = "must be removed, because it is about many sessions, and there is one; many are built by \
                       `Config::sessions`";
        Err(self.source.locate(ConfigError::new(table, problem)))
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

    /// Returns a builder of [`Sessions`] with the whole configuration applied. `[session]` has the parts of [`Sessions::key`],
    /// and `[sessions]` what holds for all sessions together.
    ///
    /// # Errors
    ///
    /// As [`builder`](Self::builder); also with a `[seed]`, which is the pair of one session.
    pub async fn sessions_builder(
        &self,
        registry: &Registry,
    ) -> Result<Builder<Sessions>, ConfigError> {
        if self.content.as_ref().is_ok_and(Content::has_seed) {
            let problem = "must be removed, because it is the pair of one session, and there are many; \
                           give a user's pair to `Sessions::sign_in`";
            return Err(self.source.locate(ConfigError::new("seed", problem)));
        }
        self.builder_of(registry).await
    }

    /// Builds [`Sessions`] on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// The errors of [`sessions_builder`](Self::sessions_builder) and of `Builder::build`.
    pub async fn sessions(&self, registry: &Registry) -> Result<Sessions, ConfigError> {
        let built = self.sessions_builder(registry).await?.build();
        built.map_err(|error| self.source.locate(refused(error)))
    }

    /// Returns the builder of a gateway for these sessions, as `[gateway]` says. The program may add what a file cannot express.
    ///
    /// # Errors
    ///
    /// Without a `[gateway]`; if its keys cannot be read; and as [`GatewayBuilder::build`].
    #[cfg(feature = "gateway")]
    pub async fn gateway(&self, sessions: &Sessions) -> Result<GatewayBuilder, ConfigError> {
        let built = async {
            let content = self.content.as_ref().map_err(Clone::clone)?;
            content.gateway()?.builder(sessions).await
        };
        built.await.map_err(|error| self.source.locate(error))
    }
}

/// Accepts any value. A problem in it is reported when the configuration is used; see [`Config`].
impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let source = Source::default();
        let content = Content::of(&value, &source.base, &[]);
        Ok(Self { source, content })
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
