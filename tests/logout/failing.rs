//! A logout during a failure. The caller does not get the failure as an error, and the remaining steps are done later.

use evertoken::clock::Clock;
use evertoken::testing::AccessCheck;
use evertoken::{EndpointError, Error, OnSeedConflict};

use crate::support::{HOUR, MINUTE, SECOND, built, loaded, settle};
use crate::world::{Site, assert_logged_out, leave, refresh};

/// A logout holds while the store is down, and is stored when the store is back.
#[tokio::test(start_paused = true)]
async fn q10_a_store_that_is_down_fails_no_logout_and_gets_the_logout_when_it_is_back() {
    let (site, tokens) = Site::managed().await;
    site.store.set_down(true);
    let logout = tokens.logout().await;
    assert!(logout.stored.is_err());
    assert!(logout.revoked.is_ok(), "{logout:?}");
    assert!(!logout.is_complete());
    site.assert_revoked();
    for _ in 0..100 {
        assert_logged_out(&tokens).await;
        site.clock.advance(SECOND).await;
    }
    site.store.set_down(false);
    site.clock.advance(6 * SECOND).await;
    site.assert_over().await;
    assert_logged_out(&tokens).await;
    assert_logged_out(&site.started()).await;
    site.assert_exchanges(0);
}

/// A logout before the first use is stored when the store is back.
#[tokio::test(start_paused = true)]
async fn q10_a_logout_before_the_first_use_reaches_a_store_that_comes_back() {
    let site = Site::new();
    let tokens = site.started();
    site.store.set_down(true);
    assert!(!tokens.logout().await.is_complete());
    assert_logged_out(&tokens).await;
    site.store.set_down(false);
    site.clock.advance(6 * SECOND).await;
    site.assert_over_and_revoked().await;
    assert_logged_out(&site.started()).await;
}

/// A logout holds although the server refuses the revocation.
#[tokio::test(start_paused = true)]
async fn q10_a_refused_revocation_fails_no_logout() {
    let (site, tokens) = Site::managed().await;
    site.endpoint.fail_revocations();
    let logout = tokens.logout().await;
    assert!(logout.stored.is_ok());
    let revoked = logout.revoked;
    assert!(matches!(revoked, Err(EndpointError::Rejected { .. })));
    assert_logged_out(&tokens).await;
    // The pair is dead, so the record drops it.
    site.assert_over().await;
    assert_eq!(site.endpoint.revoked(), [refresh(&site.first)]);
}

/// A pair that could not be revoked is revoked by an instance that finds the logout in the store.
#[tokio::test(start_paused = true)]
async fn q10_an_instance_that_finds_a_logout_revokes_the_pair_that_is_not_revoked_yet() {
    let (site, tokens) = Site::managed().await;
    site.server.set_reachable(false);
    let logout = tokens.logout().await;
    assert!(logout.stored.is_ok());
    assert!(matches!(logout.revoked, Err(EndpointError::NotSent { .. })));
    assert_logged_out(&tokens).await;
    site.server.set_reachable(true);
    let next = site.started();
    assert_logged_out(&next).await;
    site.assert_over_and_revoked().await;
    site.assert_exchanges(0);
}

/// The instance that logged out revokes the pair once the endpoint is reached again.
#[tokio::test(start_paused = true)]
async fn q10_the_instance_that_logged_out_revokes_once_the_endpoint_is_reached_again() {
    let (site, tokens) = Site::managed().await;
    site.server.set_reachable(false);
    assert!(!tokens.logout().await.is_complete());
    site.clock.advance(10 * MINUTE).await;
    site.server.set_reachable(true);
    site.clock.advance(61 * SECOND).await;
    site.assert_over_and_revoked().await;
}

