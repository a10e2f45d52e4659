//! A pair of one user's rotation is never served in the session of another user.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evertoken::testing::{
    CallFault, Fault, FaultyStore, GraceAnswer, InProcessEndpoint, Reuse, StoreCall,
};
use evertoken::{
    Coordination, EndpointError, Error, Grant, Issued, Key, OnRequest, OnStoreFailure, Persistence,
    TokenEndpoint, TokenManager, TokenPair, TokenStore, async_trait,
};
use parking_lot::Mutex;

use crate::support::{HOUR, SECOND, World, call, loaded, settle};

/// The server's endpoint, which notes the issued pairs, and rejects tokens once the test says so.
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

/// A server at which each refresh token may be used again for an hour, and brings a pair of its own each time.
fn forgiving() -> World {
    World::with(|server| {
        server.access_ttl(600 * SECOND).reuse(Reuse::Grace {
            window: HOUR,
            answer: GraceAnswer::Fork,
        })
    })
}

async fn instance(world: &World, endpoint: &Watched, way: &FaultyStore) -> TokenManager {
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

/// Alice's pair is issued while the store of her instance is down, and is outrun by another instance. By the time her
/// instance learns that, Bob has signed in there. The server then rejects Bob's refresh token.
#[tokio::test(start_paused = true)]
async fn an_outrun_pair_is_not_served_in_the_session_of_another_user() {
    let world = forgiving();
    let (way, endpoint) = (
        FaultyStore::new(world.store.clone()),
        Watched::new(world.server.endpoint()),
    );
    let here = instance(&world, &endpoint, &way).await;
    let elsewhere = Watched::new(world.server.endpoint());
    let there = instance(&world, &elsewhere, &FaultyStore::new(world.store.clone())).await;
    world.clock.advance(600 * SECOND).await;

    world.server.fail_next(Fault::Delay(SECOND));
    let caller = call(&here);
    settle().await;
    world.clock.advance(SECOND / 2).await;
    way.set_down(true);
    world.clock.advance(SECOND).await;
    there.token().await.unwrap();

    way.fail_next(StoreCall::Load, 1, CallFault::DelayAfter(3 * SECOND));
    let loads = way.calls(StoreCall::Load);
    way.set_down(false);
    way.called(StoreCall::Load, loads + 1).await;
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
    // Bob's access token is served until it expires.
    assert_eq!(here.token().await.unwrap().expose(), access(&bob));
    assert_eq!(endpoint.issued.lock().len(), 1, "Alice's alone");
}

/// The store applies the commit, loses the answer and goes down. Another instance rotates the pair meanwhile, and the
/// server rejects that instance's pair once.
#[tokio::test(start_paused = true)]
async fn a_pair_that_was_stored_and_rotated_on_is_not_written_over_the_newer_one() {
    let world = forgiving();
    let (way, endpoint) = (
        FaultyStore::new(world.store.clone()),
        Watched::new(world.server.endpoint()),
    );
    let here = instance(&world, &endpoint, &way).await;
    let there = instance(
        &world,
        &Watched::new(world.server.endpoint()),
        &FaultyStore::new(world.store.clone()),
    )
    .await;
    world.clock.advance(600 * SECOND).await;

    // The lease is written. The pair is too, but its answer is lost, and the store is down from then on.
    way.work_next(StoreCall::Load, 1);
    way.work_next(StoreCall::Swap, 1);
    way.fail_next(StoreCall::Swap, 1, CallFault::LoseAnswer);
    for call in [StoreCall::Load, StoreCall::Swap] {
        way.fail_always(call, Some(CallFault::Fail));
    }
    let swaps = way.calls(StoreCall::Swap);
    let caller = call(&here);
    settle().await;
    assert!(way.calls(StoreCall::Swap) >= swaps + 2);
    let first = there.rotate().await.unwrap();
    let second = if first.expose() == endpoint.issued.lock()[0] {
        there.rotate().await.unwrap()
    } else {
        first
    };
    for call in [StoreCall::Load, StoreCall::Swap] {
        way.fail_always(call, None);
    }
    world.clock.advance(10 * SECOND).await;
    let _ = caller.await.unwrap();
    assert_eq!(here.token().await.unwrap().expose(), second.expose());

    endpoint.refuse();
    here.rotate().await.unwrap_err();
    // The store still holds the newer pair.
    let record = world.store.load(here.key()).await.unwrap().entry.unwrap().0;
    let json = serde_json::to_value(&record).unwrap();
    assert_eq!(json["pair"]["access_token"], second.expose());
}

/// The user signs in again while a rotation of the former session is under way. The pair of that rotation comes
/// later.
#[tokio::test(start_paused = true)]
async fn a_pair_of_the_former_session_is_not_given_to_the_callback_for_new_pairs() {
    let world = forgiving();
    let saved = Arc::<Mutex<Vec<String>>>::default();
    let saving = Arc::clone(&saved);
    let builder = world.builder(OnRequest::default()).on_rotated(move |pair| {
        saving.lock().push(access(&pair).to_owned());
        std::future::ready(())
    });
    let builder = builder.coordination(Coordination::None);
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

/// A caller gets the failure of the store at once, with the time after which to try again.
#[tokio::test(start_paused = true)]
async fn a_pair_that_cannot_be_stored_is_an_error_with_a_pause() {
    let world = forgiving();
    let (way, endpoint) = (
        FaultyStore::new(world.store.clone()),
        Watched::new(world.server.endpoint()),
    );
    let tokens = instance(&world, &endpoint, &way).await;
    world.clock.advance(600 * SECOND).await;
    world.server.fail_next(Fault::Delay(SECOND));
    let caller = call(&tokens);
    settle().await;
    way.set_down(true);
    world.clock.advance(2 * SECOND).await;
    for error in [
        caller.await.unwrap().unwrap_err(),
        tokens.token().await.unwrap_err(),
    ] {
        assert!(error.is_retryable(), "{error}");
        assert!(error.retry_after() > Some(Duration::ZERO), "{error}");
    }
}
