//! A token that has left its record does not count as new: the store is asked about a token that the record does not
//! know.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use evertoken::protocol::{Digest, Record};
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::{
    Builder, Error, Key, MemoryStore, OnRequest, OnSeedConflict, StoreError, TokenManager,
    TokenPair, TokenStore, async_trait,
};
use parking_lot::Mutex;

use crate::support::{SECOND, World, loaded};

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A store that remembers every token of its only key, also after the token has left the record.
#[derive(Clone)]
struct Remembering {
    inner: MemoryStore,
    left: Arc<Mutex<HashSet<Digest>>>,
    searches: Arc<AtomicUsize>,
    fails: Arc<AtomicBool>,
    /// Runs during the next search, before the search is answered.
    meanwhile: Arc<Mutex<Option<Work>>>,
}

impl std::fmt::Debug for Remembering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Remembering")
    }
}

impl Remembering {
    fn new(world: &World) -> Self {
        Self {
            inner: world.store.clone(),
            left: Arc::default(),
            searches: Arc::default(),
            fails: Arc::default(),
            meanwhile: Arc::default(),
        }
    }

    fn searches(&self) -> usize {
        self.searches.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl TokenStore for Remembering {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.inner.load(key).await
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        let swap = self.inner.swap(key, seen, next).await?;
        if matches!(swap, Swap::Swapped(_)) {
            self.left.lock().extend(next.retired());
        }
        Ok(swap)
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        self.inner.changed(key, seen).await;
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        self.searches.fetch_add(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::new("the index is gone"));
        }
        let work = self.meanwhile.lock().take();
        if let Some(work) = work {
            work.await;
        }
        let left = self.left.lock().contains(digest);
        match self.inner.find(digest).await? {
            None if left => Ok(Some(key())),
            found => Ok(found),
        }
    }
}

fn key() -> Key {
    Key::new("https://id.example.org/token", "importer")
}

fn world() -> World {
    World::with(|server| {
        let server = server.access_ttl(600 * SECOND).refresh_ttl(6_000 * SECOND);
        server.issue_refresh_expires_in(true)
    })
}

fn builder(world: &World, store: &Remembering) -> Builder {
    let builder = world.builder(OnRequest::default());
    builder.key(key()).store(store.clone())
}

async fn record(store: &Remembering) -> Record {
    store.inner.load(&key()).await.unwrap().entry.unwrap().0
}

/// A session after twenty rotations, and the token of the first one, which the record no longer knows.
async fn rotated(world: &World, store: &Remembering) -> (TokenManager, TokenPair) {
    let tokens = loaded(builder(world, store)).await;
    tokens.rotate().await.unwrap();
    let form = serde_json::to_value(record(store).await).unwrap();
    let old = TokenPair::from_refresh_token(form["pair"]["refresh_token"].as_str().unwrap());
    for _ in 0..20 {
        tokens.rotate().await.unwrap();
        world.clock.advance(2 * SECOND).await;
    }
    assert!(!record(store).await.knows(&old.digest(&key())));
    assert!(record(store).await.knows(&world.first.digest(&key())));
    (tokens, old)
}

#[tokio::test(start_paused = true)]
async fn a_seed_that_has_left_the_record_is_no_conflict_and_is_not_spent() {
    let policies = [
        OnSeedConflict::Error,
        OnSeedConflict::Replace,
        OnSeedConflict::Keep,
    ];
    for policy in policies {
        let world = world();
        let store = Remembering::new(&world);
        let (tokens, old) = rotated(&world, &store).await;
        let token = tokens.token().await.unwrap();
        let builder = builder(&world, &store).seed(old.clone());
        let restarted = builder.on_seed_conflict(policy).build().unwrap();
        let found = restarted.token().await.unwrap();
        assert_eq!(found.expose(), token.expose(), "{policy:?}");
        let asked = usize::from(policy != OnSeedConflict::Keep);
        assert_eq!(store.searches(), asked, "{policy:?}");
        world.clock.advance(600 * SECOND).await;
        assert!(world.is_live(&restarted.token().await.unwrap()));
        world.assert_exchanges(22);
        assert_eq!(store.searches(), asked, "only at the start");
    }
}

/// If the token were spent again, the server would end the session that it belongs to.
#[tokio::test(start_paused = true)]
async fn a_seed_that_has_left_the_record_of_an_ended_session_is_not_spent() {
    let world = world();
    let store = Remembering::new(&world);
    let (tokens, old) = rotated(&world, &store).await;
    drop(tokens);
    world.clock.advance(6_001 * SECOND).await;
    let restarted = builder(&world, &store).seed(old).build().unwrap();
    let error = restarted.token().await.unwrap_err();
    assert!(matches!(error, Error::Ended { .. }), "{error:?}");
    world.assert_exchanges(21);
}

