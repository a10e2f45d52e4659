//! A pair that was replaced: browsers lose answers, and are not signed out for it.

use evertoken::{PairRefusal, SessionPolicy, TokenStore as _};
use futures_util::future::join_all;

use crate::support::{HOUR, MINUTE, SECOND, settle};
use crate::world::{GRACE, Service, assert_refused, just_before, page};

#[tokio::test(start_paused = true)]
async fn n13_a_replaced_pair_gets_the_current_one_without_a_call_until_that_is_presented_and_30_s_longer()
 {
    let service = Service::of(2, page());
    let first = service.cookie().await;
    let second = service.rotate(&first).await;
    for span in [SECOND, 31 * MINUTE, 24 * HOUR] {
        service.pass(span).await;
        let presented = service.instances[1].present(&first).await.unwrap();
        assert!(presented.renewal().is_some());
    }
    let exchanges = service.world.counts().exchanges;
    let newest = service.present(&first).await.unwrap().renewal().unwrap();
    service.present(&newest).await.unwrap();
    settle().await;
    service.pass(just_before(GRACE)).await;
    for sessions in &service.instances {
        let presented = sessions.present(&first).await.unwrap();
        let renewal = presented.renewal().unwrap();
        assert_eq!(renewal.pair_id(), newest.pair_id());
    }
    service.pass(SECOND).await;
    for sessions in &service.instances {
        assert_refused(sessions.present(&first).await, PairRefusal::Retired);
        assert_refused(sessions.present(&second).await, PairRefusal::Retired);
    }
    let counts = service.world.counts();
    assert_eq!((counts.exchanges, counts.replays), (exchanges, 0));
    service.present(&newest).await.unwrap();
}

/// Report 1: requests that carry the old cookie 0 and 40 ms, 5 s and 29 s after the exchange.
#[tokio::test(start_paused = true)]
async fn n13_a_request_that_comes_late_with_the_old_pair_gets_the_new_one() {
    let service = Service::of(3, page());
    let first = service.cookie().await;
    let second = service.rotate(&first).await;
    service.request(&second).await;
    let at = [0, 40, 5_000, 29_000].map(std::time::Duration::from_millis);
    let mut passed = std::time::Duration::ZERO;
    for span in at {
        service.pass(span - passed).await;
        passed = span;
        for sessions in &service.instances {
            let presented = sessions.present(&first).await.unwrap();
            let renewal = presented.renewal().unwrap();
            assert_eq!(renewal.pair_id(), second.pair_id());
        }
    }
    service.assert_exchanges(1);
}

/// Report 2: page loads at expiry, over three instances, one after the other.
#[tokio::test(start_paused = true)]
async fn every_one_of_many_page_loads_at_expiry_is_served() {
    let service = Service::of(3, page());
    let cookie = service.cookie().await;
    service.world.expire().await;
    let loads = (0..8).map(|number| service.instances[number % 3].present(&cookie));
    for answer in join_all(loads).await {
        assert!(service.world.is_live(answer.unwrap().token()));
    }
    for sessions in &service.instances {
        sessions.present(&cookie).await.unwrap();
    }
    service.assert_exchanges(1);
}

/// A browser that loses every answer presents one pair for as long as it likes.
#[tokio::test(start_paused = true)]
async fn a_browser_that_loses_many_answers_in_a_row_stays_signed_in() {
    let service = Service::of(2, page());
    let cookie = service.cookie().await;
    for round in 0..20 {
        service.world.expire().await;
        let presented = service.instances[round % 2].present(&cookie).await.unwrap();
        assert!(service.world.is_live(presented.token()), "round {round}");
    }
    service.assert_exchanges(20);
}

/// The record learns that the current pair was presented, also from an instance that noted a replaced pair before.
#[tokio::test(start_paused = true)]
async fn a_replaced_pair_that_was_presented_first_is_refused_30_s_after_the_current_one() {
    let service = Service::of(2, page());
    let first = service.cookie().await;
    let second = service.rotate(&first).await;
    let sessions = &service.instances[1];
    sessions.present(&first).await.unwrap();
    settle().await;
    sessions.present(&second).await.unwrap();
    settle().await;
    service.pass(just_before(GRACE)).await;
    sessions.present(&first).await.unwrap();
    service.pass(SECOND).await;
    for sessions in &service.instances {
        assert_refused(sessions.present(&first).await, PairRefusal::Retired);
        sessions.present(&second).await.unwrap();
    }
    service.assert_exchanges(1);
}

