//! `pair()`, for a program that passes its pair on.

use evertoken::testing::AccessCheck;
use evertoken::{Error, TokenManager};

use crate::world::{ACCESS_TTL, SECOND, World, access};

#[tokio::test(start_paused = true)]
async fn a_returned_pair_holds_its_remaining_lifetimes() {
    let world = World::new().await;
    let first = world.first.clone().refresh_expires_in(1_000 * SECOND);
    let tokens = world.builder(&first).build().unwrap();
    assert_eq!(tokens.pair().await.unwrap(), first);
    world.clock.advance(200 * SECOND).await;
    let pair = tokens.pair().await.unwrap();
    assert_eq!(pair.access, first.access);
    assert_eq!(pair.refresh, first.refresh);
    assert_eq!(pair.lifetime.access.total(), Some(400 * SECOND));
    assert_eq!(pair.lifetime.refresh.total(), Some(800 * SECOND));
    // The call changes nothing.
    assert_eq!(tokens.pair().await.unwrap(), pair);
    assert_eq!(world.server.exchanges(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_returned_pair_is_rotated_when_its_token_has_expired() {
    let world = World::new().await;
    world.tokens.token().await.unwrap();
    world.clock.advance(200 * SECOND).await;
    let pair = world.tokens.pair().await.unwrap();
    world.tokens.shutdown().await.unwrap();
    let heir = world.builder(&pair).build().unwrap();
    world.clock.advance(380 * SECOND).await;
    assert_eq!(heir.token().await.unwrap().expose(), access(&world.first));
    world.clock.advance(20 * SECOND).await;
    let token = heir.token().await.unwrap();
    assert_eq!(world.server.check(token.expose()), AccessCheck::Live);
    assert_eq!((world.server.exchanges(), world.server.replays()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pair_with_an_expired_token_is_rotated_before_it_is_returned() {
    let world = World::new().await;
    world.tokens.token().await.unwrap();
    world.clock.advance(ACCESS_TTL).await;
    let pair = world.tokens.pair().await.unwrap();
    assert_eq!(world.server.check(access(&pair)), AccessCheck::Live);
    let refresh = pair.refresh.as_ref().unwrap().expose();
    assert!(world.server.is_live_refresh(refresh));
    assert_eq!(pair.lifetime.access.total(), Some(ACCESS_TTL));
    assert_eq!(world.server.exchanges(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_manager_without_a_session_returns_no_pair() {
    let world = World::new().await;
    let tokens = TokenManager::builder(world.server.endpoint())
        .clock(world.clock.clone())
        .build()
        .unwrap();
    let error = tokens.pair().await.unwrap_err();
    assert!(matches!(error, Error::NoSession), "{error}");
    world.server.revoke_all();
    world.tokens.token().await.unwrap();
    world.clock.advance(ACCESS_TTL).await;
    let error = world.tokens.pair().await.unwrap_err();
    assert!(error.needs_sign_in(), "{error}");
}
