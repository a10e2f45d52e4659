//! `BackgroundTimer`: the session stays alive by itself, and a request waits only for a rotation that is under way.

use std::time::Duration;

use evertoken::clock::Clock;
use evertoken::testing::Fault;
use evertoken::{BackgroundTimer, OnRequest, RefreshExpiry};

use crate::support::{
    HOUR, MINUTE, SECOND, World, call, callers, drain, ended, failed, failures, later, loaded,
    reason, rotated, served, settle, text,
};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The times of the rotations within the next `span`, in whole seconds.
async fn rotations_within(world: &World, span: Duration) -> Vec<u64> {
    let start = world.clock.now();
    let mut seen = world.server.exchanges();
    let mut at = Vec::new();
    while world.clock.now().since(start) < span {
        world.clock.advance(SECOND).await;
        for _ in seen..world.server.exchanges() {
            at.push(world.clock.now().since(start).as_secs());
        }
        seen = world.server.exchanges();
    }
    at
}

/// Tokens of 600 s are renewed every 480 s without a request.
#[tokio::test(start_paused = true)]
async fn r1_tokens_of_600_s_are_renewed_every_480_s_without_any_request() {
    let (world, _tokens) = World::managed(BackgroundTimer::default()).await;
    let at = rotations_within(&world, 2_000 * SECOND).await;
    assert_eq!(at, [480, 960, 1_440, 1_920]);
    world.assert_exchanges(4);
}

/// Tokens of 60 s are renewed at 48 s, and not a millisecond before.
#[tokio::test(start_paused = true)]
async fn r1_tokens_of_60_s_are_renewed_at_48_s_and_not_a_moment_before() {
    let world = World::new(60 * SECOND);
    let _tokens = world.manager(BackgroundTimer::default()).await;
    world.clock.advance(Duration::from_millis(47_999)).await;
    world.assert_exchanges(0);
    world.clock.advance(Duration::from_millis(1)).await;
    world.assert_exchanges(1);
    world.clock.advance(Duration::from_millis(47_999)).await;
    world.assert_exchanges(1);
    world.clock.advance(Duration::from_millis(1)).await;
    world.assert_exchanges(2);
}

/// The last token of a fixed session is not rotated.
#[tokio::test(start_paused = true)]
async fn r5_the_last_token_of_a_fixed_session_is_not_rotated() {
    // The session lasts 700 s: the second access token has the remaining 220 s, as much as its refresh token.
    let world = World::with(|server| {
        server
            .refresh_ttl(700 * SECOND)
            .refresh_expiry(RefreshExpiry::Absolute)
    });
    let _tokens = world.manager(BackgroundTimer::default()).await;
    assert_eq!(rotations_within(&world, HOUR).await, [480]);
    world.assert_unharmed();
}

/// Jitter moves a rotation earlier by its share at most, and never later.
#[tokio::test(start_paused = true)]
async fn r1_jitter_moves_a_rotation_earlier_by_its_share_at_most_and_never_later() {
    for _ in 0..20 {
        let world = World::new(600 * SECOND);
        let tokens = world.builder(BackgroundTimer::default()).jitter(0.05);
        let _tokens = loaded(tokens).await;
        world.clock.advance(455 * SECOND).await;
        world.assert_exchanges(0);
        world.clock.advance(25 * SECOND).await;
        world.assert_exchanges(1);
    }
}

/// A request during a rotation waits, and carries the new token.
#[tokio::test(start_paused = true)]
async fn r2_a_request_during_a_rotation_waits_and_carries_the_new_token() {
    let (world, tokens) = World::managed(BackgroundTimer::default()).await;
    let first = tokens.token().await.unwrap();
    let hold = world.server.hold();
    world.clock.advance(481 * SECOND).await;
    world.assert_exchanges(1);
    let waiting = call(&tokens);
    world.clock.advance(SECOND / 2).await;
    assert!(!waiting.is_finished());
    drop(hold);
    let second = waiting.await.unwrap().unwrap();
    assert_eq!(second.pair_id().version, first.pair_id().version + 1);
    assert!(world.is_live(&second));
    world.assert_exchanges(1);
}