/// A pair that only this instance holds is revoked once the endpoint is reached again.
#[tokio::test(start_paused = true)]
async fn q10_a_pair_that_the_record_does_not_hold_is_revoked_later() {
    let (site, here, there) = Site::shared_by_two().await;
    let newer = there.rotate().await.unwrap();
    site.server.set_reachable(false);
    assert!(!here.logout().await.is_complete());
    site.server.set_reachable(true);
    site.clock.advance(2 * SECOND).await;
    let revoked = site.endpoint.revoked();
    assert!(revoked.iter().any(|it| it == refresh(&site.first)));
    assert!(!site.is_live(&newer));
    site.assert_over().await;
}

/// The user logs out and in again while the server is unreachable. The old session is revoked once the server is
/// reachable, although a new session took its place.
#[tokio::test(start_paused = true)]
async fn q10_the_session_that_was_left_is_revoked_although_a_new_one_took_its_place() {
    for (of_another, signs_in) in [(false, false), (false, true), (true, false), (true, true)] {
        let site = Site::with(|server| server.sign_in(signs_in));
        let tokens = site.manager().await;
        site.server.set_reachable(false);
        assert!(!tokens.logout().await.is_complete());
        let tokens = if of_another {
            tokens.shutdown().await.unwrap();
            site.started()
        } else {
            tokens
        };
        let fresh = site.server.issue();
        if signs_in {
            assert!(tokens.sign_in().await.is_err());
        } else {
            tokens.replace(fresh).await.unwrap();
        }
        site.clock.advance(10 * MINUTE).await;
        site.server.set_reachable(true);
        site.clock.advance(61 * SECOND).await;
        let access = site.first.access.as_ref().unwrap();
        let worth = site.server.check(access.expose());
        assert_eq!(worth, AccessCheck::Revoked);
        let revoked = site.endpoint.revoked();
        assert!(revoked.iter().all(|it| it == refresh(&site.first)));
        let token = tokens.token().await.unwrap();
        assert!(site.is_live(&token));
    }
}

/// A second logout covers the seed that the first one could not store.
#[tokio::test(start_paused = true)]
async fn q10_a_second_logout_knows_the_seed_that_the_first_could_not_store() {
    let site = Site::new();
    let tokens = site.started();
    site.store.set_down(true);
    assert!(!tokens.logout().await.is_complete());
    site.store.set_down(false);
    assert!(tokens.logout().await.is_complete());
    assert_logged_out(&site.started()).await;
    site.assert_over_and_revoked().await;
}

/// A new sign-in does not restore a seed that was logged out before the seed was stored.
#[tokio::test(start_paused = true)]
async fn q10_a_new_sign_in_does_not_restore_a_seed_that_was_logged_out_unstored() {
    let site = Site::with(|server| server.sign_in(true));
    let tokens = site.started();
    site.store.set_down(true);
    assert!(!tokens.logout().await.is_complete());
    site.store.set_down(false);
    let token = tokens.sign_in().await.unwrap();
    let next = site.started().token().await.unwrap();
    assert_eq!(next.expose(), token.expose());
    settle().await;
    assert_eq!(site.endpoint.revoked(), [refresh(&site.first)]);
}

/// A logout covers a seed that is given after an earlier one.
#[tokio::test(start_paused = true)]
async fn q10_a_logout_holds_for_a_seed_that_is_given_after_an_earlier_one() {
    let (site, tokens) = Site::managed().await;
    tokens.logout().await;
    let seed = site.server.issue();
    let with_seed = || built(site.builder().seed(seed.clone()));
    assert!(with_seed().logout().await.is_complete());
    assert_logged_out(&with_seed()).await;
    assert!(!site.server.is_live_refresh(refresh(&seed)));
}

