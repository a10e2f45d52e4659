//! The pair that is current: one rotation for all who present it.

use evertoken::{BackgroundTimer, OptimisticEarly};
use futures_util::future::join_all;

use crate::support::{HOUR, MINUTE, SECOND, TTL, settle};
use crate::world::{GRACE, Service, page};

#[tokio::test(start_paused = true)]
async fn n1_many_requests_with_one_expired_pair_make_one_exchange_and_each_gets_the_new_pair() {
    let service = Service::new();
    let cookie = service.cookie().await;
    service.world.expire().await;
    let requests = (0..100).map(|_| service.present(&cookie));
    let answers = join_all(requests).await;
    service.assert_exchanges(1);
    for answer in answers {
        let presented = answer.unwrap();
        assert!(service.world.is_live(presented.token()));
        let renewal = presented.renewal().unwrap();
        assert_eq!(renewal.pair_id(), presented.token().pair_id());
        assert_eq!(renewal.id(), cookie.id());
    }
}

#[tokio::test(start_paused = true)]
async fn n2_instances_that_are_presented_one_expired_pair_make_one_exchange() {
    let service = Service::of(3, page());
    let cookie = service.cookie().await;
    service.world.expire().await;
    let requests = (0..30).map(|number| service.instances[number % 3].present(&cookie));
    for answer in join_all(requests).await {
        let presented = answer.unwrap();
        assert!(service.world.is_live(presented.token()));
        assert!(presented.renewal().is_some());
    }
    service.assert_exchanges(1);
}

/// The same without a grace: requests that came while the pair was current are served.
#[tokio::test(start_paused = true)]
async fn n2_strict_instances_serve_all_requests_that_came_before_the_rotation_was_over() {
    let service = Service::of(3, evertoken::SessionPolicy::new());
    let cookie = service.cookie().await;
    for sessions in &service.instances {
        sessions.present(&cookie).await.unwrap();
    }
    service.world.expire().await;
    let hold = service.world.server.hold();
    let requests = (0..30).map(|number| {
        let (sessions, cookie) = (service.instances[number % 3].clone(), cookie.clone());
        tokio::spawn(async move { sessions.present(cookie).await })
    });
    let requests: Vec<_> = requests.collect();
    service.world.server.arrived(1).await;
    settle().await;
    drop(hold);
    for answer in join_all(requests).await {
        assert!(service.world.is_live(answer.unwrap().unwrap().token()));
    }
    service.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_has_the_current_pair_needs_no_other_and_costs_no_call_of_the_store() {
    let service = Service::new();
    let cookie = service.cookie().await;
    settle().await;
    service.world.store.set_down(true);
    for _ in 0..10 {
        let presented = service.present(&cookie).await.unwrap();
        assert!(presented.renewal().is_none());
        service.pass(SECOND).await;
    }
    service.assert_exchanges(0);
}

/// Each request of one browser, an hour long, with the cookie that the last answer brought.
#[tokio::test(start_paused = true)]
async fn n7_a_browser_goes_on_for_hours_under_each_strategy() {
    let early = OptimisticEarly::default();
    for policy in [
        page(),
        page().strategy(early),
        page().strategy(BackgroundTimer::default()),
    ] {
        let service = Service::of(2, policy);
        let mut cookie = service.cookie().await;
        for minute in 0..180 {
            let presented = service.instances[minute % 2].present(&cookie).await;
            let presented = presented.unwrap();
            assert!(service.world.is_live(presented.token()));
            if let Some(renewal) = presented.renewal() {
                cookie = renewal;
            }
            service.pass(MINUTE).await;
        }
        let counts = service.world.counts();
        assert_eq!((counts.replays, counts.families_revoked), (0, 0));
        assert!((17..=23).contains(&counts.exchanges), "{counts:?}");
    }
}

/// A timer rotates for a browser that is there, and leaves the session of one that is gone alone.
#[tokio::test(start_paused = true)]
async fn a_timer_rotates_once_after_the_last_presentation_and_not_again_until_the_next() {
    let policy = page().strategy(BackgroundTimer::default());
    let service = Service::with(1, policy, |builder| builder.kept_for(24 * HOUR));
    let cookie = service.cookie().await;
    service.pass(TTL).await;
    service.assert_exchanges(1);
    service.pass(10 * HOUR).await;
    service.assert_exchanges(1);
    let renewed = service.request(&cookie).await;
    service.assert_exchanges(2);
    let renewed = service.request(&renewed).await;
    service.pass(TTL).await;
    service.assert_exchanges(3);
    service.pass(GRACE).await;
    service.request(&renewed).await;
    service.assert_exchanges(3);
}
