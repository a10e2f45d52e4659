//! A logout in which something fails: the caller is not failed, and what is left is done later.

use evertoken::clock::Clock;
use evertoken::{EndpointError, Error};

use crate::support::{HOUR, SECOND, loaded, settle};
use crate::world::{Site, assert_logged_out, refresh};

#[tokio::test(start_paused = true)]
async fn q10_a_store_that_is_down_fails_nobody_and_is_told_when_it_is_back() {
    let site = Site::new();
    let tokens = site.manager().await;
    site.store.set_down(true);
    let logout = tokens.logout().await;
    assert!(logout.stored.is_err());
    assert!(logout.revoked.is_ok(), "{logout:?}");
    assert!(!logout.is_complete());
    site.assert_revoked();
    for _ in 0..100 {
        assert_logged_out(&tokens).await;
        site.world.clock.advance(SECOND).await;
    }
    site.store.set_down(false);
    site.world.clock.advance(6 * SECOND).await;
    Site::assert_over(&site.record().await);
    assert_logged_out(&tokens).await;
    assert_logged_out(&site.builder().build().unwrap()).await;
    site.world.assert_exchanges(0);
}

#[tokio::test(start_paused = true)]
async fn q10_a_logout_before_the_first_use_reaches_a_store_that_comes_back() {
    let site = Site::new();
    let tokens = site.builder().build().unwrap();
    site.store.set_down(true);
    assert!(!tokens.logout().await.is_complete());
    assert_logged_out(&tokens).await;
    site.store.set_down(false);
    site.world.clock.advance(6 * SECOND).await;
    Site::assert_over(&site.record().await);
    site.assert_revoked();
    assert_logged_out(&site.builder().build().unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn q10_a_revocation_that_is_refused_fails_nobody() {
    let site = Site::new();
    let tokens = site.manager().await;
    site.endpoint.fail_revocations();
    let logout = tokens.logout().await;
    assert!(logout.stored.is_ok());
    assert!(matches!(
        logout.revoked,
        Err(EndpointError::Rejected { .. })
    ));
    assert_logged_out(&tokens).await;
    // Nothing can be done with the pair any more, so nobody keeps it.
    Site::assert_over(&site.record().await);
    assert_eq!(site.endpoint.revoked(), [refresh(&site.world.first)]);
}

#[tokio::test(start_paused = true)]
async fn q10_an_endpoint_that_is_not_reached_fails_nobody_and_is_told_by_whoever_finds_the_record()
{
    let site = Site::new();
    let tokens = site.manager().await;
    site.world.server.set_reachable(false);
    let logout = tokens.logout().await;
    assert!(logout.stored.is_ok());
    assert!(matches!(logout.revoked, Err(EndpointError::NotSent { .. })));
    assert_logged_out(&tokens).await;
    site.world.server.set_reachable(true);
    let next = site.builder().build().unwrap();
    assert_logged_out(&next).await;
    site.assert_revoked();
    Site::assert_over(&site.record().await);
    site.world.assert_exchanges(0);
}

#[tokio::test(start_paused = true)]
async fn q10_an_endpoint_that_hangs_keeps_nobody_longer_than_his_deadline() {
    let site = Site::with(|server| server.latency(HOUR));
    let tokens = site.manager().await;
    // 5 s for the store, and then 30 s for the endpoint.
    site.probe.at(0, std::future::pending::<()>);
    let start = site.world.clock.now();
    let logout = tokens.logout().await;
    assert_eq!(site.world.clock.now().since(start), 35 * SECOND);
    assert!(logout.revoked.is_err());
    assert_logged_out(&tokens).await;
}

#[tokio::test(start_paused = true)]
async fn q10_what_is_stored_is_told_while_the_endpoint_hangs() {
    let site = Site::with(|server| server.latency(SECOND));
    let wait = 30 * SECOND + SECOND / 2;
    let here = loaded(site.builder().wait(wait)).await;
    let there = site.manager().await;
    there.rotate().await.unwrap();
    // After a load and a swap, the revocation of the pair that the record does not hold any more: it is
    // given up after 30 s, and the other takes a second.
    site.probe.at(4, std::future::pending::<()>);
    let logout = here.logout().await;
    assert!(!site.probe.is_pending());
    assert!(logout.stored.is_ok(), "{logout:?}");
    assert!(logout.revoked.is_err());
    assert_logged_out(&here).await;
}

#[tokio::test(start_paused = true)]
async fn q10_a_store_that_hangs_keeps_nobody_longer_than_his_deadline() {
    let site = Site::new();
    let tokens = site.manager().await;
    site.probe.at(0, std::future::pending::<()>);
    let start = site.world.clock.now();
    let logout = tokens.logout().await;
    // One call of the store is given up after 5 s, and tried again.
    assert!(logout.is_complete(), "{logout:?}");
    assert!(site.world.clock.now().since(start) <= 6 * SECOND);
    assert_logged_out(&tokens).await;
    Site::assert_over(&site.record().await);
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_a_logout_that_is_under_way() {
    let site = Site::with(|server| server.latency(2 * SECOND));
    let tokens = site.manager().await;
    let start = site.world.clock.now();
    let leaving = tokio::spawn({
        let tokens = tokens.clone();
        async move { tokens.logout().await }
    });
    settle().await;
    tokens.shutdown().await.unwrap();
    assert_eq!(site.world.clock.now().since(start), 2 * SECOND);
    assert!(leaving.await.unwrap().is_complete());
    site.assert_revoked();
    Site::assert_over(&site.record().await);
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_a_logout_whose_caller_is_gone() {
    let site = Site::new();
    let tokens = site.manager().await;
    let clock = site.world.clock.clone();
    site.probe
        .at(0, move || async move { clock.advance(3 * SECOND).await });
    let leaving = tokio::spawn({
        let tokens = tokens.clone();
        async move { tokens.logout().await }
    });
    settle().await;
    leaving.abort();
    let start = site.world.clock.now();
    tokens.shutdown().await.unwrap();
    assert_eq!(site.world.clock.now().since(start), 3 * SECOND);
    site.assert_revoked();
    Site::assert_over(&site.record().await);
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_ever_for_a_store_that_is_down() {
    let site = Site::new();
    let tokens = site.manager().await;
    site.store.set_down(true);
    assert!(!tokens.logout().await.is_complete());
    let start = site.world.clock.now();
    let _ = tokens.shutdown().await;
    assert!(site.world.clock.now().since(start) <= 35 * SECOND);
    assert!(matches!(
        tokens.token().await.unwrap_err(),
        Error::ShutDown | Error::Ended { .. }
    ));
}
