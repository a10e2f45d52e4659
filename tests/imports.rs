//! Imports that outlive their first access token by an hour and more.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use evertoken::clock::Clock;
use evertoken::testing::{AccessCheck, CallFault, FaultyStore, StoreCall};
use evertoken::{BackgroundTimer, OnRequest};
use support::{HOUR, MINUTE, SECOND, World, call, drain, ended, failed, loaded, rotated, text};

/// Sends one request a second, from 0 s on and the end excluded; returns how many the API refused.
async fn import(world: &World, tokens: &evertoken::TokenManager, seconds: u64) -> u64 {
    let mut refused = 0;
    for _ in 0..seconds {
        let token = tokens.token().await.unwrap();
        refused += u64::from(!world.is_live(&token));
        world.clock.advance(SECOND).await;
    }
    refused
}

/// An import of an hour runs on access tokens of a minute.
#[tokio::test(start_paused = true)]
async fn i1_a_token_of_a_minute_carries_an_import_of_an_hour() {
    let world = World::with(|server| server.access_ttl(MINUTE).refresh_ttl(HOUR));
    let tokens = world.manager(BackgroundTimer::default()).await;
    let mut events = tokens.subscribe();
    assert_eq!(import(&world, &tokens, 3_599).await, 0);
    // One rotation every 48 s: 48, 96, .. 3,552 s are 74. The 75th is due at 3,600 s exactly, which
    // is the end of the hour and no part of it: at the last request, at 3,599 s, there were 74.
    assert!(world.is_live(&tokens.token().await.unwrap()));
    world.assert_exchanges(74);
    world.clock.advance(SECOND).await;
    world.assert_exchanges(75);
    let events = drain(&mut events);
    let counts = (rotated(&events), failed(&events), ended(&events));
    assert_eq!(counts, (75, 0, 0));
}

/// Without a manager an import of an hour fails once the first token of 60 s is over.
#[tokio::test(start_paused = true)]
async fn i1_an_import_of_an_hour_without_a_manager_fails_from_60_s_on() {
    let world = World::with(|server| server.access_ttl(MINUTE).refresh_ttl(HOUR));
    let fixed = world.first.access.clone().unwrap();
    use AccessCheck::{Expired, Live};
    for second in 0..3_600 {
        let expected = if second < 60 { Live } else { Expired };
        assert_eq!(world.server.check(fixed.expose()), expected, "{second}");
        world.clock.advance(SECOND).await;
    }
}

/// Jobs of 1 h 02, 3 h 27 and 5 h 31 take one, four and six rotations.
#[tokio::test(start_paused = true)]
async fn i2_jobs_of_1h02_3h27_and_5h31_take_1_4_and_6_rotations() {
    for (minutes, rotations) in [(62, 1), (3 * 60 + 27, 4), (5 * 60 + 31, 6)] {
        let world = World::new(HOUR);
        let tokens = world.manager(BackgroundTimer::default()).await;
        assert_eq!(import(&world, &tokens, minutes * 60).await, 0);
        world.assert_exchanges(rotations);
    }
}

/// A fixed token of 180 s fails from 180 s on; a managed one never fails.
#[tokio::test(start_paused = true)]
async fn i3_a_fixed_token_of_180_s_fails_from_180_s_on_and_a_managed_one_never_does() {
    let world = World::new(180 * SECOND);
    let tokens = world.manager(BackgroundTimer::default()).await;
    let fixed = world.first.access.clone().unwrap();
    let mut first_failure = None;
    for second in 0..3_600 {
        if world.server.check(fixed.expose()) != AccessCheck::Live {
            first_failure = first_failure.or(Some(second));
        }
        assert!(world.is_live(&tokens.token().await.unwrap()));
        // Every 144 s; the 25th is due at 3,600 s, when the hour is over.
        assert_eq!(world.server.exchanges(), second / 144);
        world.clock.advance(SECOND).await;
    }
    assert_eq!(first_failure, Some(180));
    world.assert_exchanges(25);
}

/// An import with `OnRequest` has no failures.
#[tokio::test(start_paused = true)]
async fn i3_an_import_on_request_has_no_failures() {
    let latency = Duration::from_millis(300);
    let world = World::with(|server| server.access_ttl(180 * SECOND).latency(latency));
    let tokens = world.manager(OnRequest::default()).await;
    assert_eq!(import(&world, &tokens, 3_600).await, 0);
    // At 170 s of each token's life, where the leeway begins, and 0.3 s for each of them.
    world.assert_exchanges(21);
}

/// A task that is delayed between the load and the lease finds the newer pair.
#[tokio::test(start_paused = true)]
async fn n14_a_task_that_is_delayed_between_look_and_lease_finds_the_newer_pair() {
    let world = World::new(600 * SECOND);
    let delayed = FaultyStore::new(world.store.clone());
    let slow = loaded(world.builder(OnRequest::default()).store(delayed.clone())).await;
    let fast = loaded(world.shared(OnRequest::default())).await;
    world.clock.advance(600 * SECOND).await;
    delayed.fail_always(StoreCall::Load, Some(CallFault::HangAfter));

    // It has read the old pair, without a lease on it, and is held up.
    let late = call(&slow);
    world.clock.advance(SECOND).await;
    let second = fast.token().await.unwrap();
    world.assert_exchanges(1);
    delayed.fail_always(StoreCall::Load, None);
    delayed.release();
    let start = world.clock.now();
    assert_eq!(text(&late.await.unwrap()), second.expose());
    assert_eq!(world.clock.now(), start);
    assert!(world.is_live(&second));
    world.assert_exchanges(1);
}

/// A task that is delayed while another instance rotates waits for that instance's pair.
#[tokio::test(start_paused = true)]
async fn n14_a_task_that_is_delayed_while_another_rotates_waits_for_that_pair() {
    let world = World::new(600 * SECOND);
    let delayed = FaultyStore::new(world.store.clone());
    let slow = loaded(world.builder(OnRequest::default()).store(delayed.clone())).await;
    let fast = loaded(world.shared(OnRequest::default())).await;
    world.clock.advance(600 * SECOND).await;
    delayed.fail_always(StoreCall::Swap, Some(CallFault::HangBefore));
    let hold = world.server.hold();
    let late = call(&slow);
    world.clock.advance(SECOND).await;
    let early = call(&fast);
    world.server.arrived(1).await;
    delayed.fail_always(StoreCall::Swap, None);
    delayed.release();
    world.clock.advance(SECOND).await;
    world.assert_exchanges(1);
    drop(hold);
    assert_eq!(text(&early.await.unwrap()), text(&late.await.unwrap()));
    world.assert_exchanges(1);
}
