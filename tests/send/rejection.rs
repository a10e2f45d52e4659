//! An API that rejects the token: one rotation, one replay, and no storm.

use std::time::Duration;

use evertoken::testing::{Answer, AuthorizationServer, Gateway, ImportApi, TestClock};
use evertoken::{ApiProfile, TokenManager, TokenPair};
use http::StatusCode;
use reqwest::Client;

use super::recorder::{Recorder, reply};
use super::world::{ACCESS_TTL, SECOND, World, access, builder};

#[tokio::test(start_paused = true)]
async fn q6_a_401_costs_one_refresh_and_one_replay() {
    let world = World::with_stale_token().await;
    let response = world.tokens.send(world.record()).await.unwrap();
    assert_eq!(response.status(), 200);
    // Three calls in all: two of the API and one exchange.
    assert_eq!(world.counts(), (2, 1, 1));
    assert_eq!((world.api.records(), world.api.anonymous()), (1, 0));
    let bodies: Vec<_> = world.api.seen().iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, [6, 6]);
    // The new token is the current token from now on.
    world.tokens.send(world.record()).await.unwrap();
    assert_eq!(world.counts(), (3, 1, 1));
    assert_eq!(world.server.replays(), 0);
}

#[tokio::test(start_paused = true)]
async fn q2_an_expired_token_is_refreshed_before_the_request_is_sent() {
    let world = World::new().await;
    world.clock.advance(ACCESS_TTL).await;
    let response = world.tokens.send(world.record()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(world.counts(), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn q7_any_other_refusal_is_returned_untouched() {
    let world = World::new().await;
    for status in [400, 402, 403, 404, 407, 409, 422, 429, 501, 502] {
        let answer = Answer::status(status)
            .header("x-detail", "kept")
            .header("retry-after", "1")
            .body("permission required");
        let calls = world.api.calls();
        world.api.answer_next(answer);
        let response = world.tokens.send(world.record()).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["x-detail"], "kept");
        assert_eq!(response.text().await.unwrap(), "permission required");
        assert_eq!(world.api.calls(), calls + 1, "{status}");
    }
    assert_eq!(world.server.exchanges(), 0);
    // The token is unchanged as well.
    let token = world.tokens.token().await.unwrap();
    assert_eq!(token.expose(), access(&world.first));
}

#[tokio::test(start_paused = true)]
async fn q8_a_second_401_is_returned_and_causes_no_storm() {
    let world = World::new().await;
    world.api.answer_path("/records", Answer::status(401));
    let response = world.tokens.send(world.record()).await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(world.counts(), (2, 2, 1));
    for _ in 0..20 {
        world.clock.advance(Duration::from_millis(40)).await;
        let response = world.tokens.send(world.record()).await.unwrap();
        assert_eq!(response.status(), 401);
    }
    // Each request was sent once, with the current token.
    assert_eq!(world.counts(), (22, 22, 1));
    assert_eq!(world.api.anonymous(), 0);
}

#[tokio::test(start_paused = true)]
async fn q8_an_api_that_rejects_everything_is_tried_with_doubling_pauses() {
    let world = World::new().await;
    world.api.answer_path("/records", Answer::status(401));
    let mut rotated_at = Vec::new();
    for second in 0..60 {
        let before = world.server.exchanges();
        world.tokens.send(world.record()).await.unwrap();
        if world.server.exchanges() > before {
            rotated_at.push(second);
        }
        world.clock.advance(SECOND).await;
    }
    assert_eq!(rotated_at, [0, 2, 6, 14, 30]);
    assert_eq!(world.counts(), (65, 65, 5));
}

#[tokio::test(start_paused = true)]
async fn q8_many_at_once_cause_no_storm_either() {
    let world = World::new().await;
    world.api.answer_path("/records", Answer::status(401));
    let sends = (0..20).map(|_| world.tokens.send(world.record()));
    let responses = futures_util::future::join_all(sends).await;
    assert!(
        responses
            .iter()
            .all(|response| response.as_ref().unwrap().status() == 401)
    );
    assert_eq!(world.counts(), (40, 40, 1));
}

/// An API may reject every token on one path and accept it on another. The acceptance must not make every rejection count.
#[tokio::test(start_paused = true)]
async fn q8_a_path_that_rejects_every_token_causes_no_storm_beside_one_that_does_not() {
    let world = World::new().await;
    world.api.answer_path("/broken", Answer::status(401));
    for round in 0..51 {
        let broken = world.client.get(world.url("/broken"));
        assert_eq!(world.tokens.send(broken).await.unwrap().status(), 401);
        let works = world.tokens.send(world.record()).await.unwrap();
        assert_eq!(works.status(), 200);
        // The shortest interval between two rotations is one second. After that a rejection counts again.
        assert_eq!(world.server.exchanges(), 1 + round / 25);
        world.clock.advance(Duration::from_millis(40)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn i9_a_403_rotates_only_if_the_profile_lists_it() {
    let world = World::new().await;
    world.api.answer_next(Answer::status(403));
    let response = world.tokens.send(world.record()).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), world.counts()),
        (403, (1, 0, 0))
    );

    let both = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
    for status in [401, 403] {
        let profile = ApiProfile::default().reject_on(both);
        let world = World::with(|builder| builder.api(profile)).await;
        world.api.answer_next(Answer::status(status));
        let response = world.tokens.send(world.record()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!((world.api.calls(), world.server.exchanges()), (2, 1));
    }

    let profile = ApiProfile::default().reject_on([StatusCode::FORBIDDEN]);
    let world = World::with(|builder| builder.api(profile)).await;
    world.api.answer_next(Answer::status(401));
    let response = world.tokens.send(world.record()).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), world.counts()),
        (401, (1, 1, 0))
    );
}

