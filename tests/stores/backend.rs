//! The kinds of stores, and their storages.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "seal")]
pub(crate) mod sealed;

use std::fmt::Write as _;
use std::sync::Arc;

use evertoken::protocol::{Digest, Record};
use evertoken::{FileStore, Key, MemoryStore, TokenStore, async_trait};
use tempfile::TempDir;

use crate::services::Missing;

/// A storage that several instances share.
#[async_trait]
pub(crate) trait Storage: Send + Sync {
    /// Opens the storage for another instance, with a separate connection.
    async fn open(&self) -> Arc<dyn TokenStore>;

    /// The digests of the pairs that are active.
    async fn active(&self, key: &Key) -> Vec<Digest> {
        let record = self.record(key).await;
        let active =
            record.filter(|record| record.end().is_none() && record.digest() != key.digest());
        active.iter().map(Record::digest).collect()
    }

    /// The digests of the pairs that were active earlier.
    async fn inactive(&self, key: &Key) -> Vec<Digest> {
        let record = self.record(key).await;
        record.iter().flat_map(Record::retired).copied().collect()
    }

    /// The digests of the pairs that had expired when another pair replaced them; `None` if the storage does not mark
    /// them.
    async fn expired(&self, key: &Key) -> Option<Vec<Digest>> {
        let _ = key;
        None
    }

    async fn record(&self, key: &Key) -> Option<Record> {
        let loaded = self.open().await.load(key).await;
        let entry = loaded.expect("the record can be read").entry;
        entry.map(|(record, _)| record)
    }

    /// Everything that a user without the right to see pairs can see: names of files, keys and channels, messages, and
    /// columns.
    async fn in_the_open(&self) -> String;

    /// The storage as one whose records can be sealed.
    #[cfg(feature = "seal")]
    fn vault(&self) -> &dyn sealed::Vault {
        panic!("records in memory are not sealed")
    }
}

type Make = Box<dyn Fn() -> Result<Arc<dyn Storage>, Missing> + Send + Sync>;

/// A kind of storage. The server of the storage, if it needs one, starts with the first test and ends with this value.
pub(crate) struct Backend {
    name: &'static str,
    make: Result<Make, Missing>,
}

impl Backend {
    fn new(
        name: &'static str,
        make: impl Fn() -> Result<Arc<dyn Storage>, Missing> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            make: Ok(Box::new(make)),
        }
    }

    #[allow(dead_code, reason = "no feature may be on")]
    fn missing_server(name: &'static str, missing: Missing) -> Self {
        let make = Err(missing);
        Self { name, make }
    }

    #[allow(dead_code, reason = "all features may be on")]
    fn missing_feature(name: &'static str) -> Self {
        let make = Err(Missing(format!("the feature `{name}` is off")));
        Self { name, make }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The reason why this storage is not available, if it is not.
    pub(crate) fn missing(self: &Arc<Self>) -> Option<String> {
        let missing = self.make.as_ref().err()?;
        Some(format!("{}, because {}", self.name, missing.0))
    }

    /// Whether the records of this storage can be sealed.
    #[cfg(feature = "seal")]
    pub(crate) fn seals(&self) -> bool {
        self.name != "memory"
    }

    /// Makes a storage that no other test uses.
    pub(crate) fn storage(&self) -> Result<Arc<dyn Storage>, Missing> {
        match &self.make {
            Ok(make) => make(),
            Err(missing) => Err(missing.clone()),
        }
    }
}

/// The memory store: several managers in one process.
fn memory() -> Backend {
    Backend::new("memory", || Ok(Arc::new(Memory(MemoryStore::new()))))
}

struct Memory(MemoryStore);

#[async_trait]
impl Storage for Memory {
    async fn open(&self) -> Arc<dyn TokenStore> {
        Arc::new(self.0.clone())
    }

    async fn in_the_open(&self) -> String {
        format!("{:?}", self.0)
    }
}

/// The file store: several processes of one machine.
fn file() -> Backend {
    Backend::new("file", || {
        let directory = tempfile::tempdir().expect("a directory");
        Ok(Arc::new(Directory(directory)))
    })
}

struct Directory(TempDir);

#[async_trait]
impl Storage for Directory {
    async fn open(&self) -> Arc<dyn TokenStore> {
        Arc::new(FileStore::new(self.0.path().join("sessions")).expect("the directory can be used"))
    }

    #[cfg(feature = "seal")]
    fn vault(&self) -> &dyn sealed::Vault {
        self
    }

    /// The names of the files, and the content of the files without a record.
    async fn in_the_open(&self) -> String {
        let mut seen = String::new();
        for entry in std::fs::read_dir(self.0.path().join("sessions")).expect("readable") {
            let path = entry.expect("readable").path();
            let _ = writeln!(seen, "{}", path.display());
            if path.extension().is_none_or(|ending| ending != "json") {
                seen += &String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default());
            }
        }
        seen
    }
}

pub(crate) fn all() -> Vec<Arc<Backend>> {
    [
        memory(),
        file(),
        #[cfg(feature = "redis")]
        redis::backend(),
        #[cfg(not(feature = "redis"))]
        Backend::missing_feature("redis"),
        #[cfg(feature = "postgres")]
        postgres::backend(),
        #[cfg(not(feature = "postgres"))]
        Backend::missing_feature("postgres"),
    ]
    .into_iter()
    .map(Arc::new)
    .collect()
}
