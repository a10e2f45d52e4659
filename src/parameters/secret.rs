//! Secrets by reference: an environment variable, or a file whose permissions are checked.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use zeroize::Zeroizing;

use super::error::ConfigError;
use super::reader::read;
use super::value::Value;
use crate::secret_source::{self, Readers};

/// A secret in a configuration: `{ env = "NAME" }`, `{ file = "path" }`, or the secret itself as a string.
///
/// On Unix, a file must belong to the user of the program or to root, and only its owner may write to it. Only the
/// owner may read it, unless `readable_by` beside `file` permits the `"group"` or `"everyone"`, as container
/// platforms mount secrets: `{ file = "/run/secrets/password", readable_by = "everyone" }`. Links are followed.
///
/// A secret is read only when it is needed, and is never printed. Parameters of your own types may hold one, too.
/// In a [`Config`](crate::Config) that was read from a file, a relative path starts at that file's directory
/// (unless the field is flattened into another type).
#[derive(Clone)]
pub struct Secret(Source);

#[derive(Clone)]
enum Source {
    Env(String),
    File(PathBuf, Readers),
    Inline(Zeroizing<String>),
}

impl Secret {
    /// Reads the secret. One line break at the end of a file is left out.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the variable is not set or the file cannot be read, if the secret is empty or not
    /// UTF-8, and on Unix if the file belongs to another user, if others may write to the file, or if others may
    /// read the file and `readable_by` does not permit that.
    pub fn read(&self) -> Result<Zeroizing<String>, ConfigError> {
        let secret = match &self.0 {
            Source::Env(name) => secret_source::of_variable(name),
            Source::File(path, readers) => secret_source::of_file(path, *readers),
            Source::Inline(secret) => Ok(secret.clone()),
        }
        .map_err(|problem| {
            let permission = match problem.to_permit {
                Some(Readers::Group) => ", or set `readable_by = \"group\"` beside `file`",
                Some(Readers::Everyone) => ", or set `readable_by = \"everyone\"` beside `file`",
                Some(Readers::Owner) | None => "",
            };
            ConfigError::new("", format!("{} {problem}{permission}", self.source()))
        })?;
        if secret.is_empty() {
            return Err(ConfigError::new("", format!("{} is empty", self.source())));
        }
        Ok(secret)
    }

    /// Reads the secret that is configured at `path`.
    pub(crate) fn read_at(&self, path: &str) -> Result<Zeroizing<String>, ConfigError> {
        self.read()
            .map_err(|error| ConfigError::not_made(path, error.into()))
    }

    /// Whether the configuration names where the secret is, and does not hold the secret itself.
    pub(crate) fn is_reference(&self) -> bool {
        !matches!(self.0, Source::Inline(_))
    }

    /// The source of the secret, in words.
    pub(crate) fn source(&self) -> String {
        match &self.0 {
            Source::Env(name) => format!("the environment variable `{name}`"),
            Source::File(path, _) => format!("the file `{}`", path.display()),
            Source::Inline(_) => "the secret".to_owned(),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.source())
    }
}

/// A secret as the configuration holds it. A format's own error about a wrong value would repeat the value, so a
/// [`Value`] is read first. The [`Reader`](super::reader) knows the type by its name, `SECRET`.
#[derive(Deserialize)]
#[serde(rename = "$evertoken::config::Secret")]
struct Unread(Value);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Unread(value) = Unread::deserialize(deserializer)?;
        Self::of(value, "").map_err(D::Error::custom)
    }
}

impl Secret {
    /// The secret that the value describes. An error names the `other` forms beside those of a secret.
    fn of(value: Value, other: &str) -> Result<Self, String> {
        let has_readers =
            matches!(&value, Value::Table(table) if table.contains_key("readable_by"));
        let source = match value {
            Value::Text(secret) => Some(Source::Inline(secret)),
            table => of_table(&table),
        };
        source.map(Self).ok_or_else(|| match has_readers {
            true => r#"`readable_by` must be "owner", "group" or "everyone", and requires `file`"#
                .to_owned(),
            false => format!(
                r#"must be `{{ env = "NAME" }}`, `{{ file = "path" }}`, {other}or the secret as a string"#
            ),
        })
    }
}

/// Where sealing keys come from: a secret, or the keyring of the operating system, as `{ keyring = "program" }`.
#[derive(Debug, Clone)]
#[cfg_attr(
    not(feature = "seal"),
    expect(dead_code, reason = "without the feature too, a wrong key is reported")
)]
pub(crate) enum KeySource {
    Secret(Secret),
    /// The name under which the keyring has the keys.
    Keyring(String),
}

impl<'de> Deserialize<'de> for KeySource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Keys {
            keyring: String,
        }

        let Unread(value) = Unread::deserialize(deserializer)?;
        if let Ok(Keys { keyring }) = read("", &value, Path::new("")) {
            return Ok(Self::Keyring(keyring));
        }
        let secret = Secret::of(value, r#"`{ keyring = "program" }`, "#);
        secret.map(Self::Secret).map_err(D::Error::custom)
    }
}

fn of_table(table: &Value) -> Option<Source> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Keys {
        env: Option<String>,
        file: Option<PathBuf>,
        readable_by: Option<Readers>,
    }

    let keys: Keys = read("", table, Path::new("")).ok()?;
    match (keys.env, keys.file, keys.readable_by) {
        (Some(name), None, None) => Some(Source::Env(name)),
        (None, Some(path), readers) => Some(Source::File(path, readers.unwrap_or_default())),
        _ => None,
    }
}
