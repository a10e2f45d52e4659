//! `OptimisticEarly` for browsers: no request waits while its token is valid, and what another client does in the window ends
//! nothing.

use evertoken::clock::Clock;
use evertoken::testing::Reuse;
use evertoken::{Coordination, EndReason, OnExpiry, OptimisticEarly, SessionPolicy};

use crate::support::{HOUR, MINUTE, SECOND, end_of, settle};
use crate::world::{GRACE, Service, page};

fn early() -> OptimisticEarly {
    OptimisticEarly::default().window(MINUTE)
}

fn policy() -> SessionPolicy {
    page().strategy(early())
}

/// Access and refresh tokens of 600 s, and instances without a common store or leases. Another client of the session spends
/// the token at 541 s, and this instance is refused a moment later.
#[tokio::test(start_paused = true)]
async fn n7_a_refusal_in_the_window_because_another_client_was_faster_is_no_error_and_the_next_cookie_brings_the_newer_pair()
 {
    let service = Service::at(|server| server.refresh_ttl(600 * SECOND).reuse(Reuse::Refuse));
    let alone = || service.builder(policy()).coordination(Coordination::None);
    let [one, other] = [(); 2].map(|()| alone().build().unwrap());
    let cookie = service.cookie_at(&one).await;
    let first = other.present(&cookie).await.unwrap();
    assert_eq!(
        first.token().expose(),
        cookie.pair().access.as_ref().unwrap().expose()
    );
    service.pass(541 * SECOND).await;
    // The other client.
    let started = other.present(&cookie).await.unwrap();
    settle().await;
    let newer = started.renewal().expect("the other client has rotated");
    // The caller of this instance goes on with its access token, however often it asks.
    let start = service.world.clock.now();
    for _ in 0..5 {
        let presented = one.present(&cookie).await.unwrap();
        settle().await;
        assert_eq!(presented.token().pair_id(), cookie.pair_id());
        assert!(service.world.is_live(presented.token()));
        assert!(presented.renewal().is_none());
    }
    assert_eq!(service.world.clock.now(), start);
    assert_eq!(service.world.server.exchanges(), 2);
    // The next request brings the newer pair.
    let presented = one.present(&newer).await.unwrap();
    assert_eq!(
        presented.token().expose(),
        newer.pair().access.as_ref().unwrap().expose()
    );
    // Also after the first access token is over, and the instance goes on from there.
    service.pass(MINUTE).await;
    one.present(&newer).await.unwrap();
    assert_eq!(service.world.server.exchanges(), 2);
    service.pass(481 * SECOND).await;
    let presented = one.present(&newer).await.unwrap();
    settle().await;
    assert_eq!(service.world.server.exchanges(), 3);
    let newest = presented.renewal().unwrap();
    let presented = one.present(&newest).await.unwrap();
    assert!(service.world.is_live(presented.token()));
}

/// An early refresh makes an access token live on: one that is idle for longer than that is logged out.
#[tokio::test(start_paused = true)]
async fn n9_a_session_that_is_idle_past_the_lifetime_is_logged_out_without_a_late_refresh() {
    let policy = page().strategy(early().on_expiry(OnExpiry::End));
    let service = Service::of(3, policy);
    let first = service.cookie().await;
    // A request inside the window keeps the session.
    service.pass(545 * SECOND).await;
    let presented = service.present(&first).await.unwrap();
    settle().await;
    let second = presented.renewal().unwrap();
    service.instances[1].present(&second).await.unwrap();
    service.pass(601 * SECOND).await;
    for pause in [SECOND - SECOND, SECOND, HOUR] {
        service.pass(pause).await;
        for sessions in &service.instances {
            assert_eq!(end_of(sessions.present(&second).await), EndReason::Idle);
            let id = sessions.present(second.id()).await;
            assert_eq!(end_of(id), EndReason::Idle);
        }
    }
    service.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn n9_a_request_inside_each_window_keeps_the_session_for_hours() {
    let policy = page().strategy(early().on_expiry(OnExpiry::End));
    let service = Service::of(2, policy);
    let mut cookie = service.cookie().await;
    for round in 0..40 {
        service.pass(545 * SECOND).await;
        let presented = service.instances[round % 2].present(&cookie).await;
        let presented = presented.unwrap();
        settle().await;
        // The answer is made after the rotation.
        cookie = presented.renewal().unwrap();
    }
    service.assert_exchanges(40);
}

/// One instance without a store, at a server that takes five seconds.
#[tokio::test(start_paused = true)]
async fn n10_an_early_rotation_adds_no_latency_and_its_pair_comes_with_the_request_that_began_it_or_a_later_one()
 {
    let service = Service::at(|server| server.latency(5 * SECOND));
    let sessions = service.builder(policy()).build().unwrap();
    let cookie = service.cookie_at(&sessions).await;
    service.pass(541 * SECOND).await;
    let mut presentations = Vec::new();
    for _ in 0..50 {
        let start = service.world.clock.now();
        let presented = sessions.present(&cookie).await.unwrap();
        assert_eq!(service.world.clock.now(), start, "no request waits");
        assert_eq!(presented.token().pair_id(), cookie.pair_id());
        assert!(presented.renewal().is_none(), "there is no pair yet");
        presentations.push(presented);
        service.pass(SECOND / 10).await;
    }
    service.assert_exchanges(1);
    let start = service.world.clock.now();
    let after = sessions.present(&cookie).await.unwrap();
    assert_eq!(service.world.clock.now(), start);
    presentations.push(after);
    for presented in presentations {
        let renewal = presented
            .renewal()
            .expect("the answer carries the new pair");
        assert_eq!(renewal.pair_id().version, 2);
    }
    service.pass(GRACE).await;
    service.assert_exchanges(1);
}
