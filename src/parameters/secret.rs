//! Secrets by reference: an environment variable, or a file whose permissions are checked.

use std::env;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use zeroize::Zeroizing;

use super::error::ConfigError;
use super::reader::read;
use super::value::Value;

/// The longest file that is read, in bytes: longer than any token or key, so that a wrong file is not read into
/// memory.
const LIMIT: usize = 64 * 1024;

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

    /// Reads the secret that is configured at `path`.
    pub(crate) fn read_at(&self, path: &str) -> Result<Zeroizing<String>, ConfigError> {
        self.read()
            .map_err(|error| ConfigError::not_made(path, error.into()))
    }

    /// Whether the configuration names where the secret is, and does not hold the secret itself.
    pub(crate) fn is_reference(&self) -> bool {
        !matches!(self.0, Source::Inline(_))
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
        let has_readers =
            matches!(&value, Value::Table(table) if table.contains_key("readable_by"));
        let source = match value {
            Value::Text(secret) => Some(Source::Inline(secret)),
            table => of_table(&table),
        };
        source.map(Self).ok_or_else(|| {
            D::Error::custom(match has_readers {
                true => {
                    r#"`readable_by` must be "owner", "group" or "everyone", and requires `file`"#
                }
                false => {
                    r#"must be `{ env = "NAME" }`, `{ file = "path" }`, or the secret as a string"#
                }
            })
        })
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

fn of_variable(name: &str) -> Result<Zeroizing<String>, String> {
    env::var(name)
        .map(Zeroizing::new)
        .map_err(|error| match error {
            env::VarError::NotPresent => "is not set".to_owned(),
            env::VarError::NotUnicode(_) => "is not UTF-8".to_owned(),
        })
}

fn of_file(path: &Path, readers: Readers) -> Result<Zeroizing<String>, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    // Checked before the file is opened, because opening a pipe waits for its writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    readers.check(path, &metadata)?;
    if metadata.len() > LIMIT as u64 {
        return Err(format!("is longer than {LIMIT} bytes"));
    }
    // Full size from the start, because a buffer that grows leaves copies of the secret behind.
    let mut secret = Zeroizing::new(String::with_capacity(LIMIT));
    (&file)
        .take(LIMIT as u64)
        .read_to_string(&mut secret)
        .map_err(unreadable)?;
    let without_break = secret.strip_suffix('\n').unwrap_or(&secret);
    let without_break = without_break.strip_suffix('\r').unwrap_or(without_break);
    Ok(Zeroizing::new(without_break.to_owned()))
}

/// The users that may read the file of a secret, by `readable_by`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Readers {
    /// Only the owner.
    #[default]
    Owner,
    Group,
    Everyone,
}

impl Readers {
    /// Checks owner and mode of the file. `metadata` is that of a link's target, because Kubernetes mounts secrets as
    /// links.
    #[cfg(unix)]
    fn check(self, path: &Path, metadata: &Metadata) -> Result<(), String> {
        use std::os::unix::fs::MetadataExt as _;

        let us = rustix::process::geteuid().as_raw();
        self.judge(metadata.mode() & 0o777, metadata.uid(), us, path)
    }

    /// Files have no modes on this system.
    #[cfg(not(unix))]
    fn check(self, _: &Path, _: &Metadata) -> Result<(), String> {
        Ok(())
    }

    #[cfg(unix)]
    fn judge(self, mode: u32, owner: u32, us: u32, path: &Path) -> Result<(), String> {
        let path = path.display();
        // An owner can change a file whatever its mode is, and root can change every file.
        if owner != us && owner != 0 {
            return Err(format!(
                "belongs to user {owner}, but must belong to root or to user {us}, which runs this program; \
                 run `chown {us} {path}`"
            ));
        }
        if mode & 0o022 != 0 {
            return Err(format!(
                "is writable by users other than its owner (mode {mode:04o}); run `chmod 600 {path}`"
            ));
        }
        let (readers, needed, name) = match mode {
            _ if mode & 0o004 != 0 => ("every user of this machine", Self::Everyone, "everyone"),
            _ if mode & 0o040 != 0 => ("its group", Self::Group, "group"),
            _ => return Ok(()),
        };
        if self == needed || self == Self::Everyone {
            return Ok(());
        }
        Err(format!(
            "is readable by {readers} (mode {mode:04o}); run `chmod 600 {path}`, or set \
             `readable_by = \"{name}\"` beside `file`"
        ))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const US: u32 = 1_000;

    fn judged(readers: Readers, mode: u32, owner: u32) -> bool {
        readers.judge(mode, owner, US, Path::new("file")).is_ok()
    }

    #[test]
    fn a_secret_file_belongs_to_the_program_or_root_and_only_permitted_users_read_it() {
        let [owner, group, everyone] = [Readers::Owner, Readers::Group, Readers::Everyone];
        for mode in [0o600, 0o400] {
            for readers in [owner, group, everyone] {
                assert!(judged(readers, mode, US) && judged(readers, mode, 0));
                assert!(!judged(readers, mode, US + 1));
            }
        }
        for mode in [0o640, 0o440] {
            assert_eq!(
                [owner, group, everyone].map(|by| judged(by, mode, 0)),
                [false, true, true]
            );
        }
        for mode in [0o644, 0o444, 0o604] {
            assert_eq!(
                [owner, group, everyone].map(|by| judged(by, mode, 0)),
                [false, false, true]
            );
        }
        for mode in [0o620, 0o602, 0o666] {
            assert_eq!(
                [owner, group, everyone].map(|by| judged(by, mode, US)),
                [false; 3]
            );
        }
    }
}
