//! A gateway's 503 with `Retry-After`: the manager waits once and repeats the call if that does no harm.

use std::time::Duration;

use evertoken::ApiProfile;
use evertoken::testing;
use http::Method;
use tokio::time::Instant;

use crate::recorder::{Recorder, reply};
use crate::ways::{Answer, Body, ByHand, BySend, Call, Way, ways};
use crate::world::{SECOND, World};

ways! {
    #[tokio::test(start_paused = true)]
    ready ways:
    i8_a_503_is_waited_for_and_the_call_is_repeated_once,
    i8_a_second_503_is_returned,
    i8_a_post_is_repeated_after_a_503_of_the_gateway_only,
    i8_a_503_and_a_401_are_handled_once_each,
}

ways! {
    #[tokio::test(start_paused = true)]
    given ways:
    the_503_of_a_stream_that_cannot_be_repeated_is_returned_at_once,
}

fn busy(after: &str) -> testing::Answer {
    testing::Answer::status(503).header("retry-after", after)
}

/// The outcome of a call of `/records`: the answer, the duration, and the number of calls that arrived.
async fn met<W: Way>(world: &World, method: Method, body: Body) -> (Answer, Duration, u64) {
    let way = W::new(&world.tokens);
    let call = Call::new(method, world.http.url(), body);
    let start = Instant::now();
    let answer = way.call(call).await.unwrap();
    assert_eq!(world.api.anonymous(), 0);
    (answer, start.elapsed(), world.api.calls())
}

async fn i8_a_503_is_waited_for_and_the_call_is_repeated_once<W: Way>() {
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let world = World::new().await;
        world.api.answer_next(busy("3"));
        let call = method.parse().unwrap();
        let (answer, took, calls) = met::<W>(&world, call, Body::Text("record")).await;
        let outcome = (answer.status, took, calls);
        assert_eq!(outcome, (200, 3 * SECOND, 2), "{method}");
        assert_eq!(world.server.exchanges(), 0);
    }
}

async fn i8_a_second_503_is_returned<W: Way>() {
    let world = World::new().await;
    world.api.answer_next(busy("3"));
    world.api.answer_next(busy("3"));
    let (answer, took, calls) = met::<W>(&world, Method::GET, Body::Empty).await;
    assert_eq!((answer.status, took, calls), (503, 3 * SECOND, 2));
    assert_eq!(answer.headers["retry-after"], "3");
}

async fn i8_a_post_is_repeated_after_a_503_of_the_gateway_only<W: Way>() {
    for (method, is_the_gateways, expected) in [
        (Method::POST, false, (503, Duration::ZERO, 1)),
        (Method::PATCH, false, (503, Duration::ZERO, 1)),
        (Method::POST, true, (200, 3 * SECOND, 2)),
        (Method::PATCH, true, (200, 3 * SECOND, 2)),
        (Method::GET, true, (200, 3 * SECOND, 2)),
    ] {
        let case = format!("{method}, {is_the_gateways}");
        let profile = ApiProfile::default().gateway_unavailable(is_the_gateways);
        let world = World::with(|builder| builder.api(profile)).await;
        world.api.answer_next(busy("3"));
        let (answer, took, calls) = met::<W>(&world, method, Body::Text("record")).await;
        assert_eq!((answer.status, took, calls), expected, "{case}");
        assert_eq!(world.server.exchanges(), 0);
    }
}

async fn i8_a_503_and_a_401_are_handled_once_each<W: Way>() {
    let unauthorized = || testing::Answer::status(401);
    for (answers, status) in [
        ([busy("3"), unauthorized()].to_vec(), 200),
        ([unauthorized(), busy("3")].to_vec(), 200),
        ([busy("3"), unauthorized(), busy("3")].to_vec(), 503),
        ([unauthorized(), busy("3"), unauthorized()].to_vec(), 401),
    ] {
        let world = World::new().await;
        for answer in answers {
            world.api.answer_next(answer);
        }
        let (answer, took, calls) = met::<W>(&world, Method::GET, Body::Empty).await;
        assert_eq!((answer.status, took, calls), (status, 3 * SECOND, 3));
        assert_eq!(world.server.exchanges(), 1);
    }
}

async fn the_503_of_a_stream_that_cannot_be_repeated_is_returned_at_once<W: Way>() {
    let world = World::new().await;
    world.api.answer_next(busy("3"));
    let body = Body::Stream(&["one\x1D", "two\x1D"]);
    let (answer, took, calls) = met::<W>(&world, Method::PUT, body).await;
    assert_eq!((answer.status, took, calls), (503, Duration::ZERO, 1));
}

/// A hand-written loop does not report a 503 to the manager, because a 503 costs no token. The loop waits by the
/// `Retry-After` of the answer.
#[tokio::test(start_paused = true)]
async fn a_hand_written_loop_gets_a_503_at_once() {
    let world = World::new().await;
    world.api.answer_next(busy("3"));
    let (answer, took, calls) = met::<ByHand>(&world, Method::GET, Body::Empty).await;
    assert_eq!((answer.status, took, calls), (503, Duration::ZERO, 1));
    assert_eq!(answer.headers["retry-after"], "3");
    assert_eq!(world.server.exchanges(), 0);
}

#[tokio::test(start_paused = true)]
async fn i8_a_503_with_a_wait_beyond_the_deadline_or_without_one_is_returned_at_once() {
    let returned = (503, Duration::ZERO, 1);
    for (after, expected) in [
        ("36", returned),
        ("3600", returned),
        ("99999999999", returned),
        ("soon", returned),
        ("-1", returned),
        ("", returned),
        ("35", (200, 35 * SECOND, 2)),
        ("0", (200, Duration::ZERO, 2)),
        // The wait is a date. The clock reads 22:13:20, and so does the `Date` of the answer.
        ("Tue, 14 Nov 2023 22:13:23 GMT", (200, 3 * SECOND, 2)),
    ] {
        let world = World::new().await;
        world.api.answer_next(busy(after));
        let (answer, took, calls) = met::<BySend>(&world, Method::GET, Body::Empty).await;
        assert_eq!((answer.status, took, calls), expected, "{after}");
        assert_eq!(world.server.exchanges(), 0, "{after}");
    }
}

#[tokio::test(start_paused = true)]
async fn i8_a_503_without_retry_after_is_returned_at_once() {
    let world = World::new().await;
    world.api.answer_next(testing::Answer::status(503));
    assert_eq!(world.get("/records").await, 503);
    assert_eq!(world.counts(), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn i8_the_second_request_is_the_first_unchanged() {
    let api = Recorder::with("/records?page=2", || reply(503, &[("retry-after", "1")])).await;
    let world = World::new().await;
    let tokens = world.manager(api.origin());
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
    assert_eq!(world.get("/records").await, 200);
    assert_eq!(world.counts(), (2, 0, 1));
}
