//! `OnRequest`: the manager rotates only for a request, and only when the request needs it.

use evertoken::clock::Clock;
use evertoken::{EndReason, Event, OnRequest};

use crate::support::{HOUR, MINUTE, SECOND, World, callers, drain, ended, reason, rotated, settle};

/// A valid token is served without a refresh and without waiting.
#[tokio::test(start_paused = true)]
async fn q1_a_valid_token_is_sent_without_a_refresh_or_any_waiting() {
    let world = World::with(|server| server.latency(5 * SECOND));
    let tokens = world.builder(OnRequest::default()).build().unwrap();
    let first = tokens.token().await.unwrap();
    let start = world.clock.now();
    for _ in 0..1_000 {
        assert_eq!(tokens.token().await.unwrap().pair_id(), first.pair_id());
    }
    assert_eq!(world.clock.now(), start);
    // The last moment before the leeway of 10 s.
    world.clock.advance(589 * SECOND).await;
    let start = world.clock.now();
    assert_eq!(tokens.token().await.unwrap().pair_id(), first.pair_id());
    assert_eq!(world.clock.now(), start);
    world.assert_exchanges(0);
}

/// An expired token takes exactly one refresh, and then the new token is served.
#[tokio::test(start_paused = true)]
async fn q2_an_expired_token_takes_exactly_one_refresh_and_then_the_new_token_is_sent() {
    let (world, tokens) = World::managed(OnRequest::default()).await;
    let first = tokens.token().await.unwrap();
    let mut events = tokens.subscribe();
    world.clock.advance(600 * SECOND).await;
    world.assert_exchanges(0);
    let second = tokens.token().await.unwrap();
    assert!(world.is_live(&second));
    assert_ne!(second.expose(), first.expose());
    assert_eq!(second.pair_id().family, first.pair_id().family);
    assert_eq!(second.pair_id().version, first.pair_id().version + 1);
    for _ in 0..100 {
        assert_eq!(tokens.token().await.unwrap().pair_id(), second.pair_id());
    }
    world.assert_exchanges(1);
    assert_eq!(rotated(&drain(&mut events)), 1);
}

/// Inside the leeway a request waits, and carries the new token.
#[tokio::test(start_paused = true)]
async fn q2_inside_the_leeway_a_request_waits_and_carries_the_new_token() {
    let world = World::with(|server| server.latency(4 * SECOND));
    let tokens = world.manager(OnRequest::default()).await;
    let first = tokens.token().await.unwrap();
    world.clock.advance(590 * SECOND).await;
    let start = world.clock.now();
    let second = tokens.token().await.unwrap();
    assert_ne!(second.expose(), first.expose());
    assert_eq!(world.clock.now().since(start), 4 * SECOND);
    world.assert_exchanges(1);
}

/// A session whose tokens have both expired ends once, with a typed reason, without a call.
#[tokio::test(start_paused = true)]
async fn q3_a_session_whose_tokens_have_both_expired_ends_once_and_typed_without_a_call() {
    let world = World::with(|server| server.refresh_ttl(HOUR));
    let tokens = world.manager(OnRequest::default()).await;
    let mut events = tokens.subscribe();
    world.clock.advance(HOUR).await;
    let error = tokens.token().await.unwrap_err();
    assert!(error.needs_sign_in());
    assert!(!error.is_retryable());
    assert_eq!(reason(&error), Some(EndReason::Expired));
    // Later calls fail at once, during the pause and after it, whichever method the caller uses.
    for pause in [0, 1, 2, 60, 3_600] {
        world.clock.advance(pause * SECOND).await;
        let start = world.clock.now();
        assert!(tokens.token().await.unwrap_err().needs_sign_in());
        assert!(tokens.authorization().await.unwrap_err().needs_sign_in());
        assert!(tokens.try_token().unwrap_err().needs_sign_in());
        assert!(tokens.rotate().await.unwrap_err().needs_sign_in());
        assert_eq!(world.clock.now(), start);
    }
    settle().await;
    world.assert_exchanges(0);
    let events = drain(&mut events);
    assert!(
        matches!(
            events[..],
            [
                Event::Expiring { left: MINUTE, .. },
                Event::Ended {
                    reason: EndReason::Expired,
                    ..
                }
            ]
        ),
        "{events:?}"
    );
}

/// Callers that find the session over together get the same error, and one event is sent.
#[tokio::test(start_paused = true)]
async fn q3_waiters_that_come_together_get_the_same_end_and_one_event() {
    let world = World::with(|server| server.refresh_ttl(HOUR));
    let tokens = world.manager(OnRequest::default()).await;
    let mut events = tokens.subscribe();
    world.clock.advance(HOUR).await;
    let callers = callers(&tokens, 50);
    for caller in callers {
        assert!(caller.await.unwrap().unwrap_err().needs_sign_in());
    }
    world.assert_exchanges(0);
    assert_eq!(ended(&drain(&mut events)), 1);
}

/// Ten idle lifetimes cost no exchange, and the next request costs one.
#[tokio::test(start_paused = true)]
async fn q4_ten_idle_lifetimes_cost_nothing_and_the_next_request_costs_one() {
    let (world, tokens) = World::managed(OnRequest::default()).await;
    world.clock.advance(10 * 600 * SECOND).await;
    world.assert_exchanges(0);
    assert!(world.is_live(&tokens.token().await.unwrap()));
    world.assert_exchanges(1);
}

/// At a fraction of 0.8 a request at 480 s renews a token of 600 s without waiting.
#[tokio::test(start_paused = true)]
async fn q5_at_a_fraction_of_0_8_a_token_of_600_s_is_renewed_at_480_s_without_waiting() {
    let world = World::with(|server| server.latency(5 * SECOND));
    let tokens = world.manager(OnRequest::default().at_fraction(0.8)).await;
    let first = tokens.token().await.unwrap();
    world.clock.advance(479 * SECOND).await;
    assert_eq!(tokens.token().await.unwrap().pair_id(), first.pair_id());
    settle().await;
    world.clock.advance(SECOND).await;
    world.assert_exchanges(0);

    // At 480 s the manager serves the request at once, and starts the rotation.
    let start = world.clock.now();
    assert_eq!(tokens.token().await.unwrap().pair_id(), first.pair_id());
    assert_eq!(world.clock.now(), start);
    world.clock.advance(3 * SECOND).await;
    assert_eq!(tokens.token().await.unwrap().pair_id(), first.pair_id());
    world.clock.advance(2 * SECOND).await;
    let second = tokens.token().await.unwrap();
    assert_eq!(second.pair_id().version, first.pair_id().version + 1);
    world.assert_exchanges(1);

    // A lifetime counts from the time of the request, 480 s, and not from its answer at 485 s.
    world.clock.advance(474 * SECOND).await;
    tokens.token().await.unwrap();
    world.clock.advance(SECOND / 2).await;
    world.assert_exchanges(1);
    world.clock.advance(SECOND / 2).await;
    tokens.token().await.unwrap();
    world.clock.advance(10 * SECOND).await;
    world.assert_exchanges(2);
}

/// A fraction without a request causes no exchange.
#[tokio::test(start_paused = true)]
async fn q5_a_fraction_of_the_lifetime_passes_without_an_exchange_if_there_is_no_request() {
    let (world, tokens) = World::managed(OnRequest::default().at_fraction(0.8)).await;
    world.clock.advance(10 * HOUR).await;
    world.assert_exchanges(0);
    tokens.token().await.unwrap();
    world.assert_exchanges(1);
}
