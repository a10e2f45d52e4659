//! Write-behind: callers do not wait for the store. A pair is lost only if the process dies before it stores the pair.

use std::time::Duration;

use evertoken::{
    Coordination, Error, Event, OldPair, OnRequest, OnStoreFailure, Persistence, ServerProfile,
    TokenManager,
};

use crate::Gate;
use crate::support::{Caller, MINUTE, SECOND, World, drain, loaded, rotate, settle};

/// The number of past tokens that a record names, as digests of 16 bytes in base64.
fn past(stored: &serde_json::Value) -> usize {
    let lists = stored["past"].as_object().unwrap().values();
    let texts = lists.filter_map(|list| list.as_str());
    texts.map(|names| names.len() * 6 / 8 / 16).sum()
}

struct Scene {
    world: World<Gate>,
    persistence: Persistence,
}

impl Scene {
    fn new() -> Self {
        Self {
            world: World::new(10 * MINUTE).with_store(Gate::new),
            persistence: Persistence::write_behind(2),
        }
    }

    fn builder(&self) -> evertoken::Builder {
        let builder = self.world.shared(OnRequest::default());
        let builder = builder.coordination(Coordination::None);
        builder.persistence(self.persistence.clone())
    }

    async fn manager(&self) -> TokenManager {
        loaded(self.builder()).await
    }

    async fn expire(&self) {
        self.world.expire().await;
    }

    async fn stored(&self, tokens: &TokenManager) -> serde_json::Value {
        serde_json::to_value(self.world.store.record(tokens.key()).await.unwrap()).unwrap()
    }
}

/// A caller whose exchange has arrived. `meets` prepares the store for the swap that follows.
async fn after_the_exchange(
    scene: &Scene,
    tokens: &TokenManager,
    meets: impl FnOnce(&Gate),
) -> Caller {
    let (hold, caller) = scene.world.rotate_in_flight(tokens).await;
    meets(&scene.world.store);
    drop(hold);
    settle().await;
    caller
}

