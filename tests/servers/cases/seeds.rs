//! A session begins with a first pair, and a later process continues with the stored pair.

use std::sync::Arc;

use evertoken::{FileStore, OnRequest, TokenManager};

use super::cases;
use crate::judge::{Judge, Rules};
use crate::world::World;

cases![
    a_first_pair_is_served_until_it_has_to_be_rotated,
    after_a_restart_the_stored_pair_wins_over_the_seed,
];

async fn a_first_pair_is_served_until_it_has_to_be_rotated(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let tokens = world.builder(OnRequest::default()).build().unwrap();
    assert_eq!(
        tokens.token().await.unwrap().expose(),
        world.first.access_token
    );
    world.assert_rotations(0);
    let next = tokens.rotate().await.unwrap();
    assert_ne!(next.expose(), world.first.access_token);
    assert!(world.server.is_live_access(next.expose()).await);
    world.assert_rotations(1);
}

async fn after_a_restart_the_stored_pair_wins_over_the_seed(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let directory = tempfile::tempdir().unwrap();
    let start = || -> TokenManager {
        let store = FileStore::new(directory.path().join("session")).unwrap();
        world
            .builder(OnRequest::default())
            .store(store)
            .build()
            .unwrap()
    };
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
