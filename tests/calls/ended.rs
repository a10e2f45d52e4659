//! i5: a session that ends in the middle of a job. Each worker gets one clear error, and no call carries a dead token.

use std::sync::Arc;
use std::time::Duration;

use evertoken::testing::{Answer, Fault};
use evertoken::{EndReason, Error, Event, OptimisticEarly, TokenManager, TokenPair};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::world::{ACCESS_TTL, SECOND, World};

const WORKERS: u64 = 8;

#[tokio::test(start_paused = true)]
async fn a_dead_session_is_reported_once_and_costs_no_further_call() {
    let world = World::new().await;
    let mut events = world.tokens.subscribe();
    assert_eq!(world.import().await, 200);
    world.server.revoke_all();
    let error = world.refused().await;
    assert!(error.needs_sign_in() && !error.is_retryable(), "{error}");
    assert!(matches!(
        error,
        Error::Ended {
            reason: EndReason::Rejected(_),
            ..
        }
    ));
    assert_eq!(world.counts(), (2, 1, 1));
    for _ in 0..100 {
        let error = world.refused().await;
        assert!(error.needs_sign_in(), "{error}");
        world.clock.advance(60 * SECOND).await;
    }
    assert_eq!(world.counts(), (2, 1, 1));
    let events = std::iter::from_fn(|| events.try_recv());
    let ends = events.filter(|event| matches!(event, Event::Ended { .. }));
    assert_eq!(ends.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn i5_every_worker_stops_within_one_request_of_the_end() {
    let world = World::new().await;
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let (tokens, client) = (world.tokens.clone(), world.client.clone());
        let url = world.http.url().to_owned();
        workers.spawn(async move {
            let mut done = 0;
            tokio::time::sleep(Duration::from_millis(worker)).await;
            loop {
                match tokens.send(client.post(&url).body("record")).await {
                    Ok(response) => assert_eq!(response.status(), 200),
                    Err(error) => return (done, error.needs_sign_in()),
                }
                done += 1;
                tokio::time::sleep(SECOND).await;
            }
        });
    }
    world.clock.advance(SECOND * 21 / 2).await;
    assert_eq!(world.counts(), (11 * WORKERS, 0, 0));
    world.server.revoke_all();
    let reports = workers.join_all().await;
    assert_eq!(reports, [(11, true); 8]);
    // The first worker meets the end. The others, each a millisecond later, send no request.
    assert_eq!(world.counts(), (11 * WORKERS + 1, 1, 1));
    assert_eq!(world.api.records(), 11 * WORKERS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i5_workers_that_find_out_together_send_one_request_each_at_most() {
    for _ in 0..10 {
        let mut world = World::of(|server| server.latency(Duration::from_millis(5))).await;
        // On the system's clocks, which the hot path reads in each thread.
        let builder = TokenManager::builder(world.server.endpoint());
        let builder = builder.seed(world.first.clone());
        world.tokens = builder.origin(world.http.origin()).build().unwrap();
        world.tokens.token().await.unwrap();
        world.server.revoke_all();
        let start = Arc::new(Barrier::new(8));
        let mut workers = JoinSet::new();
        for _ in 0..WORKERS {
            let (tokens, start) = (world.tokens.clone(), start.clone());
            let records = [world.record(), world.record()];
            workers.spawn(async move {
                start.wait().await;
                let [first, second] = records.map(|record| tokens.send(record));
                let errors = [first.await.unwrap_err(), second.await.unwrap_err()];
                errors.iter().all(Error::needs_sign_in)
            });
        }
        assert_eq!(workers.join_all().await, [true; 8]);
        let calls = world.api.calls();
        assert!((1..=WORKERS).contains(&calls), "{calls}");
        assert_eq!(world.counts(), (calls, calls, 1));
    }
}

/// The refresh token is dead, but the access token is valid. The manager serves the access token until its expiry, and
/// reports the error after that.
#[tokio::test(start_paused = true)]
async fn a_valid_token_of_a_dead_session_is_served_until_its_expiry() {
    let world = World::with(|builder| builder.strategy(OptimisticEarly::default())).await;
    world.tokens.token().await.unwrap();
    world.clock.advance(550 * SECOND).await;
    world.server.fail_always(Some(Fault::Status {
        status: 400,
        body: r#"{"error":"invalid_grant"}"#.to_owned(),
        retry_after: None,
    }));
    for _ in 0..49 {
        assert_eq!(world.import().await, 200);
        world.clock.advance(SECOND).await;
    }
    assert_eq!(world.counts(), (49, 0, 1));
    world.clock.advance(SECOND).await;
    let error = world.refused().await;
    assert!(error.needs_sign_in());
    assert_eq!(world.counts(), (49, 0, 1));
}

/// A session has ended, and the API then rejects its token. The manager does not send that token again.
#[tokio::test(start_paused = true)]
async fn a_token_of_an_ended_session_is_not_sent_again_once_it_was_rejected() {
    let world = World::with(|builder| builder.strategy(OptimisticEarly::default())).await;
    world.tokens.token().await.unwrap();
    world.clock.advance(550 * SECOND).await;
    world.server.revoke_all();
    world.api.answer_next(Answer::status(200));
    assert_eq!(world.import().await, 200);
    world.clock.advance(SECOND).await;
    assert_eq!(world.server.exchanges(), 1);
    for _ in 0..3 {
        let error = world.refused().await;
        assert!(error.needs_sign_in(), "{error}");
    }
    assert_eq!(world.counts(), (2, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn q3_with_both_tokens_expired_no_call_is_made() {
    let world = World::new().await;
    let pair = world.first.clone().refresh_expires_in(ACCESS_TTL);
    let tokens = world.seeded(&pair);
    tokens.token().await.unwrap();
    world.clock.advance(ACCESS_TTL).await;
    for _ in 0..3 {
        let error = tokens.send(world.record()).await.unwrap_err();
        assert!(error.needs_sign_in(), "{error}");
    }
    assert_eq!(world.counts(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn without_any_session_nothing_is_sent() {
    let world = World::new().await;
    let tokens = TokenManager::builder(world.server.endpoint())
        .clock(world.clock.clone())
        .origin(world.http.origin())
        .build()
        .unwrap();
    let error = tokens.send(world.record()).await.unwrap_err();
    assert!(matches!(error, Error::NoSession), "{error}");
    let dead = TokenPair::from_refresh_token("no such token");
    let tokens = world.seeded(&dead);
    let error = tokens.send(world.record()).await.unwrap_err();
    assert!(error.needs_sign_in(), "{error}");
    assert_eq!(world.counts(), (0, 0, 1));
}
