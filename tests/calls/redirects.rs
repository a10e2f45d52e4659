//! Redirects: the token stays within the origins, and an answer to a request without the token does not reject it.

use std::sync::Arc;

use evertoken::testing::Answer;
use evertoken::{Error, TokenManager};
use http::{HeaderName, Method};
use reqwest::Client;
use tokio::time::timeout;

use crate::recorder::{Arrived, Recorder, reply};
use crate::ways::{Body, Call, Way, ways};
use crate::world::{ACCESS_TTL, SECOND, World, access};

ways! {
    #[tokio::test(start_paused = true)]
    ways that follow redirects within origins:
    a_redirect_within_the_origin_keeps_the_token,
    a_401_behind_a_redirect_within_the_origin_costs_one_refresh,
    a_post_is_not_repeated_for_a_401_behind_a_redirect,
}

ways! {
    #[tokio::test(start_paused = true)]
    ways that follow redirects to anywhere:
    a_redirect_to_another_host_takes_no_token_there_and_its_401_costs_nothing,
    a_redirect_away_and_back_costs_at_most_one_refresh_for_each_token_that_comes_otherwise,
}

ways! {
    #[tokio::test(start_paused = true)]
    ways that stay within origins:
    a_redirect_to_another_host_is_returned_and_leads_nowhere,
    a_redirect_away_and_back_costs_no_refresh,
}

ways! {
    #[tokio::test(start_paused = true)]
    ways without redirects:
    a_client_that_follows_no_redirect_gets_it_back,
}

const OKAPI_TOKEN: HeaderName = HeaderName::from_static("x-okapi-token");

fn to(status: u16, url: impl Into<String>) -> Answer {
    Answer::status(status).header("location", url)
}

/// A server that redirects every request back to the API, to this path.
async fn boomerang(world: &World, path: &str) -> Recorder {
    let back = world.url(path);
    Recorder::always(move || reply(302, &[("location", &back)])).await
}

async fn a_redirect_within_the_origin_keeps_the_token<W: Way>() {
    let world = World::new().await;
    let way = W::new(&world.tokens);
    for status in [301, 302, 303, 307, 308] {
        world.api.answer_path("/moved", to(status, "/records"));
        let answer = way.status(Call::get(world.url("/moved"))).await;
        assert_eq!(answer, 200, "{status}");
    }
    assert!(world.api.seen().iter().all(|seen| seen.bearer));
    assert_eq!(world.counts(), (10, 0, 0));
    world.api.answer_path("/moved", to(307, "/records"));
    assert_eq!(way.status(Call::post(world.url("/moved"))).await, 200);
    assert_eq!(world.api.records(), 1);
}

async fn a_401_behind_a_redirect_within_the_origin_costs_one_refresh<W: Way>() {
    let world = World::with_stale_token().await;
    let way = W::new(&world.tokens);
    world.api.answer_path("/moved", to(307, "/records"));
    assert_eq!(way.status(Call::get(world.url("/moved"))).await, 200);
    assert_eq!(world.counts(), (4, 1, 1));
}

/// The redirect shows that the server may have acted on the request.
async fn a_post_is_not_repeated_for_a_401_behind_a_redirect<W: Way>() {
    let world = World::with_stale_token().await;
    let way = W::new(&world.tokens);
    world.api.answer_path("/moved", to(307, "/records"));
    assert_eq!(way.status(Call::post(world.url("/moved"))).await, 401);
    assert_eq!((world.api.calls(), world.api.records()), (2, 0));
    // The token is replaced nevertheless.
    timeout(SECOND, world.server.arrived(1)).await.unwrap();
    assert_eq!(way.status(Call::post(world.url("/moved"))).await, 200);
    assert_eq!(world.counts(), (4, 1, 1));
}