#[tokio::test(start_paused = true)]
async fn i11_the_401_of_a_token_without_expiry_and_successor_is_returned() {
    let world = World::new().await;
    let fixed = TokenPair::new(access(&world.first)).never_expires();
    let tokens = TokenManager::builder(world.server.endpoint())
        .clock(world.clock.clone())
        .seed(fixed)
        .origin(world.http.origin())
        .build()
        .unwrap();
    assert_eq!(tokens.send(world.record()).await.unwrap().status(), 200);
    world.clock.advance(ACCESS_TTL).await;
    for _ in 0..5 {
        assert_eq!(tokens.send(world.record()).await.unwrap().status(), 401);
    }
    assert_eq!(world.counts(), (6, 5, 0));
}

/// The observation behind this crate: Okapi gives its modules a token without an expiry, so an import with a fixed token
/// goes on; Eureka judges the token of every call.
#[tokio::test(start_paused = true)]
async fn i13_a_fixed_token_works_after_its_expiry_in_okapi_and_not_in_eureka() {
    for (gateway, failures) in [(Gateway::Okapi, 0), (Gateway::Eureka, 60)] {
        let clock = TestClock::new();
        let server = AuthorizationServer::builder()
            .clock(clock.clone())
            .access_ttl(60 * SECOND)
            .build();
        let api = ImportApi::builder(&server).gateway(gateway).build();
        let http = api.listen().await.unwrap();
        let client = Client::new();
        let fixed = server.issue();
        for _ in 0..120 {
            let request = client.post(http.url()).bearer_auth(access(&fixed));
            request.body("record").send().await.unwrap();
            clock.advance(SECOND).await;
        }
        assert_eq!((api.calls(), api.unauthorized()), (120, failures));

        // The managed import fails in neither.
        let tokens = builder(&server, &clock, &server.issue())
            .origin(http.origin())
            .build()
            .unwrap();
        for _ in 0..120 {
            let request = client.post(http.url()).body("record");
            assert_eq!(tokens.send(request).await.unwrap().status(), 200);
            clock.advance(SECOND).await;
        }
        assert_eq!(api.unauthorized(), failures);
    }
}

/// The second 401 of a slow API arrives when a rejection counts again, and still causes no second replay.
#[tokio::test(start_paused = true)]
async fn q8_a_request_is_replayed_once_however_late_the_second_401_comes() {
    let api = Recorder::start(|_| async {
        tokio::time::sleep(5 * SECOND).await;
        reply(401, &[])
    })
    .await;
    let world = World::new().await;
    let tokens = builder(&world.server, &world.clock, &world.first)
        .origin(api.origin())
        .build()
        .unwrap();
    let post = world.client.post(api.url("/records")).body("record");
    assert_eq!(tokens.send(post).await.unwrap().status(), 401);
    assert_eq!(api.lines(), ["POST /records", "POST /records"]);
}
