//! The sealing keys in the keyring of the operating system.
//!
//! - [`Keyring`]: the entry of one program, read, or made where it is missing
//! - [`KeyringError`]: why the keys cannot be had, and what to do about it
//!
//! A keyring has no compare-and-swap. So the first key is made under a lock on a file: of two processes that make one at
//! once, the later one would replace the key with which the earlier one has sealed.

use std::error::Error as StdError;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use keyring::{Entry, Error};
use zeroize::Zeroizing;

use super::{SealingKeys, SealingKeysError};

/// The account of every entry. The service is the program's name.
const ACCOUNT: &str = "sealing-key";

/// The reason why the sealing keys of the operating system's keyring cannot be had.
///
/// No error contains a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// The system has no keyring that answers. On Linux and the BSDs this is a service on the session's D-Bus.
    #[error(
        "the keyring cannot be reached; start one in this session (GNOME Keyring, KWallet or another Secret Service), or \
         keep the sealing key in a file"
    )]
    Unreachable(#[source] Box<dyn StdError + Send + Sync>),
    /// The keyring is locked, and was not unlocked.
    #[error("the keyring is locked; unlock it and try again, or keep the sealing key in a file")]
    Locked(#[source] Box<dyn StdError + Send + Sync>),
    /// Several entries have the name of the program.
    #[error(
        "the keyring has {entries} entries with the service `{service}` and the account `{ACCOUNT}`; remove all but the \
         one that sealed the records"
    )]
    Ambiguous {
        /// The name of the program.
        service: String,
        /// The number of entries.
        entries: usize,
    },
    /// The content of the entry is not the text of sealing keys. It is never written over.
    #[error(
        "the entry with the service `{service}` and the account `{ACCOUNT}` does not contain sealing keys; restore the \
         entry, or remove it if nothing was sealed with it"
    )]
    NotKeys {
        /// The name of the program.
        service: String,
        /// What is wrong with the text.
        #[source]
        source: Option<SealingKeysError>,
    },
    /// The keyring refuses the name of the program, or cannot hold a key.
    #[error("the keyring cannot hold a sealing key for `{service}`: {problem}")]
    Refused {
        /// The name of the program.
        service: String,
        /// The keyring's words.
        problem: String,
    },
    /// No key can be made.
    #[error("a sealing key cannot be made")]
    NotMade(#[source] SealingKeysError),
    /// The keyring accepted a key and does not have it.
    #[error(
        "the keyring did not keep the key that was made; keep the sealing key in a file instead"
    )]
    NotKept,
    /// The lock under which the first key is made cannot be taken.
    #[error(
        "the first key cannot be made, because the file `{path}` cannot be locked; remove the file or its obstacle"
    )]
    Lock {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// This system has no keyring that the crate knows.
    #[error("on this system there is no keyring that is known; keep the sealing key in a file")]
    Unsupported,
    /// The tokio runtime is shutting down.
    #[error("the tokio runtime is shutting down")]
    ShuttingDown,
}

/// Whether this system has a keyring. Where it has none, the crate `keyring` keeps entries in memory until the process
/// ends, and every record that was sealed would be lost with it.
const IS_KNOWN: bool = cfg!(any(
    target_os = "linux",
    target_os = "freebsd",
    target_os = "openbsd",
    target_os = "macos",
    target_os = "windows"
));

/// The keyring of the operating system, or another one in a test.
#[derive(Debug)]
struct Keyring {
    entry: Entry,
    service: String,
    lock: PathBuf,
}

