//! A store that answers slowly: the age of a token counts from its request, and not from the store's answer.

use std::time::Duration;

use evertoken::testing::{AccessCheck, CallFault, FaultyStore, StoreCall};
use evertoken::{MemoryStore, OnRequest, TokenManager};

use crate::support::{MINUTE, SECOND, World};

const ANSWER: Duration = Duration::from_secs(4);

fn manager(world: &World, store: FaultyStore) -> TokenManager {
    let builder = world.builder(OnRequest::default()).store(store);
    builder.build().unwrap()
}

/// The manager serves the token until it expires. A second after the expiry no manager may serve the token.
async fn assert_served_to_its_end(world: &World, tokens: &TokenManager, age: Duration) {
    world.clock.advance(MINUTE + SECOND - age).await;
    let first = world.first.access.as_ref().unwrap();
    assert_eq!(world.server.check(first.expose()), AccessCheck::Expired);
    if let Ok(token) = tokens.try_token() {
        assert_ne!(token.expose(), first.expose());
    }
}

#[tokio::test(start_paused = true)]
async fn the_age_of_an_adopted_token_includes_the_time_that_the_store_took() {
    let world = World::new(MINUTE);
    let memory = MemoryStore::with_clock(world.clock.clone());
    let one = manager(&world, FaultyStore::new(memory.clone()));
    one.token().await.unwrap();
    let slow = FaultyStore::new(memory);
    slow.fail_always(StoreCall::Load, Some(CallFault::DelayAfter(ANSWER)));
    let other = manager(&world, slow);
    other.token().await.unwrap();
    assert_served_to_its_end(&world, &other, ANSWER).await;
}

#[tokio::test(start_paused = true)]
async fn a_seeded_token_ages_while_the_store_is_slow() {
    let world = World::new(MINUTE);
    let memory = MemoryStore::with_clock(world.clock.clone());
    let slow = FaultyStore::new(memory);
    slow.fail_always(StoreCall::Swap, Some(CallFault::DelayBefore(ANSWER)));
    let tokens = manager(&world, slow);
    tokens.token().await.unwrap();
    assert_served_to_its_end(&world, &tokens, ANSWER).await;
}

#[tokio::test(start_paused = true)]
async fn a_token_of_a_new_sign_in_ages_while_the_store_is_slow() {
    let world = World::new(MINUTE);
    let memory = MemoryStore::with_clock(world.clock.clone());
    let slow = FaultyStore::new(memory);
    slow.fail_always(StoreCall::Swap, Some(CallFault::DelayBefore(ANSWER)));
    let tokens = manager(&world, slow);
    tokens.replace(world.first.clone()).await.unwrap();
    assert_served_to_its_end(&world, &tokens, ANSWER).await;
}

/// A pair whose storing takes longer than its lifetime, as after a stop or a suspend, is rotated and not served.
#[tokio::test(start_paused = true)]
async fn a_pair_that_expired_while_it_was_stored_is_rotated_and_not_served() {
    let world = World::new(3 * SECOND);
    let memory = MemoryStore::with_clock(world.clock.clone());
    let store = FaultyStore::new(memory);
    let tokens = manager(&world, store.clone());
    tokens.token().await.unwrap();
    world.assert_exchanges(0);
    // The store writes the lease at once, and delays the pair that the exchange brings.
    store.work_next(StoreCall::Swap, 1);
    store.fail_next(StoreCall::Swap, 1, CallFault::DelayBefore(ANSWER));
    world.clock.advance(3 * SECOND).await;
    let token = tokens.token().await.unwrap();
    assert!(world.is_live(&token));
    assert_eq!(token.pair_id().version, 3);
    world.assert_exchanges(2);
}
