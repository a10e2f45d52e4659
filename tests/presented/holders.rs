//! The instance that has the lease dies, or is slower than its lease.

use evertoken::testing::{CallFault, EndpointCall, GraceAnswer, Reuse};
use evertoken::{EndReason, Resend, SessionPolicy};

use crate::support::{MINUTE, SECOND, end_of, settle};
use crate::world::{Node, Service, page};

/// Longer than a lease lasts.
const LEASE: std::time::Duration = MINUTE.saturating_add(SECOND);

/// Instances whose callers wait longer than a lease lasts.
fn nodes<const N: usize>(service: &Service, policy: &SessionPolicy) -> [Node; N] {
    [(); N].map(|()| service.node_with(policy.clone(), |builder| builder.wait(5 * MINUTE)))
}

/// The holder stored its pair, and the next instance did not see that. It reads the record after the lease, before it would
/// send anything.
#[tokio::test(start_paused = true)]
async fn n4_after_the_lease_of_a_dead_holder_the_next_instance_reads_first_and_a_changed_pair_costs_no_call()
 {
    let service = Service::at(|server| server);
    let [holder, next] = nodes(&service, &page());
    let cookie = service.cookie_at(&holder.sessions).await;
    service.world.expire().await;
    let hold = service.world.server.hold();
    let first = holder.request(&cookie);
    service.world.server.arrived(1).await;
    let waiting = next.request(&cookie);
    settle().await;
    next.store.set_down(true);
    drop(hold);
    // The browser does not get this answer.
    drop(first.await.unwrap().unwrap());
    holder.die();
    service.pass(LEASE).await;
    next.store.set_down(false);
    let presented = waiting.await.unwrap().unwrap();
    assert!(service.world.is_live(presented.token()));
    assert_eq!(presented.renewal().unwrap().pair_id().version, 2);
    service.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn n4_the_pair_of_a_dead_holder_that_sent_nothing_is_sent_after_the_lease_and_not_before() {
    let service = Service::at(|server| server);
    let [holder, next] = nodes(&service, &page());
    let cookie = service.cookie_at(&holder.sessions).await;
    service.world.expire().await;
    let never = CallFault::HangBefore;
    holder.endpoint.fail_next(EndpointCall::Refresh, 1, never);
    holder.request(&cookie);
    holder.endpoint.called(EndpointCall::Refresh, 1).await;
    holder.die();
    let waiting = next.request(&cookie);
    service.pass(MINUTE - SECOND).await;
    service.assert_exchanges(0);
    assert!(!waiting.is_finished());
    let presented = waiting.await.unwrap().unwrap();
    assert!(service.world.is_live(presented.token()));
    service.assert_exchanges(1);
}

/// The server answered the holder, which died with the pair.
#[tokio::test(start_paused = true)]
async fn n4_what_becomes_of_a_pair_that_a_dead_holder_sent_is_as_the_profile_of_the_server_says() {
    let graceful = Reuse::Grace {
        window: 5 * MINUTE,
        answer: GraceAnswer::SamePair,
    };
    let strict = Reuse::RevokeFamily;
    for (reuse, resend) in [
        (graceful, Resend::Always),
        (strict, Resend::Never),
        (strict, Resend::Always),
    ] {
        let mut service = Service::at(|server| server.reuse(reuse));
        service.world.profile = service.world.profile.resend(resend);
        let [holder, next, third] = nodes(&service, &page());
        let cookie = service.cookie_at(&holder.sessions).await;
        service.world.expire().await;
        let lost = CallFault::HangAfter;
        holder.endpoint.fail_next(EndpointCall::Refresh, 1, lost);
        holder.request(&cookie);
        service.world.server.arrived(1).await;
        settle().await;
        holder.die();
        service.pass(LEASE).await;
        let answer = next.sessions.present(&cookie).await;
        let exchanges = match (reuse, resend) {
            (Reuse::Grace { .. }, _) => {
                let presented = answer.unwrap();
                assert!(service.world.is_live(presented.token()));
                let renewal = presented.renewal().unwrap();
                third.sessions.present(&renewal).await.unwrap();
                2
            }
            (_, Resend::Never) => {
                assert_eq!(end_of(answer), EndReason::OutcomeUnknown);
                1
            }
            // The session is lost with the pair that no instance has: the server takes the second use for theft.
            _ => {
                assert!(end_of(answer).is_rejected());
                2
            }
        };
        assert_eq!(service.world.counts().exchanges, exchanges);
        // Every instance says the same, and sends nothing more.
        let again = third.sessions.present(&cookie).await;
        assert_eq!(again.is_ok(), reuse != strict);
        assert_eq!(service.world.counts().exchanges, exchanges);
    }
}

/// The store is out of reach of the holder while its lease ends, and the next instance gets another pair of the server.
#[tokio::test(start_paused = true)]
async fn n5_a_holder_that_is_slower_than_its_lease_does_not_overwrite_the_newer_pair() {
    let service = Service::at(|server| {
        server.reuse(Reuse::Grace {
            window: 5 * MINUTE,
            answer: GraceAnswer::Fork,
        })
    });
    let [slow, next] = nodes(&service, &page());
    let cookie = service.cookie_at(&slow.sessions).await;
    let key = slow.sessions.present(&cookie).await.unwrap();
    let key = key.tokens().key().clone();
    service.world.expire().await;
    let hold = service.world.server.hold();
    let first = slow.request(&cookie);
    service.world.server.arrived(1).await;
    slow.store.set_down(true);
    drop(hold);
    settle().await;
    service.pass(LEASE).await;
    let newer = next.sessions.present(&cookie).await.unwrap();
    let newer = newer.renewal().unwrap();
    let stored = service.world.store.record(&key).await.unwrap().unwrap();
    slow.store.set_down(false);
    let _ = first.await.unwrap();
    service.pass(10 * SECOND).await;
    let after = service.world.store.record(&key).await.unwrap().unwrap();
    assert_eq!(after.pair_id(), stored.pair_id());
    assert_eq!(after.digest(), stored.digest());
    // Both instances go on with the newer pair.
    for node in [&slow, &next] {
        let presented = node.sessions.present(&newer).await.unwrap();
        assert_eq!(
            Some(presented.token().expose()),
            newer.pair().access.as_ref().map(|it| it.expose())
        );
        assert!(presented.renewal().is_none());
    }
    assert_eq!(service.world.server.exchanges(), 2);
}
