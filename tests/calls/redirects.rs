//! Redirects: the token stays within the origins, and an answer to a request without the token does not reject it.

use evertoken::testing::Answer;
use http::Method;
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

fn to(status: u16, url: impl Into<String>) -> Answer {
    Answer::status(status).header("location", url)
}

/// A server that redirects every request back to the API, to this path.
async fn boomerang(world: &World, path: &str) -> Recorder {
    let back = world.url(path);
    Recorder::start(move |_: Arrived| std::future::ready(reply(302, &[("location", &back)]))).await
}

async fn a_redirect_within_the_origin_keeps_the_token<W: Way>() {
    let world = World::new().await;
    let way = W::new(&world.tokens);
    for status in [301, 302, 303, 307, 308] {
        world.api.answer_path("/moved", to(status, "/records"));
        let answer = way.call(Call::get(world.url("/moved"))).await.unwrap();
        assert_eq!(answer.status, 200, "{status}");
    }
    assert!(world.api.seen().iter().all(|seen| seen.bearer));
    assert_eq!(world.counts(), (10, 0, 0));
}

async fn a_401_behind_a_redirect_within_the_origin_costs_one_refresh<W: Way>() {
    let world = World::with_stale_token().await;
    let way = W::new(&world.tokens);
    world.api.answer_path("/moved", to(307, "/records"));
    let answer = way.call(Call::get(world.url("/moved"))).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(world.counts(), (4, 1, 1));
}

/// The redirect shows that the server may have acted on the request.
async fn a_post_is_not_repeated_for_a_401_behind_a_redirect<W: Way>() {
    let world = World::with_stale_token().await;
    let way = W::new(&world.tokens);
    world.api.answer_path("/moved", to(307, "/records"));
    let answer = way.call(Call::post(world.url("/moved"))).await.unwrap();
    assert_eq!(answer.status, 401);
    assert_eq!((world.api.calls(), world.api.records()), (2, 0));
    // The token is replaced nevertheless.
    timeout(SECOND, world.server.arrived(1)).await.unwrap();
    let answer = way.call(Call::post(world.url("/moved"))).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(world.counts(), (4, 1, 1));
}

async fn a_redirect_to_another_host_takes_no_token_there_and_its_401_costs_nothing<W: Way>() {
    let elsewhere = Recorder::with("/401", || reply(401, &[])).await;
    let world = World::new().await;
    let way = W::new(&world.tokens);
    for status in [301, 302, 303, 307, 308] {
        let away = to(status, elsewhere.url("/401"));
        world.api.answer_path("/moved", away);
        let answer = way.call(Call::get(world.url("/moved"))).await.unwrap();
        assert_eq!(answer.status, 401);
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
        let answer = way.call(Call::get(world.url("/away"))).await.unwrap();
        assert_eq!(answer.status, status);
        let answer = way.call(Call::post(world.http.url())).await.unwrap();
        assert_eq!(answer.status, 200);
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
