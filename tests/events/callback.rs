//! The callback for new pairs, for users that also keep the pairs elsewhere.

use std::sync::{Arc, OnceLock};

use evertoken::clock::Clock;
use evertoken::testing::FaultyStore;
use evertoken::{Builder, Error, OnRequest, OnStoreFailure, RefreshToken, TokenManager, TokenPair};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::probe::{Probe, ProbedEndpoint, ProbedStore};
use crate::support::{SECOND, World, call, loaded, rotate, served, settle, text};

fn refresh(pair: &TokenPair) -> String {
    let refresh = pair.refresh.as_ref();
    refresh.map_or("", RefreshToken::expose).into()
}

async fn json(world: &World<FaultyStore>) -> serde_json::Value {
    let record = world.store.record(&world.key()).await.unwrap();
    serde_json::to_value(record).unwrap()
}

/// Collects the refresh token of every pair that the callback gets.
fn noting(builder: Builder) -> (Builder, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let notes = seen.clone();
    let builder = builder.on_rotated(move |pair| {
        let notes = notes.clone();
        async move { notes.lock().push(refresh(&pair)) }
    });
    (builder, seen)
}

/// The callback gets every new pair once and in order, and no other pair.
#[tokio::test(start_paused = true)]
async fn fm23_the_callback_gets_every_pair_once_and_in_order_and_no_other() {
    let world = World::new(600 * SECOND);
    let probe = Probe::default();
    let endpoint = ProbedEndpoint::new(world.server.endpoint(), &probe);
    let store = ProbedStore::new(&world.clock, &probe);
    let builder = || {
        world
            .builder_at(endpoint.clone(), OnRequest::default())
            .store(store.clone())
    };
    let (noted, seen) = noting(builder());
    let tokens = loaded(noted).await;
    assert_eq!(seen.lock().len(), 0, "the callback got the seed");
    for _ in 0..20 {
        world.clock.advance(600 * SECOND).await;
        let callers: Vec<_> = (0..10).map(|_| call(&tokens)).collect();
        served(callers).await;
    }
    assert_eq!(*seen.lock(), endpoint.issued());
    assert_eq!(seen.lock().len(), 20);
    // The callback does not get a pair that another instance rotated, or a pair that the user provided.
    let (noted, adopted) = noting(builder());
    let other = loaded(noted).await;
    other.replace(world.server.issue()).await.unwrap();
    assert_eq!(adopted.lock().len(), 0);
}

/// A pair is stored before the callback gets the pair, and served after the callback returns.
#[tokio::test(start_paused = true)]
async fn fm23_the_pair_is_stored_before_the_callback_gets_it_and_served_after() {
    let world = World::new(600 * SECOND).with_store(FaultyStore::new);
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let saved = Arc::<Mutex<Option<TokenPair>>>::default();
    let builder = world.shared(OnRequest::default());
    let tokens = loaded(builder.on_rotated({
        let (begun, go, saved) = (begun.clone(), go.clone(), saved.clone());
        move |pair| {
            let (begun, go, saved) = (begun.clone(), go.clone(), saved.clone());
            async move {
                *saved.lock() = Some(pair);
                begun.notify_one();
                go.notified().await;
            }
        }
    }))
    .await;
    let old = tokens.token().await.unwrap();
    // The rotation is early, so a valid token can be served meanwhile.
    let caller = rotate(&tokens);
    begun.notified().await;
    let pair = saved.lock().clone().unwrap();
    let record = json(&world).await;
    assert_eq!(record["pair"]["refresh_token"], refresh(&pair));
    settle().await;
    assert!(!caller.is_finished());
    assert_eq!(tokens.token().await.unwrap().pair_id(), old.pair_id());
    assert_eq!(tokens.status().pair_id, Some(old.pair_id()));
    go.notify_one();
    let token = caller.await.unwrap();
    assert_eq!(text(&token), pair.access.unwrap().expose());
}

/// A panic of the callback changes nothing for callers and the store.
#[tokio::test(start_paused = true)]
async fn fm23_a_callback_that_panics_changes_nothing() {
    // The callback panics before it returns a future, or in the future.
    for late in [false, true] {
        let world = World::new(600 * SECOND);
        let builder = world.builder(OnRequest::default());
        let tokens = loaded(builder.on_rotated(move |_| {
            assert!(late, "a panic of the callback");
            async move { panic!("a panic of the callback") }
        }))
        .await;
        for version in 2..5 {
            world.clock.advance(600 * SECOND).await;
            let token = tokens.token().await.unwrap();
            assert_eq!(token.pair_id().version, version);
            assert!(world.is_live(&token));
        }
        world.assert_exchanges(3);
    }
}

