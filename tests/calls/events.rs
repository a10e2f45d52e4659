//! `Event::Rotated` says how long it took, and tells a sign-in from a rotation.

use std::time::Duration;

use evertoken::testing::{AuthorizationServer, CallFault, FaultyStore, StoreCall, TestClock};
use evertoken::{Builder, Event, Events, MemoryStore, TokenManager};

use crate::world::{ACCESS_TTL, SECOND};

/// Of the events so far, each rotation: how long it took, and whether it was a sign-in.
fn rotated(events: &mut Events) -> Vec<(Duration, bool)> {
    std::iter::from_fn(|| events.try_recv())
        .filter_map(|event| match event {
            Event::Rotated {
                took, is_sign_in, ..
            } => Some((took, is_sign_in)),
            _ => None,
        })
        .collect()
}

/// A server that takes 3 s for each exchange, and lets its client sign in by itself.
fn slow_server() -> (TestClock, AuthorizationServer, Builder) {
    let clock = TestClock::new();
    let server = AuthorizationServer::builder()
        .clock(clock.clone())
        .access_ttl(ACCESS_TTL)
        .latency(3 * SECOND)
        .sign_in(true)
        .build();
    let builder = TokenManager::builder(server.endpoint()).clock(clock.clone());
    (clock, server, builder)
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_and_a_rotation_are_told_apart_and_say_how_long_they_took() {
    let (clock, server, builder) = slow_server();
    let tokens = builder.build().unwrap();
    let mut events = tokens.subscribe();
    tokens.token().await.unwrap();
    assert_eq!(rotated(&mut events), [(3 * SECOND, true)]);
    clock.advance(ACCESS_TTL).await;
    tokens.token().await.unwrap();
    assert_eq!(rotated(&mut events), [(3 * SECOND, false)]);
    // The session is gone, so that the next rotation is a sign-in again.
    server.revoke_all();
    clock.advance(ACCESS_TTL).await;
    tokens.token().await.unwrap();
    assert_eq!(rotated(&mut events), [(3 * SECOND, true)]);
}

/// What is stored before the request is sent, the lease, is not in it.
#[tokio::test(start_paused = true)]
async fn the_time_of_a_rotation_is_the_exchange_and_storing_what_it_brought() {
    let (_, server, builder) = slow_server();
    let store = FaultyStore::new(MemoryStore::new());
    let slow = CallFault::DelayBefore(Duration::from_millis(400));
    store.fail_always(StoreCall::Swap, Some(slow));
    let tokens = builder.seed(server.issue()).store(store).build().unwrap();
    tokens.token().await.unwrap();
    let mut events = tokens.subscribe();
    tokens.rotate().await.unwrap();
    let took = 3 * SECOND + Duration::from_millis(400);
    assert_eq!(rotated(&mut events), [(took, false)]);
}
