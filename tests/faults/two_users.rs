//! What one user's rotation leaves behind is never served in the session of another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evertoken::store::{Loaded, Revision, Swap};
use evertoken::testing::{Fault, GraceAnswer, InProcessEndpoint, Reuse};
use evertoken::{
    EndpointError, Error, Grant, Issued, Key, MemoryStore, OnRequest, OnStoreFailure, Persistence,
    Record, StoreError, TokenEndpoint, TokenManager, TokenPair, TokenStore, async_trait,
};
use parking_lot::Mutex;

use crate::support::{HOUR, SECOND, World, call, loaded, settle};

/// One instance's way to a store that others share.
#[derive(Debug, Clone)]
struct Way {
    to: MemoryStore,
    is_down: Arc<AtomicBool>,
    next_load: Arc<Mutex<Option<Duration>>>,
    /// The next swap is applied, and its answer lost.
    loses_next_answer: Arc<AtomicBool>,
}

impl Way {
    fn new(to: &MemoryStore) -> Self {
        Self {
            to: to.clone(),
            is_down: Arc::default(),
            next_load: Arc::default(),
            loses_next_answer: Arc::default(),
        }
    }

    fn refuse(&self) -> Result<(), StoreError> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(StoreError::new("down"));
        }
        Ok(())
    }
}

#[async_trait]
impl TokenStore for Way {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.refuse()?;
        let loaded = self.to.load(key).await;
        let pause = self.next_load.lock().take();
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        loaded
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        self.refuse()?;
        let swapped = self.to.swap(key, seen, next).await;
        if next.has_committed() && self.loses_next_answer.swap(false, Ordering::SeqCst) {
            self.is_down.store(true, Ordering::SeqCst);
            return Err(StoreError::new("the answer is lost"));
        }
        swapped
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        self.to.changed(key, seen).await;
    }
}

trait HasCommitted {
    /// Whether the record holds a pair that was rotated, and no lease.
    fn has_committed(&self) -> bool;
}

impl HasCommitted for Record {
    fn has_committed(&self) -> bool {
        let json = serde_json::to_value(self).unwrap();
        json["lease"].is_null() && json["committed_number"] != 0
    }
}

/// The server's endpoint, which notes what was issued, and refuses once the test asks for that.
#[derive(Debug, Clone)]
struct Watched {
    inner: InProcessEndpoint,
    issued: Arc<Mutex<Vec<String>>>,
    refuses: Arc<AtomicBool>,
}

impl Watched {
    fn new(inner: InProcessEndpoint) -> Self {
        Self {
            inner,
            issued: Arc::default(),
            refuses: Arc::default(),
        }
    }

    fn refuse(&self) {
        self.refuses.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl TokenEndpoint for Watched {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(EndpointError::rejected("invalid_grant"));
        }
        let issued = self.inner.exchange(grant).await?;
        let access = issued.access.as_ref().unwrap().expose().to_owned();
        self.issued.lock().push(access);
        Ok(issued)
    }

    fn key(&self) -> Key {
        self.inner.key()
    }
}

/// Any refresh token may be used again for an hour, and brings a pair of its own.
fn forgiving() -> World {
    World::with(|server| {
        server.access_ttl(600 * SECOND).reuse(Reuse::Grace {
            window: HOUR,
            answer: GraceAnswer::Fork,
        })
    })
}

async fn instance(world: &World, endpoint: &Watched, way: &Way) -> TokenManager {
    let builder = world
        .builder_at(endpoint.clone(), OnRequest::default())
        .store(way.clone())
        .wait(300 * SECOND)
        .on_store_failure(OnStoreFailure::Fail);
    loaded(builder).await
}

fn access(pair: &TokenPair) -> &str {
    pair.access.as_ref().unwrap().expose()
}

