//! A rejected token costs one refresh and one repetition; late rejections of the same token cost nothing more.

use std::time::Duration;

use evertoken::testing::{Answer, Gateway, ImportApi};
use evertoken::{ApiProfile, TokenPair};
use http::StatusCode;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::recorder::{Recorder, reply};
use crate::ways::{Call, Way, ways};
use crate::world::{ACCESS_TTL, SECOND, World, access, slow_api};

ways! {
    #[tokio::test(start_paused = true)]
    every way:
    q6_a_401_costs_one_refresh_and_one_repetition,
    q8_a_second_401_is_returned_and_causes_no_storm,
    a_token_that_works_again_is_replaced_at_once_when_it_is_rejected,
    fm13_late_401s_of_one_token_cost_one_refresh,
    a_session_that_has_ended_is_an_error_and_costs_no_further_call,
    any_other_refusal_is_returned_and_costs_no_exchange,
}

async fn q6_a_401_costs_one_refresh_and_one_repetition<W: Way>() {
    let world = World::with_stale_token().await;
    let way = W::new(&world.tokens);
    assert_eq!(way.status(Call::post(world.http.url())).await, 200);
    assert_eq!(world.counts(), (2, 1, 1));
    assert_eq!((world.api.records(), world.api.anonymous()), (1, 0));
    let bodies: Vec<_> = world.api.seen().iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, [6, 6]);
    // The new token is the current token from now on.
    assert_eq!(way.status(Call::post(world.http.url())).await, 200);
    assert_eq!(world.counts(), (3, 1, 1));
    assert_eq!(world.server.replays(), 0);
}

async fn q8_a_second_401_is_returned_and_causes_no_storm<W: Way>() {
    let world = World::new().await;
    let way = W::new(&world.tokens);
    world.api.answer_path("/records", Answer::status(401));
    assert_eq!(way.status(Call::post(world.http.url())).await, 401);
    assert_eq!(world.counts(), (2, 2, 1));
    for _ in 0..20 {
        world.clock.advance(Duration::from_millis(40)).await;
        assert_eq!(way.status(Call::post(world.http.url())).await, 401);
    }
    // Each call was sent once, with the current token.
    assert_eq!(world.counts(), (22, 22, 1));
    assert_eq!(world.api.anonymous(), 0);
}

/// An acceptance counts, so the pause after a rejection ends.
async fn a_token_that_works_again_is_replaced_at_once_when_it_is_rejected<W: Way>() {
    let world = World::new().await;
    let way = W::new(&world.tokens);
    for refreshes in 1..=5 {
        world.api.answer_next(Answer::status(401));
        assert_eq!(way.status(Call::post(world.http.url())).await, 200);
        assert_eq!(world.server.exchanges(), refreshes);
        // Longer than the shortest interval between two rotations, and shorter than the pause after a rejection.
        world.clock.advance(SECOND * 3 / 2).await;
    }
    assert_eq!(world.counts(), (10, 5, 5));
}

async fn fm13_late_401s_of_one_token_cost_one_refresh<W: Way>() {
    const CALLS: usize = 10;
    let world = World::new().await;
    let believed = world.server.issue().expires_in(100 * ACCESS_TTL);
    let (api, permits) = slow_api(&world.server, &believed).await;
    let tokens = world.builder(&believed).origin(api.origin());
    let way = W::new(&tokens.build().unwrap());
    let mut callers = JoinSet::new();
    for _ in 0..CALLS {
        let (way, call) = (way.clone(), Call::post(api.url("/")));
        callers.spawn(async move { way.status(call).await });
    }
    // All calls have arrived with the same token, which expires now. The API judges each call after the previous call has
    // succeeded with the new token.
    timeout(SECOND, api.arrived(CALLS)).await.unwrap();
    world.clock.advance(ACCESS_TTL).await;
    for _ in 0..CALLS {
        permits.add_permits(1);
        assert_eq!(callers.join_next().await.unwrap().unwrap(), 200);
        world.clock.advance(3 * SECOND).await;
    }
    assert_eq!(world.server.exchanges(), 1);
    let seen = api.seen();
    assert_eq!(seen.len(), 2 * CALLS);
    let (old, new) = seen.split_at(CALLS);
    assert!(old.iter().all(|it| it.token() == Some(access(&believed))));
    assert!(new.iter().all(|seen| seen.token() == new[0].token()));
}

async fn a_session_that_has_ended_is_an_error_and_costs_no_further_call<W: Way>() {
    let world = World::new().await;
    let way = W::new(&world.tokens);
    way.call(Call::post(world.http.url())).await.unwrap();
    world.server.revoke_all();
    for _ in 0..3 {
        let error = way.call(Call::post(world.http.url())).await.unwrap_err();
        assert!(error.to_string().contains("session has ended"), "{error}");
        assert_eq!(world.counts(), (2, 1, 1));
    }
}

