//! A logout ends the session at the server.

use std::sync::Arc;

use evertoken::{EndReason, Error, FileStore, OnRequest};

use super::cases;
use crate::judge::{Judge, Rules};
use crate::world::World;

cases![
    a_logout_revokes_the_pair_at_the_server,
    revoking_an_access_token_or_an_unknown_one_is_answered,
];

async fn a_logout_revokes_the_pair_at_the_server(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        let store = FileStore::new(directory.path().join("session")).unwrap();
        world
            .builder(OnRequest::default())
            .store(store)
            .build()
            .unwrap()
    };
    let (one, other) = (start(), start());
    let token = one.rotate().await.unwrap();
    other.token().await.unwrap();
    let logout = one.logout().await;
    assert!(logout.is_complete(), "{logout:?}");
    assert!(!world.server.is_live_access(token.expose()).await);
    let seen = world.relay.seen();
    assert_eq!(
        (seen.exchanges, seen.issued, seen.revocations),
        (1, 1, 1),
        "{seen:?}"
    );

    // A later process reads the logout from the store, and sends nothing.
    for tokens in [one, start()] {
        let error = tokens.token().await.unwrap_err();
        let is_logged_out =
            matches!(&error, Error::Ended { reason, .. } if *reason == EndReason::LoggedOut);
        assert!(is_logged_out, "{error:?}");
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
