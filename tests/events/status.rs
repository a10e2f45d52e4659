//! The status of a session at every stage.

use std::time::Duration;

use evertoken::testing::{Fault, FaultyStore};
use evertoken::{EndReason, Error, Event, OnRequest, RefreshExpiry, Status};

use crate::support::{SECOND, World, built, later, loaded, refusal};

/// Asserts a status without a rotation, an unstored pair, a failure or an end.
#[track_caller]
fn assert_calm(status: &Status) {
    assert_eq!(status.end, None);
    assert!(!status.is_rotating && !status.is_unpersisted);
    assert!(status.failure.is_none(), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn the_status_before_the_first_use_is_empty_and_reading_it_starts_nothing() {
    let world = World::new(600 * SECOND);
    let tokens = built(world.builder(OnRequest::default()));
    for _ in 0..10 {
        let status = tokens.status();
        assert_calm(&status);
        assert_eq!(status.pair_id, None);
        assert_eq!(status.access_expires_in, None);
        assert_eq!(status.refresh_expires_in, None);
        world.clock.advance(1_000 * SECOND).await;
    }
    world.assert_exchanges(0);
}

#[tokio::test(start_paused = true)]
async fn the_status_of_a_quiet_session_shows_what_is_left() {
    let world = World::with(|server| server.refresh_ttl(3_600 * SECOND));
    let tokens = world.manager(OnRequest::default()).await;
    world.clock.advance(100 * SECOND).await;
    let status = tokens.status();
    assert_calm(&status);
    assert_eq!(
        status.pair_id,
        Some(tokens.token().await.unwrap().pair_id())
    );
    // A token is served until up to a second before its expiry.
    let left = status.access_expires_in.unwrap();
    assert!(left > 498 * SECOND && left <= 500 * SECOND, "{left:?}");
    assert_eq!(status.refresh_expires_in, Some(3_500 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn the_status_has_no_time_for_an_unknown_expiry_and_for_a_token_without_one() {
    let world = World::new(600 * SECOND);
    for never in [false, true] {
        let mut pair = evertoken::TokenPair::new("opaque");
        if never {
            pair = pair.never_expires();
        }
        let tokens = loaded(world.builder(OnRequest::default()).seed(pair)).await;
        let status = tokens.status();
        assert_calm(&status);
        assert!(status.pair_id.is_some());
        assert_eq!(status.access_expires_in, None);
        assert_eq!(status.refresh_expires_in, None);
    }
}

#[tokio::test(start_paused = true)]
async fn the_status_shows_a_rotation_until_it_is_over() {
    let (world, tokens) = World::managed(OnRequest::default()).await;
    let old = tokens.status().pair_id;
    let (hold, caller) = world.rotate_in_flight(&tokens).await;
    let status = tokens.status();
    assert!(status.is_rotating);
    assert_eq!(status.pair_id, old);
    drop(hold);
    let token = caller.await.unwrap().unwrap();
    let status = tokens.status();
    assert_calm(&status);
    assert_eq!(status.pair_id, Some(token.pair_id()));
}

#[tokio::test(start_paused = true)]
async fn the_status_shows_a_failure_until_a_rotation_succeeds() {
    let (world, tokens) = World::managed(OnRequest::default()).await;
    world.server.fail_next(later(None));
    assert!(tokens.rotate().await.is_err());
    let failure = tokens.status().failure.unwrap();
    assert!(matches!(failure, Error::Endpoint { .. }), "{failure}");
    // The rotation was early, so the pause is 4 s.
    assert_eq!(failure.retry_after(), Some(4 * SECOND));
    world.clock.advance(SECOND).await;
    assert_eq!(
        tokens.status().failure.unwrap().retry_after(),
        Some(3 * SECOND)
    );
    world.clock.advance(600 * SECOND).await;
    assert!(tokens.status().failure.is_some());
    assert!(tokens.token().await.is_ok());
    assert_calm(&tokens.status());
}

#[tokio::test(start_paused = true)]
async fn the_status_shows_an_end_and_what_is_left_of_the_access_token() {
    let (world, tokens) = World::managed(OnRequest::default()).await;
    world.server.fail_next(refusal(400, "invalid_grant"));
    assert!(tokens.rotate().await.is_err());
    let status = tokens.status();
    assert!(status.end.is_some_and(|end| end.is_rejected()));
    assert!(status.pair_id.is_some());
    assert!(status.access_expires_in.unwrap() > 598 * SECOND);
    assert!(
        tokens.token().await.is_ok(),
        "the access token is served to its end"
    );
    world.clock.advance(600 * SECOND).await;
    let status = tokens.status();
    assert!(status.end.is_some_and(|end| end.is_rejected()));
    assert_eq!(status.access_expires_in, Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn the_status_shows_the_end_of_a_fixed_session_without_a_caller() {
    let world = World::with(|server| {
        server
            .refresh_ttl(600 * SECOND)
            .refresh_expiry(RefreshExpiry::Absolute)
    });
    let tokens = world.manager(OnRequest::default()).await;
    world.clock.advance(599 * SECOND).await;
    assert_eq!(tokens.status().end, None);
    world.clock.advance(SECOND).await;
    assert_eq!(tokens.status().end, Some(EndReason::Expired));
}

#[tokio::test(start_paused = true)]
async fn a_new_sign_in_clears_the_status_of_the_old_session() {
    let world = World::new(600 * SECOND).with_store(FaultyStore::new);
    let tokens = loaded(world.shared(OnRequest::default())).await;
    world.server.revoke_all();
    assert!(tokens.rotate().await.is_err());
    assert!(tokens.status().end.is_some());
    tokens.replace(world.server.issue()).await.unwrap();
    assert_calm(&tokens.status());
    assert!(tokens.status().pair_id.is_some());
}

#[tokio::test(start_paused = true)]
async fn each_manager_counts_its_own_rotations_also_without_a_reading_subscriber() {
    let world = World::new(600 * SECOND).with_store(FaultyStore::new);
    let first = loaded(world.shared(OnRequest::default())).await;
    let second = loaded(world.shared(OnRequest::default())).await;
    let counts = || (first.status().rotations, second.status().rotations);
    assert_eq!(counts(), (0, 0));
    // More events than the channel keeps for a subscriber.
    let mut silent = first.subscribe();
    for _ in 0..300 {
        world.clock.advance(10 * SECOND).await;
        first.rotate().await.unwrap();
    }
    assert!(matches!(silent.try_recv(), Some(Event::Lagged { .. })));
    assert_eq!(counts(), (300, 0));
    world.clock.advance(10 * SECOND).await;
    second.rotate().await.unwrap();
    second.rotate().await.unwrap();
    let rotated = counts();
    assert_eq!(rotated.0 + rotated.1, world.server.rotations());
    assert!(rotated.1 >= 1, "{rotated:?}");
    // A rotation without a pair, and a pair that the user provides, do not count.
    world.server.fail_next(Fault::status(503));
    world.clock.advance(10 * SECOND).await;
    assert!(second.rotate().await.is_err());
    first.replace(world.server.issue()).await.unwrap();
    assert_eq!(counts(), rotated);
}

#[tokio::test(start_paused = true)]
async fn no_event_and_no_status_holds_a_token() {
    let world = World::new(600 * SECOND).with_store(FaultyStore::new);
    let builder = world.shared(OnRequest::default());
    let builder = builder.on_rotated(|_| async {});
    let mut told = format!("{builder:?}");
    let tokens = loaded(builder).await;
    let mut events = tokens.subscribe();
    let mut secrets = vec![world.first.clone()];
    tokens.rotate().await.unwrap();
    let second = world.server.issue();
    secrets.push(second.clone());
    tokens.replace(second).await.unwrap();
    told += &format!("{:?}", tokens.status());
    world.store.set_down(true);
    let failed = tokens.replace(world.server.issue()).await.unwrap_err();
    told += &format!("{failed:?} {failed}");
    let used = tokens.replace(world.first.clone()).await.unwrap_err();
    told += &format!("{used:?} {used}");
    let logout = tokens.logout().await;
    told += &format!("{logout:?} {:?} {tokens:?}", tokens.status());
    while let Some(event) = events.try_recv() {
        told += &format!("{event:?}");
    }
    // These prefixes begin every token of the server.
    assert!(!told.contains("at-") && !told.contains("rt-"), "{told}");
    for pair in secrets {
        assert!(!told.contains(pair.access.unwrap().expose()));
        assert!(!told.contains(pair.refresh.unwrap().expose()));
    }
}
