//! A store that answers slowly: the age of a token counts from its request, and not from the store's answer.

use std::time::Duration;

use evertoken::OnRequest;
use evertoken::testing::{AccessCheck, CallFault, FaultyStore, StoreCall};

use crate::support::{MINUTE, SECOND, World, built, loaded};

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