/// An instance that was not there while others replaced the pair still holds it.
#[tokio::test(start_paused = true)]
async fn a_pair_that_was_retired_long_ago_is_refused_also_by_an_instance_that_holds_it_and_rotates()
{
    for policy in [page(), SessionPolicy::new()] {
        let service = Service::with(2, policy, |builder| builder.kept_for(24 * HOUR));
        let first = service.cookie().await;
        let held = service.instances[1].present(&first).await.unwrap();
        assert!(held.renewal().is_none());
        let second = service.rotate(&first).await;
        let third = service.rotate(&second).await;
        service.request(&third).await;
        settle().await;
        service.world.expire().await;
        // The current pair has expired too, so the instance has to rotate for the browsers that it serves.
        assert_refused(
            service.instances[1].present(&first).await,
            PairRefusal::Retired,
        );
        service.request(&third).await;
        assert_eq!(service.world.counts().replays, 0);
    }
}

/// Where the store lost the newest pair, the one before it is current there, and the browser has not had the newest one.
#[tokio::test(start_paused = true)]
async fn a_browser_that_lost_an_answer_stays_signed_in_where_the_store_lost_the_pair_too() {
    let service = Service::new();
    let cookie = service.cookie().await;
    settle().await;
    let presented = service.present(&cookie).await.unwrap();
    let key = presented.tokens().key().clone();
    let store = &service.world.store;
    let (older, _) = store.load(&key).await.unwrap().entry.unwrap();
    service.world.expire().await;
    service.present(&cookie).await.unwrap();
    settle().await;
    let (_, revision) = store.load(&key).await.unwrap().entry.unwrap();
    store.swap(&key, Some(revision), &older).await.unwrap();
    // The browser has not got the second pair, and gets the token of it.
    service.present(&cookie).await.unwrap();
    settle().await;
    service.world.expire().await;
    let third = service.request(&cookie).await;
    settle().await;
    service.present(&cookie).await.unwrap();
    service.request(&third).await;
    service.assert_exchanges(2);
}

/// Report 6: two back, never.
#[tokio::test(start_paused = true)]
async fn n13_the_pair_before_the_one_that_was_replaced_is_refused_at_once() {
    let service = Service::of(2, page());
    let first = service.cookie().await;
    let second = service.rotate(&first).await;
    let third = service.rotate(&second).await;
    for sessions in &service.instances {
        assert_refused(sessions.present(&first).await, PairRefusal::Retired);
        sessions.present(&second).await.unwrap();
        sessions.present(&third).await.unwrap();
    }
    service.assert_exchanges(2);
}

#[tokio::test(start_paused = true)]
async fn g4_without_a_grace_a_replaced_pair_is_refused_and_with_another_policy_it_is_not() {
    let service = Service::with(2, page(), |builder| {
        builder.policy("strict", SessionPolicy::new())
    });
    let sessions = &service.instances[0];
    for (policy, is_served) in [("page", true), ("strict", false)] {
        let pair = service.world.server.issue();
        let id = sessions.sign_in(pair).policy(policy).await.unwrap();
        let first = sessions.present(&id).await.unwrap().pair().unwrap();
        let second = service.rotate(&first).await;
        for sessions in &service.instances {
            match is_served {
                true => drop(sessions.present(&first).await.unwrap()),
                false => assert_refused(sessions.present(&first).await, PairRefusal::Retired),
            }
            sessions.present(&second).await.unwrap();
        }
    }
    service.assert_exchanges(2);
    let signing_in = sessions.sign_in(service.world.server.issue());
    let error = signing_in.policy("unheard-of").await.unwrap_err();
    assert!(
        matches!(error, evertoken::Error::UnknownPolicy),
        "{error:?}"
    );
    assert!(error.needs_configuration());
}

/// A pair without its sealed cookie gets nothing, also within the grace.
#[tokio::test(start_paused = true)]
async fn n13_a_replaced_pair_without_its_session_gets_nothing() {
    let service = Service::new();
    let first = service.cookie().await;
    let second = service.rotate(&first).await;
    for cookie in [&first, &second] {
        let presented = service.present(cookie.pair().clone()).await;
        assert_refused(presented, PairRefusal::OfAnotherSession);
    }
    service.request(&second).await;
    service.assert_exchanges(1);
}

