//! `OptimisticEarly`: no caller waits while the token is valid, and a refusal inside the window ends nothing.

use std::time::Duration;

use evertoken::clock::Clock;
use evertoken::testing::{AuthorizationServer, Reuse, TestClock};
use evertoken::{
    Coordination, EndReason, Error, Event, OnExpiry, OnRequest, OnSeedConflict, OptimisticEarly,
    TokenManager,
};

use crate::support::{
    HOUR, MINUTE, SECOND, World, call, drain, ended, failed, later, loaded, reason, settle, text,
};

fn early() -> OptimisticEarly {
    OptimisticEarly::default().window(MINUTE)
}

/// Access and refresh tokens of 600 s, and a server that refuses a used refresh token without ending the session.
fn lenient() -> World {
    World::with(|server| server.refresh_ttl(600 * SECOND).reuse(Reuse::Refuse))
}

/// Another client of the same session, at the same server but with its own store. The store holds the pair with which
/// the first client was seeded.
async fn stranger(world: &World) -> TokenManager {
    loaded(world.builder(OnRequest::default())).await
}

/// Without leases two instances send the same token at once, and neither caller notices.
#[tokio::test(start_paused = true)]
async fn n7_two_instances_without_leases_spend_at_once_and_neither_caller_notices() {
    let world = lenient();
    let build = || world.shared(early()).coordination(Coordination::None);
    let (one, two) = (loaded(build()).await, loaded(build()).await);
    let (mut events_of_one, mut events_of_two) = (one.subscribe(), two.subscribe());
    let first = one.token().await.unwrap();
    world.clock.advance(541 * SECOND).await;
    let hold = world.server.hold();
    assert_eq!(text(&one.token().await), first.expose());
    assert_eq!(text(&two.token().await), first.expose());
    world.server.arrived(2).await;
    drop(hold);
    settle().await;

    // The server refused one of the instances, and that instance found the pair that the other one stored.
    let second = one.token().await.unwrap();
    assert_ne!(second.expose(), first.expose());
    assert_eq!(text(&two.token().await), second.expose());
    assert!(world.is_live(&second));
    assert_eq!((world.server.exchanges(), world.server.rotations()), (2, 1));
    assert_eq!(world.server.families_revoked(), 0);
    for events in [&mut events_of_one, &mut events_of_two] {
        let events = drain(events);
        assert_eq!((ended(&events), failed(&events)), (0, 0), "{events:?}");
    }
    // No further exchange follows.
    world.clock.advance(500 * SECOND).await;
    assert_eq!(text(&two.token().await), second.expose());
    assert_eq!(world.server.exchanges(), 2);
}

/// A caller goes on with its valid token when another client has spent the refresh token.
#[tokio::test(start_paused = true)]
async fn n7_a_caller_keeps_its_valid_token_when_another_client_spent_the_refresh_token() {
    let world = lenient();
    let build = || world.shared(early()).coordination(Coordination::None);
    let tokens = loaded(build()).await;
    let mut events = tokens.subscribe();
    let first = tokens.token().await.unwrap();
    let other = stranger(&world).await;
    world.clock.advance(541 * SECOND).await;
    other.rotate().await.unwrap();
    assert_eq!(world.server.exchanges(), 1);

    let start = world.clock.now();
    assert_eq!(text(&tokens.token().await), first.expose());
    settle().await;
    assert_eq!(world.server.exchanges(), 2);
    assert_eq!(text(&tokens.token().await), first.expose());
    assert_eq!(world.clock.now(), start);
    assert_eq!(tokens.key(), other.key());
    let seen = drain(&mut events);
    assert_eq!((ended(&seen), failed(&seen)), (0, 0), "{seen:?}");

    // An instance that knows the newer pair stores it, as the next request of a gateway does.
    let newer = world.server.issue();
    let bringing = build().on_seed_conflict(OnSeedConflict::Replace);
    let brought = loaded(bringing.seed(newer.clone())).await;
    let second = brought.token().await.unwrap();
    assert_eq!(second.expose(), newer.access.as_ref().unwrap().expose());
    // After the pause the next request finds the newer pair, without a call.
    world.clock.advance(4 * SECOND).await;
    assert_eq!(text(&tokens.token().await), first.expose());
    settle().await;
    assert_eq!(text(&tokens.token().await), second.expose());
    assert_eq!(world.server.exchanges(), 2);
    assert_eq!(world.server.families_revoked(), 0);
}