/// A request without a rotation in flight is sent at once.
#[tokio::test(start_paused = true)]
async fn r3_a_request_without_a_rotation_in_flight_is_sent_at_once() {
    let world = World::with(|server| server.latency(SECOND));
    let tokens = world.manager(BackgroundTimer::default()).await;
    let begin = world.clock.now();
    let mut waited = 0;
    for _ in 0..2_000 {
        let start = world.clock.now();
        assert!(world.is_live(&tokens.token().await.unwrap()));
        let spent = world.clock.now().since(start);
        if !spent.is_zero() {
            // The request came just as the timer fired.
            assert_eq!(start.since(begin).as_secs() % 480, 0);
            assert_eq!(spent, SECOND);
            waited += 1;
        }
        world.clock.advance(SECOND).await;
    }
    assert_eq!(waited, 4);
    world.assert_exchanges(4);
}

/// A fixed session that ends with its access token is not rotated.
#[tokio::test(start_paused = true)]
async fn r5_a_fixed_session_that_ends_with_its_access_token_is_not_rotated() {
    for refresh_ttl in [300, 600] {
        let world = World::with(|server| {
            server
                .refresh_ttl(refresh_ttl * SECOND)
                .refresh_expiry(RefreshExpiry::Absolute)
        });
        let tokens = world.manager(BackgroundTimer::default()).await;
        world.clock.advance(refresh_ttl * SECOND - SECOND).await;
        assert!(world.is_live(&tokens.token().await.unwrap()));
        world.assert_exchanges(0);
        world.clock.advance(HOUR).await;
        assert!(tokens.token().await.unwrap_err().needs_sign_in());
        world.assert_exchanges(0);
    }
}

/// A sliding session is rotated where a fixed one of the same lifetimes is not.
#[tokio::test(start_paused = true)]
async fn r5_a_sliding_session_whose_tokens_end_together_is_rotated() {
    let world = World::with(|server| {
        server
            .refresh_ttl(600 * SECOND)
            .refresh_expiry(RefreshExpiry::Sliding)
    });
    let tokens = world.manager(BackgroundTimer::default()).await;
    assert_eq!(rotations_within(&world, 1_000 * SECOND).await, [480, 960]);
    assert!(world.is_live(&tokens.token().await.unwrap()));
    world.assert_unharmed();
}

/// A final refusal is one event, an error for every waiter, and the end of the timer.
#[tokio::test(start_paused = true)]
async fn r7_a_final_verdict_is_one_event_an_error_for_every_waiter_and_no_further_timer() {
    let (world, tokens) = World::managed(BackgroundTimer::default()).await;
    let mut events = tokens.subscribe();
    world.server.revoke_all();
    let hold = world.server.hold();
    // The machine sleeps past the expiry, so that no caller has a valid token.
    world.clock.suspend(700 * SECOND);
    world.clock.advance(5 * SECOND).await;
    world.assert_exchanges(1);
    let waiters = callers(&tokens, 100);
    settle().await;
    drop(hold);
    for error in failures(waiters).await {
        assert!(error.needs_sign_in(), "{error}");
        assert!(reason(&error).is_some_and(|reason| reason.is_rejected()));
    }
    world.clock.advance(DAY).await;
    world.assert_exchanges(1);
    let events = drain(&mut events);
    assert_eq!((events.len(), ended(&events)), (1, 1), "{events:?}");
}

/// After a final refusal a valid access token is served to its end.
#[tokio::test(start_paused = true)]
async fn r7_after_a_final_verdict_a_valid_token_is_served_to_its_end() {
    let (world, tokens) = World::managed(BackgroundTimer::default()).await;
    let mut events = tokens.subscribe();
    world.server.revoke_all();
    world.clock.advance(480 * SECOND).await;
    world.assert_exchanges(1);
    world.clock.advance(119 * SECOND).await;
    tokens.token().await.unwrap();
    world.clock.advance(SECOND).await;
    let error = tokens.token().await.unwrap_err();
    assert!(error.needs_sign_in());
    world.clock.advance(DAY).await;
    world.assert_exchanges(1);
    assert_eq!(ended(&drain(&mut events)), 1);
}

