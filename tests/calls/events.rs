//! `Event::Rotated` holds the duration, and distinguishes a sign-in from a rotation.

use std::time::Duration;

use evertoken::testing::{AuthorizationServer, CallFault, FaultyStore, StoreCall, TestClock};
use evertoken::{Builder, Event, Events, MemoryStore, TokenManager};

use crate::world::{ACCESS_TTL, SECOND};

/// The duration of each rotation so far, and whether it was a sign-in.
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

/// A server that takes 3 s for each exchange, and whose client can sign in.
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
async fn the_rotated_event_marks_a_sign_in_and_holds_the_duration() {
    let (clock, server, builder) = slow_server();
    let tokens = builder.build().unwrap();
    let mut events = tokens.subscribe();
    tokens.token().await.unwrap();
    assert_eq!(rotated(&mut events), [(3 * SECOND, true)]);
    clock.advance(ACCESS_TTL).await;
    tokens.token().await.unwrap();
    assert_eq!(rotated(&mut events), [(3 * SECOND, false)]);
    // The session has ended, so the next rotation is a sign-in.
    server.revoke_all();
    clock.advance(ACCESS_TTL).await;
    tokens.token().await.unwrap();
    assert_eq!(rotated(&mut events), [(3 * SECOND, true)]);
}

/// The duration does not include storing the lease before the request.
#[tokio::test(start_paused = true)]
async fn the_duration_of_a_rotation_covers_the_exchange_and_the_storing() {
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