/// With leases two instances never send the same token.
#[tokio::test(start_paused = true)]
async fn n7_with_leases_two_instances_never_send_the_same_token() {
    let world = lenient();
    let (one, two) = world.two_managers(early()).await;
    world.clock.advance(541 * SECOND).await;
    let hold = world.server.hold();
    one.token().await.unwrap();
    two.token().await.unwrap();
    settle().await;
    drop(hold);
    settle().await;
    assert_eq!(text(&one.token().await), text(&two.token().await));
    world.assert_exchanges(1);
}

/// A failed early renewal is not an error until the token expires.
#[tokio::test(start_paused = true)]
async fn n8_an_early_failure_is_not_an_error_until_the_token_expires() {
    let (world, tokens) = World::managed(early()).await;
    let first = tokens.token().await.unwrap();
    world.clock.advance(541 * SECOND).await;
    world.server.set_reachable(false);
    for _ in 541..600 {
        assert_eq!(text(&tokens.token().await), first.expose());
        assert!(world.is_live(&first));
        world.clock.advance(SECOND).await;
    }
    let error = tokens.token().await.unwrap_err();
    assert!(matches!(error, Error::Endpoint { .. }), "{error}");
    assert!(error.is_retryable() && !error.needs_sign_in());
    assert!(error.retry_after().is_some_and(|after| after <= MINUTE));
    // The session survives: once the server is back, the manager rotates again.
    world.server.set_reachable(true);
    world.clock.advance(MINUTE).await;
    assert!(world.is_live(&tokens.token().await.unwrap()));
    world.assert_exchanges(1);
}

/// With `OnExpiry::End` a session that is idle past the lifetime ends without a late refresh.
#[tokio::test(start_paused = true)]
async fn n9_a_session_that_is_idle_past_the_lifetime_ends_without_a_late_refresh() {
    let (world, tokens) = World::managed(early().on_expiry(OnExpiry::End)).await;
    let mut events = tokens.subscribe();
    world.clock.advance(601 * SECOND).await;
    for pause in [0, 1, 10, 3_600] {
        world.clock.advance(pause * SECOND).await;
        let error = tokens.token().await.unwrap_err();
        assert!(error.needs_sign_in());
        assert_eq!(reason(&error), Some(EndReason::Idle));
    }
    world.assert_exchanges(0);
    let events = drain(&mut events);
    // A user interface gets the event in time, without a request.
    assert!(
        matches!(
            events[..],
            [
                Event::Expiring { left: MINUTE, .. },
                Event::Ended {
                    reason: EndReason::Idle,
                    ..
                }
            ]
        ),
        "{events:?}"
    );
}

/// A request inside the window keeps the session.
#[tokio::test(start_paused = true)]
async fn n9_a_request_inside_the_window_keeps_the_session() {
    let (world, tokens) = World::managed(early().on_expiry(OnExpiry::End)).await;
    for _ in 0..20 {
        world.clock.advance(545 * SECOND).await;
        tokens.token().await.unwrap();
        settle().await;
    }
    world.assert_exchanges(20);
}

/// An early rotation adds nothing to the latency of a caller.
#[tokio::test(start_paused = true)]
async fn n10_an_early_rotation_adds_nothing_to_the_latency_of_a_caller() {
    let world = World::with(|server| server.latency(5 * SECOND));
    let tokens = world.manager(early()).await;
    let first = tokens.token().await.unwrap();
    world.clock.advance(539 * SECOND).await;
    tokens.token().await.unwrap();
    world.clock.advance(SECOND).await;
    world.assert_exchanges(0);
    for _ in 0..50 {
        let start = world.clock.now();
        assert_eq!(text(&tokens.token().await), first.expose());
        assert_eq!(world.clock.now(), start);
        world.clock.advance(SECOND / 10).await;
    }
    let start = world.clock.now();
    let second = tokens.token().await.unwrap();
    assert_eq!(world.clock.now(), start);
    assert_ne!(second.expose(), first.expose());
    world.assert_exchanges(1);
}

