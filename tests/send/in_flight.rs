//! Many requests in flight while the token changes: one rotation, and each request succeeds.

use std::sync::Arc;
use std::time::Duration;

use evertoken::testing::{AccessCheck, AuthorizationServer, ImportApi, TestClock};
use evertoken::{OldPair, OnRequest, ServerProfile, TokenManager, TokenPair};
use reqwest::Client;
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;

use super::recorder::{Arrived, Recorder, reply};
use super::world::{ACCESS_TTL, SECOND, World, access};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i10_workers_on_many_threads_with_an_expired_token_share_one_refresh() {
    let server = AuthorizationServer::builder()
        .latency(Duration::from_millis(20))
        .build();
    let api = ImportApi::builder(&server).build();
    let http = api.listen().await.unwrap();
    let tokens = TokenManager::builder(server.endpoint())
        .seed(server.issue().expires_in(Duration::from_nanos(1)))
        .origin(http.origin())
        .build()
        .unwrap();
    let client = Client::new();
    let start = Arc::new(Barrier::new(WORKERS));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let request = client.post(http.url()).body("record");
        let (tokens, start) = (tokens.clone(), start.clone());
        workers.spawn(async move {
            start.wait().await;
            tokens.send(request).await.unwrap().status().as_u16()
        });
    }
    assert_eq!(workers.join_all().await, [200; WORKERS]);
    assert_eq!((api.calls(), api.unauthorized()), (WORKERS as u64, 0));
    assert_eq!((server.exchanges(), server.rotations()), (1, 1));
}

/// An API that judges requests with the `old` token only with a permit, one request for each permit.
async fn slow_api(server: &AuthorizationServer, old: &TokenPair) -> (Recorder, Arc<Semaphore>) {
    let judged = Arc::new(Semaphore::new(0));
    let (gate, server, old) = (judged.clone(), server.clone(), old.clone());
    let api = Recorder::start(move |request: Arrived| {
        let (gate, server, old) = (gate.clone(), server.clone(), old.clone());
        async move {
            let token = request.token().unwrap_or_default();
            if token == access(&old) {
                gate.acquire().await.unwrap().forget();
            }
            let is_live = server.check(token) == AccessCheck::Live;
            reply(if is_live { 200 } else { 401 }, &[])
        }
    });
    (api.await, judged)
}

#[tokio::test(start_paused = true)]
async fn fm13_staggered_401s_of_one_token_rotate_once() {
    const REQUESTS: usize = 10;
    let world = World::new().await;
    let believed = world.server.issue().expires_in(100 * ACCESS_TTL);
    let (api, judged) = slow_api(&world.server, &believed).await;
    let tokens = super::world::builder(&world.server, &world.clock, &believed)
        .origin(api.origin())
        .build()
        .unwrap();
    let mut workers = JoinSet::new();
    for _ in 0..REQUESTS {
        let (tokens, request) = (tokens.clone(), world.client.post(api.url("/")));
        workers.spawn(async move { tokens.send(request.body("record")).await.unwrap().status() });
    }
    // All requests have arrived with the same token, which expires now. The API judges each request after the previous
    // request has succeeded with the new token.
    api.arrived(REQUESTS).await;
    world.clock.advance(ACCESS_TTL).await;
    for _ in 0..REQUESTS {
        judged.add_permits(1);
        assert_eq!(workers.join_next().await.unwrap().unwrap(), 200);
        world.clock.advance(3 * SECOND).await;
    }
    assert_eq!(world.server.exchanges(), 1);
    let seen = api.seen();
    assert_eq!(seen.len(), 2 * REQUESTS);
    let (old, new) = seen.split_at(REQUESTS);
    assert!(
        old.iter()
            .all(|seen| seen.token() == Some(access(&believed)))
    );
    assert!(new.iter().all(|seen| seen.token() == new[0].token()));
}

#[tokio::test(start_paused = true)]
async fn fm13_a_straggler_that_is_two_rotations_late_rotates_nothing() {
    let world = World::new().await;
    let (api, judged) = slow_api(&world.server, &world.first).await;
    let tokens = super::world::builder(&world.server, &world.clock, &world.first)
        .origin(api.origin())
        .build()
        .unwrap();
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
        let clock = TestClock::new();
        let server = AuthorizationServer::builder()
            .clock(clock.clone())
            .access_ttl(ACCESS_TTL)
            .old_access_dies(true)
            .build();
        let first = server.issue();
        let (api, judged) = slow_api(&server, &first).await;
        let profile = ServerProfile::strict().old_pair(fate);
        let tokens = TokenManager::builder(server.endpoint().with_profile(profile))
            .clock(clock.clone())
            .jitter(0.0)
            .strategy(OnRequest::default().at_fraction(0.8))
            .seed(first)
            .origin(api.origin())
            .build()
            .unwrap();
        let client = Client::new();
        let mut workers = JoinSet::new();
        for _ in 0..REQUESTS {
            let (tokens, request) = (tokens.clone(), client.post(api.url("/")));
            workers.spawn(async move { tokens.send(request.body("record")).await.unwrap() });
        }
        api.arrived(REQUESTS).await;
        // Another request starts the early rotation, at which the token of these ten requests dies.
        clock.advance(480 * SECOND).await;
        tokens.token().await.unwrap();
        clock.advance(Duration::ZERO).await;
        assert_eq!(server.rotations(), 1);
        judged.add_permits(REQUESTS);
        let responses = workers.join_all().await;
        assert!(responses.iter().all(|response| response.status() == 200));
        assert_eq!(api.seen().len(), 2 * REQUESTS, "{fate:?}");
        assert_eq!(server.exchanges(), 1, "{fate:?}");
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
    let response = world.tokens.send(world.record()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(world.counts(), (2, 1, 1));
    assert_eq!(world.server.replays(), 0);
}
