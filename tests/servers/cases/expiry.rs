//! The expiry of a session's tokens.

use std::sync::Arc;
use std::time::Duration;

use evertoken::{OnRequest, TokenManager, TokenPair};

use super::cases;
use crate::judge::{Judge, Reuse, Rules};
use crate::world::{World, assert_rejected};

cases![an_expired_refresh_token_ends_the_session];

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
    assert_eq!(
        world.server.exchange(token).await.outcome(),
        (400, "invalid_grant")
    );
    let builder = TokenManager::builder(world.endpoint()).strategy(OnRequest::default());
    let seed = TokenPair::from_refresh_token(token.as_str());
    let tokens = builder.seed(seed).build().unwrap();
    assert_rejected(tokens.token().await);
    let seen = world.relay.seen();
    assert_eq!((seen.exchanges, seen.issued), (1, 0));
}
