//! Managers with a pair in a file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use evertoken::protocol::Record;
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::{FileStore, Key, OnRequest, StoreError, TokenManager, TokenStore, async_trait};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::scene::{directory, entry, json_in, open, path};
use crate::seal::FakeSealer;
use crate::support::{MINUTE, SECOND, World, loaded, settle};

/// A world whose pair is in a directory.
struct Disk {
    world: World,
    directory: TempDir,
}

impl Disk {
    fn new() -> Self {
        Self {
            world: World::new(10 * MINUTE),
            directory: directory(),
        }
    }

    fn store(&self) -> FileStore {
        open(&self.directory).with_clock(self.world.clock.clone())
    }

    /// A program that was started, with the first pair and the directory.
    async fn start(&self, store: impl TokenStore) -> TokenManager {
        loaded(self.world.builder(OnRequest::default()).store(store)).await
    }

    async fn expire(&self) {
        self.world.clock.advance(10 * MINUTE + SECOND).await;
    }

    /// The access token in the file.
    fn stored(&self, tokens: &TokenManager) -> String {
        let form = json_in(&self.directory, tokens.key());
        form["pair"]["access_token"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(start_paused = true)]
async fn fm34_a_restarted_instance_continues_with_the_rotated_pair_although_the_first_is_given_again()
 {
    let disk = Disk::new();
    let first_run = disk.start(disk.store()).await;
    disk.expire().await;
    let rotated = first_run.token().await.unwrap();
    first_run.shutdown().await.unwrap();
    drop(first_run);

    let second_run = disk.start(disk.store()).await;
    let token = second_run.token().await.unwrap();
    assert_eq!(token.pair_id(), rotated.pair_id());
    assert_eq!(token.expose(), rotated.expose());
    disk.world.assert_exchanges(1);
    disk.expire().await;
    let token = second_run.token().await.unwrap();
    assert!(disk.world.is_live(&token));
    disk.world.assert_exchanges(2);
}

#[tokio::test(start_paused = true)]
async fn w1_a_rotated_pair_is_in_the_file_when_the_caller_gets_it() {
    let disk = Disk::new();
    let tokens = disk.start(disk.store()).await;
    for rotations in 1..=3 {
        disk.expire().await;
        let token = tokens.token().await.unwrap();
        assert_eq!(disk.stored(&tokens), token.expose());
        disk.world.assert_exchanges(rotations);
    }
}

#[tokio::test(start_paused = true)]
async fn w2_an_active_pair_is_returned_from_memory_then_from_the_file_and_nothing_is_created() {
    let disk = Disk::new();
    let first = disk.start(disk.store()).await;
    disk.expire().await;
    let rotated = first.token().await.unwrap();
    let before = std::fs::read(path(&disk.directory, first.key())).unwrap();

    let store = Watched::new(disk.store());
    let other = disk.start(store.clone()).await;
    for _ in 0..3 {
        let token = other.token().await.unwrap();
        assert_eq!(token.pair_id(), rotated.pair_id());
    }
    assert_eq!(store.loads.load(Ordering::SeqCst), 1);
    assert_eq!(*store.log.lock(), Vec::<String>::new());
    assert_eq!(
        std::fs::read(path(&disk.directory, first.key())).unwrap(),
        before
    );
    disk.world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn w10_by_default_a_pair_is_stored_before_a_caller_gets_it() {
    let disk = Disk::new();
    let store = Watched::new(disk.store());
    let tokens = disk.start(store.clone()).await;
    disk.expire().await;
    store.log.lock().clear();
    let callers: Vec<_> = (0..3)
        .map(|_| {
            let (tokens, log) = (tokens.clone(), store.log.clone());
            tokio::spawn(async move {
                let token = tokens.token().await.unwrap();
                log.lock().push(format!("answered {}", token.expose()));
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let (old, new) = (
        disk.world.first.access.clone().unwrap(),
        disk.stored(&tokens),
    );
    let answered = format!("answered {new}");
    assert_eq!(
        *store.log.lock(),
        [
            format!("stored {}", old.expose()),
            format!("stored {new}"),
            answered.clone(),
            answered.clone(),
            answered,
        ],
        "the lease, the pair, the callers"
    );
    disk.world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn w13_the_file_contains_no_token_before_and_after_rotations() {
    let disk = Disk::new();
    let sealed = || disk.store().sealed(FakeSealer::new("secret"));
    let tokens = disk.start(sealed()).await;
    let mut secrets = vec![
        disk.world.first.access.clone().unwrap().expose().to_owned(),
        disk.world
            .first
            .refresh
            .clone()
            .unwrap()
            .expose()
            .to_owned(),
    ];
    for _ in 0..4 {
        let bytes = std::fs::read_to_string(path(&disk.directory, tokens.key())).unwrap();
        assert!(bytes.contains("sealed"), "{bytes}");
        for secret in &secrets {
            assert!(!bytes.contains(secret.as_str()), "{bytes}");
        }
        disk.expire().await;
        secrets.push(tokens.token().await.unwrap().expose().to_owned());
        let (record, _) = entry(&sealed(), tokens.key()).await.unwrap();
        let form = serde_json::to_value(record).unwrap();
        secrets.push(form["pair"]["refresh_token"].as_str().unwrap().to_owned());
    }
    let restarted = disk.start(sealed()).await.token().await.unwrap();
    assert_eq!(restarted.expose(), secrets[secrets.len() - 2]);
    disk.world.assert_exchanges(4);
    let wrong = disk.store().sealed(FakeSealer::new("another"));
    let wrong = disk.world.builder(OnRequest::default()).store(wrong);
    wrong.build().unwrap().token().await.unwrap_err();
    disk.world.assert_exchanges(4);
}

#[tokio::test(start_paused = true)]
async fn n2_managers_that_share_a_directory_spend_a_token_once_and_adopt() {
    let disk = Disk::new();
    let nodes = [
        disk.start(disk.store()).await,
        disk.start(disk.store()).await,
        disk.start(disk.store()).await,
    ];
    for rotations in 1..=3 {
        disk.expire().await;
        let callers = nodes.clone().map(|node| {
            tokio::spawn(async move { node.token().await.unwrap().expose().to_owned() })
        });
        for caller in callers {
            assert_eq!(caller.await.unwrap(), disk.stored(&nodes[0]));
        }
        disk.world.assert_exchanges(rotations);
    }
}

/// Counts loads, and notes the time of each swap. Before a swap, all other tasks run.
#[derive(Debug, Clone)]
struct Watched {
    inner: FileStore,
    loads: Arc<AtomicU64>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Watched {
    fn new(inner: FileStore) -> Self {
        Self {
            inner,
            loads: Arc::default(),
            log: Arc::default(),
        }
    }
}

#[async_trait]
impl TokenStore for Watched {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.inner.load(key).await
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        settle().await;
        let answer = self.inner.swap(key, seen, next).await;
        let form = serde_json::to_value(next).unwrap();
        let token = form["pair"]["access_token"].as_str().unwrap_or_default();
        self.log.lock().push(format!("stored {token}"));
        answer
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        self.inner.changed(key, seen).await;
    }
}
