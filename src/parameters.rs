//! The parameters of a strategy, an endpoint or a store, as a configuration writes them: a tree of values, the types that
//! are read from it, secrets, and errors that repeat no value.
//!
//! What the crate supplies reads its own parameters, so this module comes before those modules, and the module `config`,
//! which reads a whole document, after them.

mod error;
mod list;
mod reader;
mod scalar;
mod secret;
mod value;

use serde::de::DeserializeOwned;

pub use self::error::ConfigError;
pub(crate) use self::error::{Problem, names};
pub(crate) use self::list::OneOrMore;
pub(crate) use self::reader::{read, read_with};
pub(crate) use self::scalar::{
    ErrorStatus, Header, LocalPath, PositiveSpan, Scopes, Span, UtcTime,
};
pub use self::scalar::{duration, path};
pub(crate) use self::secret::KeySource;
pub use self::secret::Secret;
pub(crate) use self::value::{Source, Table, Value, json};

/// What a configuration can name, and how it is made of its parameters.
pub(crate) trait FromParameters: Sized {
    type Parameters: DeserializeOwned;

    fn from_parameters(
        parameters: Self::Parameters,
    ) -> impl Future<Output = Result<Self, ConfigError>> + Send;
}

/// Sets a value that is configured, and leaves the default of one that is not.
pub(crate) fn set<B, T>(builder: B, value: Option<T>, setter: impl FnOnce(B, T) -> B) -> B {
    match value {
        Some(value) => setter(builder, value),
        None => builder,
    }
}
