//! A store that fails, or does not answer, for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use evertoken::store::{Loaded, Revision, Swap};
use evertoken::{FileStore, Key, Record, StoreError, TokenStore, async_trait};
use tokio::time::sleep;

use crate::import::{STRATEGIES, Strategy, World, import, rotated};
use crate::table::GIVE_UP;
use crate::{OUTAGE, ROTATIONS};

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
    let failed: Vec<String> = imports
        .join_all()
        .await
        .into_iter()
        .filter_map(Result::err)
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
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
    let url = world.records.url().to_owned();
    let stop = Arc::new(AtomicBool::new(false));
    let importing = tokio::spawn(import(tokens.clone(), url, stop.clone()));
    rotated(&world.server, 1).await;
    store.out.store(out as u8, Ordering::SeqCst);
    sleep(OUTAGE).await;
    store.out.store(0, Ordering::SeqCst);
    let so_far = world.server.rotations();
    tokio::select! {
        () = rotated(&world.server, so_far + ROTATIONS) => {}
        () = sleep(GIVE_UP) => {}
    }
    stop.store(true, Ordering::SeqCst);
    let batches = importing.await.expect("it does not panic");
    let batches = batches.map_err(|error| format!("a call failed: {error} {error:?}"))?;
    if world.server.families_revoked() > 0 {
        return Err("the session was revoked".into());
    }
    if world.server.rotations() < so_far + ROTATIONS {
        return Err(format!("hardly rotated after it: {batches} batches"));
    }
    tokens.shutdown().await.map_err(|error| error.to_string())
}