/// g7: a job goes on with the pair that it was started with.
#[tokio::test(start_paused = true)]
async fn g7_a_pinned_pair_is_served_through_ten_rotations_and_no_longer_than_it_was_permitted() {
    let service = Service::of(2, page().pinned(3 * HOUR));
    let first = service.cookie().await;
    let job = service.present(&first).await.unwrap();
    assert_eq!(job.pin(24 * HOUR).await.unwrap(), 3 * HOUR);
    let mut cookie = first.clone();
    for round in 0..10 {
        cookie = service.rotate(&cookie).await;
        service.request(&cookie).await;
        service.pass(MINUTE).await;
        let presented = service.instances[round % 2].present(&first).await.unwrap();
        assert_eq!(presented.token().pair_id(), cookie.pair_id());
    }
    service.assert_exchanges(10);
    service.pass(2 * HOUR).await;
    assert_refused(service.present(&first).await, PairRefusal::Retired);
    let unpinned = Service::new();
    let cookie = unpinned.cookie().await;
    let error = unpinned.present(&cookie).await.unwrap().pin(HOUR).await;
    assert!(matches!(error, Err(evertoken::Error::PinNotPermitted)));
}

/// The instance has noted that the session is used, before the new pair came.
#[tokio::test(start_paused = true)]
async fn n13_the_grace_begins_with_the_new_pair_also_where_the_old_one_or_the_id_came_just_before()
{
    for is_id in [false, true] {
        let service = Service::of(2, page());
        let first = service.cookie().await;
        let second = service.rotate(&first).await;
        let restarted = service.node(page()).sessions;
        let presented = match is_id {
            true => restarted.present(second.id()).await,
            false => restarted.present(&first).await,
        };
        presented.unwrap();
        settle().await;
        service.pass(SECOND).await;
        restarted.present(&second).await.unwrap();
        settle().await;
        service.pass(GRACE).await;
        for sessions in service.instances.iter().chain([&restarted]) {
            assert_refused(sessions.present(&first).await, PairRefusal::Retired);
        }
    }
}

/// The instance has the first pair in memory, and its access token is over. It does not know of the second one.
#[tokio::test(start_paused = true)]
async fn n13_an_instance_that_still_holds_a_pair_does_not_serve_it_after_the_grace() {
    for policy in [page(), SessionPolicy::new()] {
        let kept = |builder: evertoken::Builder<evertoken::Sessions>| builder.kept_for(HOUR);
        let service = Service::with(2, policy, kept);
        let first = service.cookie().await;
        service.instances[1].present(&first).await.unwrap();
        let second = service.rotate(&first).await;
        service.request(&second).await;
        settle().await;
        service.pass(2 * MINUTE).await;
        assert_refused(
            service.instances[1].present(&first).await,
            PairRefusal::Retired,
        );
        service.instances[1].present(&second).await.unwrap();
        service.assert_exchanges(1);
    }
}

/// The request came while the pair was current, and waits for longer than an exchange takes until its instance can read what
/// another one stored. No pair that was replaced is accepted here.
#[tokio::test(start_paused = true)]
async fn n13_a_request_that_waited_for_long_is_served_although_its_pair_was_replaced_meanwhile() {
    let service = Service::at(|server| server);
    let waiting = |builder: evertoken::Builder<evertoken::Sessions>| builder.wait(5 * MINUTE);
    let strict = SessionPolicy::new;
    let [one, other] = [(); 2].map(|()| service.node_with(strict(), waiting));
    let first = service.cookie_at(&one.sessions).await;
    other.sessions.present(&first).await.unwrap();
    service.world.expire().await;
    let hold = service.world.server.hold();
    let rotating = one.request(&first);
    service.world.server.arrived(1).await;
    let waits = other.request(&first);
    settle().await;
    other.store.set_down(true);
    drop(hold);
    let second = rotating.await.unwrap().unwrap().renewal().unwrap();
    one.sessions.present(&second).await.unwrap();
    service.pass(45 * SECOND).await;
    assert!(!waits.is_finished());
    other.store.set_down(false);
    let presented = waits.await.unwrap().unwrap();
    assert_eq!(presented.renewal().unwrap().pair_id(), second.pair_id());
    // One that comes now is too late.
    let late = other.sessions.present(&first).await;
    assert_refused(late, PairRefusal::Retired);
    service.assert_exchanges(1);
}
