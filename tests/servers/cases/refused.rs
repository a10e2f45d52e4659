//! A refresh token that has expired, or that the server refuses, ends the session at once and for all instances.

use std::sync::Arc;
use std::time::Duration;

use evertoken::OnRequest;

use super::cases;
use crate::judge::{Judge, OTHER_CLIENT, Reuse, Rules};
use crate::world::{World, assert_rejected, store};

cases![
    an_expired_refresh_token_ends_the_session,
    an_unknown_token_ends_the_session_for_all_instances,
    a_revoked_token_ends_the_session_and_its_access_token_is_served_until_then,
    the_token_of_another_client_is_refused_and_not_burnt,
];

const SHORT: Rules = Rules {
    access_ttl: 1,
    refresh_ttl: 1,
    reuse: Reuse::RevokeFamily,
};

async fn an_expired_refresh_token_ends_the_session(judge: Arc<Judge>) {
    let world = World::new(&judge, SHORT).await;
    let token = &world.first.refresh_token;
    while world.server.is_live_refresh(token).await {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let answer = world.server.exchange(token).await;
    assert_eq!(answer.outcome(), (400, "invalid_grant"));
    let tokens = world.refreshing(token).build().unwrap();
    assert_rejected(tokens.token().await);
    world.assert_exchanges(1, 0, 0);
}

async fn an_unknown_token_ends_the_session_for_all_instances(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let answer = world.server.exchange("never issued").await;
    assert_eq!(answer.outcome(), (400, "invalid_grant"));

    let directory = tempfile::tempdir().unwrap();
    let start = || {
        let builder = world.refreshing("never issued");
        builder.store(store(&directory)).build().unwrap()
    };
    let (one, other) = (start(), start());
    assert_rejected(one.token().await);
    for _ in 0..3 {
        assert_rejected(one.token().await);
        assert_rejected(other.token().await);
    }
    world.assert_exchanges(1, 0, 0);
}

async fn a_revoked_token_ends_the_session_and_its_access_token_is_served_until_then(
    judge: Arc<Judge>,
) {
    let world = World::new(&judge, Rules::CALM).await;
    let tokens = world.builder(OnRequest::default()).build().unwrap();
    let first = tokens.token().await.unwrap();
    let token = &world.first.refresh_token;
    assert_eq!(world.server.revoke(token).await, 200);
    assert!(!world.server.is_live_refresh(token).await);
    assert_rejected(tokens.rotate().await);
    // The manager learns that the access token is dead only when an API rejects that token.
    assert_eq!(tokens.token().await.unwrap().expose(), first.expose());
    tokens.reject(&first);
    assert_rejected(tokens.token().await);
    assert_eq!(world.relay.seen().exchanges, 1);
}

async fn the_token_of_another_client_is_refused_and_not_burnt(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let token = &world.first.refresh_token;
    let answer = world.server.exchange_as(OTHER_CLIENT, token).await;
    assert_eq!(answer.outcome(), (400, "invalid_grant"));
    assert!(world.server.is_live_refresh(token).await);
    assert_eq!(world.server.exchange(token).await.status, 200);
}
