//! Requests that are sent once: a request that was not rejected, and a request that cannot be cloned.

use std::time::Duration;

use bytes::Bytes;
use evertoken::testing::{Answer, Fault};
use evertoken::{Error, TokenManager};
use futures_util::stream;
use reqwest::{Body, RequestBuilder};
use tokio::time::timeout;

use crate::recorder::{Arrived, Recorder, Reply, reply};
use crate::world::{SECOND, World};

/// A request with a body that can be read once.
fn streamed(request: RequestBuilder) -> RequestBuilder {
    let parts = ["one\x1D", "two\x1D", "three\x1D"].map(Ok::<_, std::io::Error>);
    request.body(Body::wrap_stream(stream::iter(parts)))
}

#[tokio::test(start_paused = true)]
async fn i6_the_401_of_a_streamed_body_is_returned_and_the_next_request_works() {
    let world = World::with_stale_token().await;
    let request = streamed(world.client.post(world.http.url()));
    let response = world.send(request).await;
    assert_eq!(response.status(), 401);
    assert_eq!(response.text().await.unwrap(), "Invalid token");
    let request = streamed(world.client.post(world.http.url()));
    let response = world.send(request).await;
    assert_eq!(response.status(), 200);
    assert_eq!(world.counts(), (2, 1, 1));
    assert_eq!(world.api.records(), 3);
}

/// The rotation needs no further request: a job that only streams must not meet a 401 each time.
#[tokio::test(start_paused = true)]
async fn i6_the_token_is_replaced_although_no_request_follows() {
    let world = World::with_stale_token().await;
    let request = streamed(world.client.post(world.http.url()));
    world.send(request).await;
    timeout(SECOND, world.server.arrived(1)).await.unwrap();
    assert_eq!(world.counts(), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn i6_the_401_of_a_streamed_body_is_returned_although_the_token_cannot_be_replaced() {
    let world = World::with_stale_token().await;
    world.server.set_reachable(false);
    let request = streamed(world.client.post(world.http.url()));
    assert_eq!(world.send(request).await.status(), 401);
    assert_eq!(world.counts(), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn fm36_a_streaming_body_is_sent_once_and_never_fails_for_that() {
    let world = World::new().await;
    let request = || streamed(world.client.put(world.http.url()));
    let response = world.send(request()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(world.api.records(), 3);
    for status in [401, 500, 503] {
        let before = world.api.calls();
        let answer = Answer::status(status).header("retry-after", "1");
        world.api.answer_next(answer);
        let start = tokio::time::Instant::now();
        let response = world.send(request()).await;
        assert_eq!(response.status(), status);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(world.api.calls(), before + 1, "{status}");
    }
}

/// A manager for this server, and a world around it.
async fn manager_of(api: &Recorder) -> (World, TokenManager) {
    let world = World::new().await;
    let tokens = world.manager(api.origin());
    (world, tokens)
}

#[tokio::test(start_paused = true)]
async fn i7_a_post_that_met_a_server_error_is_not_repeated() {
    for status in [500, 502, 503, 504] {
        let api = Recorder::with("/records", move || reply(status, &[])).await;
        let (world, tokens) = manager_of(&api).await;
        let post = world.client.post(api.url("/records")).body("record");
        assert_eq!(tokens.send(post).await.unwrap().status(), status);
        assert_eq!(api.lines(), ["POST /records"]);
        assert_eq!(world.server.exchanges(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn i7_a_post_whose_connection_was_dropped_is_not_repeated() {
    let api = Recorder::with("/records", || None).await;
    let (world, tokens) = manager_of(&api).await;
    // The request uses a new connection first, and then a kept one.
    for path in ["/first", "/second"] {
        let before = api.seen().len();
        let post = world.client.post(api.url("/records")).body("record");
        let error = tokens.send(post).await.unwrap_err();
        assert!(matches!(error, Error::Request { .. }), "{error}");
        assert!(!error.needs_sign_in());
        assert_eq!(api.seen().len(), before + 1);
        tokens.send(world.client.get(api.url(path))).await.unwrap();
    }
    assert_eq!(world.server.exchanges(), 0);
}

fn moved(status: u16) -> impl Fn(Arrived) -> std::future::Ready<Reply> + Clone + Send + Sync {
    move |request| {
        std::future::ready(match request.path.as_str() {
            "/records" => reply(status, &[("location", "/done")]),
            _ => reply(401, &[]),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn i7_a_post_that_was_redirected_is_not_repeated_for_a_401_behind_it() {
    for status in [301, 302, 303, 307, 308] {
        let second = if status < 307 {
            "GET /done"
        } else {
            "POST /done"
        };
        let api = Recorder::start(moved(status)).await;
        let (world, tokens) = manager_of(&api).await;
        let post = world.client.post(api.url("/records")).body("record");
        assert_eq!(tokens.send(post).await.unwrap().status(), 401);
        assert_eq!(api.lines(), ["POST /records", second]);
        // The token was rejected nevertheless, so it is replaced.
        world.server.arrived(1).await;
        assert_eq!(world.server.exchanges(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn i7_an_answer_that_cannot_be_improved_is_returned_although_the_rotation_fails() {
    let api = Recorder::start(moved(307)).await;
    let (world, tokens) = manager_of(&api).await;
    world.server.fail_always(Some(Fault::status(500)));
    let post = world.client.post(api.url("/records")).body("record");
    assert_eq!(tokens.send(post).await.unwrap().status(), 401);
    assert_eq!(api.lines(), ["POST /records", "POST /done"]);
}

#[tokio::test(start_paused = true)]
async fn a_safe_request_that_was_redirected_is_replayed_from_its_start() {
    let world = World::with_stale_token().await;
    let to = Answer::status(302).header("location", "/records");
    world.api.answer_path("/moved", to);
    assert_eq!(world.get("/moved").await, 200);
    let seen = world.api.seen();
    let paths: Vec<_> = seen.iter().map(|seen| seen.path.as_str()).collect();
    assert_eq!(paths, ["/moved", "/records", "/moved", "/records"]);
    assert_eq!(world.server.exchanges(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_huge_body_is_replayed_whole() {
    const LENGTH: usize = 64 << 20;
    let world = World::with_stale_token().await;
    let request = world.client.post(world.http.url());
    let request = request.body(Bytes::from(vec![b'x'; LENGTH]));
    assert_eq!(world.send(request).await.status(), 200);
    let bodies: Vec<_> = world.api.seen().iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, [LENGTH as u64; 2]);
    assert_eq!(world.counts(), (2, 1, 1));
}
