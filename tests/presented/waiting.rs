//! Requests that wait: their deadlines, and the pauses after failures.

use std::time::Duration;

use evertoken::clock::Clock;
use evertoken::{Error, OptimisticEarly};

use crate::support::{MINUTE, SECOND, TTL, later, settle};
use crate::world::{Service, page, request};

const DEADLINE: Duration = Duration::from_secs(10);

/// Two instances, and a cookie. The second one does not wait long.
fn slow_and_hasty(service: &Service) -> [evertoken::Sessions; 2] {
    let slow = service.node(page()).sessions;
    let endpoint = service.world.endpoint().with_timeout(DEADLINE / 2);
    let hasty = service.builder_at(endpoint, page()).wait(DEADLINE);
    let hasty = hasty.store(service.world.store.clone()).build().unwrap();
    [slow, hasty]
}

#[tokio::test(start_paused = true)]
async fn n6_a_request_whose_deadline_passes_gets_a_typed_error_and_its_cookie_stays_good() {
    let service = Service::at(|server| server);
    let [slow, hasty] = slow_and_hasty(&service);
    let cookie = service.cookie_at(&slow).await;
    service.world.expire().await;
    let hold = service.world.server.hold();
    let first = request(&slow, &cookie);
    service.world.server.arrived(1).await;
    let start = service.world.clock.now();
    let error = hasty.present(&cookie).await.unwrap_err();
    assert_eq!(service.world.clock.now().since(start), DEADLINE);
    assert!(
        matches!(error, Error::TimedOut { after, .. } if after == DEADLINE),
        "{error:?}"
    );
    assert!(error.is_retryable() && !error.needs_sign_in());
    drop(hold);
    let renewal = first.await.unwrap().unwrap().renewal().unwrap();
    let presented = hasty.present(&cookie).await.unwrap();
    assert_eq!(presented.renewal().unwrap().pair_id(), renewal.pair_id());
    service.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn n6_a_request_whose_rotation_is_slow_gets_the_token_that_is_still_valid() {
    let service = Service::at(|server| server);
    let [slow, hasty] = slow_and_hasty(&service);
    let cookie = service.cookie_at(&slow).await;
    // In the last ten seconds a request waits for a new token.
    service.pass(TTL - 5 * SECOND).await;
    let hold = service.world.server.hold();
    let requests = [request(&slow, &cookie), request(&hasty, &cookie)];
    service.world.server.arrived(1).await;
    for answer in requests {
        let presented = answer.await.unwrap().unwrap();
        assert!(service.world.is_live(presented.token()));
        assert_eq!(presented.token().pair_id(), cookie.pair_id());
        assert!(presented.renewal().is_none());
    }
    drop(hold);
    settle().await;
    for sessions in [&slow, &hasty] {
        let presented = sessions.present(&cookie).await.unwrap();
        assert_eq!(presented.renewal().unwrap().pair_id().version, 2);
    }
    service.assert_exchanges(1);
}

/// An early refresh fails until the access token is over. From then on each request waits through the pauses, up to its
/// deadline.
#[tokio::test(start_paused = true)]
async fn n8_when_early_refreshes_failed_and_the_token_is_over_requests_wait_and_get_the_last_failure_and_no_sign_out()
 {
    let service = Service::of(2, page().strategy(OptimisticEarly::default()));
    let cookie = service.cookie().await;
    service.pass(541 * SECOND).await;
    service.world.server.set_reachable(false);
    for second in 541..600 {
        let presented = service.instances[second % 2].present(&cookie).await;
        let presented = presented.unwrap();
        assert!(service.world.is_live(presented.token()));
        assert!(presented.renewal().is_none());
        service.pass(SECOND).await;
    }
    let start = service.world.clock.now();
    for _ in 0..3 {
        let requests = service.instances.iter().map(|it| request(it, &cookie));
        for answer in requests.collect::<Vec<_>>() {
            let error = answer.await.unwrap().unwrap_err();
            assert!(error.endpoint().is_some(), "{error:?}");
            assert!(error.retry_after().is_some());
            assert!(error.is_retryable() && !error.needs_sign_in(), "{error:?}");
        }
    }
    let waited = service.world.clock.now().since(start);
    assert!(waited >= 35 * SECOND, "{waited:?}");
    // One that waits when the server is back is served.
    let waiting = request(&service.instances[1], &cookie);
    settle().await;
    service.world.server.set_reachable(true);
    service.pass(MINUTE).await;
    let waited = waiting.await.unwrap();
    for answer in [waited, service.present(&cookie).await] {
        match answer {
            Ok(presented) => assert!(service.world.is_live(presented.token())),
            Err(error) => assert!(!error.needs_sign_in(), "{error:?}"),
        }
    }
    service.request(&cookie).await;
    service.assert_exchanges(1);
}

/// The moments of the exchanges, in seconds from now, while browsers present the pair to both instances all the time.
async fn exchanges_at(
    service: &Service,
    what: &[evertoken::Presented],
    span: Duration,
) -> Vec<u64> {
    let clock = &service.world.clock;
    let start = clock.now();
    let mut seen = service.world.server.exchanges();
    let mut at = Vec::new();
    let mut requests = Vec::new();
    while clock.now().since(start) < span {
        for sessions in &service.instances {
            requests.extend(what.iter().map(|it| request(sessions, it.clone())));
        }
        settle().await;
        for _ in seen..service.world.server.exchanges() {
            at.push(clock.now().since(start).as_secs());
        }
        seen = service.world.server.exchanges();
        clock.advance(SECOND / 2).await;
    }
    for answer in requests {
        if let Err(error) = answer.await.unwrap() {
            assert!(!error.needs_sign_in(), "{error:?}");
        }
    }
    at
}

/// The pauses are of the session: they hold on every instance, whichever pair or id is presented.
#[tokio::test(start_paused = true)]
async fn n11_the_pauses_after_failures_hold_for_whatever_is_presented_on_every_instance() {
    let service = Service::of(2, page().strategy(OptimisticEarly::default()));
    let first = service.cookie().await;
    let second = service.rotate(&first).await;
    // The browser lost the answer with the second pair.
    let what = [(&first).into(), second.id().into()];
    service.world.server.fail_always(Some(later(None)));
    service.pass(541 * SECOND).await;
    let at = exchanges_at(&service, &what, 45 * SECOND).await;
    assert_eq!(at, [0, 4, 12, 28]);
    service.world.server.fail_always(None);
    service.pass(MINUTE).await;
    service.request(&second).await;
    service.world.assert_unharmed();

    let service = Service::of(2, page());
    let cookie = service.cookie().await;
    service.world.expire().await;
    service.world.server.fail_always(Some(later(None)));
    let what = [(&cookie).into(), cookie.id().into()];
    let at = exchanges_at(&service, &what, 65 * SECOND).await;
    assert_eq!(at, [0, 2, 6, 14, 30, 62]);
    service.world.server.fail_always(None);
    service.pass(MINUTE).await;
    service.request(&cookie).await;
    service.world.assert_unharmed();
}

#[tokio::test(start_paused = true)]
async fn n11_a_retry_after_is_honoured_for_presented_pairs() {
    for after in [20, 300] {
        let service = Service::of(2, page());
        let cookie = service.cookie().await;
        service.world.expire().await;
        let pause = Duration::from_secs(after);
        service.world.server.fail_next(later(Some(pause)));
        let at = exchanges_at(&service, &[(&cookie).into()], pause + MINUTE).await;
        assert_eq!(at, [0, after]);
        service.world.assert_unharmed();
    }
}
