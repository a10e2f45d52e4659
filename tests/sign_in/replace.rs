//! New sign-ins of the user.

use evertoken::clock::Clock;
use evertoken::{
    BackgroundTimer, EndReason, Error, Event, OnRequest, OptimisticEarly, RefreshStrategy,
    TokenManager, TokenPair,
};

use crate::probe::{Probe, ProbedStore};
use crate::support::{HOUR, SECOND, World, drain, loaded, settle, text};

fn access(pair: &TokenPair) -> &str {
    pair.access.as_ref().unwrap().expose()
}

async fn r4_with(strategy: impl RefreshStrategy) {
    let (world, tokens) = World::managed(strategy).await;
    let (hold, caller) = world.rotate_in_flight(&tokens).await;
    let second = world.server.issue();
    let start = world.clock.now();
    tokens.replace(second.clone()).await.unwrap();
    // A caller that comes after the sign-in does not wait.
    assert_eq!(text(&tokens.token().await), access(&second));
    // The callers that waited for the rotation get the new pair at once.
    assert_eq!(text(&caller.await.unwrap()), access(&second));
    assert_eq!(world.clock.now(), start);
    drop(hold);
    settle().await;
    // Only the pair of the rotation is revoked.
    assert_eq!(world.server.revocations(), 1);
    assert_eq!(text(&tokens.token().await), access(&second));
    assert_eq!(tokens.status().failure.map(|error| error.to_string()), None);
    world.assert_exchanges(1);
}

/// A new sign-in does not wait for a rotation in flight, whatever the strategy.
#[tokio::test(start_paused = true)]
async fn r4_a_new_sign_in_does_not_wait_for_a_rotation_in_flight() {
    r4_with(BackgroundTimer::default()).await;
    r4_with(OnRequest::default()).await;
    r4_with(OptimisticEarly::default()).await;
}

/// The timer follows the new pair while an old rotation hangs.
#[tokio::test(start_paused = true)]
async fn r4_the_timer_goes_on_with_the_new_pair_while_an_old_rotation_hangs() {
    let (world, tokens) = World::managed(BackgroundTimer::default()).await;
    let hold = world.server.hold();
    world.clock.advance(480 * SECOND).await;
    world.server.arrived(1).await;
    tokens.replace(world.server.issue()).await.unwrap();
    drop(hold);
    world.clock.advance(479 * SECOND).await;
    assert_eq!(world.server.exchanges(), 1);
    world.clock.advance(SECOND).await;
    assert_eq!(world.server.exchanges(), 2);
    assert!(world.is_live(&tokens.token().await.unwrap()));
    world.assert_unharmed();
}

