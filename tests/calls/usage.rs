//! Correct and wrong uses.

use evertoken::{Error, TokenPair};
use reqwest::{Client, Method};
use tokio::time::Instant;

use crate::recorder::{Recorder, reply};
use crate::world::{ACCESS_TTL, SECOND, World, access};

#[tokio::test(start_paused = true)]
async fn every_method_is_replayed_after_a_rejection() {
    for method in [
        "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH", "PROPFIND",
    ] {
        let world = World::with_stale_token().await;
        let method: Method = method.parse().unwrap();
        let request = world.client.request(method.clone(), world.http.url());
        let response = world.send(request.body("record")).await;
        assert_eq!(response.status(), 200, "{method}");
        assert_eq!(world.counts(), (2, 1, 1));
        let seen = world.api.seen();
        let is_whole = seen.iter().all(|it| it.method == method && it.body == 6);
        assert!(is_whole, "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_body_is_replayed() {
    let world = World::with_stale_token().await;
    let request = world.client.post(world.http.url());
    assert_eq!(world.send(request).await.status(), 200);
    assert_eq!(world.counts(), (2, 1, 1));
}

/// A fragment never reaches the server, and odd characters come back in another spelling. Neither may look like a redirect.
#[tokio::test(start_paused = true)]
async fn requests_to_urls_with_odd_spellings_are_replayed_too() {
    for path in [
        "/records#part",
        "/records?#",
        "/records?q={a}|b^`\"c d",
        "/re cords/ü/{x}|\\y",
        "//records/../records//",
        "",
    ] {
        let world = World::with_stale_token().await;
        let request = world.client.post(world.url(path)).body("record");
        let response = world.send(request).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(world.counts(), (2, 1, 1), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_built_is_an_error_and_costs_nothing() {
    let world = World::new().await;
    world.clock.advance(ACCESS_TTL).await;
    let url = world.http.url();
    for request in [
        world.client.get("not a url"),
        world.client.get("/records"),
        world.client.get(""),
        world.client.get(url).header("bad name", "x"),
        world.client.get(url).header("x-own", "two\nlines"),
    ] {
        let error = world.tokens.send(request).await.unwrap_err();
        assert!(matches!(&error, Error::Request { source, .. } if source.is_builder()));
        assert!(!error.needs_sign_in());
    }
    for url in [
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "data:,x",
        "mailto:a@b.c",
    ] {
        let error = world.tokens.send(world.client.get(url)).await.unwrap_err();
        assert!(matches!(error, Error::Request { .. }), "{url}: {error}");
    }
    assert_eq!(world.counts(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_is_returned_and_leaves_the_token_alone() {
    let world = World::new().await;
    let url = world.http.url().to_owned();
    drop(world.http);
    // The address is free as soon as the server's task has ended.
    world.clock.advance(SECOND).await;
    let error = world.tokens.send(Client::new().get(url)).await.unwrap_err();
    assert!(matches!(&error, Error::Request { source, .. } if source.is_connect()));
    assert_eq!(world.server.exchanges(), 0);
    let token = world.tokens.token().await.unwrap();
    assert_eq!(token.expose(), access(&world.first));
}

#[tokio::test(start_paused = true)]
async fn the_requests_own_timeout_does_not_count_the_wait_for_a_token() {
    let world = World::new().await;
    world.tokens.token().await.unwrap();
    world.clock.advance(ACCESS_TTL).await;
    let held = world.server.hold();
    let request = world.record().timeout(SECOND);
    let tokens = world.tokens.clone();
    let sending = tokio::spawn(async move { tokens.send(request).await });
    world.clock.advance(5 * SECOND).await;
    drop(held);
    assert_eq!(sending.await.unwrap().unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_missing_token_is_an_error_at_the_callers_deadline() {
    let world = World::new().await;
    let tokens = world
        .builder(&world.first)
        .origin(world.http.origin())
        .wait(31 * SECOND)
        .build()
        .unwrap();
    tokens.token().await.unwrap();
    world.clock.advance(ACCESS_TTL).await;
    let held = world.server.hold();
    let start = Instant::now();
    let error = tokens.send(world.record()).await.unwrap_err();
    assert!(start.elapsed() <= 31 * SECOND, "{:?}", start.elapsed());
    assert!(error.is_retryable(), "{error}");
    assert_eq!(world.api.calls(), 0);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn after_shutdown_nothing_is_sent_with_a_token() {
    let world = World::new().await;
    world.import().await;
    world.tokens.shutdown().await.unwrap();
    let error = world.refused().await;
    assert!(matches!(error, Error::ShutDown), "{error}");
    assert_eq!(world.counts(), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_no_header_may_carry_is_a_typed_error() {
    let world = World::new().await;
    let odd = TokenPair::new("two\nlines").expires_in(ACCESS_TTL);
    let tokens = world.seeded(&odd);
    let error = tokens.send(world.record()).await.unwrap_err();
    assert!(matches!(error, Error::InvalidHeader), "{error}");
    assert_eq!(world.api.calls(), 0);
}

/// Forms, JSON and the client's own headers arrive both times.
#[tokio::test(start_paused = true)]
async fn a_replay_is_the_same_request_with_another_token() {
    let first = Recorder::start(|request: crate::recorder::Arrived| {
        let is_replay = request.header("x-attempt").is_none();
        std::future::ready(reply(if is_replay { 500 } else { 401 }, &[]))
    })
    .await;
    let world = World::new().await;
    let tokens = world.manager(first.origin());
    let put = world.client.put(first.url("/records?page=2"));
    let put = put.header("x-attempt", "7").json(&["a", "b"]);
    assert_eq!(tokens.send(put).await.unwrap().status(), 401);
    let mut seen = first.seen();
    assert_eq!(seen.len(), 2);
    let tokens: Vec<_> = seen
        .iter_mut()
        .map(|seen| seen.headers.remove("authorization").unwrap())
        .collect();
    assert_ne!(tokens[0], tokens[1]);
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
}

#[tokio::test(start_paused = true)]
async fn the_manager_may_be_dropped_while_a_request_is_on_its_way() {
    let World {
        tokens,
        api,
        http,
        client,
        server,
        ..
    } = World::with_stale_token().await;
    let request = client.post(http.url()).body("record");
    let sending = tokio::spawn(async move { tokens.send(request).await });
    assert_eq!(sending.await.unwrap().unwrap().status(), 200);
    assert_eq!((api.calls(), server.exchanges()), (2, 1));
}
