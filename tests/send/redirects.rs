//! Redirects: the token stays within the origins and never reaches another host.

use std::sync::Arc;

use evertoken::testing::Answer;
use evertoken::{Error, TokenManager};
use http::HeaderName;
use reqwest::Client;

use super::recorder::{Arrived, Recorder, reply};
use super::world::{ACCESS_TTL, SECOND, World, access, builder};

const OKAPI_TOKEN: HeaderName = HeaderName::from_static("x-okapi-token");

fn to(status: u16, url: impl Into<String>) -> Answer {
    Answer::status(status).header("location", url)
}

/// A manager that sends its token in its own header.
fn with_own_header(world: &World) -> TokenManager {
    builder(&world.server, &world.clock, &world.first)
        .origin(world.http.origin())
        .header(OKAPI_TOKEN)
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_redirect_within_the_origin_keeps_the_token_of_send() {
    let world = World::new().await;
    for status in [301, 302, 303, 307, 308] {
        world.api.answer_path("/moved", to(status, "/records"));
        let get = world.client.get(world.url("/moved"));
        assert_eq!(world.tokens.send(get).await.unwrap().status(), 200);
    }
    assert!(world.api.seen().iter().all(|seen| seen.bearer));
    assert_eq!(world.counts(), (10, 0, 0));

    world.api.answer_path("/moved", to(307, "/records"));
    let post = world.client.post(world.url("/moved")).body("record");
    assert_eq!(world.tokens.send(post).await.unwrap().status(), 200);
    assert_eq!(world.api.records(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_redirect_to_another_host_carries_no_token_and_its_401_rejects_none() {
    let elsewhere = Recorder::with("/401", || reply(401, &[])).await;
    let world = World::new().await;
    for status in [301, 302, 303, 307, 308] {
        world
            .api
            .answer_path("/moved", to(status, elsewhere.url("/401")));
        let get = world.client.get(world.url("/moved"));
        assert_eq!(world.tokens.send(get).await.unwrap().status(), 401);
    }
    assert_eq!(elsewhere.seen().len(), 5);
    for seen in elsewhere.seen() {
        let shown = format!("{:?}", seen.headers);
        assert!(!shown.contains(access(&world.first)), "{shown}");
    }
    assert_eq!(world.counts(), (5, 0, 0));
    let token = world.tokens.token().await.unwrap();
    assert_eq!(token.expose(), access(&world.first));
}

/// A 200 of another host says nothing about the token, and must not reset the pause after rejections.
#[tokio::test(start_paused = true)]
async fn an_answer_of_another_host_does_not_count_as_an_acceptance() {
    let elsewhere = Recorder::with("/none", || None).await;
    let world = World::new().await;
    world.api.answer_path("/broken", Answer::status(401));
    world
        .api
        .answer_path("/moved", to(302, elsewhere.url("/page")));
    for _ in 0..2 {
        let broken = world.client.get(world.url("/broken"));
        assert_eq!(world.tokens.send(broken).await.unwrap().status(), 401);
        let moved = world.client.get(world.url("/moved"));
        assert_eq!(world.tokens.send(moved).await.unwrap().status(), 200);
        // Longer than the shortest interval between two rotations, and shorter than the pause after a rejection.
        world.clock.advance(SECOND * 3 / 2).await;
    }
    assert_eq!(world.server.exchanges(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_in_its_own_header_is_not_sent_by_a_foreign_client() {
    let world = World::new().await;
    let tokens = with_own_header(&world);
    world.clock.advance(ACCESS_TTL).await;
    let error = tokens.send(world.record()).await.unwrap_err();
    assert!(matches!(error, Error::ForeignClient), "{error}");
    assert!(!error.needs_sign_in() && !error.is_retryable());
    assert_eq!(world.counts(), (0, 0, 0));
    // Any client may send a request without a token.
    let elsewhere = Recorder::with("/none", || None).await;
    let get = world.client.get(elsewhere.url("/"));
    assert_eq!(tokens.send(get).await.unwrap().status(), 200);
    assert_eq!(elsewhere.seen()[0].header("x-okapi-token"), None);
}

#[tokio::test(start_paused = true)]
async fn our_own_client_sends_a_token_in_its_own_header_and_replays_it() {
    let world = World::new().await;
    let tokens = with_own_header(&world);
    let ours = tokens.client(Client::builder).unwrap();
    let post = ours.http().post(world.http.url()).body("record");
    assert_eq!(ours.send(post).await.unwrap().status(), 200);
    world.api.answer_next(Answer::status(401));
    // Another client built the request, and our client sends it.
    assert_eq!(ours.send(world.record()).await.unwrap().status(), 200);
    assert_eq!(world.counts(), (3, 1, 1));
    assert_eq!(world.api.anonymous(), 0);
}

#[tokio::test(start_paused = true)]
async fn our_own_client_returns_a_redirect_that_leads_elsewhere() {
    let elsewhere = Recorder::with("/none", || None).await;
    let world = World::new().await;
    for own_header in [false, true] {
        let tokens = if own_header {
            with_own_header(&world)
        } else {
            world.tokens.clone()
        };
        let ours = tokens.client(Client::builder).unwrap();
        for status in [301, 302, 303, 307, 308] {
            world
                .api
                .answer_path("/moved", to(status, elsewhere.url("/")));
            world.api.answer_path("/twice", to(302, "/moved"));
            for path in ["/moved", "/twice"] {
                let post = world.client.post(world.url(path)).body("record");
                let response = ours.send(post).await.unwrap();
                assert_eq!(response.status(), status);
                assert_eq!(response.headers()["location"], elsewhere.url("/"));
            }
        }
    }
    assert_eq!(elsewhere.lines(), [""; 0]);
    assert_eq!(world.server.exchanges(), 0);
}

/// The redirect policy of the user's builder has no effect.
#[tokio::test(start_paused = true)]
async fn our_own_client_has_its_own_redirect_policy_whatever_the_builder_sets() {
    let elsewhere = Recorder::with("/none", || None).await;
    let world = World::new().await;
    let tokens = with_own_header(&world);
    let http = || Client::builder().redirect(reqwest::redirect::Policy::limited(5));
    let ours = tokens.client(http).unwrap();
    world.api.answer_path("/moved", to(302, elsewhere.url("/")));
    let get = ours.http().get(world.url("/moved"));
    assert_eq!(ours.send(get).await.unwrap().status(), 302);
    assert_eq!(elsewhere.seen().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn our_own_client_keeps_a_token_within_the_origin() {
    let world = World::new().await;
    let ours = with_own_header(&world).client(Client::builder).unwrap();
    world.api.answer_path("/moved", to(307, "/records"));
    let post = world.client.post(world.url("/moved")).body("record");
    assert_eq!(ours.send(post).await.unwrap().status(), 200);
    assert_eq!((world.api.calls(), world.api.anonymous()), (2, 0));
}

/// A redirect from one configured origin to another carries a header other than `Authorization`, so a rejection by the
/// second origin counts as well.
#[tokio::test(start_paused = true)]
async fn a_401_from_another_configured_origin_that_got_the_token_replaces_it() {
    let first = Arc::new(parking_lot::Mutex::new(String::new()));
    let old = first.clone();
    let other = Recorder::start(move |request: Arrived| {
        let is_old = request.header("x-okapi-token") == Some(&*old.lock());
        std::future::ready(reply(if is_old { 401 } else { 200 }, &[]))
    })
    .await;
    let world = World::new().await;
    *first.lock() = access(&world.first).to_owned();
    let tokens = builder(&world.server, &world.clock, &world.first)
        .origin(world.http.origin())
        .origin(other.origin())
        .header(OKAPI_TOKEN)
        .build()
        .unwrap();
    let ours = tokens.client(Client::builder).unwrap();
    world.api.answer_path("/moved", to(307, other.url("/")));
    let get = ours.http().get(world.url("/moved"));
    assert_eq!(ours.send(get).await.unwrap().status(), 200);
    assert_eq!((other.seen().len(), world.server.exchanges()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_redirect_loop_ends_with_an_error() {
    let world = World::new().await;
    world.api.answer_path("/loop", to(302, "/loop"));
    let ours = world.tokens.client(Client::builder).unwrap();
    let get = || world.client.get(world.url("/loop"));
    let error = ours.send(get()).await.unwrap_err();
    assert!(matches!(&error, Error::Request { source, .. } if source.is_redirect()));
    assert_eq!(world.api.calls(), 11);
    let error = world.tokens.send(get()).await.unwrap_err();
    assert!(matches!(&error, Error::Request { source, .. } if source.is_redirect()));
    assert_eq!(world.counts(), (22, 0, 0));
}

/// Post, redirect, get at one URL: the API rejected the GET, and acted on the POST.
#[tokio::test(start_paused = true)]
async fn i7_our_own_client_repeats_no_post_that_was_answered_by_a_redirect_to_its_own_url() {
    let world = World::new().await;
    let http = world.tokens.client(Client::builder).unwrap();
    world.api.answer_next(to(303, "/records"));
    world.api.answer_next(Answer::status(401));
    let post = http.http().post(world.url("/records")).body("record");
    assert_eq!(http.send(post).await.unwrap().status(), 401);
    let methods: Vec<_> = world
        .api
        .seen()
        .iter()
        .map(|seen| seen.method.to_string())
        .collect();
    assert_eq!(methods, ["POST", "GET"]);
}

/// The token never reaches a host that redirects within itself; another client would send it there.
#[tokio::test(start_paused = true)]
async fn our_own_client_brings_no_token_to_the_second_page_of_a_foreign_host() {
    let elsewhere = Recorder::with("/x", || reply(302, &[("location", "/y")])).await;
    let world = World::new().await;
    let http = world.tokens.client(Client::builder).unwrap();
    world
        .api
        .answer_path("/moved", to(302, elsewhere.url("/x")));
    let get = http.http().get(world.url("/moved"));
    assert_eq!(http.send(get).await.unwrap().status(), 302);
    assert!(elsewhere.seen().is_empty());
}