/// Returns the token that the caller gets although the store does not accept the pair.
async fn closes_after_the_exchange(scene: &Scene, tokens: &TokenManager) -> evertoken::Token {
    let caller = after_the_exchange(scene, tokens, |store| store.set_open(false)).await;
    caller.await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_pair_is_returned_before_it_is_stored() {
    let scene = Scene::new();
    let tokens = scene.manager().await;
    scene.expire().await;
    let token = closes_after_the_exchange(&scene, &tokens).await;
    assert!(scene.world.is_live(&token));
    let before = scene.stored(&tokens).await;
    assert_ne!(before["pair"]["access_token"], token.expose());
    assert!(tokens.status().is_unpersisted);
    scene.world.store.set_open(true);
    settle().await;
    let after = scene.stored(&tokens).await;
    assert_eq!(after["pair"]["access_token"], token.expose());
    assert!(!tokens.status().is_unpersisted);
    assert_eq!(tokens.token().await.unwrap().pair_id(), token.pair_id());
    scene.world.assert_exchanges(1);
}

/// Shutdown stores the pairs that are not stored yet.
#[tokio::test(start_paused = true)]
async fn w11_shutdown_stores_what_is_not_stored_yet() {
    let scene = Scene::new();
    let tokens = scene.manager().await;
    scene.expire().await;
    let token = closes_after_the_exchange(&scene, &tokens).await;
    let shutdown = tokio::spawn({
        let tokens = tokens.clone();
        async move { tokens.shutdown().await }
    });
    scene.world.clock.advance(SECOND).await;
    assert!(!shutdown.is_finished());
    scene.world.store.set_open(true);
    shutdown.await.unwrap().unwrap();
    let stored = scene.stored(&tokens).await;
    assert_eq!(stored["pair"]["access_token"], token.expose());
}

/// Shutdown reports a pair that could not be stored.
#[tokio::test(start_paused = true)]
async fn w11_shutdown_reports_a_pair_that_could_not_be_stored() {
    for (coordination, workers) in [
        (Coordination::Lease, 0),
        (Coordination::None, 0),
        (Coordination::None, 2),
    ] {
        let scene = Scene {
            persistence: Persistence::write_behind(workers),
            ..Scene::new()
        };
        let tokens = loaded(scene.builder().coordination(coordination)).await;
        scene.expire().await;
        closes_after_the_exchange(&scene, &tokens).await;
        // After that time other instances treat the token as spent, and this instance does not try to store the pair.
        scene.world.clock.advance(2 * MINUTE).await;
        let error = tokens.shutdown().await.unwrap_err();
        assert!(matches!(error, Error::Store { .. }), "{error}");
    }
}

/// A failure of the store is reported once, counted, and retried.
#[tokio::test(start_paused = true)]
async fn w11_a_failure_of_the_store_is_reported_once_counted_and_retried() {
    let scene = Scene::new();
    let tokens = scene.manager().await;
    let mut events = tokens.subscribe();
    scene.expire().await;
    let token = closes_after_the_exchange(&scene, &tokens).await;
    scene.world.store.set_down(true);
    scene.world.store.set_open(true);
    // The attempts follow after 50, 100, 200, 400 and 800 ms, and then every 5 s.
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
    assert_eq!(tokens.token().await.unwrap().pair_id(), token.pair_id());
    scene.world.store.set_down(false);
    scene.world.clock.advance(5 * SECOND).await;
    let stored = scene.stored(&tokens).await;
    assert_eq!(stored["pair"]["access_token"], token.expose());
    assert_eq!(stored["version"], token.pair_id().version);
    scene.world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn the_next_rotation_spends_the_pair_that_is_not_stored_yet() {
    let scene = Scene::new();
    let tokens = scene.manager().await;
    scene.expire().await;
    closes_after_the_exchange(&scene, &tokens).await;
    scene.world.store.set_down(true);
    scene.world.store.set_open(true);
    scene.expire().await;
    let token = tokens.token().await.unwrap();
    assert!(scene.world.is_live(&token));
    scene.world.store.set_down(false);
    scene.world.clock.advance(5 * SECOND).await;
    let stored = scene.stored(&tokens).await;
    assert_eq!(stored["version"], 3);
    assert_eq!(past(&stored), 2);
    scene.world.assert_exchanges(2);
}

/// Only the latest of the pairs that wait is stored.
#[tokio::test(start_paused = true)]
async fn w12_only_the_latest_of_the_waiting_pairs_is_stored() {
    let mut scene = Scene::new();
    scene.persistence = Persistence::write_behind(8);
    let tokens = scene.manager().await;
    scene.world.store.set_open(false);
    let before = scene.world.store.swaps();
    let mut given = Vec::new();
    for _ in 0..4 {
        scene.expire().await;
        given.push(tokens.token().await.unwrap());
    }
    // The first swap was under way, and fails; the other pairs wait behind it.
    scene.world.store.set_open(true);
    scene.world.clock.advance(10 * SECOND).await;
    let stored = scene.stored(&tokens).await;
    assert_eq!(stored["pair"]["access_token"], given[3].expose());
    assert_eq!(stored["version"], 5);
    assert_eq!(past(&stored), 4);
    assert_eq!(tokens.status().pair_id, Some(given[3].pair_id()));
    let swaps = scene.world.store.swaps() - before;
    assert!(!tokens.status().is_unpersisted);
    println!("{swaps} swaps");
    scene.expire().await;
    assert!(scene.world.is_live(&tokens.token().await.unwrap()));
    scene.world.assert_exchanges(5);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_waits_for_its_pair_to_be_stored_when_the_queue_is_full() {
    let mut scene = Scene::new();
    scene.persistence = Persistence::write_behind(8).queue(1);
    let one = scene.manager().await;
    let key = one.key().clone().label("another session");
    let other = scene.builder().key(key).seed(scene.world.server.issue());
    let other = loaded(other).await;
    let given = after_the_exchange(&scene, &one, Gate::hold_next).await;
    assert!(scene.world.is_live(&given.await.unwrap().unwrap()));
    let waits = after_the_exchange(&scene, &other, Gate::hold_next).await;
    assert!(!waits.is_finished());
    scene.world.store.let_go();
    scene.world.store.let_go();
    assert!(scene.world.is_live(&waits.await.unwrap().unwrap()));
    settle().await;
    // The queue has room again.
    let given = after_the_exchange(&scene, &other, Gate::hold_next).await;
    assert!(given.is_finished());
    scene.world.store.let_go();
    scene.world.assert_unharmed();
}

#[tokio::test(start_paused = true)]
async fn a_pair_is_stored_first_when_the_old_pair_dies_at_first_use() {
    let scene = Scene::new();
    let profile = ServerProfile::strict().old_pair(OldPair::DiesAtFirstUse);
    let endpoint = scene.world.server.endpoint().with_profile(profile);
    let tokens = scene.world.builder_at(endpoint, OnRequest::default());
    let tokens = tokens
        .store(scene.world.store.clone())
        .coordination(Coordination::None)
        .persistence(scene.persistence.clone());
    let tokens = loaded(tokens).await;
    let waits = after_the_exchange(&scene, &tokens, Gate::hold_next).await;
    assert!(!waits.is_finished());
    scene.world.store.let_go();
    let token = waits.await.unwrap().unwrap();
    let stored = scene.stored(&tokens).await;
    assert_eq!(stored["pair"]["access_token"], token.expose());
}

/// Shutdown tries to store at once, and does not wait for the next attempt.
#[tokio::test(start_paused = true)]
async fn w11_shutdown_does_not_wait_for_the_next_attempt() {
    let scene = Scene::new();
    let tokens = scene.manager().await;
    let given = after_the_exchange(&scene, &tokens, |store| store.set_down(true)).await;
    let token = given.await.unwrap().unwrap();
    // All attempts with short pauses are over, so the next attempt is late.
    scene.world.clock.advance(2 * SECOND).await;
    scene.world.store.set_down(false);
    let started = tokio::time::Instant::now();
    tokens.shutdown().await.unwrap();
    assert!(started.elapsed() < SECOND);
    let stored = scene.stored(&tokens).await;
    assert_eq!(stored["pair"]["access_token"], token.expose());
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_is_stored_late_does_not_take_the_place_of_a_later_one() {
    let scene = Scene::new();
    let tokens = scene.manager().await;
    let mut events = tokens.subscribe();
    after_the_exchange(&scene, &tokens, Gate::hold_next)
        .await
        .await
        .unwrap()
        .unwrap();
    let later = tokens.rotate().await.unwrap();
    scene.world.store.let_go();
    settle().await;
    assert_eq!(tokens.token().await.unwrap().pair_id(), later.pair_id());
    let told = drain(&mut events);
    let told = told
        .iter()
        .filter(|event| matches!(event, Event::Rotated { .. }));
    assert_eq!(told.count(), 2);
    let stored = scene.stored(&tokens).await;
    assert_eq!(stored["pair"]["access_token"], later.expose());
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_gave_way_to_a_new_sign_in_is_not_served_on() {
    let scene = Scene::new();
    let (here, there) = (scene.manager().await, scene.manager().await);
    let given = after_the_exchange(&scene, &here, Gate::hold_next).await;
    let ours = given.await.unwrap().unwrap();
    there.replace(scene.world.server.issue()).await.unwrap();
    scene.world.store.let_go();
    settle().await;
    let token = here.token().await.unwrap();
    assert_eq!(token.pair_id(), there.token().await.unwrap().pair_id());
    here.shutdown().await.unwrap();
    assert!(!scene.world.is_live(&ours), "the superseded pair is live");
    assert!(scene.world.is_live(&token));
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_that_waits_to_be_stored_is_sent_once() {
    let scene = Scene::new();
    let tokens = scene.manager().await;
    let given = after_the_exchange(&scene, &tokens, |store| store.set_down(true)).await;
    given.await.unwrap().unwrap();
    scene.world.server.revoke_all();
    scene.expire().await;
    // Callers wait for the store in vain. The manager keeps the server's verdict until the verdict is stored.
    let error = tokens.token().await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert_eq!(scene.world.server.exchanges(), 2);
    scene.world.store.set_down(false);
    scene.world.clock.advance(MINUTE).await;
    assert!(tokens.token().await.unwrap_err().needs_sign_in());
    assert_eq!(scene.world.server.exchanges(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_logout_revokes_a_pair_that_was_not_stored_yet() {
    let scene = Scene::new();
    let tokens = scene.manager().await;
    scene.expire().await;
    let token = closes_after_the_exchange(&scene, &tokens).await;
    let logout = tokio::spawn({
        let tokens = tokens.clone();
        async move { tokens.logout().await }
    });
    settle().await;
    assert!(tokens.token().await.unwrap_err().needs_sign_in());
    scene.world.store.set_open(true);
    assert!(logout.await.unwrap().is_complete());
    tokens.shutdown().await.unwrap();
    assert!(!scene.world.is_live(&token));
    let stored = scene.stored(&tokens).await;
    assert_eq!(stored["state"]["is"], "logged_out");
    assert!(stored["pair"].is_null());
}

#[tokio::test(start_paused = true)]
async fn a_manager_whose_last_handle_is_dropped_stores_its_pair() {
    let scene = Scene::new();
    let tokens = scene.manager().await;
    let key = tokens.key().clone();
    scene.expire().await;
    let token = closes_after_the_exchange(&scene, &tokens).await;
    drop(tokens);
    scene.world.clock.advance(20 * SECOND).await;
    scene.world.store.set_open(true);
    scene.world.clock.advance(10 * SECOND).await;
    let stored = serde_json::to_value(scene.world.store.record(&key).await.unwrap()).unwrap();
    assert_eq!(stored["pair"]["access_token"], token.expose());
}

#[tokio::test(start_paused = true)]
async fn write_behind_with_leases_with_the_policy_fail_or_without_a_queue_is_refused() {
    let scene = Scene::new();
    let refused = |builder: evertoken::Builder| builder.build().unwrap_err().to_string();
    let leases = refused(scene.builder().coordination(Coordination::Lease));
    assert!(leases.contains("persistence.workers"), "{leases}");
    assert!(
        leases.contains("set `coordination` to \"none\""),
        "{leases}"
    );
    let fail = scene.builder().on_store_failure(OnStoreFailure::Fail);
    assert!(refused(fail).contains("on_store_failure"));
    let none = scene
        .builder()
        .persistence(Persistence::write_behind(1).queue(0));
    assert!(refused(none).contains("persistence.queue"));
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_is_being_stored_is_rotated_and_its_token_is_not_spent_again() {
    let scene = Scene::new();
    let tokens = scene.manager().await;
    let given = after_the_exchange(&scene, &tokens, Gate::hold_next).await;
    given.await.unwrap().unwrap();
    let next = rotate(&tokens).await;
    next.unwrap().unwrap();
    scene.world.store.let_go();
    scene.world.assert_exchanges(2);
    scene.world.server.revoke_all();
    scene.expire().await;
    for _ in 0..3 {
        assert!(tokens.token().await.unwrap_err().needs_sign_in());
        scene.world.clock.advance(MINUTE).await;
    }
    assert_eq!(scene.world.server.replays(), 0);
}