/// Shutdown waits for the rotation that was replaced, and its pair is revoked.
#[tokio::test(start_paused = true)]
async fn r4_shutdown_waits_for_the_rotation_that_was_replaced() {
    let world = World::with(|server| server.latency(4 * SECOND));
    let tokens = world.manager(OnRequest::default()).await;
    world.clock.advance(600 * SECOND).await;
    let _ = tokens.try_token();
    world.server.arrived(1).await;
    tokens.replace(world.server.issue()).await.unwrap();
    tokens.shutdown().await.unwrap();
    assert_eq!(world.server.revocations(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_pair_replaces_an_ended_session_and_clears_the_pause() {
    for logout in [false, true] {
        let (world, tokens) = World::managed(OnRequest::default()).await;
        if logout {
            tokens.logout().await;
        } else {
            world.server.revoke_all();
            assert!(tokens.rotate().await.unwrap_err().needs_sign_in());
        }
        let mut events = tokens.subscribe();
        let pair = world.server.issue();
        tokens.replace(pair.clone()).await.unwrap();
        let events = drain(&mut events);
        let [Event::Replaced { pair_id, .. }] = events.as_slice() else {
            panic!("{events:?}");
        };
        let token = tokens.token().await.unwrap();
        assert_eq!(token.pair_id(), *pair_id);
        assert_eq!(token.expose(), access(&pair));
        // The new pair is rotated like any other pair.
        world.clock.advance(600 * SECOND).await;
        assert!(world.is_live(&tokens.token().await.unwrap()));
        world.assert_unharmed();
    }
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_was_spent_is_refused_and_changes_nothing() {
    let (world, tokens) = World::managed(OnRequest::default()).await;
    let current = tokens.rotate().await.unwrap();
    let error = tokens.replace(world.first.clone()).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyUsed), "{error}");
    assert_eq!(tokens.token().await.unwrap().pair_id(), current.pair_id());
    let error = tokens.replace(TokenPair::default()).await.unwrap_err();
    assert!(matches!(error, Error::NoSession), "{error}");
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn the_current_pair_may_be_given_again() {
    let (world, tokens) = World::managed(OnRequest::default()).await;
    let before = tokens.token().await.unwrap();
    tokens.replace(world.first.clone()).await.unwrap();
    assert_eq!(tokens.token().await.unwrap().pair_id(), before.pair_id());
    world.assert_exchanges(0);
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_could_not_be_stored_changes_nothing() {
    let world = World::new(600 * SECOND);
    let store = ProbedStore::new(&world.clock, &Probe::default());
    let tokens = loaded(world.builder(OnRequest::default()).store(store.clone())).await;
    let before = tokens.token().await.unwrap();
    store.set_down(true);
    let error = tokens.replace(world.server.issue()).await.unwrap_err();
    assert!(matches!(error, Error::Store { .. }), "{error}");
    assert!(error.is_retryable());
    assert_eq!(tokens.token().await.unwrap().pair_id(), before.pair_id());
    store.set_down(false);
    world.clock.advance(600 * SECOND).await;
    assert_eq!(tokens.token().await.unwrap().pair_id().version, 2);
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn the_times_of_a_replacement_count_from_the_call_and_those_of_a_jwt_from_its_claims() {
    let (world, tokens) = World::managed(OnRequest::default()).await;
    world.clock.advance(5 * HOUR).await;
    tokens.replace(world.server.issue()).await.unwrap();
    assert!(tokens.status().access_expires_in.unwrap() > 598 * SECOND);
    // The claims are {"exp":1700018300}: 300 s from now.
    let pair = TokenPair::new("e30.eyJleHAiOjE3MDAwMTgzMDB9.x").refresh_token("r9");
    tokens.replace(pair).await.unwrap();
    let left = tokens.status().access_expires_in.unwrap();
    assert!(left > 298 * SECOND && left <= 300 * SECOND, "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_new_pair_is_stored_and_rotated_by_the_timer_when_the_future_is_dropped() {
    for point in 0..4 {
        let world = World::new(600 * SECOND);
        let probe = Probe::default();
        let store = ProbedStore::new(&world.clock, &probe);
        let builder = world.builder(BackgroundTimer::default()).store(store);
        let tokens = builder.build().unwrap();
        let (sender, gone) = tokio::sync::oneshot::channel();
        probe.at(point, || async move { gone.await.unwrap() });
        let (pair, clone) = (world.server.issue(), tokens.clone());
        let replacing = tokio::spawn(async move { clone.replace(pair).await });
        settle().await;
        assert!(!probe.is_pending());
        replacing.abort();
        settle().await;
        sender.send(()).unwrap();
        world.clock.advance(480 * SECOND).await;
        world.assert_exchanges(1);
        assert!(world.is_live(&tokens.token().await.unwrap()));
    }
}

#[tokio::test(start_paused = true)]
async fn other_instances_adopt_a_new_sign_in_at_their_next_load() {
    let world = World::new(600 * SECOND);
    let (here, there) = world.two_managers(OnRequest::default()).await;
    world.server.revoke_all();
    world.clock.advance(600 * SECOND).await;
    assert!(there.token().await.unwrap_err().needs_sign_in());
    let pair = world.server.issue();
    here.replace(pair.clone()).await.unwrap();
    world.clock.advance(60 * SECOND).await;
    // The failing call starts a load of the record in the background.
    let _ = there.token().await;
    settle().await;
    assert_eq!(text(&there.token().await), access(&pair));
}

#[tokio::test(start_paused = true)]
async fn sign_in_at_an_endpoint_that_cannot_sign_in_is_an_error_and_changes_nothing() {
    let (world, tokens) = World::managed(OnRequest::default()).await;
    let error = tokens.sign_in().await.unwrap_err();
    assert!(matches!(error, Error::NotRotatable), "{error}");
    assert!(tokens.token().await.is_ok());
    tokens.logout().await;
    assert!(matches!(tokens.sign_in().await, Err(Error::NotRotatable)));
    assert_eq!(tokens.status().end, Some(EndReason::LoggedOut));
    world.assert_exchanges(0);
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_after_a_shutdown_is_refused() {
    let world = World::with(|server| server.sign_in(true));
    let tokens: TokenManager = world.manager(OnRequest::default()).await;
    tokens.shutdown().await.unwrap();
    assert!(matches!(
        tokens.replace(world.server.issue()).await,
        Err(Error::ShutDown)
    ));
    assert!(matches!(tokens.sign_in().await, Err(Error::ShutDown)));
    assert_eq!(world.server.sign_ins(), 0);
}