/// After a transient failure the timer backs off and goes on.
#[tokio::test(start_paused = true)]
async fn r7_a_transient_failure_backs_off_and_the_chain_goes_on() {
    let (world, tokens) = World::managed(BackgroundTimer::default()).await;
    let first = tokens.token().await.unwrap();
    let mut events = tokens.subscribe();
    for _ in 0..3 {
        world.server.fail_next(later(None));
    }
    // Pauses of 4, 8 and 16 s, and then the next lifetime.
    let at = rotations_within(&world, 1_000 * SECOND).await;
    assert_eq!(at, [480, 484, 492, 508, 988]);
    world.assert_unharmed();
    let second = tokens.token().await.unwrap();
    assert_eq!(second.pair_id().version, first.pair_id().version + 2);
    let events = drain(&mut events);
    assert_eq!((failed(&events), rotated(&events)), (3, 2));
    assert_eq!(ended(&events), 0);
}

/// A server that is unreachable for hours does not end the timer.
#[tokio::test(start_paused = true)]
async fn r7_a_server_that_cannot_be_reached_for_hours_does_not_end_the_chain() {
    let (world, tokens) = World::managed(BackgroundTimer::default()).await;
    let mut events = tokens.subscribe();
    world.server.set_reachable(false);
    world.clock.advance(5 * HOUR).await;
    world.assert_exchanges(0);
    let error = tokens.token().await.unwrap_err();
    assert!(error.is_retryable() && !error.needs_sign_in(), "{error}");
    world.server.set_reachable(true);
    // The longest pause is a minute.
    world.clock.advance(MINUTE).await;
    world.assert_exchanges(1);
    assert!(world.is_live(&tokens.token().await.unwrap()));
    world.clock.advance(480 * SECOND).await;
    world.assert_exchanges(2);
    assert_eq!(ended(&drain(&mut events)), 0);
}

/// All waiters wake after a rotation and see the new token.
#[tokio::test(start_paused = true)]
async fn r8_all_waiters_wake_after_success_and_see_the_new_state() {
    let (world, tokens) = World::managed(BackgroundTimer::default()).await;
    let first = tokens.token().await.unwrap();
    let hold = world.server.hold();
    world.clock.advance(480 * SECOND).await;
    world.assert_exchanges(1);
    let waiters: Vec<_> = (0..200)
        .map(|_| {
            let tokens = tokens.clone();
            tokio::spawn(async move {
                let woken = tokens.token().await;
                // A waiter wakes only once every caller can see the new pair.
                assert_eq!(text(&tokens.try_token()), text(&woken));
                woken
            })
        })
        .collect();
    settle().await;
    assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
    drop(hold);
    for token in served(waiters).await {
        assert_eq!(token.pair_id().version, first.pair_id().version + 1);
    }
    world.assert_exchanges(1);
}

/// A pair of another instance is adopted, and the timer follows its times.
#[tokio::test(start_paused = true)]
async fn r9_a_rotation_of_another_instance_is_adopted_and_the_timer_follows_its_times() {
    let world = World::new(600 * SECOND);
    let timer = loaded(world.shared(BackgroundTimer::default())).await;
    let other = loaded(world.shared(OnRequest::default())).await;
    world.clock.advance(400 * SECOND).await;
    let second = other.rotate().await.unwrap();
    // At 480 s the timer finds a pair that is 80 s old: the next rotation is due at 400 + 480 s.
    world.clock.advance(479 * SECOND).await;
    world.assert_exchanges(1);
    assert_eq!(text(&timer.token().await), second.expose());
    world.clock.advance(SECOND).await;
    world.assert_exchanges(2);
}

/// The timer keeps a session alive that is idle for hours.
#[tokio::test(start_paused = true)]
async fn r10_a_session_that_is_idle_for_hours_stays_alive() {
    let world = World::with(|server| server.refresh_ttl(1_200 * SECOND));
    let tokens = world.manager(BackgroundTimer::default()).await;
    world.clock.advance(12 * HOUR).await;
    // One rotation each 480 s in 43,200 s; the 90th comes in the last moment.
    world.assert_exchanges(90);
    let start = world.clock.now();
    assert!(world.is_live(&tokens.token().await.unwrap()));
    assert_eq!(world.clock.now(), start);
}

