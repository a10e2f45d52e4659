mod readers;

use std::env;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use zeroize::Zeroizing;

use self::readers::Readers;
use super::error::ConfigError;
use super::reader::SECRET;
use super::value::{Table, Value};

/// More than any token or key has; a file that was meant to be another is not read into memory.
const LIMIT: usize = 64 * 1024;

/// Where a secret is: `{ env = "NAME" }`, `{ file = "path" }`, or the secret itself as a string.
///
/// On Unix, a file must belong to the user of the program or to root, and only its owner may write to it. Only the
/// owner may read it, unless `readable_by` beside `file` permits the `"group"` or `"everyone"`, as container
/// platforms mount secrets: `{ file = "/run/secrets/password", readable_by = "everyone" }`. Links are followed.
///
/// It is read only when it is needed, and shown nowhere. For parameters of your own, too. In a
/// [`Config`](super::Config) that was read from a file, a relative path starts at that file's directory
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
    /// The secret. Of a file, one line break at the end is left out.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the variable is not set or the file cannot be read, if the secret is empty or not
    /// UTF-8, and on Unix if the file belongs to another user, or if others may write to it, or read it without
    /// being permitted to.
    pub fn read(&self) -> Result<Zeroizing<String>, ConfigError> {
        let secret = match &self.0 {
            Source::Env(name) => of_variable(name),
            Source::File(path, readers) => of_file(path, *readers),
            Source::Inline(secret) => Ok(secret.clone()),
        }
        .map_err(|problem| ConfigError::new("", format!("{} {problem}", self.source())))?;
        if secret.is_empty() {
            return Err(ConfigError::new("", format!("{} is empty", self.source())));
        }
        Ok(secret)
    }

    /// The secret that is configured at `path`.
    pub(super) fn read_at(&self, path: &str) -> Result<Zeroizing<String>, ConfigError> {
        self.read()
            .map_err(|error| ConfigError::not_made(path, error.into()))
    }

    fn source(&self) -> String {
        match &self.0 {
            Source::Env(name) => format!("the environment variable `{name}`"),
            Source::File(path, _) => format!("the file `{}`", path.display()),
            Source::Inline(_) => "the secret".to_owned(),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Env(name) => write!(f, "Secret(env {name:?})"),
            Source::File(path, _) => write!(f, "Secret(file {path:?})"),
            Source::Inline(_) => f.write_str("Secret([REDACTED])"),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(SECRET, SecretVisitor)
    }
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret")
    }

    /// By way of a value: a format's own error about one that does not fit would repeat it.
    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Secret, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let is_by_others =
            matches!(&value, Value::Table(table) if table.contains_key("readable_by"));
        let source = match value {
            Value::Text(secret) => Some(Source::Inline(secret)),
            Value::Table(table) => of_table(&table),
            _ => None,
        };
        source.map(Secret).ok_or_else(|| {
            D::Error::custom(match is_by_others {
                true => {
                    r#"`readable_by` must be "owner", "group" or "everyone", and stands beside `file`"#
                }
                false => {
                    r#"must be `{ env = "NAME" }` or `{ file = "path" }`, one of them, or the secret as a string"#
                }
            })
        })
    }
}

fn of_table(table: &Table) -> Option<Source> {
    let text = |name: &str| match table.get(name) {
        Some(Value::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let has_only = |names: &[&str]| table.keys().all(|key| names.contains(&key.as_str()));
    match (text("env"), text("file")) {
        (Some(name), None) if has_only(&["env"]) => Some(Source::Env(name.to_owned())),
        (None, Some(path)) if has_only(&["file", "readable_by"]) => {
            let readers = match table.contains_key("readable_by") {
                true => Readers::named(text("readable_by")?)?,
                false => Readers::default(),
            };
            Some(Source::File(PathBuf::from(path), readers))
        }
        _ => None,
    }
}

fn of_variable(name: &str) -> Result<Zeroizing<String>, String> {
    match env::var(name) {
        Ok(secret) => Ok(Zeroizing::new(secret)),
        Err(env::VarError::NotPresent) => Err("is not set".to_owned()),
        Err(env::VarError::NotUnicode(_)) => Err("is not UTF-8".to_owned()),
    }
}

fn of_file(path: &Path, readers: Readers) -> Result<Zeroizing<String>, String> {
    let told = |error: io::Error| format!("cannot be read: {error}");
    // Before it is opened: opening a pipe waits for whoever writes to it.
    if !fs::metadata(path).map_err(told)?.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let file = File::open(path).map_err(told)?;
    let metadata = file.metadata().map_err(told)?;
    readers.check(path, &metadata)?;
    if metadata.len() > LIMIT as u64 {
        return Err(format!("is longer than {LIMIT} bytes"));
    }
    // Whole from the start: a buffer that grows leaves a copy behind.
    let mut secret = Zeroizing::new(String::with_capacity(LIMIT));
    (&file)
        .take(LIMIT as u64)
        .read_to_string(&mut secret)
        .map_err(told)?;
    let without_break = secret.strip_suffix('\n').unwrap_or(&secret);
    let without_break = without_break.strip_suffix('\r').unwrap_or(without_break);
    Ok(Zeroizing::new(without_break.to_owned()))
}
