//! A seed that the store does not know displaces a live session only if the policy says so.

use std::time::Duration;

use evertoken::{Error, OnRequest, OnSeedConflict, TokenManager};

use crate::support::{SECOND, World, built, loaded};

/// A manager on this store, whose seed comes from a sign-in of its own.
fn seeded(world: &World, policy: Option<OnSeedConflict>) -> TokenManager {
    let mut builder = world
        .shared(OnRequest::default())
        .seed(world.server.issue());
    if let Some(policy) = policy {
        builder = builder.on_seed_conflict(policy);
    }
    builder.build().unwrap()
}

fn world() -> World {
    World::with(|server| {
        let server = server.refresh_ttl(6_000 * SECOND);
        server.issue_refresh_expires_in(true)
    })
}

#[tokio::test(start_paused = true)]
async fn an_unknown_seed_on_a_live_session_is_an_error_and_ends_neither_session() {
    let world = world();
    let alice = loaded(world.shared(OnRequest::default())).await;
    let bob = seeded(&world, None);
    for _ in 0..3 {
        let error = bob.token().await.unwrap_err();
        assert!(matches!(error, Error::SeedConflict), "{error}");
        assert!(!error.is_retryable() && !error.needs_sign_in());
        assert!(error.to_string().contains("on_conflict"), "{error}");
        world.clock.advance(700 * SECOND).await;
        assert!(world.is_live(&alice.token().await.unwrap()));
    }
    // A logout on this manager does not end the session of the other user.
    bob.logout().await;
    world.clock.advance(700 * SECOND).await;
    assert!(world.is_live(&alice.token().await.unwrap()));
    world.assert_unharmed();
}

#[tokio::test(start_paused = true)]
async fn a_seed_is_used_once_the_stored_session_has_ended() {
    let world = world();
    drop(loaded(world.shared(OnRequest::default())).await);
    world.clock.advance(6_001 * SECOND).await;
    let bob = seeded(&world, None);
    assert!(world.is_live(&bob.token().await.unwrap()));
    world.assert_exchanges(0);
}

#[tokio::test(start_paused = true)]
async fn a_seed_replaces_or_keeps_a_live_session_as_the_policy_says() {
    let world = world();
    let alice = loaded(world.shared(OnRequest::default())).await;
    let token = alice.token().await.unwrap();
    let keeping = seeded(&world, Some(OnSeedConflict::Keep));
    assert_eq!(keeping.token().await.unwrap().expose(), token.expose());
    let replacing = seeded(&world, Some(OnSeedConflict::Replace));
    let replaced = replacing.token().await.unwrap();
    assert_ne!(replaced.expose(), token.expose());
    world.clock.advance(600 * SECOND).await;
    // All instances serve the new session.
    let newer = alice.token().await.unwrap();
    assert_eq!(newer.pair_id().family, replaced.pair_id().family);
    assert_eq!(keeping.token().await.unwrap().expose(), newer.expose());
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_was_given_to_replace_is_known_after_300_rotations() {
    let world = world();
    let tokens = loaded(world.shared(OnRequest::default())).await;
    let replacement = world.server.issue();
    tokens.replace(replacement.clone()).await.unwrap();
    for _ in 0..300 {
        tokens.rotate().await.unwrap();
        world.clock.advance(Duration::from_secs(2)).await;
    }
    let restarted = built(world.shared(OnRequest::default()).seed(replacement));
    let token = restarted.token().await.unwrap();
    assert_eq!(token.expose(), tokens.token().await.unwrap().expose());
    world.assert_exchanges(300);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_in_a_long_pause_does_not_take_a_valid_token_away() {
    let world = World::new(3_600 * SECOND);
    let tokens = world.manager(OnRequest::default().at_fraction(0.5)).await;
    world.clock.advance(1_800 * SECOND).await;
    let wait = Some(3_600 * SECOND);
    world.server.fail_next(crate::support::later(wait));
    let token = tokens.token().await.unwrap();
    world.clock.advance(SECOND).await;
    assert!(tokens.status().failure.is_some());
    assert_eq!(tokens.reject(&token), evertoken::Rejection::TooSoon);
    world.clock.advance(60 * SECOND).await;
    assert_eq!(tokens.token().await.unwrap().expose(), token.expose());
}
