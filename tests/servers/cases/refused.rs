//! A refresh token that the server refuses ends the session at once and for all instances.

use std::sync::Arc;

use evertoken::{FileStore, OnRequest, TokenManager, TokenPair};

use super::cases;
use crate::judge::{Judge, OTHER_CLIENT, Rules};
use crate::world::{World, assert_rejected};

cases![
    an_unknown_token_ends_the_session_for_all_instances,
    a_revoked_token_ends_the_session_and_its_access_token_is_served_until_then,
    the_token_of_another_client_is_refused_and_not_burnt,
];

async fn an_unknown_token_ends_the_session_for_all_instances(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let answer = world.server.exchange("never issued").await;
    assert_eq!(answer.outcome(), (400, "invalid_grant"));

    let directory = tempfile::tempdir().unwrap();
    let start = || {
        let builder = TokenManager::builder(world.endpoint()).strategy(OnRequest::default());
        let store = FileStore::new(directory.path().join("session")).unwrap();
        let seed = TokenPair::from_refresh_token("never issued");
        builder.store(store).seed(seed).build().unwrap()
    };
    let (one, other) = (start(), start());
    assert_rejected(one.token().await);
    for _ in 0..3 {
        assert_rejected(one.token().await);
        assert_rejected(other.token().await);
    }
    let seen = world.relay.seen();
    assert_eq!((seen.exchanges, seen.issued), (1, 0), "{seen:?}");
}

async fn a_revoked_token_ends_the_session_and_its_access_token_is_served_until_then(
    judge: Arc<Judge>,
) {
    let world = World::new(&judge, Rules::CALM).await;
    let tokens = world.builder(OnRequest::default()).build().unwrap();
    let first = tokens.token().await.unwrap();
    let answer = world.server.revoke(&world.first.refresh_token).await;
    assert_eq!(answer, 200);
    assert!(
        !world
            .server
            .is_live_refresh(&world.first.refresh_token)
            .await
    );
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
