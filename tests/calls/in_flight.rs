//! Many requests in flight while the token changes: one rotation, and each request succeeds.

use std::time::Duration;

use evertoken::{OldPair, OnRequest, ServerProfile, TokenManager};
use tokio::task::JoinSet;

use crate::world::{ACCESS_TTL, SECOND, World, slow_api};

const WORKERS: usize = 64;

/// The default leeway: the time before its expiry in which a token is no longer sent.
const LEEWAY: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn i10_workers_that_cross_the_expiry_share_one_refresh() {
    let world = World::new().await;
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS as u64 {
        let tokens = world.tokens.clone();
        let request = world.record();
        // The requests start from 32 ms before to 31 ms after the moment at which requests begin to wait for a new token.
        let delay = ACCESS_TTL - LEEWAY - Duration::from_millis(32);
        workers.spawn(async move {
            tokio::time::sleep(delay + Duration::from_millis(worker)).await;
            tokens.send(request).await.unwrap().status().as_u16()
        });
    }
    let statuses = workers.join_all().await;
    assert_eq!(statuses, [200; WORKERS]);
    assert_eq!(world.counts(), (WORKERS as u64, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn fm13_a_straggler_that_is_two_rotations_late_rotates_nothing() {
    let world = World::new().await;
    let (api, judged) = slow_api(&world.server, &world.first).await;
    let tokens = world.manager(api.origin());
    let request = world.client.post(api.url("/")).body("record");
    let straggler = {
        let tokens = tokens.clone();
        tokio::spawn(async move { tokens.send(request).await.unwrap().status() })
    };
    api.arrived(1).await;
    for _ in 0..2 {
        world.clock.advance(ACCESS_TTL).await;
        tokens.token().await.unwrap();
    }
    judged.add_permits(1);
    assert_eq!(straggler.await.unwrap(), 200);
    assert_eq!((api.seen().len(), world.server.exchanges()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn fm24_requests_whose_token_dies_at_a_rotation_are_replayed_without_another() {
    const REQUESTS: usize = 10;
    for fate in [OldPair::AccessLivesOn, OldPair::AccessDiesAtRotation] {
        let world = World::of(|server| server.old_access_dies(true)).await;
        let (api, judged) = slow_api(&world.server, &world.first).await;
        let profile = ServerProfile::strict().old_pair(fate);
        let tokens = TokenManager::builder(world.server.endpoint().with_profile(profile))
            .clock(world.clock.clone())
            .jitter(0.0)
            .strategy(OnRequest::default().at_fraction(0.8))
            .seed(world.first)
            .origin(api.origin())
            .build()
            .unwrap();
        let mut workers = JoinSet::new();
        for _ in 0..REQUESTS {
            let (tokens, request) = (tokens.clone(), world.client.post(api.url("/")));
            workers.spawn(async move { tokens.send(request.body("record")).await.unwrap() });
        }
        api.arrived(REQUESTS).await;
        // Another request starts the early rotation, at which the token of these ten requests dies.
        world.clock.advance(480 * SECOND).await;
        tokens.token().await.unwrap();
        world.clock.advance(Duration::ZERO).await;
        assert_eq!(world.server.rotations(), 1);
        judged.add_permits(REQUESTS);
        let responses = workers.join_all().await;
        assert!(responses.iter().all(|response| response.status() == 200));
        assert_eq!(api.seen().len(), 2 * REQUESTS, "{fate:?}");
        assert_eq!(world.server.exchanges(), 1, "{fate:?}");
    }
}

/// A caller that gives up cancels neither the rotation nor the new token.
#[tokio::test(start_paused = true)]
async fn a_send_that_is_dropped_while_rotating_leaves_the_new_token_to_the_next() {
    let world = World::with_stale_token().await;
    let held = world.server.hold();
    let tokens = world.tokens.clone();
    let sending = tokio::spawn({
        let request = world.record();
        async move { tokens.send(request).await }
    });
    world.server.arrived(1).await;
    sending.abort();
    assert!(sending.await.unwrap_err().is_cancelled());
    drop(held);
    assert_eq!(world.import().await, 200);
    assert_eq!(world.counts(), (2, 1, 1));
    assert_eq!(world.server.replays(), 0);
}