#[tokio::test(start_paused = true)]
async fn a_logout_with_a_seed_that_has_left_the_record_ends_the_session() {
    let world = world();
    let store = Remembering::new(&world);
    let (tokens, old) = rotated(&world, &store).await;
    let restarted = builder(&world, &store).seed(old).build().unwrap();
    restarted.logout().await;
    world.clock.advance(SECOND).await;
    assert!(record(&store).await.end().is_some());
    world.clock.advance(600 * SECOND).await;
    tokens.token().await.unwrap_err();
    world.assert_exchanges(21);
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_has_left_the_record_cannot_replace_it() {
    let world = world();
    let store = Remembering::new(&world);
    let (tokens, old) = rotated(&world, &store).await;
    let before = record(&store).await;
    let error = tokens.replace(old).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyUsed), "{error:?}");
    assert_eq!(record(&store).await, before);
    // A pair that the store does not know can replace the session.
    tokens.replace(world.server.issue()).await.unwrap();
    world.assert_exchanges(21);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_seed_is_a_conflict_all_the_same() {
    let world = world();
    let store = Remembering::new(&world);
    let (tokens, _) = rotated(&world, &store).await;
    let foreign = builder(&world, &store).seed(world.server.issue());
    let foreign = foreign.build().unwrap();
    let error = foreign.token().await.unwrap_err();
    assert!(matches!(error, Error::SeedConflict), "{error:?}");
    assert!(world.is_live(&tokens.token().await.unwrap()));
    world.assert_exchanges(21);
}

#[tokio::test(start_paused = true)]
async fn a_search_that_fails_is_a_failure_of_the_store_and_nothing_is_spent() {
    let world = world();
    let store = Remembering::new(&world);
    let (tokens, old) = rotated(&world, &store).await;
    world.clock.advance(6_001 * SECOND).await;
    store.fails.store(true, Ordering::SeqCst);
    let before = record(&store).await;
    for seed in [old.clone(), world.server.issue()] {
        let fresh = builder(&world, &store).seed(seed.clone()).build().unwrap();
        let error = fresh.token().await.unwrap_err();
        assert!(matches!(error, Error::Store { .. }), "{error:?}");
        let error = tokens.replace(seed).await.unwrap_err();
        assert!(matches!(error, Error::Store { .. }), "{error:?}");
        drop(fresh);
    }
    assert_eq!(record(&store).await, before);
    world.assert_exchanges(21);
    store.fails.store(false, Ordering::SeqCst);
    let fresh = builder(&world, &store).seed(world.server.issue());
    let fresh = loaded(fresh).await;
    assert!(world.is_live(&fresh.token().await.unwrap()));
    world.assert_exchanges(21);
}

/// The search comes after the record was loaded, so its result may be newer than the record.
#[tokio::test(start_paused = true)]
async fn a_seed_that_another_instance_stores_meanwhile_is_the_session_of_both() {
    let world = world();
    let store = Remembering::new(&world);
    drop(rotated(&world, &store).await);
    world.clock.advance(6_001 * SECOND).await;
    let seed = world.server.issue();
    let other = builder(&world, &store).seed(seed.clone()).build().unwrap();
    let ours = builder(&world, &store).seed(seed).build().unwrap();
    let faster = other.clone();
    *store.meanwhile.lock() = Some(Box::pin(async move {
        faster.token().await.unwrap();
    }));
    let token = ours.token().await.unwrap();
    assert_eq!(token.expose(), other.token().await.unwrap().expose());
    assert!(world.is_live(&token));
    world.assert_exchanges(21);
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_another_instance_stores_meanwhile_replaces_the_session_of_both() {
    let world = world();
    let store = Remembering::new(&world);
    let (tokens, _) = rotated(&world, &store).await;
    let other = loaded(builder(&world, &store)).await;
    let pair = world.server.issue();
    let (faster, same) = (other.clone(), pair.clone());
    *store.meanwhile.lock() = Some(Box::pin(async move {
        faster.replace(same).await.unwrap();
    }));
    tokens.replace(pair).await.unwrap();
    let token = tokens.token().await.unwrap();
    assert_eq!(token.expose(), other.token().await.unwrap().expose());
    assert!(world.is_live(&token));
    world.assert_exchanges(21);
}
