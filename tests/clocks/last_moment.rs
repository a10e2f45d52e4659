//! The last moment of a token: its last second, or the last tenth of its lifetime if that is less. A token served then
//! would expire on its way to the API. The age of a token counts from its request, also where the store answers slowly.

use std::time::Duration;

use evertoken::testing::{AccessCheck, CallFault, FaultyStore, StoreCall};
use evertoken::{BackgroundTimer, OnRequest, TokenManager, TokenPair};

use crate::support::{MINUTE, SECOND, World, built, later, loaded};

const MS: Duration = Duration::from_millis(1);

/// Lifetimes, and the part at the end of each that counts as expired.
const TABLE: [(u32, u32); 7] = [
    (600_000, 1_000),
    (60_000, 1_000),
    (10_010, 1_000),
    (10_000, 1_000),
    (5_000, 500),
    (1_000, 100),
    (100, 10),
];

/// A pair without a refresh token. The pair cannot be rotated, so the manager serves its token as long as the token is
/// valid.
fn alone(world: &World, total: Duration) -> TokenPair {
    TokenPair::new(world.first.access.clone().unwrap()).expires_in(total)
}

/// A token is served until the last second of its lifetime, or the last tenth of a shorter one.
#[tokio::test(start_paused = true)]
async fn w16_a_token_is_served_until_its_last_moment_and_not_a_millisecond_later() {
    for (total, last) in TABLE {
        let world = World::new(600 * SECOND);
        let pair = alone(&world, total * MS);
        let tokens = loaded(world.builder(OnRequest::default()).seed(pair)).await;
        world.clock.advance((total - last) * MS).await;
        assert!(tokens.token().await.is_ok(), "{total}");
        assert!(tokens.authorization().await.is_ok(), "{total}");
        world.clock.advance(MS).await;
        assert!(tokens.token().await.is_err(), "{total}");
        assert!(tokens.authorization().await.is_err(), "{total}");
    }
}

/// A token in its last moment is not served, even while the server fails.
#[tokio::test(start_paused = true)]
async fn w16_a_token_in_its_last_moment_is_rotated_and_not_served_while_the_server_fails() {
    for (total, last) in [(600_000, 1_000), (5_000, 500)] {
        let world = World::new(total * MS);
        let tokens = world.manager(OnRequest::default()).await;
        world.server.fail_always(Some(later(None)));
        world.clock.advance((total - last) * MS).await;
        assert!(tokens.token().await.is_ok(), "{total}");
        world.clock.advance(MS).await;
        let asking = tokio::time::timeout(SECOND, tokens.token());
        assert!(asking.await.is_err(), "{total}");
        // The pause is over when a token is needed: one exchange for the early rotation, and one for the need.
        assert_eq!(world.server.exchanges(), 2, "{total}");
        world.server.fail_always(None);
        world.clock.advance(3 * SECOND).await;
        assert!(world.is_live(&tokens.token().await.unwrap()));
        world.assert_unharmed();
    }
}

/// The last moment of a token is the same for an instance that adopted the token from the store.
#[tokio::test(start_paused = true)]
async fn w16_a_token_adopted_from_the_store_is_served_until_its_last_moment() {
    for (total, last) in TABLE {
        for late in [false, true] {
            let world = World::new(600 * SECOND);
            let pair = alone(&world, total * MS);
            let builder = || world.shared(BackgroundTimer::default()).seed(pair.clone());
            loaded(builder()).await;
            world.clock.advance((total - last) * MS).await;
            if late {
                world.clock.advance(MS).await;
            }
            let other: TokenManager = builder().build().unwrap();
            assert_eq!(other.token().await.is_ok(), !late, "{total}");
        }
    }
}

/// An instance that finds a token in its last moment in the store rotates before it serves one.
#[tokio::test(start_paused = true)]
async fn w16_an_adopted_token_in_its_last_moment_is_rotated_first() {
    let world = World::new(600 * SECOND);
    let builder = || world.shared(OnRequest::default());
    loaded(builder()).await;
    world.clock.advance(599 * SECOND + MS).await;
    let other = builder().build().unwrap();
    assert_eq!(other.token().await.unwrap().pair_id().version, 2);
    world.assert_exchanges(1);
}

/// How long a slow store takes for an answer.
const ANSWER: Duration = Duration::from_secs(4);

/// The manager serves the first token until it expires. A second after the expiry no manager may serve the token. The
/// manager gets the token from a store that another instance has filled, from its seed, or from a new sign-in.
#[tokio::test(start_paused = true)]
async fn a_token_ages_while_the_store_is_slow() {
    let before = CallFault::DelayBefore(ANSWER);
    for (from, call, delay) in [
        ("the store", StoreCall::Load, CallFault::DelayAfter(ANSWER)),
        ("the seed", StoreCall::Swap, before),
        ("a sign-in", StoreCall::Swap, before),
    ] {
        let world = World::new(MINUTE).with_store(FaultyStore::new);
        if from == "the store" {
            loaded(world.shared(OnRequest::default())).await;
        }
        world.store.fail_always(call, Some(delay));
        let tokens = built(world.shared(OnRequest::default()));
        if from == "a sign-in" {
            tokens.replace(world.first.clone()).await.unwrap();
        } else {
            tokens.token().await.unwrap();
        }
        world.clock.advance(MINUTE + SECOND - ANSWER).await;
        let first = world.first.access.as_ref().unwrap();
        let check = world.server.check(first.expose());
        assert_eq!(check, AccessCheck::Expired, "{from}");
        if let Ok(token) = tokens.try_token() {
            assert_ne!(token.expose(), first.expose(), "{from}");
        }
    }
}

/// A pair whose storing takes longer than its lifetime, as after a stop or a suspend, is rotated and not served.
#[tokio::test(start_paused = true)]
async fn a_pair_that_expired_while_it_was_stored_is_rotated_and_not_served() {
    let world = World::new(3 * SECOND).with_store(FaultyStore::new);
    let tokens = loaded(world.shared(OnRequest::default())).await;
    world.assert_exchanges(0);
    // The store writes the lease at once, and delays the pair that the exchange brings.
    world.store.work_next(StoreCall::Swap, 1);
    let delay = CallFault::DelayBefore(ANSWER);
    world.store.fail_next(StoreCall::Swap, 1, delay);
    world.clock.advance(3 * SECOND).await;
    let token = tokens.token().await.unwrap();
    assert!(world.is_live(&token));
    assert_eq!(token.pair_id().version, 3);
    world.assert_exchanges(2);
}