/// The times of the exchanges, in whole seconds from now, while a request comes every 100 ms.
async fn exchanges_at(
    clock: &TestClock,
    server: &AuthorizationServer,
    tokens: &TokenManager,
    span: Duration,
) -> Vec<f64> {
    let start = clock.now();
    let mut seen = server.exchanges();
    let mut at = Vec::new();
    while clock.now().since(start) <= span {
        call(tokens);
        settle().await;
        for _ in seen..server.exchanges() {
            at.push(clock.now().since(start).as_secs_f64());
        }
        seen = server.exchanges();
        clock.advance(SECOND / 10).await;
    }
    at
}

/// A failed early renewal is tried again after 4 s, then 8 s, then 16 s.
#[tokio::test(start_paused = true)]
async fn n11_a_failed_early_renewal_is_tried_again_after_4_s_then_8_then_16() {
    let (world, tokens) = World::managed(early()).await;
    world.server.fail_always(Some(later(None)));
    world.clock.advance(540 * SECOND).await;
    let at = exchanges_at(&world.clock, &world.server, &tokens, 49 * SECOND).await;
    assert_eq!(at, [0.0, 4.0, 12.0, 28.0]);
    // A pause ends at the latest when the token is needed.
    let at = exchanges_at(&world.clock, &world.server, &tokens, 5 * SECOND).await;
    assert_eq!(at.len(), 1);
    world.assert_unharmed();
}

/// A failed renewal of an expired token is tried again after 2 s, doubling to 60 s.
#[tokio::test(start_paused = true)]
async fn n11_a_failed_renewal_of_an_expired_token_is_tried_again_after_2_s_and_doubling_to_60() {
    let (world, tokens) = World::managed(early()).await;
    world.server.fail_always(Some(later(None)));
    world.clock.advance(600 * SECOND).await;
    let at = exchanges_at(&world.clock, &world.server, &tokens, 185 * SECOND).await;
    assert_eq!(at, [0.0, 2.0, 6.0, 14.0, 30.0, 62.0, 122.0, 182.0]);
    world.assert_unharmed();
}

/// A caller whose deadline is before the next attempt gets the failure and how long to wait.
#[tokio::test(start_paused = true)]
async fn n11_a_caller_whose_deadline_is_before_the_next_attempt_gets_the_failure_and_how_long_to_wait()
 {
    let (world, tokens) = World::managed(early()).await;
    world.server.fail_next(later(Some(40 * SECOND)));
    world.clock.advance(600 * SECOND).await;
    assert_eq!(
        tokens.token().await.unwrap_err().retry_after(),
        Some(40 * SECOND)
    );
    world.clock.advance(SECOND / 2).await;
    let error = tokens.token().await.unwrap_err();
    assert_eq!(error.retry_after(), Some(SECOND * 79 / 2));
    // The deadline of the caller is 35 s away, so the caller waits.
    world.clock.advance(5 * SECOND).await;
    assert!(world.is_live(&tokens.token().await.unwrap()));
    world.assert_exchanges(2);
}

/// `Retry-After` is honoured while the token is valid and after its expiry.
#[tokio::test(start_paused = true)]
async fn n11_retry_after_is_honoured_while_the_token_is_valid_and_after() {
    for (begin, after) in [(540, 30), (540, 300), (600, 30), (600, 300)] {
        let (world, tokens) = World::managed(early()).await;
        world.clock.advance(begin * SECOND).await;
        world.server.fail_next(later(Some(after * SECOND)));
        let at = exchanges_at(&world.clock, &world.server, &tokens, (after + 10) * SECOND).await;
        let expected = [0.0, f64::from(after)];
        assert_eq!(at, expected, "from {begin} s on, with Retry-After: {after}");
        world.assert_unharmed();
    }
}

/// A `Retry-After` of a day counts as an hour.
#[tokio::test(start_paused = true)]
async fn n11_a_retry_after_of_a_day_counts_as_an_hour() {
    let (world, tokens) = World::managed(early()).await;
    world.clock.advance(600 * SECOND).await;
    world.server.fail_next(later(Some(24 * HOUR)));
    assert!(tokens.token().await.is_err());
    world.clock.advance(HOUR - MINUTE).await;
    let error = tokens.token().await.unwrap_err();
    assert_eq!(error.retry_after(), Some(MINUTE));
    world.assert_exchanges(1);
    world.clock.advance(MINUTE).await;
    assert!(world.is_live(&tokens.token().await.unwrap()));
    world.assert_exchanges(2);
}
