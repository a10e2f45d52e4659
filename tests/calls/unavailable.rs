//! A gateway's 503 with `Retry-After`: the manager waits once and repeats the call if that does no harm.

use std::time::Duration;

use evertoken::ApiProfile;
use evertoken::testing;
use http::Method;
use tokio::time::Instant;

use crate::ways::{Answer, Body, ByHand, Call, Way, ways};
use crate::world::{SECOND, World};

ways! {
    #[tokio::test(start_paused = true)]
    ready ways:
    a_503_is_waited_for_and_the_call_is_repeated_once,
    a_second_503_is_returned,
    a_post_is_repeated_after_a_503_of_the_gateway_only,
    a_503_and_a_401_are_handled_once_each,
}

ways! {
    #[tokio::test(start_paused = true)]
    given ways:
    the_503_of_a_stream_that_cannot_be_repeated_is_returned_at_once,
}

fn busy() -> testing::Answer {
    testing::Answer::status(503).header("retry-after", "3")
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

async fn a_503_is_waited_for_and_the_call_is_repeated_once<W: Way>() {
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let world = World::new().await;
        world.api.answer_next(busy());
        let (answer, took, calls) = met::<W>(&world, method, Body::Text("record")).await;
        assert_eq!((answer.status, took, calls), (200, 3 * SECOND, 2));
        assert_eq!(world.server.exchanges(), 0);
    }
}

async fn a_second_503_is_returned<W: Way>() {
    let world = World::new().await;
    world.api.answer_next(busy());
    world.api.answer_next(busy());
    let (answer, took, calls) = met::<W>(&world, Method::GET, Body::Empty).await;
    assert_eq!((answer.status, took, calls), (503, 3 * SECOND, 2));
    assert_eq!(answer.headers["retry-after"], "3");
}

async fn a_post_is_repeated_after_a_503_of_the_gateway_only<W: Way>() {
    for (is_the_gateways, expected) in [
        (false, (503, Duration::ZERO, 1)),
        (true, (200, 3 * SECOND, 2)),
    ] {
        let profile = ApiProfile::default().gateway_unavailable(is_the_gateways);
        let world = World::with(|builder| builder.api(profile)).await;
        world.api.answer_next(busy());
        let (answer, took, calls) = met::<W>(&world, Method::POST, Body::Text("record")).await;
        assert_eq!((answer.status, took, calls), expected);
    }
}

async fn a_503_and_a_401_are_handled_once_each<W: Way>() {
    let unauthorized = || testing::Answer::status(401);
    for (answers, status) in [
        ([busy(), unauthorized()].to_vec(), 200),
        ([unauthorized(), busy()].to_vec(), 200),
        ([busy(), unauthorized(), busy()].to_vec(), 503),
        ([unauthorized(), busy(), unauthorized()].to_vec(), 401),
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
    world.api.answer_next(busy());
    let body = Body::Stream(&["one\x1D", "two\x1D"]);
    let (answer, took, calls) = met::<W>(&world, Method::PUT, body).await;
    assert_eq!((answer.status, took, calls), (503, Duration::ZERO, 1));
}

/// A hand-written loop does not report a 503 to the manager, because a 503 costs no token. The loop waits by the
/// `Retry-After` of the answer.
#[tokio::test(start_paused = true)]
async fn a_hand_written_loop_gets_a_503_at_once() {
    let world = World::new().await;
    world.api.answer_next(busy());
    let (answer, took, calls) = met::<ByHand>(&world, Method::GET, Body::Empty).await;
    assert_eq!((answer.status, took, calls), (503, Duration::ZERO, 1));
    assert_eq!(answer.headers["retry-after"], "3");
    assert_eq!(world.server.exchanges(), 0);
}
