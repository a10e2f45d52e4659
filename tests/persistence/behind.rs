//! Write-behind: callers do not wait for the store, and nothing is lost for it but by dying.

use std::time::Duration;

use evertoken::{
    Coordination, Error, Event, MemoryStore, OldPair, OnRequest, OnStoreFailure, Persistence,
    ServerProfile, TokenManager,
};

use crate::gate::Gate;
use crate::support::{MINUTE, SECOND, World, drain, loaded, settle};

struct Scene {
    world: World,
    store: Gate,
    persistence: Persistence,
}

impl Scene {
    fn new() -> Self {
        let world = World::new(10 * MINUTE);
        let store = Gate::new(MemoryStore::with_clock(world.clock.clone()));
        Self {
            world,
            store,
            persistence: Persistence::write_behind(2),
        }
    }

    fn builder(&self) -> evertoken::Builder {
        self.world
            .builder(OnRequest::default())
            .store(self.store.clone())
            .persistence(self.persistence.clone())
    }

    async fn manager(&self) -> TokenManager {
        loaded(self.builder()).await
    }

    async fn expire(&self) {
        self.world.clock.advance(10 * MINUTE + SECOND).await;
    }

    async fn stored(&self, tokens: &TokenManager) -> serde_json::Value {
        serde_json::to_value(self.store.record(tokens.key()).await.unwrap()).unwrap()
    }
}