/// A logout before the first use revokes the stored pair that its seed replaces.
#[tokio::test(start_paused = true)]
async fn q10_a_logout_before_the_first_use_revokes_the_pair_that_its_seed_replaces() {
    let site = Site::new();
    site.manager().await;
    let seed = site.server.issue();
    let builder = site.builder().on_seed_conflict(OnSeedConflict::Replace);
    let tokens = built(builder.seed(seed.clone()));
    assert!(tokens.logout().await.is_complete());
    settle().await;
    for pair in [&seed, &site.first] {
        assert!(!site.server.is_live_refresh(refresh(pair)));
    }
    site.assert_over().await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_revokes_the_pair_of_a_logout_that_is_stored_at_the_last_moment() {
    let site = Site::new();
    let tokens = site.started();
    site.store.set_down(true);
    assert!(!tokens.logout().await.is_complete());
    site.store.set_down(false);
    tokens.shutdown().await.unwrap();
    site.assert_over_and_revoked().await;
}

/// An endpoint that hangs delays a logout by its deadline at most.
#[tokio::test(start_paused = true)]
async fn q10_a_hanging_endpoint_delays_a_logout_by_its_deadline_at_most() {
    let site = Site::with(|server| server.latency(HOUR));
    let tokens = site.manager().await;
    // The store may take 5 s, and then the endpoint 30 s.
    site.probe.at(0, std::future::pending::<()>);
    let start = site.clock.now();
    let logout = tokens.logout().await;
    assert_eq!(site.clock.now().since(start), 35 * SECOND);
    assert!(logout.revoked.is_err());
    assert_logged_out(&tokens).await;
}

/// A logout reports that the store has the end while the endpoint hangs.
#[tokio::test(start_paused = true)]
async fn q10_a_logout_reports_the_stored_end_while_the_endpoint_hangs() {
    let site = Site::with(|server| server.latency(SECOND));
    let wait = 30 * SECOND + SECOND / 2;
    let here = loaded(site.builder().wait(wait)).await;
    let there = site.manager().await;
    there.rotate().await.unwrap();
    // The probe hangs after a load and a swap, in the revocation of the pair that the record does not hold. That
    // revocation is given up after 30 s, and the other one takes a second.
    site.probe.at(4, std::future::pending::<()>);
    let logout = here.logout().await;
    assert!(!site.probe.is_pending());
    assert!(logout.stored.is_ok(), "{logout:?}");
    assert!(logout.revoked.is_err());
    assert_logged_out(&here).await;
}

/// A store that hangs delays a logout by its deadline at most.
#[tokio::test(start_paused = true)]
async fn q10_a_hanging_store_delays_a_logout_by_its_deadline_at_most() {
    let (site, tokens) = Site::managed().await;
    site.probe.at(0, std::future::pending::<()>);
    let start = site.clock.now();
    let logout = tokens.logout().await;
    // A call of the store is given up after 5 s, and repeated.
    assert!(logout.is_complete(), "{logout:?}");
    assert!(site.clock.now().since(start) <= 6 * SECOND);
    assert_logged_out(&tokens).await;
    site.assert_over().await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_a_logout_that_is_under_way() {
    let site = Site::with(|server| server.latency(2 * SECOND));
    let tokens = site.manager().await;
    let start = site.clock.now();
    let leaving = leave(&tokens);
    settle().await;
    tokens.shutdown().await.unwrap();
    assert_eq!(site.clock.now().since(start), 2 * SECOND);
    assert!(leaving.await.unwrap().is_complete());
    site.assert_over_and_revoked().await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_a_logout_whose_caller_is_gone() {
    let (site, tokens) = Site::managed().await;
    let clock = site.clock.clone();
    site.probe
        .at(0, move || async move { clock.advance(3 * SECOND).await });
    let leaving = leave(&tokens);
    settle().await;
    leaving.abort();
    let start = site.clock.now();
    tokens.shutdown().await.unwrap();
    assert_eq!(site.clock.now().since(start), 3 * SECOND);
    site.assert_over_and_revoked().await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_ever_for_a_store_that_is_down() {
    let (site, tokens) = Site::managed().await;
    site.store.set_down(true);
    assert!(!tokens.logout().await.is_complete());
    let start = site.clock.now();
    let error = tokens.shutdown().await.unwrap_err();
    assert!(matches!(error, Error::Store { .. }), "{error}");
    assert!(site.clock.now().since(start) <= 35 * SECOND);
    assert!(matches!(
        tokens.token().await.unwrap_err(),
        Error::ShutDown | Error::Ended { .. }
    ));
}
