//! The sealing keys in the keyring of the operating system.
//!
//! - [`Keyring`]: the entry of one program, read, or made where it is missing
//! - [`KeyringError`]: why the keys cannot be had, and what to do about it
//!
//! A keyring has no compare-and-swap, and some keyrings answer that there is no entry while they are locked. So the first
//! key is made under a lock on a file, and only once the keyring has accepted another entry: a key that replaces the one
//! with which records were sealed would lose those records.

use std::error::Error as StdError;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use keyring::credential::CredentialPersistence;
use keyring::{Entry, Error};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::{SealingKeys, SealingKeysError};
use crate::token::Digest;

/// The account of every entry. The service is the program's name.
const ACCOUNT: &str = "sealing-key";

/// The account of the entry that is written, and removed again, so that a locked keyring is unlocked.
const PROBE: &str = "sealing-key-probe";

/// The reason why the sealing keys of the operating system's keyring cannot be had.
///
/// No error contains a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// The system has no keyring that answers, or the keyring is locked, or its user refused the access. On Linux,
    /// FreeBSD and OpenBSD the keyring is a service on the D-Bus of the session.
    #[error(
        "the keyring is missing, is locked or refuses the access; start and unlock one in this session (on Linux, GNOME \
         Keyring, KWallet or another Secret Service), allow this program to use it, or keep the sealing key in a file"
    )]
    Unavailable(#[source] Box<dyn StdError + Send + Sync>),
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
    /// The thread that asks the keyring cannot be started.
    #[error("no thread can be started to ask the keyring; check the limits of this process")]
    NoThread(#[source] io::Error),
    /// The library of the keyring panicked.
    #[error(
        "the keyring's library panicked; read the panic's message, or keep the sealing key in a file"
    )]
    Panicked,
}

/// The keyring of the operating system, or another one in a test.
#[derive(Debug)]
struct Keyring {
    entry: Entry,
    probe: Entry,
    service: String,
    lock: PathBuf,
}

impl SealingKeys {
    /// Reads the sealing keys of this program from the keyring of the operating system: the Secret Service on Linux,
    /// FreeBSD and OpenBSD, the Keychain on macOS, the Credential Manager on Windows. At the first use, a new key is made
    /// and stored there.
    ///
    /// `service` is the name of the program. The entry has it as its service, and `sealing-key` as its account. The
    /// content of the entry has the form of a [key's text](SealingKeys#text). It is read once, here. [The page on
    /// sharing](crate::_guide::sharing#sealing-a-store) has how a key is rotated.
    ///
    /// A locked keyring shows a prompt and waits for its user. A thread of its own waits, which neither blocks the runtime
    /// nor keeps the process from ending. Processes of one user that start at once make one key, under a lock on a file in
    /// `~/.local/state/evertoken` (on Windows, `AppData\Local\evertoken`). A keyring belongs to one user of one machine,
    /// so machines that share a store need a key from elsewhere.
    ///
    /// On its way, the key is in buffers of the keyring's library, which are not zeroized.
    ///
    /// # Errors
    ///
    /// [`KeyringError`], with what to do about it.
    pub async fn from_keyring(service: &str) -> Result<Self, KeyringError> {
        let service = service.to_owned();
        let (report, read) = oneshot::channel();
        // Not a thread of the runtime: a runtime that shuts down would wait for the prompt.
        let asking = thread::Builder::new().name("evertoken-keyring".to_owned());
        let asking = asking.spawn(move || {
            let keys = Keyring::open(&service).and_then(|keyring| keyring.read_or_make());
            // The caller may have given up.
            let _ = report.send(keys);
        });
        asking.map_err(KeyringError::NoThread)?;
        read.await.unwrap_or(Err(KeyringError::Panicked))
    }
}

impl Keyring {
    /// The keyring of this system, whatever default the program has set in the crate `keyring`.
    fn open(service: &str) -> Result<Self, KeyringError> {
        let system = keyring::default::default_credential_builder();
        // Where the crate knows no keyring, it keeps entries in memory, and what was sealed would be lost.
        if !matches!(system.persistence(), CredentialPersistence::UntilDelete) {
            return Err(KeyringError::Unsupported);
        }
        if service.is_empty() {
            return Err(KeyringError::Refused {
                service: String::new(),
                problem: "the name of the program is empty".to_owned(),
            });
        }
        let entry = |account| {
            let credential = system.build(None, service, account);
            credential
                .map(Entry::new_with_credential)
                .map_err(|error| of_error(service, error))
        };
        Ok(Self::of(
            entry(ACCOUNT)?,
            entry(PROBE)?,
            service,
            &lock_directory(),
        ))
    }

    fn of(entry: Entry, probe: Entry, service: &str, directory: &Path) -> Self {
        Self {
            entry,
            probe,
            service: service.to_owned(),
            lock: directory.join(format!("keyring-{}.lock", Digest::of(service))),
        }
    }

    fn read_or_make(&self) -> Result<SealingKeys, KeyringError> {
        if let Some(keys) = self.read()? {
            return Ok(keys);
        }
        let _held = self.lock()?;
        self.unlock()?;
        // Another process may have made the key in the meantime, or the keyring was locked.
        if let Some(keys) = self.read()? {
            return Ok(keys);
        }
        let made = SealingKeys::random_key().map_err(KeyringError::NotMade)?;
        let stored = self.entry.set_secret(made.as_bytes());
        stored.map_err(|error| self.error(error))?;
        self.read()?.ok_or(KeyringError::NotKept)
    }

    /// Has the keyring unlocked: it has to be, to accept an entry.
    fn unlock(&self) -> Result<(), KeyringError> {
        let written = self.probe.set_secret(b"unlocked");
        written.map_err(|error| self.error(error))?;
        // A probe that stays does no harm.
        let _ = self.probe.delete_credential();
        Ok(())
    }

    fn error(&self, error: Error) -> KeyringError {
        of_error(&self.service, error)
    }

    /// The keys of the entry. `None` if there is no entry.
    fn read(&self) -> Result<Option<SealingKeys>, KeyringError> {
        let text = match self.entry.get_secret() {
            Ok(secret) => Zeroizing::new(secret),
            Err(Error::NoEntry) => return Ok(None),
            Err(error) => return Err(self.error(error)),
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
        let locked = self.make_directory().and_then(|()| {
            let file = options.open(&self.lock)?;
            file.lock()?;
            Ok(file)
        });
        locked.map_err(|source| KeyringError::Lock {
            path: self.lock.clone(),
            source,
        })
    }

    fn make_directory(&self) -> io::Result<()> {
        let Some(directory) = self.lock.parent() else {
            return Ok(());
        };
        let mut options = fs::DirBuilder::new();
        options.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut options, 0o700);
        options.create(directory)
    }
}

/// The directory of the locks. It is in the home directory, because the processes of one user agree on that: variables of
/// the session differ between a desktop, a shell of another session and a timer.
fn lock_directory() -> PathBuf {
    let home = std::env::home_dir().unwrap_or_default();
    home.join(match cfg!(windows) {
        true => r"AppData\Local\evertoken",
        false => ".local/state/evertoken",
    })
}

/// The meaning of an error. Some errors of a keyring contain the secret, so their own text is never kept.
fn of_error(service: &str, error: Error) -> KeyringError {
    let refused = |problem: String| KeyringError::Refused {
        service: service.to_owned(),
        problem,
    };
    match error {
        Error::NoStorageAccess(source) | Error::PlatformFailure(source) => {
            KeyringError::Unavailable(source)
        }
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
