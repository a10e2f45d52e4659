//! A store with one flaw: all calls without a flaw go to a `MemoryStore`.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use evertoken::protocol::{Digest, Record};
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::{Key, MemoryStore, StoreError, TokenStore, async_trait};

/// One handle on the storage.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    pub(crate) memory: MemoryStore,
    pub(crate) number: usize,
}

impl Handle {
    pub(crate) async fn revision(&self, key: &Key) -> Option<Revision> {
        let entry = self.memory.load(key).await.unwrap().entry;
        entry.map(|(_, revision)| revision)
    }

    /// Replaces the record, whatever its revision.
    pub(crate) async fn put(&self, key: &Key, record: &Record) -> Revision {
        loop {
            let seen = self.revision(key).await;
            if let Swap::Swapped(revision) = self.memory.swap(key, seen, record).await.unwrap() {
                return revision;
            }
        }
    }
}

#[async_trait]
pub(crate) trait Flaw: Debug + Send + Sync + 'static {
    async fn load(&self, at: &Handle, key: &Key) -> Result<Loaded, StoreError> {
        at.memory.load(key).await
    }

    async fn swap(
        &self,
        at: &Handle,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        at.memory.swap(key, seen, next).await
    }

    async fn changed(&self, at: &Handle, key: &Key, seen: Option<Revision>) {
        at.memory.changed(key, seen).await;
    }

    async fn find(&self, at: &Handle, digest: &Digest) -> Result<Option<Key>, StoreError> {
        at.memory.find(digest).await
    }

    async fn find_by_access(
        &self,
        at: &Handle,
        digest: &Digest,
    ) -> Result<Option<Key>, StoreError> {
        at.memory.find_by_access(digest).await
    }
}

#[derive(Debug)]
pub(crate) struct Flawed<F> {
    handle: Handle,
    flaw: Arc<F>,
}

/// Opens handles on one storage with this flaw.
pub(crate) fn flawed<F: Flaw>(flaw: F) -> impl AsyncFn() -> Flawed<F> {
    let (memory, flaw, opened) = (MemoryStore::new(), Arc::new(flaw), AtomicUsize::new(0));
    move || {
        std::future::ready(Flawed {
            handle: Handle {
                memory: memory.clone(),
                number: opened.fetch_add(1, Ordering::SeqCst),
            },
            flaw: flaw.clone(),
        })
    }
}

#[async_trait]
impl<F: Flaw> TokenStore for Flawed<F> {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.flaw.load(&self.handle, key).await
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        self.flaw.swap(&self.handle, key, seen, next).await
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        self.flaw.changed(&self.handle, key, seen).await;
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        self.flaw.find(&self.handle, digest).await
    }

    async fn find_by_access(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        self.flaw.find_by_access(&self.handle, digest).await
    }
}

/// The record, edited as JSON.
pub(crate) fn edited(record: &Record, edit: impl FnOnce(&mut serde_json::Value)) -> Record {
    let mut form = serde_json::to_value(record).unwrap();
    edit(&mut form);
    serde_json::from_value(form).unwrap()
}