/// A callback that hangs delays the pair by the timeout of the store at most.
#[tokio::test(start_paused = true)]
async fn fm23_a_callback_that_hangs_is_waited_for_up_to_the_stores_timeout() {
    let world = World::new(600 * SECOND);
    let builder = world.builder(OnRequest::default());
    let tokens = loaded(
        builder
            .on_rotated(|_| std::future::pending())
            .store_timeout(3 * SECOND),
    )
    .await;
    world.clock.advance(600 * SECOND).await;
    let start = world.clock.now();
    let token = tokens.token().await.unwrap();
    assert_eq!(world.clock.now().since(start), 3 * SECOND);
    assert!(world.is_live(&token));
    assert_eq!(tokens.status().failure.map(|error| error.to_string()), None);
    world.assert_exchanges(1);
}

/// A callback that asks its own manager for a token gets an error at once, and no deadlock.
#[tokio::test(start_paused = true)]
async fn fm23_a_callback_that_asks_its_own_manager_gets_an_error_at_once() {
    let world = World::new(600 * SECOND);
    let own = Arc::<OnceLock<TokenManager>>::default();
    let answers = Arc::<Mutex<Vec<Result<(), Error>>>>::default();
    let builder = world.builder(OnRequest::default()).on_rotated({
        let (own, answers, server) = (own.clone(), answers.clone(), world.server.clone());
        move |_| {
            let (own, answers, server) = (own.clone(), answers.clone(), server.clone());
            async move {
                let tokens = own.get().unwrap();
                let mut all = vec![tokens.token().await.map(drop)];
                all.push(tokens.rotate().await.map(drop));
                all.push(tokens.replace(server.issue()).await);
                all.push(tokens.sign_in().await.map(drop));
                let logout = tokens.logout().await;
                all.push(logout.stored.map_err(|_| Error::Reentrant));
                *answers.lock() = all;
            }
        }
    });
    let tokens = loaded(builder).await;
    own.set(tokens.clone()).unwrap();
    world.clock.advance(600 * SECOND).await;
    let start = world.clock.now();
    let token = tokens.token().await.unwrap();
    assert_eq!(world.clock.now(), start);
    assert!(world.is_live(&token));
    let answers = answers.lock();
    assert_eq!(answers.len(), 5);
    for answer in answers.iter() {
        assert!(matches!(answer, Err(Error::Reentrant)), "{answers:?}");
    }
}

/// The callback gets a pair that cannot be stored, and gets that pair once.
#[tokio::test(start_paused = true)]
async fn fm23_the_callback_gets_a_pair_that_cannot_be_stored_once() {
    for policy in [OnStoreFailure::Serve, OnStoreFailure::Fail] {
        let world = World::new(600 * SECOND).with_store(FaultyStore::new);
        let builder = world.shared(OnRequest::default());
        let (builder, seen) = noting(builder.on_store_failure(policy));
        let tokens = loaded(builder).await;
        let hold = world.server.hold();
        world.clock.advance(600 * SECOND).await;
        let caller = call(&tokens);
        world.server.arrived(1).await;
        world.store.set_down(true);
        drop(hold);
        let served = caller.await.unwrap().is_ok();
        // A pair is stored before a caller gets the token.
        assert_eq!(served, policy == OnStoreFailure::Serve);
        assert_eq!(seen.lock().len(), usize::from(served));
        world.clock.advance(30 * SECOND).await;
        world.store.set_down(false);
        world.clock.advance(6 * SECOND).await;
        let record = json(&world).await;
        assert_eq!(
            *seen.lock(),
            [record["pair"]["refresh_token"].as_str().unwrap()]
        );
    }
}

/// The callback gets the pair of a sign-in.
#[tokio::test(start_paused = true)]
async fn fm23_the_callback_gets_the_pair_of_a_sign_in() {
    let world = World::with(|server| server.sign_in(true));
    let builder = TokenManager::builder(world.server.endpoint()).clock(world.clock.clone());
    let (builder, seen) = noting(builder);
    let tokens = loaded(builder).await;
    assert_eq!(seen.lock().len(), 1);
    assert!(world.server.is_live_refresh(&seen.lock()[0]));
    assert_eq!(world.server.sign_ins(), 1);
    drop(tokens);
}
