//! The begin and the end of a session: a session begins with a first pair, a later process continues with the stored pair,
//! and a logout ends the session at the server.

use std::sync::Arc;

use evertoken::{EndReason, Error, OnRequest};

use super::cases;
use crate::judge::{Judge, Rules};
use crate::world::World;

cases![
    a_first_pair_is_served_until_it_has_to_be_rotated,
    after_a_restart_the_stored_pair_wins_over_the_seed,
    a_logout_revokes_the_pair_at_the_server,
    revoking_an_access_token_or_an_unknown_one_is_answered,
];

async fn a_first_pair_is_served_until_it_has_to_be_rotated(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let tokens = world.builder(OnRequest::default()).build().unwrap();
    let token = tokens.token().await.unwrap();
    assert_eq!(token.expose(), world.first.access_token);
    world.assert_rotations(0);
    let next = tokens.rotate().await.unwrap();
    assert_ne!(next.expose(), world.first.access_token);
    assert!(world.server.is_live_access(next.expose()).await);
    world.assert_rotations(1);
}

async fn after_a_restart_the_stored_pair_wins_over_the_seed(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let directory = tempfile::tempdir().unwrap();
    let start = || world.stored(&directory).build().unwrap();
    let mut rotations = 0;
    let mut last = world.first.access_token.clone();
    for _ in 0..4 {
        let tokens = start();
        assert_eq!(tokens.token().await.unwrap().expose(), last);
        last = tokens.rotate().await.unwrap().expose().to_owned();
        tokens.shutdown().await.unwrap();
        rotations += 1;
        world.assert_rotations(rotations);
    }
    assert!(world.server.is_live_access(&last).await);
}

async fn a_logout_revokes_the_pair_at_the_server(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let directory = tempfile::tempdir().unwrap();
    let start = || world.stored(&directory).build().unwrap();
    let (one, other) = (start(), start());
    let token = one.rotate().await.unwrap();
    other.token().await.unwrap();
    let logout = one.logout().await;
    assert!(logout.is_complete(), "{logout:?}");
    assert!(!world.server.is_live_access(token.expose()).await);
    world.assert_exchanges(1, 0, 1);
    assert_eq!(world.relay.seen().revocations, 1);

    // A later process reads the logout from the store, and sends nothing.
    for tokens in [one, start()] {
        let error = tokens.token().await.unwrap_err();
        let Error::Ended { reason, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(reason, EndReason::LoggedOut);
    }
    assert_eq!(world.relay.seen().exchanges, 1);
}

async fn revoking_an_access_token_or_an_unknown_one_is_answered(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let server = &world.server;
    assert_eq!(server.revoke("never issued").await, 200);
    assert_eq!(server.revoke(&world.first.access_token).await, 200);
    assert!(!server.is_live_access(&world.first.access_token).await);
    assert!(!server.is_live_refresh(&world.first.refresh_token).await);
}
