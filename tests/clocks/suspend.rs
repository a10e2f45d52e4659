//! A machine sleeps for two days, with five instances on one store.

use std::time::Duration;

use evertoken::clock::Clock;
use evertoken::{
    BackgroundTimer, EndReason, Error, OnRequest, OptimisticEarly, RefreshStrategy, TokenManager,
};

use crate::support::{HOUR, SECOND, World, callers, drain, end_of, ended, loaded, served, settle};

const TWO_DAYS: Duration = Duration::from_secs(2 * 24 * 3_600);

async fn five(world: &World, strategy: impl RefreshStrategy + Clone) -> Vec<TokenManager> {
    let mut nodes = Vec::new();
    for _ in 0..5 {
        nodes.push(loaded(world.shared(strategy.clone())).await);
    }
    nodes
}

/// The machine sleeps, and wakes with 64 callers at each instance at once.
async fn wakes_with_callers(strategy: impl RefreshStrategy + Clone) {
    let world = World::with(|server| server.latency(2 * SECOND));
    let nodes = five(&world, strategy).await;
    world.clock.advance(100 * SECOND).await;
    world.clock.suspend(TWO_DAYS);
    let woken = world.clock.now();
    let callers: Vec<_> = nodes.iter().flat_map(|node| callers(node, 64)).collect();
    for token in served(callers).await {
        assert!(world.is_live(&token));
        assert_eq!(token.pair_id().version, 2);
    }
    let waited = world.clock.now().since(woken);
    // The longest wait covers the exchange and the load of its result by another instance.
    assert!(waited <= 3 * SECOND, "{waited:?}");
    world.assert_exchanges(1);
}

/// Five instances that wake from a sleep of two days make one exchange for all of their callers.
#[tokio::test(start_paused = true)]
async fn fm19_instances_that_wake_together_make_one_exchange_for_all_their_callers() {
    wakes_with_callers(OnRequest::default()).await;
    wakes_with_callers(BackgroundTimer::default()).await;
    wakes_with_callers(OptimisticEarly::default()).await;
}

/// After a sleep the timers of five instances rotate once within seconds, and then on schedule.
#[tokio::test(start_paused = true)]
async fn fm19_after_a_sleep_the_timers_of_five_instances_rotate_once_and_on_schedule() {
    let world = World::new(600 * SECOND);
    let nodes = five(&world, BackgroundTimer::default()).await;
    world.clock.advance(100 * SECOND).await;
    world.clock.suspend(TWO_DAYS);
    // The timers fire at once, and not after the 380 s that were left before the sleep.
    world.clock.advance(5 * SECOND).await;
    world.assert_exchanges(1);
    for node in &nodes {
        assert!(world.is_live(&node.try_token().unwrap()));
    }
    // From then on the timers fire every 480 s, as without the sleep.
    world.clock.advance(HOUR).await;
    world.assert_exchanges(8);
}

/// A sleep longer than the session ends the session once, without a call.
#[tokio::test(start_paused = true)]
async fn fm19_a_sleep_longer_than_the_session_ends_it_once_and_without_a_call() {
    for busy in [false, true] {
        let world = World::with(|server| server.refresh_ttl(24 * HOUR));
        let nodes = five(&world, BackgroundTimer::default()).await;
        let mut events: Vec<_> = nodes.iter().map(TokenManager::subscribe).collect();
        world.clock.advance(100 * SECOND).await;
        world.clock.suspend(TWO_DAYS);
        for node in nodes.iter().filter(|_| busy) {
            assert_eq!(end_of(node.token().await), EndReason::Expired);
        }
        world.clock.advance(10 * SECOND).await;
        for (node, events) in nodes.iter().zip(&mut events) {
            assert_eq!(node.status().end, Some(EndReason::Expired));
            assert_eq!(ended(&drain(events)), 1);
        }
        world.assert_exchanges(0);
    }
}

/// The deadline of a caller counts time awake: the caller is answered within it after the sleep.
#[tokio::test(start_paused = true)]
async fn fm19_a_caller_that_waits_while_the_machine_sleeps_is_answered_within_its_deadline() {
    let (world, tokens) = World::managed(OnRequest::default()).await;
    world.clock.advance(600 * SECOND).await;
    let (hold, caller) = world.call_in_flight(&tokens).await;
    world.clock.advance(10 * SECOND).await;
    world.clock.suspend(TWO_DAYS);
    let woken = world.clock.now();
    let error = caller.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    assert!(world.clock.now().since(woken) <= 25 * SECOND);
    drop(hold);
}

/// An answer that was under way when the machine fell asleep is kept.
#[tokio::test(start_paused = true)]
async fn fm19_an_answer_that_was_on_its_way_is_kept_after_the_sleep() {
    let (world, tokens) = World::managed(OnRequest::default()).await;
    world.clock.advance(600 * SECOND).await;
    let (hold, caller) = world.call_in_flight(&tokens).await;
    world.clock.suspend(TWO_DAYS);
    drop(hold);
    // The lifetime of the answer counts from its request, two days ago, so the manager rotates once more.
    let token = caller.await.unwrap();
    settle().await;
    world.clock.advance(10 * SECOND).await;
    assert!(world.is_live(&tokens.token().await.unwrap()), "{token:?}");
    world.assert_exchanges(2);
}
