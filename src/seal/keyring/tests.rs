use std::any::Any;
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyring::credential::CredentialApi;
use keyring::mock::MockCredential;

use super::*;

const KEY: &str = "QW5vdGhlciBrZXkgb2YgMzIgYnl0ZXMsIGZvciBhIHQ=";

/// A keyring in memory, and the directory of its lock.
fn in_memory() -> (Keyring, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let entry = || Entry::new_with_credential(Box::new(MockCredential::default()));
    let keyring = Keyring::of(entry(), entry(), "importer", directory.path());
    (keyring, directory)
}

fn fails_with(keyring: &Keyring, error: Error) {
    let credential = keyring.entry.get_credential();
    let mock: &MockCredential = credential.downcast_ref().unwrap();
    mock.set_error(error);
}

fn ids(keys: &SealingKeys) -> Vec<String> {
    keys.ids().collect()
}

#[test]
fn a_key_is_made_once_and_read_from_then_on() {
    let (keyring, _directory) = in_memory();
    let made = keyring.read_or_make().unwrap();
    assert_eq!(ids(&made).len(), 1);
    assert_eq!(ids(&keyring.read_or_make().unwrap()), ids(&made));
}

#[test]
fn a_new_line_at_the_top_rotates_the_key() {
    let (keyring, _directory) = in_memory();
    let made = keyring.read_or_make().unwrap();
    let old = String::from_utf8(keyring.entry.get_secret().unwrap()).unwrap();
    let text = format!("# since June\n{KEY}\n{old}\n");
    keyring.entry.set_secret(text.as_bytes()).unwrap();
    let rotated = ids(&keyring.read_or_make().unwrap());
    assert_eq!(rotated[1..], ids(&made));
    assert_ne!(rotated[0], rotated[1]);
}

#[test]
fn an_entry_that_does_not_contain_keys_is_refused_and_stays() {
    for content in [b"sesame".as_slice(), b"", b"\xff\xfe"] {
        let (keyring, _directory) = in_memory();
        keyring.entry.set_secret(content).unwrap();
        let error = keyring.read_or_make().unwrap_err();
        assert!(matches!(error, KeyringError::NotKeys { .. }), "{error:?}");
        let source = error.source().map(ToString::to_string).unwrap_or_default();
        let shown = format!("{error} {error:?} {source}");
        assert!(!shown.contains("sesame"), "{shown}");
        assert_eq!(keyring.entry.get_secret().unwrap(), content);
    }
}

#[test]
fn each_error_of_a_keyring_has_its_meaning_and_no_error_makes_a_key() {
    let boxed = || Box::<dyn StdError + Send + Sync>::from("of the system");
    let secret = || b"sesame".to_vec();
    let cases = [
        (Error::PlatformFailure(boxed()), "is missing, is locked or"),
        (Error::NoStorageAccess(boxed()), "is missing, is locked or"),
        (
            Error::BadEncoding(secret()),
            "does not contain sealing keys",
        ),
        (Error::Ambiguous(Vec::new()), "has 0 entries"),
        (Error::TooLong("name".to_owned(), 3), "longer than 3"),
        (
            Error::Invalid("name".to_owned(), "empty".to_owned()),
            "its name is invalid: empty",
        ),
    ];
    for (error, meaning) in cases {
        let (keyring, directory) = in_memory();
        fails_with(&keyring, error);
        let error = keyring.read_or_make().unwrap_err();
        assert!(error.to_string().contains(meaning), "{error}");
        let shown = format!("{error:?}");
        assert!(
            !shown.contains("sesame") && !shown.contains("115, 101"),
            "{shown}"
        );
        assert!(matches!(keyring.entry.get_secret(), Err(Error::NoEntry)));
        assert_eq!(directory.path().read_dir().unwrap().count(), 0, "{meaning}");
    }
}

#[test]
fn a_lock_that_cannot_be_taken_makes_no_key() {
    let (mut keyring, directory) = in_memory();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    keyring.lock = file.join("lock");
    let error = keyring.read_or_make().unwrap_err();
    assert!(matches!(error, KeyringError::Lock { .. }), "{error:?}");
    assert!(matches!(keyring.entry.get_secret(), Err(Error::NoEntry)));
}

#[test]
fn a_keyring_that_stays_locked_makes_no_key() {
    let (keyring, _directory) = in_memory();
    let credential = keyring.probe.get_credential();
    let mock: &MockCredential = credential.downcast_ref().unwrap();
    mock.set_error(Error::NoStorageAccess("the prompt was dismissed".into()));
    let error = keyring.read_or_make().unwrap_err();
    assert!(matches!(error, KeyringError::Unavailable(_)), "{error:?}");
    assert!(matches!(keyring.entry.get_secret(), Err(Error::NoEntry)));
}

/// An entry of a keyring that hides its entries while it is locked, as KeePassXC does. Writing an entry unlocks it.
struct Hidden {
    content: MockCredential,
    is_unlocked: Arc<AtomicBool>,
}

impl CredentialApi for Hidden {
    fn set_password(&self, password: &str) -> keyring::Result<()> {
        self.set_secret(password.as_bytes())
    }

    fn set_secret(&self, secret: &[u8]) -> keyring::Result<()> {
        self.is_unlocked.store(true, Ordering::Relaxed);
        self.content.set_secret(secret)
    }

    fn get_password(&self) -> keyring::Result<String> {
        unreachable!("keys are read as bytes")
    }

    fn get_secret(&self) -> keyring::Result<Vec<u8>> {
        match self.is_unlocked.load(Ordering::Relaxed) {
            true => self.content.get_secret(),
            false => Err(Error::NoEntry),
        }
    }

    fn delete_credential(&self) -> keyring::Result<()> {
        self.content.delete_credential()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[test]
fn a_key_that_a_locked_keyring_hides_is_not_written_over() {
    let directory = tempfile::tempdir().unwrap();
    let is_unlocked = Arc::new(AtomicBool::new(false));
    let content = MockCredential::default();
    content.set_secret(KEY.as_bytes()).unwrap();
    let entry = |content| {
        let is_unlocked = Arc::clone(&is_unlocked);
        Entry::new_with_credential(Box::new(Hidden {
            content,
            is_unlocked,
        }))
    };
    let (entry, probe) = (entry(content), entry(MockCredential::default()));
    let keyring = Keyring::of(entry, probe, "importer", directory.path());
    let read = keyring.read_or_make().unwrap();
    assert_eq!(ids(&read), ids(&SealingKeys::from_text(KEY).unwrap()));
    assert_eq!(keyring.entry.get_secret().unwrap(), KEY.as_bytes());
    assert!(matches!(keyring.probe.get_secret(), Err(Error::NoEntry)));
}

#[test]
fn a_program_without_a_name_has_no_keys() {
    let error = Keyring::open("").unwrap_err();
    assert!(matches!(error, KeyringError::Refused { .. }), "{error:?}");
}