/// Alice's pair is issued while her instance's store is down, and outrun by another instance. By the time the instance
/// learns that, Bob has signed in there. Bob's refresh token is refused then.
#[tokio::test(start_paused = true)]
async fn a_pair_that_was_outrun_is_not_served_in_the_session_of_another_user() {
    let world = forgiving();
    let (way, endpoint) = (
        Way::new(&world.store),
        Watched::new(world.server.endpoint()),
    );
    let here = instance(&world, &endpoint, &way).await;
    let elsewhere = Watched::new(world.server.endpoint());
    let there = instance(&world, &elsewhere, &Way::new(&world.store)).await;
    world.clock.advance(600 * SECOND).await;

    world.server.fail_next(Fault::Delay(SECOND));
    let caller = call(&here);
    settle().await;
    world.clock.advance(SECOND / 2).await;
    way.is_down.store(true, Ordering::SeqCst);
    world.clock.advance(SECOND).await;
    there.token().await.unwrap();

    *way.next_load.lock() = Some(3 * SECOND);
    way.is_down.store(false, Ordering::SeqCst);
    while way.next_load.lock().is_some() {
        world.clock.advance(SECOND / 10).await;
    }
    let bob = world.server.issue();
    here.replace(bob.clone()).await.unwrap();
    world.clock.advance(10 * SECOND).await;
    let _ = caller.await.unwrap();
    assert_eq!(here.token().await.unwrap().expose(), access(&bob));

    endpoint.refuse();
    let error = here.rotate().await.unwrap_err();
    assert!(
        matches!(&error, Error::Ended { reason, .. } if reason.is_rejected()),
        "{error}"
    );
    // It is served to its end, and it is Bob's.
    assert_eq!(here.token().await.unwrap().expose(), access(&bob));
    assert_eq!(endpoint.issued.lock().len(), 1, "Alice's alone");
}

/// The store applies the commit, loses the answer and goes down. Another instance rotates the pair on meanwhile, and
/// its pair is refused once.
#[tokio::test(start_paused = true)]
async fn a_pair_that_was_stored_and_rotated_on_is_not_written_over_the_newer_one() {
    let world = forgiving();
    let (way, endpoint) = (
        Way::new(&world.store),
        Watched::new(world.server.endpoint()),
    );
    let here = instance(&world, &endpoint, &way).await;
    let there = instance(
        &world,
        &Watched::new(world.server.endpoint()),
        &Way::new(&world.store),
    )
    .await;
    world.clock.advance(600 * SECOND).await;

    way.loses_next_answer.store(true, Ordering::SeqCst);
    let caller = call(&here);
    settle().await;
    assert!(way.is_down.load(Ordering::SeqCst));
    let first = there.rotate().await.unwrap();
    let second = if first.expose() == endpoint.issued.lock()[0] {
        there.rotate().await.unwrap()
    } else {
        first
    };
    way.is_down.store(false, Ordering::SeqCst);
    world.clock.advance(10 * SECOND).await;
    let _ = caller.await.unwrap();
    assert_eq!(here.token().await.unwrap().expose(), second.expose());

    endpoint.refuse();
    here.rotate().await.unwrap_err();
    // What the store holds is the newer one still.
    let record = world.store.load(here.key()).await.unwrap().entry.unwrap().0;
    let json = serde_json::to_value(&record).unwrap();
    assert_eq!(json["pair"]["access_token"], second.expose());
}

/// The user signs in anew while a rotation of the session before is out. Its pair comes later.
#[tokio::test(start_paused = true)]
async fn a_pair_of_the_session_before_is_not_saved_elsewhere_as_the_new_ones() {
    let world = forgiving();
    let saved = Arc::<Mutex<Vec<String>>>::default();
    let saving = Arc::clone(&saved);
    let builder = world.builder(OnRequest::default()).on_rotated(move |pair| {
        saving.lock().push(access(&pair).to_owned());
        std::future::ready(())
    });
    let tokens = loaded(builder.persistence(Persistence::write_behind(1))).await;
    world.clock.advance(600 * SECOND).await;
    let (hold, caller) = world.call_in_flight(&tokens).await;
    let bob = world.server.issue();
    tokens.replace(bob.clone()).await.unwrap();
    drop(hold);
    world.clock.advance(SECOND).await;
    assert_eq!(caller.await.unwrap().unwrap().expose(), access(&bob));
    assert_eq!(*saved.lock(), [""; 0]);
}

/// A caller gets the failure of the store at once, and when to retry.
#[tokio::test(start_paused = true)]
async fn a_pair_that_cannot_be_stored_is_an_error_with_a_pause() {
    let world = forgiving();
    let (way, endpoint) = (
        Way::new(&world.store),
        Watched::new(world.server.endpoint()),
    );
    let tokens = instance(&world, &endpoint, &way).await;
    world.clock.advance(600 * SECOND).await;
    world.server.fail_next(Fault::Delay(SECOND));
    let caller = call(&tokens);
    settle().await;
    way.is_down.store(true, Ordering::SeqCst);
    world.clock.advance(2 * SECOND).await;
    for error in [
        caller.await.unwrap().unwrap_err(),
        tokens.token().await.unwrap_err(),
    ] {
        assert!(error.is_retryable(), "{error}");
        assert!(error.retry_after() > Some(Duration::ZERO), "{error}");
    }
}
