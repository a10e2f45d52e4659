//! One failure, or one rejection, counts for all callers.

use evertoken::clock::Clock;
use evertoken::testing::Fault;
use evertoken::{Error, OnRequest, OptimisticEarly, Rejection};

use crate::callers::expired;
use crate::support::{
    HOUR, MINUTE, SECOND, World, callers, drain, ended, failed, failures, later, refusal, served,
    settle, text,
};

/// One failed call is the answer for 100 callers, and for all that come during the pause.
#[tokio::test(start_paused = true)]
async fn fm25_one_failed_call_is_the_answer_for_100_callers_and_all_later_ones_in_the_pause() {
    let world = World::new(600 * SECOND);
    // This client has never received a pair here, so a caller does not wait for the next attempt.
    let tokens = expired(&world).await;
    let mut events = tokens.subscribe();
    world
        .server
        .fail_always(Some(refusal(401, "invalid_client")));
    for error in failures(callers(&tokens, 100)).await {
        assert!(matches!(error, Error::Endpoint { .. }), "{error}");
        assert!(!error.needs_sign_in());
    }
    world.assert_exchanges(1);
    for _ in 0..19 {
        world.clock.advance(SECOND / 10).await;
        for caller in callers(&tokens, 10) {
            assert!(caller.await.unwrap().is_err());
        }
        assert!(tokens.rotate().await.is_err());
        assert!(tokens.try_token().is_err());
    }
    world.assert_exchanges(1);
    assert_eq!(failed(&drain(&mut events)), 1);
    // One request a second for an hour: pauses of 2, 4, .. 32 s, then one call a minute.
    for _ in 0..3_600 {
        assert!(tokens.token().await.is_err());
        world.clock.advance(SECOND).await;
    }
    world.assert_exchanges(6 + 58);
    world.server.fail_always(None);
    world.clock.advance(MINUTE).await;
    assert!(world.is_live(&tokens.token().await.unwrap()));
    assert_eq!(ended(&drain(&mut events)), 0);
}

/// Callers wait through a failure that passes; one call is made for all of them per pause.
#[tokio::test(start_paused = true)]
async fn fm25_callers_wait_through_a_failure_that_passes_and_one_call_a_pause_is_made_for_all() {
    for fault in [later(None), refusal(401, "invalid_client")] {
        let (world, tokens) = World::managed(OnRequest::default()).await;
        tokens.rotate().await.unwrap();
        world.clock.advance(600 * SECOND).await;
        let mut events = tokens.subscribe();
        world.server.fail_always(Some(fault.clone()));
        let mut waiting = callers(&tokens, 100);
        settle().await;
        for _ in 0..19 {
            world.assert_exchanges(1 + 1);
            waiting.extend(callers(&tokens, 10));
            assert!(
                tokens
                    .try_token()
                    .is_err_and(|error| error.endpoint().is_some())
            );
            world.clock.advance(SECOND / 10).await;
        }
        assert_eq!(failed(&drain(&mut events)), 1);
        assert!(waiting.iter().all(|caller| !caller.is_finished()));
        world.server.fail_always(None);
        world.assert_all_live(waiting).await;
        world.assert_exchanges(1 + 2);
        assert_eq!(
            (failed(&drain(&mut events)), tokens.status().end),
            (0, None)
        );
    }
}

/// Rejections of one token that come one after the other cost one rotation.
#[tokio::test(start_paused = true)]
async fn fm13_fm33_staggered_rejections_of_one_token_cost_one_rotation() {
    let world = World::with(|server| server.latency(2 * SECOND));
    let tokens = world.manager(OnRequest::default()).await;
    let first = tokens.token().await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..64 {
        seen.push(tokens.reject(&first));
        world.clock.advance(SECOND / 10).await;
    }
    assert_eq!(seen[0], Rejection::Rotating);
    assert_eq!(seen[19], Rejection::Rotating);
    assert!(seen[21..].iter().all(|one| *one == Rejection::Outdated));
    let second = tokens.token().await.unwrap();
    assert_eq!(second.pair_id().version, 2);
    world.assert_exchanges(1);
    // A caller rejects the old token hours later.
    world.clock.advance(500 * SECOND).await;
    assert_eq!(tokens.reject(&first), Rejection::Outdated);
    assert_eq!(text(&tokens.token().await), second.expose());
    world.assert_exchanges(1);
}

/// A rejected token is not served again, and every caller waits for the next.
#[tokio::test(start_paused = true)]
async fn fm13_a_rejected_token_is_not_served_again_and_every_caller_waits_for_the_next() {
    let world = World::with(|server| server.latency(2 * SECOND));
    let tokens = world.manager(OptimisticEarly::default()).await;
    let first = tokens.token().await.unwrap();
    assert_eq!(tokens.reject(&first), Rejection::Rotating);
    assert!(matches!(tokens.try_token(), Err(Error::Pending)));
    for token in served(callers(&tokens, 10)).await {
        assert_eq!(token.pair_id().version, 2);
    }
    world.assert_exchanges(1);
}

/// A valid token is served to its end, whichever failure an early rotation meets.
#[tokio::test(start_paused = true)]
async fn fm14_a_valid_token_is_served_to_its_end_whatever_an_early_rotation_meets() {
    let faults = [
        Some(later(None)),
        Some(Fault::status(500)),
        Some(Fault::DropBefore),
        Some(Fault::DropAfter),
        Some(Fault::Truncate),
        Some(Fault::DelayBefore(HOUR)),
        Some(refusal(400, "invalid_scope")),
        // The server answers `invalid_grant`, but does not end the session.
        Some(refusal(400, "invalid_grant")),
        None,
    ];
    for fault in faults {
        let (world, tokens) = World::managed(OptimisticEarly::default()).await;
        let first = tokens.token().await.unwrap();
        world.clock.advance(540 * SECOND).await;
        if fault.is_none() {
            world.server.set_reachable(false);
        }
        world.server.fail_always(fault.clone());
        for at in 540..600 {
            let start = world.clock.now();
            let answer = tokens.token().await;
            assert_eq!(text(&answer), first.expose(), "{fault:?} at {at} s");
            assert_eq!(tokens.try_token().unwrap().expose(), first.expose());
            assert_eq!(world.clock.now(), start, "{fault:?} at {at} s");
            world.clock.advance(SECOND).await;
        }
    }
}
