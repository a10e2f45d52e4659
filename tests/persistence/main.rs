//! The time at which a pair is stored, and the fate of the pairs that callers get earlier. The store is a [`Gate`].
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod behind;
mod collisions;
#[path = "../support/mod.rs"]
mod support;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use evertoken::protocol::Record;
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::{Key, MemoryStore, StoreError, TokenStore, async_trait};
use parking_lot::Mutex;
use tokio::sync::watch;

type Rival = Box<dyn FnOnce(&MemoryStore) -> Option<Record> + Send>;

/// A store whose swaps a test can hold, fail, and precede with a swap of another instance.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) inner: MemoryStore,
    state: Arc<State>,
}

struct State {
    open: watch::Sender<bool>,
    down: AtomicBool,
    swaps: AtomicU64,
    /// Whether the next swap waits for a permit of `held`.
    hold_next: AtomicBool,
    held: tokio::sync::Semaphore,
    rivals: Mutex<VecDeque<Rival>>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl Gate {
    pub(crate) fn new(inner: MemoryStore) -> Self {
        let state = State {
            open: watch::Sender::new(true),
            down: AtomicBool::new(false),
            swaps: AtomicU64::new(0),
            hold_next: AtomicBool::new(false),
            held: tokio::sync::Semaphore::new(0),
            rivals: Mutex::default(),
        };
        Self {
            inner,
            state: Arc::new(state),
        }
    }

    /// Holds swaps while the gate is not open.
    pub(crate) fn set_open(&self, open: bool) {
        self.state.open.send_replace(open);
    }

    /// Holds only the next swap, until [`let_go`](Self::let_go).
    pub(crate) fn hold_next(&self) {
        self.state.hold_next.store(true, Ordering::SeqCst);
    }

    pub(crate) fn let_go(&self) {
        self.state.held.add_permits(1);
    }

    /// Makes swaps fail while the store is down.
    pub(crate) fn set_down(&self, down: bool) {
        self.state.down.store(down, Ordering::SeqCst);
    }

    /// The number of swaps that have arrived.
    pub(crate) fn swaps(&self) -> u64 {
        self.state.swaps.load(Ordering::SeqCst)
    }

    /// Another instance writes this record just before the next swap. With `None`, the record is gone, but only for the
    /// answer of that swap.
    pub(crate) fn rival(
        &self,
        record: impl FnOnce(&MemoryStore) -> Option<Record> + Send + 'static,
    ) {
        self.state.rivals.lock().push_back(Box::new(record));
    }

    pub(crate) async fn record(&self, key: &Key) -> Option<Record> {
        let loaded = self.inner.load(key).await.unwrap();
        loaded.entry.map(|(record, _)| record)
    }
}

#[async_trait]
impl TokenStore for Gate {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.inner.load(key).await
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        self.state.swaps.fetch_add(1, Ordering::SeqCst);
        if self.state.hold_next.swap(false, Ordering::SeqCst) {
            self.state.held.acquire().await.unwrap().forget();
        }
        let mut open = self.state.open.subscribe();
        let _ = open.wait_for(|open| *open).await;
        if self.state.down.load(Ordering::SeqCst) {
            return Err(StoreError::new("the store is down"));
        }
        let rival = self.state.rivals.lock().pop_front();
        if let Some(rival) = rival {
            let Some(record) = rival(&self.inner) else {
                return Ok(Swap::Lost(None));
            };
            let before = self.inner.load(key).await?.entry;
            let before = before.map(|(_, revision)| revision);
            let written = self.inner.swap(key, before, &record).await?;
            assert!(matches!(written, Swap::Swapped(_)));
        }
        self.inner.swap(key, seen, next).await
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        self.inner.changed(key, seen).await;
    }
}