/// A claim is stored at once; what comes after it is kept waiting.
async fn closes_after_the_claim(scene: &Scene, tokens: &TokenManager) -> evertoken::Token {
    let hold = scene.world.server.hold();
    let exchanges = scene.world.server.exchanges();
    let caller = tokio::spawn({
        let tokens = tokens.clone();
        async move { tokens.token().await }
    });
    scene.world.server.arrived(exchanges + 1).await;
    scene.store.set_open(false);
    drop(hold);
    caller.await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_pair_is_given_out_before_it_is_stored_and_its_claim_stays_until_it_is() {
    let scene = Scene::new();
    let tokens = scene.manager().await;
    scene.expire().await;
    let token = closes_after_the_claim(&scene, &tokens).await;
    assert!(scene.world.is_live(&token));
    let before = scene.stored(&tokens).await;
    assert_ne!(before["pair"]["access_token"], token.expose());
    assert!(before["claim"].is_object(), "the claim stays");
    assert!(tokens.status().is_unpersisted);
    scene.store.set_open(true);
    settle().await;
    let after = scene.stored(&tokens).await;
    assert_eq!(after["pair"]["access_token"], token.expose());
    assert!(after["claim"].is_null());
    assert!(!tokens.status().is_unpersisted);
    assert_eq!(tokens.token().await.unwrap().identity(), token.identity());
    scene.world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn w11_shutdown_stores_what_is_not_stored_yet() {
    let scene = Scene::new();
    let tokens = scene.manager().await;
    scene.expire().await;
    let token = closes_after_the_claim(&scene, &tokens).await;
    let shutdown = tokio::spawn({
        let tokens = tokens.clone();
        async move { tokens.shutdown().await }
    });
    scene.world.clock.advance(SECOND).await;
    assert!(!shutdown.is_finished());
    scene.store.set_open(true);
    shutdown.await.unwrap().unwrap();
    let stored = scene.stored(&tokens).await;
    assert_eq!(stored["pair"]["access_token"], token.expose());
}

#[tokio::test(start_paused = true)]
async fn w11_a_store_that_fails_is_told_once_counted_and_tried_on() {
    let scene = Scene::new();
    let tokens = scene.manager().await;
    let mut events = tokens.subscribe();
    scene.expire().await;
    let token = closes_after_the_claim(&scene, &tokens).await;
    scene.store.set_down(true);
    scene.store.set_open(true);
    // After 50, 100, 200, 400 and 800 ms, and then every 5 s.
    for (millis, failures) in [
        (0, 1),
        (50, 2),
        (100, 3),
        (200, 4),
        (400, 5),
        (800, 6),
        (4_999, 6),
        (1, 7),
    ] {
        scene
            .world
            .clock
            .advance(Duration::from_millis(millis))
            .await;
        assert_eq!(
            tokens.status().store_failures,
            failures,
            "{millis} ms later"
        );
    }
    let told = drain(&mut events);
    let told = told
        .iter()
        .filter(|event| matches!(event, Event::Unpersisted { .. }));
    assert_eq!(told.count(), 1);
    assert_eq!(tokens.token().await.unwrap().identity(), token.identity());
    scene.store.set_down(false);
    scene.world.clock.advance(5 * SECOND).await;
    let stored = scene.stored(&tokens).await;
    assert_eq!(stored["pair"]["access_token"], token.expose());
    assert_eq!(stored["version"], token.identity().version);
    scene.world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn the_next_rotation_stores_the_pair_before_it_claims() {
    let scene = Scene::new();
    let tokens = scene.manager().await;
    scene.expire().await;
    closes_after_the_claim(&scene, &tokens).await;
    scene.store.set_down(true);
    scene.store.set_open(true);
    scene.expire().await;
    let error = tokens.token().await.unwrap_err();
    assert!(matches!(error, Error::Store { .. }), "{error:?}");
    scene.world.assert_exchanges(1);
    scene.store.set_down(false);
    tokio::time::sleep(error.retry_after().unwrap()).await;
    let token = tokens.token().await.unwrap();
    assert!(scene.world.is_live(&token));
    let stored = scene.stored(&tokens).await;
    assert_eq!(stored["version"], 3);
    assert_eq!(stored["retired"].as_array().unwrap().len(), 2);
    scene.world.assert_exchanges(2);
}

#[tokio::test(start_paused = true)]
async fn w12_without_coordination_pairs_that_wait_are_stored_as_one_the_latest() {
    let mut scene = Scene::new();
    scene.persistence = Persistence::write_behind(8);
    let tokens = loaded(scene.builder().coordination(Coordination::None)).await;
    scene.store.set_open(false);
    let before = scene.store.swaps();
    let mut given = Vec::new();
    for _ in 0..4 {
        scene.expire().await;
        given.push(tokens.token().await.unwrap());
    }
    // The first was being stored, and failed by then; the others wait behind it.
    scene.store.set_open(true);
    scene.world.clock.advance(10 * SECOND).await;
    let stored = scene.stored(&tokens).await;
    assert_eq!(stored["pair"]["access_token"], given[3].expose());
    assert_eq!(stored["version"], 5);
    assert_eq!(stored["retired"].as_array().unwrap().len(), 4);
    assert_eq!(tokens.status().identity, Some(given[3].identity()));
    let swaps = scene.store.swaps() - before;
    assert!(!tokens.status().is_unpersisted);
    println!("{swaps} swaps");
    scene.expire().await;
    assert!(scene.world.is_live(&tokens.token().await.unwrap()));
    scene.world.assert_exchanges(5);
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_room_a_rotation_waits_for_its_pair_to_be_stored() {
    let mut scene = Scene::new();
    scene.persistence = Persistence::write_behind(1).queue(1);
    let one = scene.manager().await;
    let key = one.key().clone().label("another session");
    let other = scene.builder().key(key).seed(scene.world.server.issue());
    let other = loaded(other).await;
    scene.expire().await;
    closes_after_the_claim(&scene, &one).await;
    scene.store.set_open(true);
    scene.store.set_down(false);
    settle().await;
    // Now the room is taken by a pair that cannot be stored.
    scene.expire().await;
    closes_after_the_claim(&scene, &one).await;
    let waits = tokio::spawn({
        let other = other.clone();
        async move { other.token().await }
    });
    settle().await;
    assert!(!waits.is_finished(), "its claim is not stored yet either");
    scene.store.set_open(true);
    assert!(scene.world.is_live(&waits.await.unwrap().unwrap()));
    assert!(!other.status().is_unpersisted);
    scene.world.assert_unharmed();
}

#[tokio::test(start_paused = true)]
async fn where_the_old_pair_dies_at_first_use_a_pair_is_stored_first() {
    let scene = Scene::new();
    let profile = ServerProfile::strict().old_pair(OldPair::DiesAtFirstUse);
    let endpoint = scene.world.server.endpoint().with_profile(profile);
    let tokens = scene.world.builder_at(endpoint, OnRequest::default());
    let tokens = tokens
        .store(scene.store.clone())
        .persistence(scene.persistence.clone());
    let tokens = loaded(tokens).await;
    scene.expire().await;
    let token = tokens.token().await.unwrap();
    let stored = scene.stored(&tokens).await;
    assert_eq!(stored["pair"]["access_token"], token.expose());
}

#[tokio::test(start_paused = true)]
async fn a_logout_revokes_a_pair_that_was_not_stored_yet() {
    let scene = Scene::new();
    let tokens = scene.manager().await;
    scene.expire().await;
    let token = closes_after_the_claim(&scene, &tokens).await;
    let logout = tokio::spawn({
        let tokens = tokens.clone();
        async move { tokens.logout().await }
    });
    settle().await;
    assert!(tokens.token().await.unwrap_err().needs_sign_in());
    scene.store.set_open(true);
    assert!(logout.await.unwrap().is_complete());
    tokens.shutdown().await.unwrap();
    assert!(!scene.world.is_live(&token));
    let stored = scene.stored(&tokens).await;
    assert_eq!(stored["state"]["is"], "logged_out");
    assert!(stored["pair"].is_null());
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_nobody_uses_any_more_stores_its_pair_all_the_same() {
    let scene = Scene::new();
    let tokens = scene.manager().await;
    let key = tokens.key().clone();
    scene.expire().await;
    let token = closes_after_the_claim(&scene, &tokens).await;
    drop(tokens);
    scene.world.clock.advance(20 * SECOND).await;
    scene.store.set_open(true);
    scene.world.clock.advance(10 * SECOND).await;
    let stored = serde_json::to_value(scene.store.record(&key).await.unwrap()).unwrap();
    assert_eq!(stored["pair"]["access_token"], token.expose());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_hold_is_refused() {
    let scene = Scene::new();
    let refused = |builder: evertoken::Builder| builder.build().unwrap_err().to_string();
    let fail = scene.builder().on_store_failure(OnStoreFailure::Fail);
    assert!(refused(fail).contains("persistence.on_store_failure"));
    let none = scene
        .builder()
        .persistence(Persistence::write_behind(1).queue(0));
    assert!(refused(none).contains("persistence.queue"));
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_was_stored_by_the_next_rotation_is_no_spare_that_could_be_spent_again() {
    let scene = Scene::new();
    let tokens = scene.manager().await;
    scene.expire().await;
    closes_after_the_claim(&scene, &tokens).await;
    scene.store.set_down(true);
    scene.store.set_open(true);
    scene.world.clock.advance(Duration::from_millis(10)).await;
    assert_eq!(tokens.status().store_failures, 1);
    // Before it is tried again behind our backs.
    scene.store.set_down(false);
    tokens.rotate().await.unwrap();
    scene.world.clock.advance(10 * SECOND).await;
    scene.world.assert_exchanges(2);
    scene.world.server.revoke_all();
    scene.expire().await;
    assert!(tokens.token().await.unwrap_err().needs_sign_in());
    assert_eq!(scene.world.server.exchanges(), 3);
    assert_eq!(scene.world.server.replays(), 0);
}