/// A machine that slept past the expiry rotates within 5 s of waking.
#[tokio::test(start_paused = true)]
async fn r11_a_machine_that_slept_past_expiry_rotates_within_5_s_of_waking() {
    let (world, tokens) = World::managed(BackgroundTimer::default()).await;
    world.clock.advance(100 * SECOND).await;
    world.clock.suspend(8 * HOUR);
    world.clock.advance(5 * SECOND).await;
    world.assert_exchanges(1);
    let start = world.clock.now();
    assert!(world.is_live(&tokens.token().await.unwrap()));
    assert_eq!(world.clock.now(), start);
    // The timer set before the sleep does not fire again.
    world.clock.advance(470 * SECOND).await;
    world.assert_exchanges(1);
}

/// A request right after the sleep does not get the expired token.
#[tokio::test(start_paused = true)]
async fn r11_a_request_right_after_the_sleep_does_not_get_the_expired_token() {
    let (world, tokens) = World::managed(BackgroundTimer::default()).await;
    tokens.token().await.unwrap();
    world.clock.suspend(8 * HOUR);
    assert!(world.is_live(&tokens.token().await.unwrap()));
    world.assert_exchanges(1);
}

/// A sleep that ends before the expiry counts as time that passed.
#[tokio::test(start_paused = true)]
async fn r11_a_sleep_that_ends_before_expiry_counts_as_time_that_passed() {
    let (world, _tokens) = World::managed(BackgroundTimer::default()).await;
    world.clock.suspend(400 * SECOND);
    world.clock.advance(79 * SECOND).await;
    world.assert_exchanges(0);
    world.clock.advance(5 * SECOND).await;
    world.assert_exchanges(1);
}

/// A jump of the wall clock past the expiry causes a rotation within 5 s.
#[tokio::test(start_paused = true)]
async fn r11_a_wall_clock_that_jumps_past_expiry_rotates_within_5_s() {
    let (world, tokens) = World::managed(BackgroundTimer::default()).await;
    world.clock.step_wall(HOUR);
    world.clock.advance(5 * SECOND).await;
    world.assert_exchanges(1);
    assert!(world.is_live(&tokens.token().await.unwrap()));
    // The clock stepped before the new pair came, so the step does not add to the age of that pair.
    world.clock.advance(470 * SECOND).await;
    world.assert_exchanges(1);
}

/// When the jump of the wall clock was wrong and the rotation fails, the valid token is served.
#[tokio::test(start_paused = true)]
async fn r11_after_a_wrong_clock_jump_and_a_failed_rotation_the_valid_token_is_served() {
    let (world, tokens) = World::managed(BackgroundTimer::default()).await;
    let first = tokens.token().await.unwrap();
    world.server.set_reachable(false);
    world.clock.step_wall(HOUR);
    for _ in 0..119 {
        assert_eq!(tokens.token().await.unwrap().pair_id(), first.pair_id());
        world.clock.advance(5 * SECOND).await;
    }
    assert!(world.is_live(&first));
    world.assert_exchanges(0);
}

/// A refresh that takes 15 s is one exchange, whatever callers ask meanwhile.
#[tokio::test(start_paused = true)]
async fn r12_callers_during_a_refresh_of_15_s_cause_no_second_refresh() {
    let (world, tokens) = World::managed(BackgroundTimer::default()).await;
    world.server.fail_next(Fault::Delay(15 * SECOND));
    world.clock.advance(480 * SECOND).await;
    let mut callers = Vec::new();
    for _ in 0..15 {
        callers.push(call(&tokens));
        world.clock.advance(SECOND).await;
    }
    world.assert_all_live(callers).await;
    world.assert_exchanges(1);
    // This still holds after the old token has expired.
    world.clock.advance(300 * SECOND).await;
    world.assert_exchanges(1);
}
