//! Answers that are lost, late or overtaken: the browser presents an old pair, and is not signed out for it.

use std::time::Duration;

use evertoken::testing::{CallFault, StoreCall};
use evertoken::{PairRefusal, Sessions};

use crate::support::{HOUR, MINUTE, SECOND, settle};
use crate::world::{GRACE, Service, answers, assert_refused, page, request};

/// The next tab presents the new pair at once, and a request of the first tab with the old pair was still on its way.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_late_by_40_ms_is_served_on_every_instance() {
    let service = Service::of(3, page());
    let first = service.cookie().await;
    let second = service.rotate(&first).await;
    for sessions in &service.instances {
        sessions.present(&second).await.unwrap();
    }
    service.pass(Duration::from_millis(40)).await;
    let fresh = service.node(page()).sessions;
    for sessions in service.instances.iter().chain([&fresh]) {
        let presented = sessions.present(&first).await.unwrap();
        assert!(service.world.is_live(presented.token()));
        assert_eq!(presented.renewal().unwrap().pair_id(), second.pair_id());
    }
    service.assert_exchanges(1);
}

/// One request wins the rotation. Those that lose it are served on every instance, in whatever state the instance is.
#[tokio::test(start_paused = true)]
async fn the_losers_of_a_rotation_are_served_over_three_instances_without_a_call() {
    let service = Service::of(3, page());
    let cookie = service.cookie().await;
    // The second instance holds the pair, and the third has never seen the session.
    service.instances[1].present(&cookie).await.unwrap();
    service.world.expire().await;
    let hold = service.world.server.hold();
    let mut requests = vec![request(&service.instances[0], &cookie)];
    service.world.server.arrived(1).await;
    requests.extend((0..30).map(|number| request(&service.instances[number % 3], &cookie)));
    settle().await;
    drop(hold);
    let answered = answers(requests).await;
    let after = service.instances.iter().map(|it| request(it, &cookie));
    let after = answers(after).await;
    for presented in answered.iter().chain(&after) {
        assert_eq!(presented.renewal().unwrap().pair_id().version, 2);
        assert!(service.world.is_live(presented.token()));
    }
    service.assert_exchanges(1);
}