async fn any_other_refusal_is_returned_and_costs_no_exchange<W: Way>() {
    let world = World::new().await;
    let way = W::new(&world.tokens);
    for status in [400, 403, 404, 429, 500, 502] {
        let calls = world.api.calls();
        let answer = Answer::status(status).header("retry-after", "1");
        world.api.answer_next(answer);
        assert_eq!(way.status(Call::post(world.http.url())).await, status);
        assert_eq!(world.api.calls(), calls + 1, "{status}");
    }
    assert_eq!(world.server.exchanges(), 0);
}

#[tokio::test(start_paused = true)]
async fn q2_an_expired_token_is_refreshed_before_the_request_is_sent() {
    let world = World::new().await;
    world.clock.advance(ACCESS_TTL).await;
    assert_eq!(world.import().await, 200);
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
        let response = world.send(world.record()).await;
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
async fn q8_an_api_that_rejects_everything_is_tried_with_doubling_pauses() {
    let world = World::new().await;
    world.api.answer_path("/records", Answer::status(401));
    let mut rotated_at = Vec::new();
    for second in 0..60 {
        let before = world.server.exchanges();
        world.import().await;
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
    let imports = (0..20).map(|_| world.import());
    assert_eq!(futures_util::future::join_all(imports).await, [401; 20]);
    assert_eq!(world.counts(), (40, 40, 1));
}

/// An API may reject every token on one path and accept it on another. The acceptance must not make every rejection count.
#[tokio::test(start_paused = true)]
async fn q8_a_path_that_rejects_every_token_causes_no_storm_beside_one_that_does_not() {
    let world = World::new().await;
    world.api.answer_path("/broken", Answer::status(401));
    for round in 0..51 {
        assert_eq!(world.get("/broken").await, 401);
        assert_eq!(world.import().await, 200);
        // The shortest interval between two rotations is one second. After that a rejection counts again.
        assert_eq!(world.server.exchanges(), 1 + round / 25);
        world.clock.advance(Duration::from_millis(40)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn i9_a_403_rotates_only_if_the_profile_lists_it() {
    let rejecting =
        |statuses: &[StatusCode]| ApiProfile::default().reject_on(statuses.iter().copied());
    let both = rejecting(&[StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN]);
    for (profile, answered, status, counts) in [
        (ApiProfile::default(), 403, 403, (1, 0, 0)),
        (both.clone(), 401, 200, (2, 1, 1)),
        (both, 403, 200, (2, 0, 1)),
        (rejecting(&[StatusCode::FORBIDDEN]), 401, 401, (1, 1, 0)),
    ] {
        let case = format!("{answered} with {profile:?}");
        let world = World::with(|builder| builder.api(profile)).await;
        world.api.answer_next(Answer::status(answered));
        assert_eq!(world.import().await, status, "{case}");
        assert_eq!(world.counts(), counts, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn i11_the_401_of_a_token_without_expiry_and_successor_is_returned() {
    let world = World::new().await;
    let fixed = TokenPair::new(access(&world.first)).never_expires();
    let world = World {
        tokens: world.seeded(&fixed),
        ..world
    };
    assert_eq!(world.import().await, 200);
    world.clock.advance(ACCESS_TTL).await;
    for _ in 0..5 {
        assert_eq!(world.import().await, 401);
    }
    assert_eq!(world.counts(), (6, 5, 0));
}

/// The observation behind this crate: Okapi gives its modules a token without an expiry, so an import with a fixed token
/// goes on; Eureka judges the token of every call.
#[tokio::test(start_paused = true)]
async fn i13_a_fixed_token_works_after_its_expiry_in_okapi_and_not_in_eureka() {
    for (gateway, failures) in [(Gateway::Okapi, 0), (Gateway::Eureka, 60)] {
        let mut world = World::of(|server| server.access_ttl(60 * SECOND)).await;
        world.api = ImportApi::builder(&world.server).gateway(gateway).build();
        world.http = world.api.listen().await.unwrap();
        for _ in 0..120 {
            let fixed = world.record().bearer_auth(access(&world.first));
            fixed.send().await.unwrap();
            world.clock.advance(SECOND).await;
        }
        assert_eq!(world.counts(), (120, failures, 0));

        // The managed import fails in neither.
        world.tokens = world.seeded(&world.server.issue());
        for _ in 0..120 {
            assert_eq!(world.import().await, 200);
            world.clock.advance(SECOND).await;
        }
        assert_eq!(world.api.unauthorized(), failures);
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
    let tokens = world.manager(api.origin());
    let post = world.client.post(api.url("/records")).body("record");
    assert_eq!(tokens.send(post).await.unwrap().status(), 401);
    assert_eq!(api.lines(), ["POST /records", "POST /records"]);
}
