//! How long callers wait, and what they get.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use evertoken::clock::{Clock, Coarse, Timestamp};
use evertoken::testing::{
    CallFault, EndpointCall, Fault, FaultyEndpoint, FaultyStore, StoreCall, TestClock,
};
use evertoken::{BackgroundTimer, EndReason, EndpointError, Error, OnRequest, TokenPair};
use futures_util::FutureExt;

use crate::support::{HOUR, SECOND, World, built, end_of, loaded, settle, text};

/// Another client spends the refresh token.
async fn spend_elsewhere(world: &World) {
    let other = world.manager(OnRequest::default()).await;
    other.rotate().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_ended_session_is_not_rotated_and_does_not_return_its_old_token_as_new() {
    let (world, tokens) = World::managed(OnRequest::default()).await;
    spend_elsewhere(&world).await;
    // The calls are made during the pauses after a failure, and between them.
    for pause in [1, 1, 3, 5, 10, 60] {
        world.clock.advance(pause * SECOND).await;
        for asked in [
            tokens.rotate().await,
            tokens.token_valid_for(600 * SECOND).await,
        ] {
            assert!(end_of(asked).is_rejected());
        }
        // A caller that does not need a newer token gets the old one until it expires.
        tokens.token().await.unwrap();
    }
    assert_eq!(world.server.exchanges(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_woken_after_a_logout_does_not_get_the_former_token() {
    let (world, tokens) = World::managed(OnRequest::default()).await;
    world.clock.advance(600 * SECOND).await;
    let mut waiter = Box::pin(tokens.token());
    assert!(waiter.as_mut().now_or_never().is_none());
    // The rotation ends before the waiter runs.
    world.clock.advance(SECOND).await;
    assert_eq!(world.server.exchanges(), 1);
    assert!(tokens.logout().await.is_complete());
    assert_eq!(end_of(waiter.await), EndReason::LoggedOut);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_woken_after_another_user_signed_in_gets_that_users_token() {
    let (world, tokens) = World::managed(OnRequest::default()).await;
    world.clock.advance(600 * SECOND).await;
    let mut waiter = Box::pin(tokens.token());
    assert!(waiter.as_mut().now_or_never().is_none());
    world.clock.advance(SECOND).await;
    let bob = world.server.issue();
    tokens.replace(bob.clone()).await.unwrap();
    let token = waiter.await.unwrap();
    assert_eq!(token.expose(), bob.access.unwrap().expose());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_delays_callers_with_a_valid_token_by_two_seconds_and_only_once() {
    let (world, tokens) = World::managed(BackgroundTimer::default()).await;
    world.clock.advance(479 * SECOND).await;
    world.server.fail_next(Fault::DelayBefore(HOUR));
    world.clock.advance(SECOND + SECOND / 2).await;
    let start = world.clock.now();
    let token = tokens.token().await.unwrap();
    assert!(world.is_live(&token));
    assert_eq!(world.clock.now().since(start), SECOND + SECOND / 2);
    // The next caller of the same rotation does not wait at all.
    assert!(tokens.token().now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn callers_without_a_session_cause_one_read_of_the_store_in_a_pause() {
    let world = World::new(HOUR).with_store(FaultyStore::new);
    let tokens = built(world.unseeded(OnRequest::default()));
    let ask = async || {
        for _ in 0..1_000 {
            let error = tokens.token().await.unwrap_err();
            assert!(matches!(error, Error::NoSession), "{error}");
        }
        settle().await;
    };
    ask().await;
    assert_eq!(world.store.calls(StoreCall::Load), 1);
    // The pause does not grow with each read, because a user may sign in on another instance at any moment.
    for looks in 2..=5 {
        world.clock.advance(2 * SECOND).await;
        ask().await;
        assert_eq!(world.store.calls(StoreCall::Load), looks);
    }
    let elsewhere = loaded(world.shared(OnRequest::default())).await;
    world.clock.advance(2 * SECOND).await;
    let found = tokens.token().await;
    assert_eq!(text(&found), text(&elsewhere.token().await));
}

/// A clock that counts how often it is read.
#[derive(Debug, Clone)]
struct Counted(TestClock, Arc<AtomicU64>);

impl Clock for Counted {
    fn now(&self) -> Timestamp {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.now()
    }

    fn wall(&self) -> std::time::Duration {
        self.0.wall()
    }

    fn coarse(&self) -> Coarse {
        self.0.coarse()
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_only_waits_for_requests_wakes_a_few_times_in_an_hour() {
    let month = 30 * 24 * HOUR;
    let world = World::with(|server| {
        let server = server.refresh_ttl(month);
        server.issue_refresh_expires_in(true)
    });
    let readings = Arc::new(AtomicU64::new(0));
    let clock = Counted(world.clock.clone(), Arc::clone(&readings));
    let tokens = loaded(world.builder(OnRequest::default()).clock(clock)).await;
    settle().await;
    readings.store(0, Ordering::SeqCst);
    world.clock.advance(HOUR).await;
    let idle = readings.load(Ordering::SeqCst);
    assert!(idle <= 12, "{idle} readings of the clock in an idle hour");
    // The end of the session is still reported in time.
    let mut events = tokens.subscribe();
    world.clock.advance(month).await;
    assert!(crate::support::ended(&crate::support::drain(&mut events)) == 1);
}

#[tokio::test(start_paused = true)]
async fn every_retryable_error_says_when_to_try_again() {
    let world = World::new(600 * SECOND);
    let later = CallFault::Error(|| EndpointError::later(None));
    let endpoint = FaultyEndpoint::new(world.server.endpoint());
    endpoint.fail_always(EndpointCall::Refresh, Some(later));
    let seed = TokenPair::from_refresh_token(world.first.refresh.clone().unwrap());
    let builder = world.builder_at(endpoint, OnRequest::default());
    let tokens = built(builder.seed(seed));
    let pending = tokens.try_token().unwrap_err();
    let failed = tokens.token().await.unwrap_err();
    for error in [pending, failed] {
        assert!(error.is_retryable(), "{error}");
        assert!(error.retry_after().is_some(), "{error}");
    }
}
