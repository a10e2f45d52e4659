//! The fate of the old access token at a rotation.

use std::sync::Arc;

use evertoken::OnRequest;

use super::cases;
use crate::api::Api;
use crate::judge::{Judge, Rules};
use crate::world::World;

cases![
    the_old_access_token_lives_on_or_dies_as_the_profile_says,
    calls_during_rotations_succeed,
];

async fn the_old_access_token_lives_on_or_dies_as_the_profile_says(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let old = &world.first.access_token;
    assert!(world.server.is_live_access(old).await);
    let answer = world.server.exchange(&world.first.refresh_token).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["expires_in"], Rules::CALM.access_ttl);
    assert!(
        world
            .server
            .is_live_access(answer.text("access_token"))
            .await
    );
    assert_eq!(
        world.server.is_live_access(old).await,
        !judge.old_access_dies()
    );
}

/// A call whose token dies while the request travels is sent again with the new token.
async fn calls_during_rotations_succeed(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let api = Api::start(Arc::clone(&world.server)).await;
    let builder = world.builder(OnRequest::default()).origin(api.origin());
    let tokens = builder.build().unwrap();
    let http = reqwest::Client::new();
    for _ in 0..10 {
        let calls = (0..8).map(|_| tokens.send(http.post(api.url()).body("a\x1D")));
        let (rotated, answers) =
            tokio::join!(tokens.rotate(), futures_util::future::join_all(calls));
        rotated.unwrap();
        for answer in answers {
            assert_eq!(answer.unwrap().status(), 200);
        }
    }
    assert_eq!(api.records(), 80);
    let seen = world.relay.seen();
    assert_eq!(
        (seen.repeated, seen.issued),
        (0, seen.exchanges),
        "{seen:?}"
    );
    if !judge.old_access_dies() {
        assert_eq!(api.unauthorized(), 0);
        world.assert_rotations(10);
    }
}
