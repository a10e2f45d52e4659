//! What `token_valid_for`, `rotate`, `try_token` and `reject` do at each moment of a lifetime.

use evertoken::clock::Clock;
use evertoken::{Error, Issued, OnRequest, Rejection, Token, TokenManager};

use crate::lengths::{Scripted, seed};
use crate::support::{HOUR, HalfLife, MINUTE, SECOND, World, later, served, settle, text};

#[tokio::test(start_paused = true)]
async fn token_valid_for_rotates_once_if_needed_and_never_for_the_impossible() {
    let (world, tokens) = World::managed(OnRequest::default()).await;
    let first = tokens.token().await.unwrap();
    world.clock.advance(300 * SECOND).await;
    assert_eq!(
        text(&tokens.token_valid_for(300 * SECOND).await),
        first.expose()
    );
    // No token of this session lives for 601 s, so the manager makes no call.
    let error = tokens.token_valid_for(601 * SECOND).await.unwrap_err();
    assert!(matches!(error, Error::ShortLived { valid_for, .. } if valid_for == 300 * SECOND));
    assert!(!error.is_retryable() && !error.needs_sign_in());
    world.assert_exchanges(0);
    // The callers ask for a second more than the token has left: one rotation serves all of them.
    let asking: Vec<_> = (0..10)
        .map(|_| {
            let tokens = tokens.clone();
            tokio::spawn(async move { tokens.token_valid_for(301 * SECOND).await })
        })
        .collect();
    for token in served(asking).await {
        assert_eq!(token.pair_id().version, 2);
    }
    assert!(tokens.token_valid_for(600 * SECOND).await.is_ok());
    world.assert_exchanges(1);
    // The rotation fails, so the token is not valid for as long as the caller asks, although it is still valid.
    world.clock.advance(300 * SECOND).await;
    world.server.set_reachable(false);
    assert!(tokens.token_valid_for(400 * SECOND).await.is_err());
    assert!(tokens.token().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn rotate_ignores_the_strategy_and_respects_the_cool_down() {
    let world = World::new(600 * SECOND);
    let tokens = world.builder(OnRequest::default()).build().unwrap();
    // `rotate` also works as the first call of a manager.
    let second = tokens.rotate().await.unwrap();
    assert_eq!(second.pair_id().version, 2);
    world.assert_exchanges(1);
    world.server.fail_next(later(None));
    assert!(tokens.rotate().await.is_err());
    let error = tokens.rotate().await.unwrap_err();
    assert_eq!(error.retry_after(), Some(4 * SECOND));
    world.assert_exchanges(2);
    assert_eq!(text(&tokens.token().await), second.expose());
    world.clock.advance(4 * SECOND).await;
    assert_eq!(tokens.rotate().await.unwrap().pair_id().version, 3);
    world.assert_exchanges(3);
}

#[tokio::test]
async fn try_token_never_waits_and_can_be_called_from_any_thread() {
    // This test runs in real time, because only the runtime's own thread sees paused time. The machine sleeps through
    // the waits.
    let world = World::new(600 * SECOND);
    let tokens = world.builder(OnRequest::default()).build().unwrap();
    let from_a_thread = |tokens: &TokenManager| -> Result<Token, Error> {
        let tokens = tokens.clone();
        std::thread::spawn(move || tokens.try_token())
            .join()
            .unwrap()
    };
    // The manager has not loaded its record yet. The call starts the load, which is done a moment later.
    assert!(matches!(from_a_thread(&tokens), Err(Error::Pending)));
    settle().await;
    let first = from_a_thread(&tokens).unwrap();
    let hold = world.server.hold();
    world.clock.suspend(600 * SECOND);
    for _ in 0..10 {
        assert!(matches!(from_a_thread(&tokens), Err(Error::Pending)));
    }
    world.server.arrived(1).await;
    drop(hold);
    settle().await;
    let second = from_a_thread(&tokens).unwrap();
    assert_ne!(second.expose(), first.expose());
    world.assert_exchanges(1);
    // In the leeway the call starts a rotation and returns the valid token.
    world.clock.suspend(591 * SECOND);
    assert_eq!(from_a_thread(&tokens).unwrap().expose(), second.expose());
    settle().await;
    assert_ne!(from_a_thread(&tokens).unwrap().expose(), second.expose());
    world.assert_exchanges(2);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_token_that_is_rejected_again_backs_off_and_the_pause_doubles() {
    let world = World::new(24 * HOUR);
    let tokens = world.manager(OnRequest::default()).await;
    let start = world.clock.now();
    let mut at = Vec::new();
    // The API rejects every token, and the caller asks ten times a second for ten minutes.
    for _ in 0..6_000 {
        let token = tokens.token().await.unwrap();
        let before = world.server.exchanges();
        let rejection = tokens.reject(&token);
        settle().await;
        match rejection {
            Rejection::Rotating => {
                assert_eq!(world.server.exchanges(), before + 1);
                at.push(world.clock.now().since(start).as_secs());
            }
            other => assert_eq!(other, Rejection::TooSoon),
        }
        world.clock.advance(SECOND / 10).await;
    }
    let doubling = [0, 2, 6, 14, 30, 62];
    assert_eq!(at[..6], doubling);
    let every_minute: Vec<_> = (1..=8).map(|minute| 62 + 60 * minute).collect();
    assert_eq!(at[6..], every_minute);
    world.assert_exchanges(14);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_good_for_a_while_is_replaced_at_once_when_it_is_rejected() {
    let world = World::new(24 * HOUR);
    let tokens = world.manager(OnRequest::default()).await;
    for _ in 0..10 {
        let token = tokens.token().await.unwrap();
        assert_eq!(tokens.reject(&token), Rejection::Rotating);
        tokens.token().await.unwrap();
        world.clock.advance(MINUTE).await;
    }
    world.assert_exchanges(10);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_names_the_token_by_pair_id_and_not_by_its_bytes() {
    // The server issues the same bytes within a second.
    let endpoint = Scripted::new(|call, _| {
        let issued = Issued::new("at-0").refresh_token(format!("rt-{call}"));
        issued.expires_in(600 * SECOND)
    });
    let tokens = endpoint.manager(seed().expires_in(600 * SECOND), OnRequest::default());
    let first = tokens.token().await.unwrap();
    assert_eq!(tokens.reject(&first), Rejection::Rotating);
    let second = tokens.token().await.unwrap();
    assert_eq!(second.expose(), first.expose());
    assert_ne!(second.pair_id(), first.pair_id());
    assert_eq!(tokens.reject(&first), Rejection::Outdated);
    assert_eq!(endpoint.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_user_strategy_of_half_a_lifetime_takes_three_lines() {
    let (world, tokens) = World::managed(HalfLife).await;
    world.clock.advance(299 * SECOND).await;
    tokens.token().await.unwrap();
    settle().await;
    world.assert_exchanges(0);
    world.clock.advance(SECOND).await;
    tokens.token().await.unwrap();
    settle().await;
    world.assert_exchanges(1);
}
