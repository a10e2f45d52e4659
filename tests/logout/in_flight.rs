//! A logout during a rotation. The pair of the rotation is revoked and never published.

use std::sync::Arc;

use evertoken::Event;
use evertoken::clock::Clock;
use parking_lot::Mutex;

use crate::support::{SECOND, call, callers, drain, ended, failures, settle};
use crate::world::{Site, assert_logged_out, is_logged_out};

/// Asserts that no event follows the end of the session.
#[track_caller]
fn assert_last_is_the_end(events: &[Event]) {
    assert_eq!(ended(events), 1, "{events:?}");
    let after = events
        .iter()
        .rev()
        .take_while(|event| !matches!(event, Event::Ended { .. }));
    for event in after {
        let is_pair = matches!(event, Event::Rotated { .. } | Event::Adopted { .. });
        assert!(!is_pair, "{events:?}");
    }
}

/// Logs out at each point of a rotation in turn, and returns the number of points. The rotation stands still at its
/// point until the logout is over.
async fn at_every_point(restart: bool) -> usize {
    for point in 0.. {
        let (site, tokens) = Site::managed().await;
        let mut events = tokens.subscribe();
        site.expire().await;
        let logged_out = Arc::new(Mutex::new(None));
        site.probe.at(point, {
            let (tokens, logged_out) = (tokens.clone(), logged_out.clone());
            move || async move {
                // The probe runs in the task of the rotation, which must not wait for its own manager.
                let logout = tokio::spawn(async move { tokens.logout().await });
                *logged_out.lock() = Some(logout.await.unwrap());
            }
        });
        let answer = call(&tokens).await.unwrap();
        if site.probe.is_pending() {
            return point;
        }
        assert!(is_logged_out(&answer.unwrap_err()), "point {point}");
        settle().await;
        let logout = logged_out.lock().take().unwrap();
        assert!(logout.is_complete(), "point {point}: {logout:?}");
        assert_last_is_the_end(&drain(&mut events));
        assert_logged_out(&tokens).await;
        if restart {
            assert_logged_out(&site.started()).await;
        }
        site.assert_over_and_revoked().await;
        assert!(site.server.exchanges() <= 1);
    }
    0
}

/// A logout at any point of a rotation revokes the pair of the rotation.
#[tokio::test(start_paused = true)]
async fn fm16_a_logout_at_any_point_of_a_rotation_revokes_its_pair() {
    // A rotation loads and swaps for its lease, exchanges the token, and commits with a swap: two points each.
    assert_eq!(at_every_point(false).await, 8);
}

/// A restarted process finds the session logged out, whichever point the rotation was at.
#[tokio::test(start_paused = true)]
async fn fm16_a_restart_finds_the_logout_whichever_point_a_rotation_was_at() {
    assert_eq!(at_every_point(true).await, 8);
}

/// A logout does not wait for a rotation, whether the server has committed or not.
#[tokio::test(start_paused = true)]
async fn fm16_a_logout_does_not_wait_for_a_rotation_before_or_after_the_servers_commit() {
    for committed in [false, true] {
        let site = Site::with(|server| server.latency(SECOND));
        let tokens = site.manager().await;
        site.expire().await;
        let hold = (!committed).then(|| site.server.hold());
        let caller = call(&tokens);
        site.server.arrived(1).await;
        settle().await;
        let start = site.clock.now();
        let logout = tokens.logout().await;
        assert!(logout.is_complete());
        // The logout takes the latency of the revocation, and not that of the rotation.
        assert_eq!(site.clock.now().since(start), SECOND);
        drop(hold);
        assert!(is_logged_out(&caller.await.unwrap().unwrap_err()));
        site.clock.advance(10 * SECOND).await;
        site.assert_over_and_revoked().await;
        assert_eq!(site.server.rotations(), u64::from(committed));
        assert_logged_out(&tokens).await;
    }
}

/// A logout revokes a new pair that only this manager knows because the store is down.
#[tokio::test(start_paused = true)]
async fn fm16_a_logout_revokes_a_new_pair_that_cannot_be_stored() {
    let (site, tokens) = Site::managed().await;
    let mut events = tokens.subscribe();
    site.expire().await;
    let (hold, caller) = site.call_in_flight(&tokens).await;
    site.store.set_down(true);
    drop(hold);
    let published = caller.await.unwrap().unwrap();
    assert!(tokens.status().is_unpersisted);
    let logout = tokens.logout().await;
    assert!(logout.stored.is_err());
    // The server revokes the pair that only this manager holds.
    assert!(logout.revoked.is_ok(), "{logout:?}");
    assert!(!site.is_live(&published));
    site.assert_revoked();
    assert_logged_out(&tokens).await;
    site.store.set_down(false);
    site.clock.advance(20 * SECOND).await;
    site.assert_over().await;
    assert_logged_out(&tokens).await;
    assert_last_is_the_end(&drain(&mut events));
}

/// A logout answers the waiters of a rotation at once, and without a token.
#[tokio::test(start_paused = true)]
async fn fm16_a_logout_answers_the_waiters_of_a_rotation_at_once_and_without_a_token() {
    let (site, tokens) = Site::managed().await;
    site.expire().await;
    let hold = site.server.hold();
    let callers = callers(&tokens, 64);
    site.server.arrived(1).await;
    let start = site.clock.now();
    tokens.logout().await;
    assert!(failures(callers).await.iter().all(is_logged_out));
    assert_eq!(site.clock.now(), start);
    drop(hold);
    settle().await;
    site.assert_revoked();
}

/// A logout holds for 400 draws of how long each call of the store and the endpoint takes.
#[tokio::test(start_paused = true)]
async fn fm16_a_logout_holds_for_400_draws_of_how_long_each_call_takes() {
    for seed in 0..400 {
        let (site, here, there) = Site::shared_by_two().await;
        let mut events = here.subscribe();
        site.expire().await;
        site.probe.scramble(seed);
        let callers = [call(&here), call(&there), call(&here)];
        tokio::time::sleep(8 * site.probe.draw()).await;
        let logout = here.logout().await;
        assert!(logout.is_complete(), "seed {seed}: {logout:?}");
        assert_logged_out(&here).await;
        for caller in callers {
            let _ = caller.await.unwrap();
        }
        site.clock.advance(SECOND).await;
        assert_logged_out(&here).await;
        assert_last_is_the_end(&drain(&mut events));
        site.expire().await;
        assert_logged_out(&there).await;
        site.assert_over_and_revoked().await;
        assert!(site.server.exchanges() <= 1, "seed {seed}");
    }
}

/// A rotation of another instance is revoked when it commits after the logout.
#[tokio::test(start_paused = true)]
async fn fm16_a_rotation_of_another_instance_is_revoked_when_it_commits() {
    let (site, here, there) = Site::shared_by_two().await;
    let mut events = there.subscribe();
    site.expire().await;
    let (hold, caller) = site.call_in_flight(&there).await;
    assert!(here.logout().await.is_complete());
    drop(hold);
    assert!(is_logged_out(&caller.await.unwrap().unwrap_err()));
    assert_last_is_the_end(&drain(&mut events));
    site.assert_over_and_revoked().await;
}