/// The three spans of the report, each for itself, at an instance that rotated, at one that did not, and after a restart.
#[tokio::test(start_paused = true)]
async fn a_browser_that_lost_the_answer_is_signed_in_with_its_old_pair_after_1_s_31_min_and_1_day_and_the_old_pair_ends_with_the_grace_of_the_new_one()
 {
    for span in [SECOND, 31 * MINUTE, 24 * HOUR] {
        for which in 0..3 {
            let service = Service::of(2, page());
            let restarted = || service.node(page()).sessions;
            let first = service.cookie().await;
            drop(service.rotate(&first).await);
            service.pass(span).await;
            let sessions: Sessions = match which {
                2 => restarted(),
                which => service.instances[which].clone(),
            };
            let exchanges = service.world.counts().exchanges;
            let presented = sessions.present(&first).await.unwrap();
            assert!(service.world.is_live(presented.token()));
            let is_over = span > 10 * MINUTE;
            service.assert_exchanges(exchanges + u64::from(is_over));
            // This answer arrives.
            let newer = presented.renewal().unwrap();
            sessions.present(&newer).await.unwrap();
            settle().await;
            service.pass(GRACE - SECOND).await;
            restarted().present(&first).await.unwrap();
            service.pass(SECOND).await;
            for sessions in service.instances.iter().chain([&restarted()]) {
                assert_refused(sessions.present(&first).await, PairRefusal::Retired);
                sessions.present(&newer).await.unwrap();
            }
            service.assert_exchanges(exchanges + u64::from(is_over));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_alone_gets_nothing_and_a_pair_that_is_two_back_never() {
    let service = Service::of(2, page());
    let first = service.cookie().await;
    let second = service.rotate(&first).await;
    let third = service.rotate(&second).await;
    let alone = |cookie: &evertoken::BrowserPair| {
        let refresh = cookie.pair().refresh.clone().unwrap();
        evertoken::TokenPair::from_refresh_token(refresh)
    };
    for sessions in &service.instances {
        for cookie in [&first, &second, &third] {
            let why = PairRefusal::OfAnotherSession;
            assert_refused(sessions.present(alone(cookie)).await, why);
            assert_refused(sessions.present(cookie.pair().clone()).await, why);
        }
        assert_refused(sessions.present(&first).await, PairRefusal::Retired);
        sessions.present(&second).await.unwrap();
        sessions.present(&third).await.unwrap();
    }
    service.assert_exchanges(2);
}

/// The answer with pair 2 comes after the one with pair 3, and overwrites it in the browser.
#[tokio::test(start_paused = true)]
async fn an_overtaken_answer_that_puts_an_older_cookie_back_signs_nobody_out() {
    let service = Service::of(2, page());
    let first = service.cookie().await;
    let second = service.rotate(&first).await;
    let third = service.rotate(&second).await;
    for span in [SECOND, HOUR] {
        service.pass(span).await;
        for sessions in &service.instances {
            sessions.present(&second).await.unwrap();
        }
    }
    // The browser had presented pair 3 in between: the grace covers the requests with pair 2.
    service.present(&third).await.unwrap();
    settle().await;
    service.pass(GRACE - SECOND).await;
    for sessions in &service.instances {
        let presented = sessions.present(&second).await.unwrap();
        assert!(presented.renewal().is_some());
    }
}

/// Two requests with pair 2 come at once to an instance that does not hold it. The store answers the first one late: by then
/// the second one has rotated on. No browser has presented pair 3, so pair 2 stays good.
#[tokio::test(start_paused = true)]
async fn a_record_that_was_read_before_a_rotation_does_not_show_the_new_pair_as_presented() {
    let service = Service::of(1, page());
    let node = service.node(page());
    let first = service.cookie().await;
    let second = service.rotate(&first).await;
    service.world.expire().await;
    let late = CallFault::DelayAfter(2 * SECOND);
    node.store.fail_next(StoreCall::Load, 1, late);
    let delayed = node.request(&second);
    settle().await;
    let other = node.request(&second);
    // Neither answer arrives.
    drop(answers([delayed, other]).await);
    service.assert_exchanges(2);
    settle().await;
    service.pass(GRACE + SECOND).await;
    let restarted = service.node(page()).sessions;
    for sessions in [&node.sessions, &service.instances[0], &restarted] {
        let presented = sessions.present(&second).await.unwrap();
        assert!(service.world.is_live(presented.token()));
        assert_eq!(presented.renewal().unwrap().pair_id().version, 3);
    }
    service.assert_exchanges(2);
}

/// A job of the service presents the id, in which there is no pair. The browser still has the old pair.
#[tokio::test(start_paused = true)]
async fn an_id_that_is_presented_does_not_show_that_the_browser_has_the_new_pair() {
    let service = Service::of(2, page());
    let first = service.cookie().await;
    drop(service.rotate(&first).await);
    for sessions in &service.instances {
        sessions.present(first.id()).await.unwrap();
    }
    settle().await;
    service.pass(GRACE + SECOND).await;
    let restarted = service.node(page()).sessions;
    for sessions in service.instances.iter().chain([&restarted]) {
        let presented = sessions.present(&first).await.unwrap();
        assert!(service.world.is_live(presented.token()));
        assert!(presented.renewal().is_some());
    }
    service.assert_exchanges(1);
}

/// The timer rotated before the browser used the pair that it had just got. From then on it loses every answer.
#[tokio::test(start_paused = true)]
async fn a_browser_whose_pair_was_replaced_before_its_first_use_may_lose_any_number_of_answers() {
    let service = Service::of(2, page());
    let first = service.cookie().await;
    let second = service.rotate(&first).await;
    // A job of the service is faster.
    let job = |instance: usize| service.instances[instance].present(second.id());
    service.world.expire().await;
    job(0).await.unwrap();
    for round in 0..40 {
        service.world.expire().await;
        // At first the browser begins each rotation, and later it comes after a job most of the time.
        if round > 20 && round % 3 > 0 {
            job(1).await.unwrap();
        }
        let presented = service.instances[round % 2].present(&second).await.unwrap();
        assert!(service.world.is_live(presented.token()), "round {round}");
        settle().await;
    }
    service.assert_exchanges(42);
}
