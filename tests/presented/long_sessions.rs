//! Long sessions: what keeps one, and what ends it.

use evertoken::clock::Clock;
use evertoken::{BackgroundTimer, EndReason, OptimisticEarly, RefreshStrategy, SessionPolicy};

use crate::support::{HOUR, MINUTE, SECOND, TTL, end_of, settle};
use crate::world::{Service, page};

const DAY: std::time::Duration = HOUR.saturating_mul(24);

/// The user reads for twenty minutes, and goes on.
#[tokio::test(start_paused = true)]
async fn a_session_that_is_idle_for_two_access_token_lifetimes_stays() {
    let timer: Box<dyn Fn() -> SessionPolicy> =
        Box::new(|| page().strategy(BackgroundTimer::default()));
    let early: Box<dyn Fn() -> SessionPolicy> =
        Box::new(|| page().strategy(OptimisticEarly::default()));
    let limited: Box<dyn Fn() -> SessionPolicy> = Box::new(|| page().idle(30 * MINUTE));
    for policy in [timer, early, limited, Box::new(page)] {
        let service = Service::of(2, policy());
        let mut cookie = service.cookie().await;
        for round in 0..20 {
            service.pass(2 * TTL + SECOND).await;
            let presented = service.instances[round % 2].present(&cookie).await;
            let presented = presented.unwrap();
            assert!(service.world.is_live(presented.token()));
            cookie = presented.renewal().unwrap_or(cookie);
        }
        service.world.assert_unharmed();
    }
}

/// Sixty days with the browser open, each request with the cookie that the last answer set.
async fn is_active_for_sixty_days(strategy: impl RefreshStrategy) {
    let policy = page().strategy(strategy).idle(DAY);
    let service = Service::of(2, policy);
    let mut cookie = service.cookie().await;
    for round in 0..180_usize {
        service.pass(8 * HOUR).await;
        let presented = service.instances[round % 2].present(&cookie).await;
        let presented = presented.unwrap();
        assert!(service.world.is_live(presented.token()));
        cookie = presented.renewal().unwrap_or(cookie);
        settle().await;
    }
    service.world.assert_unharmed();
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_active_past_any_cookie_age_stays() {
    is_active_for_sixty_days(OptimisticEarly::default()).await;
    is_active_for_sixty_days(BackgroundTimer::default()).await;
}

/// Each request is a presentation, whatever becomes of its answer.
#[tokio::test(start_paused = true)]
async fn a_browser_that_loses_every_answer_is_not_idle() {
    let service = Service::of(2, page().idle(DAY));
    let cookie = service.cookie().await;
    for round in 0..12_usize {
        service.pass(8 * HOUR).await;
        let presented = service.instances[round % 2].present(&cookie).await;
        assert!(service.world.is_live(presented.unwrap().token()));
        settle().await;
    }
    service.assert_exchanges(12);
}

/// One pair lasts for an hour, and the browser goes to one instance all the time. The record shows that to the others.
#[tokio::test(start_paused = true)]
async fn a_browser_that_keeps_to_one_instance_and_one_pair_is_not_idle_for_the_others() {
    let service = Service::at(|server| server.access_ttl(HOUR));
    let policy = || page().idle(8 * MINUTE);
    let [used, other] = [(); 2].map(|()| service.node(policy()).sessions);
    let cookie = service.cookie_at(&other).await;
    for _ in 0..20 {
        service.pass(2 * MINUTE).await;
        used.present(&cookie).await.unwrap();
        settle().await;
    }
    service.pass(6 * MINUTE).await;
    for sessions in [other, service.node(policy()).sessions] {
        let presented = sessions.present(&cookie).await.unwrap();
        assert!(service.world.is_live(presented.token()));
    }
    service.assert_exchanges(0);
}

/// A request that gets an error, because the server is out of reach, is a presentation too; and one whose early refresh fails.
#[tokio::test(start_paused = true)]
async fn a_browser_that_was_there_while_the_server_was_not_is_not_idle() {
    for (is_early, at) in [(false, 20 * HOUR), (true, 20 * HOUR), (true, 545 * SECOND)] {
        let policy = match is_early {
            true => page().strategy(OptimisticEarly::default()),
            false => page(),
        };
        let limit = at + HOUR;
        let service = Service::of(2, policy.idle(limit));
        let cookie = service.cookie().await;
        service.pass(at).await;
        service.world.server.set_reachable(false);
        match service.present(&cookie).await {
            Ok(presented) => assert!(service.world.is_live(presented.token())),
            Err(error) => assert!(!error.needs_sign_in(), "{error:?}"),
        }
        settle().await;
        service.world.server.set_reachable(true);
        service.pass(limit - MINUTE).await;
        let presented = service.instances[1].present(&cookie).await.unwrap();
        assert!(service.world.is_live(presented.token()));
    }
}

/// A cookie that the browser has kept since the sign-in counts as long as its pair is not replaced, also by the id.
#[tokio::test(start_paused = true)]
async fn an_opaque_id_stays_the_same_through_sixty_days_of_rotations() {
    let service = Service::of(2, page().idle(DAY));
    let id = service.sign_in().await;
    for round in 0..180_usize {
        service.pass(8 * HOUR).await;
        let presented = service.instances[round % 2].present(&id).await.unwrap();
        assert!(service.world.is_live(presented.token()));
        assert_eq!(presented.id(), &id);
        assert!(presented.renewal().is_none(), "the browser has its id");
        settle().await;
    }
    service.assert_exchanges(180);
}

/// However active the user is, on whichever instance, and whether the browser has a pair or an id.
#[tokio::test(start_paused = true)]
async fn the_absolute_limit_ends_an_active_session_to_the_second_and_no_limit_ends_it_before() {
    let service = Service::of(2, page().idle(DAY).absolute(30 * DAY));
    let start = service.world.clock.now();
    let mut cookie = service.cookie().await;
    let mut round = 0;
    loop {
        let left = (30 * DAY).saturating_sub(service.world.clock.now().since(start));
        if left <= SECOND {
            break;
        }
        service.pass((7 * HOUR).min(left - SECOND)).await;
        let presented = service.instances[round % 2].present(&cookie).await;
        cookie = presented.unwrap().renewal().unwrap_or(cookie);
        service.instances[(round + 1) % 2]
            .present(cookie.id())
            .await
            .unwrap();
        settle().await;
        round += 1;
    }
    service.pass(SECOND).await;
    let exchanges = service.world.counts().exchanges;
    let restarted = service.node(page().idle(DAY).absolute(30 * DAY)).sessions;
    let first = end_of(service.present(&cookie).await);
    assert_eq!(first, EndReason::AgeLimit);
    settle().await;
    for sessions in service.instances.iter().chain([&restarted]) {
        for error in [
            sessions.present(&cookie).await.unwrap_err(),
            sessions.present(cookie.id()).await.unwrap_err(),
        ] {
            assert!(error.needs_sign_in(), "{error:?}");
        }
    }
    settle().await;
    // The session is logged out at the server too.
    let refresh = cookie.pair().refresh.as_ref().unwrap();
    assert!(!service.world.server.is_live_refresh(refresh.expose()));
    service.assert_exchanges(exchanges);
}
