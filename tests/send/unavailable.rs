//! i8: after a 503 with `Retry-After`, the manager waits once and sends the request again if that does no harm.

use std::time::Duration;

use evertoken::ApiProfile;
use evertoken::testing::Answer;
use reqwest::Method;
use tokio::time::Instant;

use super::recorder::{Recorder, reply};
use super::world::{SECOND, World, builder};

fn busy(after: &str) -> Answer {
    Answer::status(503)
        .header("retry-after", after)
        .body("busy")
}

/// The outcome of one request that met these 503s: its status, the duration, and the number of calls.
async fn met(method: Method, profile: ApiProfile, after: &[&str]) -> (u16, Duration, u64) {
    let world = World::with(|builder| builder.api(profile)).await;
    for after in after {
        world.api.answer_next(busy(after));
    }
    let request = world
        .client
        .request(method, world.http.url())
        .body("record");
    let start = Instant::now();
    let response = world.tokens.send(request).await.unwrap();
    assert_eq!(world.server.exchanges(), 0);
    assert_eq!(world.api.anonymous(), 0);
    (
        response.status().as_u16(),
        start.elapsed(),
        world.api.calls(),
    )
}

#[tokio::test(start_paused = true)]
async fn i8_idempotent_methods_wait_and_are_sent_once_more() {
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let method: Method = method.parse().unwrap();
        let outcome = met(method.clone(), ApiProfile::default(), &["1"]).await;
        assert_eq!(outcome, (200, SECOND, 2), "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn i8_other_methods_are_not_sent_again_after_a_503() {
    for method in [Method::POST, Method::PATCH] {
        let outcome = met(method, ApiProfile::default(), &["1"]).await;
        assert_eq!(outcome, (503, Duration::ZERO, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn i8_any_method_is_sent_again_after_a_503_of_the_gateway() {
    let profile = ApiProfile::default().gateway_unavailable(true);
    for method in [Method::POST, Method::PATCH, Method::GET] {
        let outcome = met(method, profile.clone(), &["1"]).await;
        assert_eq!(outcome, (200, SECOND, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn i8_a_second_503_is_returned() {
    let outcome = met(Method::GET, ApiProfile::default(), &["1", "1"]).await;
    assert_eq!(outcome, (503, SECOND, 2));
}

#[tokio::test(start_paused = true)]
async fn i8_a_503_with_a_wait_beyond_the_deadline_or_without_one_is_returned_at_once() {
    for after in ["36", "3600", "99999999999", "soon", "-1", ""] {
        let outcome = met(Method::GET, ApiProfile::default(), &[after]).await;
        assert_eq!(outcome, (503, Duration::ZERO, 1), "{after}");
    }
    let outcome = met(Method::GET, ApiProfile::default(), &["35"]).await;
    assert_eq!(outcome, (200, 35 * SECOND, 2));
    let outcome = met(Method::GET, ApiProfile::default(), &["0"]).await;
    assert_eq!(outcome, (200, Duration::ZERO, 2));
    // The wait is a date. The clock reads 22:13:20, and so does the `Date` of the answer.
    let outcome = met(
        Method::GET,
        ApiProfile::default(),
        &["Tue, 14 Nov 2023 22:13:23 GMT"],
    )
    .await;
    assert_eq!(outcome, (200, 3 * SECOND, 2));
}

#[tokio::test(start_paused = true)]
async fn i8_a_503_without_retry_after_is_returned_at_once() {
    let world = World::new().await;
    world.api.answer_next(Answer::status(503));
    let get = world.client.get(world.http.url());
    assert_eq!(world.tokens.send(get).await.unwrap().status(), 503);
    assert_eq!(world.counts(), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn i8_the_second_request_is_the_first_unchanged() {
    let api = Recorder::with("/records?page=2", || reply(503, &[("retry-after", "1")])).await;
    let world = World::new().await;
    let tokens = builder(&world.server, &world.clock, &world.first)
        .origin(api.origin())
        .build()
        .unwrap();
    let put = world.client.put(api.url("/records?page=2"));
    let put = put.header("x-request-id", "7").body("record");
    tokens.send(put).await.unwrap();
    let seen = api.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].header("x-request-id"), Some("7"));
    assert_eq!(&seen[0].body[..], b"record");
}

/// A token that expires during the wait is not sent.
#[tokio::test(start_paused = true)]
async fn i8_a_token_that_expires_during_the_wait_is_refreshed() {
    let world = World::new().await;
    world.tokens.token().await.unwrap();
    world.clock.advance(580 * SECOND).await;
    world.api.answer_next(busy("30"));
    let get = world.client.get(world.http.url());
    assert_eq!(world.tokens.send(get).await.unwrap().status(), 200);
    assert_eq!(world.counts(), (2, 0, 1));
}

/// One wait and one replay, in either order; then the caller gets the answer.
#[tokio::test(start_paused = true)]
async fn i8_a_503_and_a_401_are_handled_once_each() {
    for (answers, calls, status) in [
        (vec![busy("1"), Answer::status(401)], 3, 200),
        (vec![Answer::status(401), busy("1")], 3, 200),
        (vec![busy("1"), Answer::status(401), busy("1")], 3, 503),
        (
            vec![Answer::status(401), busy("1"), Answer::status(401)],
            3,
            401,
        ),
    ] {
        let world = World::new().await;
        for answer in answers {
            world.api.answer_next(answer);
        }
        let get = world.client.get(world.http.url());
        assert_eq!(world.tokens.send(get).await.unwrap().status(), status);
        assert_eq!((world.api.calls(), world.server.exchanges()), (calls, 1));
    }
}