async fn a_redirect_to_another_host_takes_no_token_there_and_its_401_costs_nothing<W: Way>() {
    let elsewhere = Recorder::with("/401", || reply(401, &[])).await;
    let world = World::new().await;
    let way = W::new(&world.tokens);
    for status in [301, 302, 303, 307, 308] {
        let away = to(status, elsewhere.url("/401"));
        world.api.answer_path("/moved", away);
        assert_eq!(way.status(Call::get(world.url("/moved"))).await, 401);
    }
    let seen = elsewhere.seen();
    assert_eq!(seen.len(), 5);
    for seen in seen {
        let shown = format!("{:?}", seen.headers);
        assert!(!shown.contains(access(&world.first)), "{shown}");
    }
    assert_eq!(world.counts(), (5, 0, 0));
}

async fn a_redirect_to_another_host_is_returned_and_leads_nowhere<W: Way>() {
    let elsewhere = Recorder::with("/401", || reply(401, &[])).await;
    let world = World::new().await;
    let way = W::new(&world.tokens);
    for status in [301, 302, 303, 307, 308] {
        let away = elsewhere.url("/401");
        world.api.answer_path("/moved", to(status, away.clone()));
        for method in [Method::GET, Method::POST] {
            let call = Call::new(method, world.url("/moved"), Body::Empty);
            let answer = way.call(call).await.unwrap();
            assert_eq!(answer.status, status);
            assert_eq!(answer.headers["location"], away);
        }
    }
    assert_eq!(elsewhere.lines(), [""; 0]);
    assert_eq!(world.counts(), (10, 0, 0));
}

/// Calls with a redirect away and back, each followed by a call that the API accepts.
async fn led_away_and_back<W: Way>(world: &World, way: &W, status: u16) {
    for _ in 0..20 {
        assert_eq!(way.status(Call::get(world.url("/away"))).await, status);
        assert_eq!(way.status(Call::post(world.http.url())).await, 200);
        world.clock.advance(2 * SECOND).await;
    }
}

async fn a_redirect_away_and_back_costs_at_most_one_refresh_for_each_token_that_comes_otherwise<
    W: Way,
>() {
    let world = World::new().await;
    let elsewhere = boomerang(&world, "/records").await;
    let way = W::new(&world.tokens);
    world.api.answer_path("/away", to(302, elsewhere.url("/")));
    // The client has removed the token, so the API answers 401.
    led_away_and_back(&world, &way, 401).await;
    assert_eq!(world.server.exchanges(), 1);
    led_away_and_back(&world, &way, 401).await;
    assert_eq!(world.server.exchanges(), 1);
    // The next token comes from a regular rotation, and costs one more refresh.
    world.clock.advance(ACCESS_TTL).await;
    led_away_and_back(&world, &way, 401).await;
    assert_eq!(world.server.exchanges(), 3);
    let seen = elsewhere.seen();
    assert!(seen.iter().all(|seen| seen.token().is_none()));
}

async fn a_redirect_away_and_back_costs_no_refresh<W: Way>() {
    let world = World::new().await;
    let elsewhere = boomerang(&world, "/records").await;
    let way = W::new(&world.tokens);
    world.api.answer_path("/away", to(302, elsewhere.url("/")));
    led_away_and_back(&world, &way, 302).await;
    assert_eq!(world.counts(), (40, 0, 0));
    assert_eq!(elsewhere.lines(), [""; 0]);
}

async fn a_client_that_follows_no_redirect_gets_it_back<W: Way>() {
    let world = World::new().await;
    let way = W::new(&world.tokens);
    world.api.answer_path("/moved", to(307, "/records"));
    let answer = way.call(Call::get(world.url("/moved"))).await.unwrap();
    assert_eq!(answer.status, 307);
    assert_eq!(answer.headers["location"], "/records");
    assert_eq!(world.counts(), (1, 0, 0));
}

/// A manager that sends its token in its own header.
fn with_own_header(world: &World) -> TokenManager {
    let builder = world.builder(&world.first).header(OKAPI_TOKEN);
    builder.origin(world.http.origin()).build().unwrap()
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
        assert_eq!(world.get("/broken").await, 401);
        assert_eq!(world.get("/moved").await, 200);
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
    for tokens in [world.tokens.clone(), with_own_header(&world)] {
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
    let world = World::with(|builder| builder.origin(other.origin()).header(OKAPI_TOKEN)).await;
    *first.lock() = access(&world.first).to_owned();
    let ours = world.tokens.client(Client::builder).unwrap();
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
