//! A rejected token costs one refresh and one repetition; late rejections of the same token cost nothing more.

use std::sync::Arc;
use std::time::Duration;

use evertoken::testing::{AccessCheck, Answer};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::recorder::{Arrived, Recorder, reply};
use crate::ways::{Call, Way, ways};
use crate::world::{ACCESS_TTL, SECOND, World, access, builder};

ways! {
    #[tokio::test(start_paused = true)]
    every way:
    a_401_costs_one_refresh_and_one_repetition,
    a_second_401_is_returned_and_causes_no_storm,
    a_token_that_works_again_is_replaced_at_once_when_it_is_rejected,
    late_401s_of_one_token_cost_one_refresh,
    a_session_that_has_ended_is_an_error_and_costs_no_further_call,
    any_other_refusal_is_returned_and_costs_no_exchange,
}

async fn a_401_costs_one_refresh_and_one_repetition<W: Way>() {
    let world = World::with_stale_token().await;
    let way = W::new(&world.tokens);
    let answer = way.call(Call::post(world.http.url())).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(world.counts(), (2, 1, 1));
    assert_eq!((world.api.records(), world.api.anonymous()), (1, 0));
    let bodies: Vec<_> = world.api.seen().iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, [6, 6]);
    // The new token is the current token from now on.
    let answer = way.call(Call::post(world.http.url())).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(world.counts(), (3, 1, 1));
}

async fn a_second_401_is_returned_and_causes_no_storm<W: Way>() {
    let world = World::new().await;
    let way = W::new(&world.tokens);
    world.api.answer_path("/records", Answer::status(401));
    let answer = way.call(Call::post(world.http.url())).await.unwrap();
    assert_eq!(answer.status, 401);
    assert_eq!(world.counts(), (2, 2, 1));
    for _ in 0..20 {
        world.clock.advance(Duration::from_millis(40)).await;
        let answer = way.call(Call::post(world.http.url())).await.unwrap();
        assert_eq!(answer.status, 401);
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
        let answer = way.call(Call::post(world.http.url())).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(world.server.exchanges(), refreshes);
        // Longer than the shortest interval between two rotations, and shorter than the pause after a rejection.
        world.clock.advance(SECOND * 3 / 2).await;
    }
    assert_eq!(world.counts(), (10, 5, 5));
}

async fn late_401s_of_one_token_cost_one_refresh<W: Way>() {
    const CALLS: usize = 10;
    let world = World::new().await;
    let believed = world.server.issue().expires_in(100 * ACCESS_TTL);
    // An API that judges the old token only with a permit, one call for each permit.
    let permits = Arc::new(Semaphore::new(0));
    let (gate, server, old) = (permits.clone(), world.server.clone(), believed.clone());
    let api = Recorder::start(move |call: Arrived| {
        let (gate, server, old) = (gate.clone(), server.clone(), old.clone());
        async move {
            let token = call.token().unwrap_or_default();
            if token == access(&old) {
                gate.acquire().await.unwrap().forget();
            }
            let is_live = server.check(token) == AccessCheck::Live;
            reply(if is_live { 200 } else { 401 }, &[])
        }
    })
    .await;
    let tokens = builder(&world.server, &world.clock, &believed)
        .origin(api.origin())
        .build()
        .unwrap();
    let way = W::new(&tokens);
    let mut callers = JoinSet::new();
    for _ in 0..CALLS {
        let (way, call) = (way.clone(), Call::post(api.url("/")));
        callers.spawn(async move { way.call(call).await.unwrap().status });
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
    let old_token = Some(access(&believed));
    assert!(old.iter().all(|seen| seen.token() == old_token));
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
        let answer = way.call(Call::post(world.http.url())).await.unwrap();
        assert_eq!(answer.status, status);
        assert_eq!(world.api.calls(), calls + 1, "{status}");
    }
    assert_eq!(world.server.exchanges(), 0);
}
