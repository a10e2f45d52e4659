//! Storages whose records are sealed, and what lies in them.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use evertoken::{FileStore, Key, SealingKeys, TokenStore, async_trait};
use serde_json::Value;

use super::{Directory, Storage};

/// How a storage is opened.
#[derive(Debug, Clone)]
pub(crate) struct Seal {
    pub(crate) keys: SealingKeys,
    pub(crate) accepts_plain: bool,
}

/// A storage that can be sealed, to a thief and to a writer without the keys.
#[async_trait]
pub(crate) trait Vault: Storage {
    /// Opens the storage sealed for another instance.
    async fn open_sealed(&self, seal: Seal) -> Arc<dyn TokenStore>;

    /// Everything that lies in the storage.
    async fn at_rest(&self) -> String;

    /// The sealed bytes of the session's record.
    async fn sealed_part(&self, key: &Key) -> Vec<u8>;

    /// Puts these bytes in the place of the sealed ones, and leaves the readable copy.
    async fn put_sealed_part(&self, key: &Key, sealed: &[u8]);

    /// Puts a copy of one session's record in the place of another's.
    async fn copy_record(&self, from: &Key, to: &Key);
}

/// A storage that each instance opens with this seal.
pub(crate) struct Sealed {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) seal: Seal,
}

#[async_trait]
impl Storage for Sealed {
    async fn open(&self) -> Arc<dyn TokenStore> {
        self.storage.vault().open_sealed(self.seal.clone()).await
    }

    async fn in_the_open(&self) -> String {
        self.storage.in_the_open().await
    }

    fn vault(&self) -> &dyn Vault {
        self.storage.vault()
    }
}

impl Directory {
    fn sessions(&self) -> PathBuf {
        self.0.path().join("sessions")
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.sessions().join(format!("{}.json", key.digest()))
    }

    fn json(&self, key: &Key) -> Value {
        let text = std::fs::read(self.path(key)).expect("the record can be read");
        serde_json::from_slice(&text).expect("JSON")
    }
}

#[async_trait]
impl Vault for Directory {
    async fn open_sealed(&self, seal: Seal) -> Arc<dyn TokenStore> {
        let store = FileStore::new(self.sessions()).expect("the directory can be used");
        Arc::new(store.sealed(seal.keys).accept_plain(seal.accepts_plain))
    }

    async fn at_rest(&self) -> String {
        let files = std::fs::read_dir(self.sessions()).expect("readable");
        let content = files.map(|file| std::fs::read(file.expect("readable").path()));
        let content = content.map(|content| content.expect("the content of a file"));
        content
            .map(|content| String::from_utf8_lossy(&content).into_owned())
            .collect()
    }

    async fn sealed_part(&self, key: &Key) -> Vec<u8> {
        let form = self.json(key);
        let sealed = form["record"]["pair"]["sealed"].as_str().expect("a seal");
        BASE64_URL_SAFE_NO_PAD.decode(sealed).expect("base64url")
    }

    async fn put_sealed_part(&self, key: &Key, sealed: &[u8]) {
        let mut form = self.json(key);
        form["record"]["pair"]["sealed"] = BASE64_URL_SAFE_NO_PAD.encode(sealed).into();
        std::fs::write(self.path(key), form.to_string()).expect("the record can be written");
    }

    async fn copy_record(&self, from: &Key, to: &Key) {
        std::fs::copy(self.path(from), self.path(to)).expect("the record can be copied");
    }
}

/// Bytes in hexadecimal digits.
#[allow(dead_code, reason = "the database's feature may be off")]
pub(crate) fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[allow(dead_code, reason = "as above")]
pub(crate) fn of_digits(digits: &str) -> Vec<u8> {
    let bytes = (0..digits.len()).step_by(2);
    let bytes = bytes.map(|at| u8::from_str_radix(&digits[at..at + 2], 16));
    bytes.collect::<Result<_, _>>().expect("digits")
}
