//! A store that fails, or does not answer, for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use evertoken::protocol::Record;
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::{FileStore, Key, StoreError, TokenStore, async_trait};
use tokio::time::sleep;

use crate::OUTAGE;
use crate::import::{STRATEGIES, Strategy, World, all, through};

/// How the store is out.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
enum Out {
    Fails = 1,
    DoesNotAnswer = 2,
}

/// A file store that is out for a while.
#[derive(Debug, Clone)]
struct Shaky {
    inner: Arc<FileStore>,
    out: Arc<AtomicU8>,
}

impl Shaky {
    async fn check(&self) -> Result<(), StoreError> {
        match self.out.load(Ordering::SeqCst) {
            0 => Ok(()),
            1 => Err(StoreError::new("the disk is full")),
            _ => std::future::pending().await,
        }
    }
}

#[async_trait]
impl TokenStore for Shaky {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.check().await?;
        self.inner.load(key).await
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        self.check().await?;
        self.inner.swap(key, seen, next).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_through_an_outage_of_the_store() {
    let mut imports = tokio::task::JoinSet::new();
    for strategy in STRATEGIES {
        for out in [Out::Fails, Out::DoesNotAnswer] {
            imports.spawn(async move {
                let said = goes_through(strategy, out).await;
                said.map_err(|said| format!("{strategy:?}, {out:?}: {said}"))
            });
        }
    }
    all(imports).await;
}

async fn goes_through(strategy: Strategy, out: Out) -> Result<(), String> {
    let world = World::new().await;
    let directory = tempfile::tempdir().expect("a directory");
    let inner = FileStore::new(directory.path().join("session")).expect("a directory of ours");
    let store = Shaky {
        inner: Arc::new(inner),
        out: Arc::default(),
    };
    let builder = world.builder(strategy).store(store.clone());
    let tokens = builder.build().expect("it holds");
    through(&world, &tokens, OUTAGE, async {
        store.out.store(out as u8, Ordering::SeqCst);
        sleep(OUTAGE).await;
        store.out.store(0, Ordering::SeqCst);
    })
    .await?;
    tokens.shutdown().await.map_err(|error| error.to_string())
}
