//! A store with one flaw: all calls without a flaw go to a `MemoryStore`.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use evertoken::protocol::{Digest, Record};
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::testing::conformance::store;
use evertoken::{Key, MemoryStore, StoreError, TokenStore, async_trait};

pub(crate) type Answer = Result<Swap, StoreError>;
pub(crate) type Found = Result<Option<Key>, StoreError>;
pub(crate) type FoundAll = Result<Option<Vec<Key>>, StoreError>;

/// One handle on the storage.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    pub(crate) memory: MemoryStore,
    pub(crate) number: usize,
    /// What a flaw counts, over all handles.
    pub(crate) count: Arc<AtomicU64>,
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

    async fn swap(&self, at: &Handle, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
        at.memory.swap(key, seen, next).await
    }

    async fn changed(&self, at: &Handle, key: &Key, seen: Option<Revision>) {
        at.memory.changed(key, seen).await;
    }

    async fn find(&self, at: &Handle, digest: &Digest) -> Found {
        at.memory.find(digest).await
    }

    async fn find_by_access(&self, at: &Handle, digest: &Digest) -> Found {
        at.memory.find_by_access(digest).await
    }

    async fn find_by_upstream(&self, at: &Handle, mark: &Digest) -> FoundAll {
        at.memory.find_by_upstream(mark).await
    }
}

#[derive(Debug)]
pub(crate) struct Flawed<F> {
    handle: Handle,
    flaw: Arc<F>,
}

/// Opens handles on one storage with this flaw.
pub(crate) fn flawed<F: Flaw>(flaw: F) -> impl AsyncFn() -> Flawed<F> {
    let (flaw, opened) = (Arc::new(flaw), AtomicUsize::new(0));
    let (memory, count) = (MemoryStore::new(), Arc::<AtomicU64>::default());
    move || {
        let handle = Handle {
            memory: memory.clone(),
            number: opened.fetch_add(1, Ordering::SeqCst),
            count: count.clone(),
        };
        let flaw = flaw.clone();
        std::future::ready(Flawed { handle, flaw })
    }
}

#[async_trait]
impl<F: Flaw> TokenStore for Flawed<F> {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.flaw.load(&self.handle, key).await
    }

    async fn swap(&self, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
        self.flaw.swap(&self.handle, key, seen, next).await
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        self.flaw.changed(&self.handle, key, seen).await;
    }

    async fn find(&self, digest: &Digest) -> Found {
        self.flaw.find(&self.handle, digest).await
    }

    async fn find_by_access(&self, digest: &Digest) -> Found {
        self.flaw.find_by_access(&self.handle, digest).await
    }

    async fn find_by_upstream(&self, mark: &Digest) -> FoundAll {
        self.flaw.find_by_upstream(&self.handle, mark).await
    }
}

/// The record, edited as JSON.
pub(crate) fn edited(record: &Record, edit: impl FnOnce(&mut serde_json::Value)) -> Record {
    let mut form = serde_json::to_value(record).unwrap();
    edit(&mut form);
    serde_json::from_value(form).unwrap()
}

/// Checks that the suite for every store finds each flaw, and says so.
pub(crate) fn assert_found<F: Flaw>(flaws: impl IntoIterator<Item = (F, &'static str)>) {
    for (flaw, expected) in flaws {
        let case = format!("{flaw:?}");
        assert_refused(&case, store(flawed(flaw)), expected);
    }
}

/// Checks that the suite panics with this message. Time is paused.
pub(crate) fn assert_refused(case: &str, suite: impl Future<Output = ()>, expected: &str) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    let done = catch_unwind(AssertUnwindSafe(|| runtime.block_on(suite)));
    let panic = done.expect_err(&format!("the suite does not find the flaw: {case}"));
    let told = panic.downcast_ref::<String>().map(String::as_str);
    let told = told.or(panic.downcast_ref::<&str>().copied());
    assert!(
        told.is_some_and(|told| told.contains(expected)),
        "{case}: {told:?}"
    );
}
