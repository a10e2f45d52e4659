use std::error::Error as _;

use keyring::mock::MockCredential;

use super::*;

const KEY: &str = "QW5vdGhlciBrZXkgb2YgMzIgYnl0ZXMsIGZvciBhIHQ=";

/// A keyring in memory, and the directory of its lock.
fn in_memory() -> (Keyring, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let entry = Entry::new_with_credential(Box::new(MockCredential::default()));
    (Keyring::of(entry, "importer", directory.path()), directory)
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
        (Error::PlatformFailure(boxed()), "cannot be reached"),
        (Error::NoStorageAccess(boxed()), "is locked"),
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
    keyring.lock = directory.path().join("missing").join("lock");
    let error = keyring.read_or_make().unwrap_err();
    assert!(matches!(error, KeyringError::Lock { .. }), "{error:?}");
    assert!(matches!(keyring.entry.get_secret(), Err(Error::NoEntry)));
}
