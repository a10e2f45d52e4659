//! Servers that accept a used refresh token again for a while.

use std::sync::Arc;
use std::time::Duration;

use evertoken::OnRequest;

use super::cases;
use crate::judge::{Judge, Reuse, Rules};
use crate::relay::Step;
use crate::world::World;

cases![
    inside_the_window_a_second_use_is_answered,
    after_the_window_a_second_use_revokes_the_family,
    a_token_two_generations_old_revokes_the_family_or_forks_it,
    an_answer_that_is_lost_inside_the_window_does_not_end_the_session,
];

/// A grace window that is longer than any test, also on a busy machine.
const LONG: Rules = Rules::CALM.reuse(Reuse::Grace(60));

const SHORT: Rules = Rules::CALM.reuse(Reuse::Grace(1));

async fn inside_the_window_a_second_use_is_answered(judge: Arc<Judge>) {
    let world = World::new(&judge, LONG).await;
    let server = &world.server;
    let old = &world.first.refresh_token;
    let (second, again) = (server.exchange(old).await, server.exchange(old).await);
    assert_eq!((second.status, again.status), (200, 200));
    let is_same = |name: &str| second.text(name) == again.text(name);
    assert_eq!(is_same("access_token"), judge.repeats_the_pair());
    assert_eq!(is_same("refresh_token"), judge.repeats_the_pair());
    // The answer has the full lifetime, also where the server repeats the pair of the first answer.
    assert_eq!(again.body["expires_in"], Rules::CALM.access_ttl);
    for answer in [second, again] {
        assert!(server.is_live_access(answer.text("access_token")).await);
        assert!(server.is_live_refresh(answer.text("refresh_token")).await);
    }
}

async fn after_the_window_a_second_use_revokes_the_family(judge: Arc<Judge>) {
    let world = World::new(&judge, SHORT).await;
    let server = &world.server;
    let old = &world.first.refresh_token;
    let second = server.exchange(old).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(server.exchange(old).await.outcome(), (400, "invalid_grant"));
    assert!(!server.is_live_access(second.text("access_token")).await);
    assert!(!server.is_live_refresh(second.text("refresh_token")).await);
}

async fn a_token_two_generations_old_revokes_the_family_or_forks_it(judge: Arc<Judge>) {
    let world = World::new(&judge, LONG).await;
    let server = &world.server;
    let old = &world.first.refresh_token;
    let second = server.exchange(old).await;
    let third = server.exchange(second.text("refresh_token")).await;
    assert_eq!(third.status, 200);
    let late = server.exchange(old).await;
    let is_alive = server.is_live_refresh(third.text("refresh_token")).await;
    match judge.repeats_the_pair() {
        true => assert_eq!((late.outcome(), is_alive), ((400, "invalid_grant"), false)),
        false => assert_eq!((late.status, is_alive), (200, true)),
    }
}

async fn an_answer_that_is_lost_inside_the_window_does_not_end_the_session(judge: Arc<Judge>) {
    let world = World::new(&judge, LONG).await;
    let tokens = world.builder(OnRequest::default()).build().unwrap();
    tokens.token().await.unwrap();
    for step in [Step::Drop, Step::Cut] {
        world.relay.next(step);
        let token = loop {
            match tokens.rotate().await {
                Ok(token) => break token,
                Err(error) => assert!(error.is_retryable(), "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        assert!(world.server.is_live_access(token.expose()).await);
    }
    world.assert_exchanges(4, 2, 4);
    tokens.rotate().await.unwrap();
}