impl SealingKeys {
    /// Reads the sealing keys of this program from the keyring of the operating system: the Secret Service on Linux and
    /// the BSDs, the Keychain on macOS, the Credential Manager on Windows. At the first use, a new key is made and stored
    /// there.
    ///
    /// `service` is the name of the program. The entry has it as its service, and `sealing-key` as its account. The
    /// content of the entry has the form of a [key's text](SealingKeys#text), so a key is rotated by a new line at the top.
    /// On Linux, `secret-tool lookup service importer username sealing-key` prints it.
    ///
    /// The keyring is asked on a thread that may block, because a locked keyring shows a prompt and waits for its user.
    /// Processes of one user that start at once make one key. A keyring belongs to one user of one machine, so machines
    /// that share a store need a key from elsewhere.
    ///
    /// # Errors
    ///
    /// [`KeyringError`], with what to do about it.
    pub async fn from_keyring(service: &str) -> Result<Self, KeyringError> {
        let service = service.to_owned();
        let read = tokio::task::spawn_blocking(move || Keyring::open(&service)?.read_or_make());
        match read.await {
            Ok(read) => read,
            Err(died) if died.is_panic() => std::panic::resume_unwind(died.into_panic()),
            Err(_) => Err(KeyringError::ShuttingDown),
        }
    }
}

impl Keyring {
    fn open(service: &str) -> Result<Self, KeyringError> {
        if !IS_KNOWN {
            return Err(KeyringError::Unsupported);
        }
        let entry = Entry::new(service, ACCOUNT);
        let entry = entry.map_err(|error| of_error(service, error))?;
        Ok(Self::of(entry, service, &lock_directory()))
    }

    fn of(entry: Entry, service: &str, directory: &Path) -> Self {
        Self {
            entry,
            service: service.to_owned(),
            lock: directory.join("evertoken-keyring.lock"),
        }
    }

    fn read_or_make(&self) -> Result<SealingKeys, KeyringError> {
        if let Some(keys) = self.read()? {
            return Ok(keys);
        }
        let _held = self.lock()?;
        // Another process may have made the key in the meantime.
        if let Some(keys) = self.read()? {
            return Ok(keys);
        }
        let made = SealingKeys::random_key().map_err(KeyringError::NotMade)?;
        let stored = self.entry.set_secret(made.as_bytes());
        stored.map_err(|error| of_error(&self.service, error))?;
        self.read()?.ok_or(KeyringError::NotKept)
    }

    /// The keys of the entry. `None` if there is no entry.
    fn read(&self) -> Result<Option<SealingKeys>, KeyringError> {
        let text = match self.entry.get_secret() {
            Ok(secret) => Zeroizing::new(secret),
            Err(Error::NoEntry) => return Ok(None),
            Err(error) => return Err(of_error(&self.service, error)),
        };
        let not_keys = |source| KeyringError::NotKeys {
            service: self.service.clone(),
            source,
        };
        let text = std::str::from_utf8(&text).map_err(|_| not_keys(None))?;
        let keys = SealingKeys::from_text(text);
        keys.map(Some).map_err(|error| not_keys(Some(error)))
    }

    /// Waits for the lock. The system releases it when the file is dropped or the process ends.
    fn lock(&self) -> Result<File, KeyringError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let locked = options.open(&self.lock).and_then(|file| {
            file.lock()?;
            Ok(file)
        });
        locked.map_err(|source| KeyringError::Lock {
            path: self.lock.clone(),
            source,
        })
    }
}

/// The directory of the lock: one for each user, where the system has one.
fn lock_directory() -> PathBuf {
    let of_session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    of_session
        .filter(|directory| directory.is_absolute())
        .unwrap_or_else(std::env::temp_dir)
}

/// The meaning of an error. Some errors of a keyring contain the secret, so their own text is never kept.
fn of_error(service: &str, error: Error) -> KeyringError {
    let refused = |problem: String| KeyringError::Refused {
        service: service.to_owned(),
        problem,
    };
    match error {
        Error::NoStorageAccess(source) => KeyringError::Locked(source),
        Error::PlatformFailure(source) => KeyringError::Unreachable(source),
        Error::Ambiguous(entries) => KeyringError::Ambiguous {
            service: service.to_owned(),
            entries: entries.len(),
        },
        Error::BadEncoding(_) => KeyringError::NotKeys {
            service: service.to_owned(),
            source: None,
        },
        Error::TooLong(what, limit) => refused(format!("its {what} is longer than {limit}")),
        Error::Invalid(what, problem) => refused(format!("its {what} is invalid: {problem}")),
        _ => refused("it reports a failure of an unknown kind".to_owned()),
    }
}

#[cfg(test)]
mod tests;
