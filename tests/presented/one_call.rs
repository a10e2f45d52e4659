//! One expired pair, many who present it at the same time, and one call of the token endpoint.

use evertoken::testing::{CallFault, StoreCall};

use crate::support::{SECOND, settle};
use crate::world::{Service, answers, page, request};

#[tokio::test(start_paused = true)]
async fn n1_two_requests_with_one_expired_pair_make_one_call_and_both_get_pair_2() {
    let service = Service::new();
    let cookie = service.cookie().await;
    service.world.expire().await;
    let sessions = &service.instances[0];
    let answered = answers([request(sessions, &cookie), request(sessions, &cookie)]).await;
    let renewals: Vec<_> = answered.iter().map(|it| it.renewal().unwrap()).collect();
    assert_eq!(renewals[0].pair_id().version, 2);
    assert_eq!(renewals[0].pair_id(), renewals[1].pair_id());
    assert_eq!(renewals[0].pair().refresh, renewals[1].pair().refresh);
    for presented in answered {
        assert!(service.world.is_live(presented.token()));
    }
    service.assert_exchanges(1);
}

/// The second instance has never seen the session, and the server is not called for it.
#[tokio::test(start_paused = true)]
async fn n2_an_instance_reads_the_pair_that_another_one_stored() {
    let service = Service::at(|server| server);
    let [one, other] = [(); 2].map(|()| service.node(page()));
    let cookie = service.cookie_at(&one.sessions).await;
    service.world.expire().await;
    let hold = service.world.server.hold();
    let first = one.request(&cookie);
    service.world.server.arrived(1).await;
    let second = other.request(&cookie);
    settle().await;
    drop(hold);
    let answered = answers([first, second]).await;
    let renewals: Vec<_> = answered.iter().map(|it| it.renewal().unwrap()).collect();
    assert_eq!(renewals[0].pair().refresh, renewals[1].pair().refresh);
    assert_eq!(answered[0].token().expose(), answered[1].token().expose());
    service.assert_exchanges(1);
    use evertoken::testing::EndpointCall::Refresh;
    let calls = [&one, &other].map(|node| node.endpoint.calls(Refresh));
    assert_eq!(calls, [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn n12_requests_that_queue_during_a_rotation_do_not_start_another() {
    let service = Service::of(3, page());
    let cookie = service.cookie().await;
    service.world.expire().await;
    let hold = service.world.server.hold();
    let mut requests = vec![request(&service.instances[0], &cookie)];
    service.world.server.arrived(1).await;
    for number in 0..60 {
        requests.push(request(&service.instances[number % 3], &cookie));
        if number % 20 == 19 {
            service.pass(SECOND).await;
        }
    }
    drop(hold);
    for presented in answers(requests).await {
        assert!(service.world.is_live(presented.token()));
        assert_eq!(presented.renewal().unwrap().pair_id().version, 2);
    }
    // Those who come after the rotation find its pair.
    let late = service.instances.iter().map(|it| request(it, &cookie));
    for presented in answers(late).await {
        assert_eq!(presented.token().pair_id().version, 2);
    }
    service.assert_exchanges(1);
}

/// The request is delayed before it reads the record, after that, and before it writes its lease.
#[tokio::test(start_paused = true)]
async fn n14_a_request_that_is_delayed_between_look_and_lease_makes_no_second_call() {
    let span = SECOND;
    let delays = [
        (StoreCall::Load, CallFault::DelayBefore(span)),
        (StoreCall::Load, CallFault::DelayAfter(span)),
        (StoreCall::Swap, CallFault::DelayBefore(span)),
    ];
    for (call, delay) in delays {
        // The first load is that of the presentation, the second that of the rotation.
        for before in [0, 1] {
            let service = Service::at(|server| server);
            let [one, late] = [(); 2].map(|()| service.node(page()));
            let cookie = service.cookie_at(&one.sessions).await;
            service.world.expire().await;
            late.store.work_next(call, before);
            late.store.fail_next(call, 1, delay);
            let delayed = late.request(&cookie);
            settle().await;
            let first = one.request(&cookie);
            let answered = answers([delayed, first]).await;
            for presented in &answered {
                assert!(service.world.is_live(presented.token()));
            }
            let version = |it: &evertoken::Presentation| it.token().pair_id().version;
            assert_eq!(answered.iter().map(version).collect::<Vec<_>>(), [2, 2]);
            service.assert_exchanges(1);
            // The session goes on at both.
            for node in [&late, &one] {
                let presented = node.sessions.present(&cookie).await.unwrap();
                assert_eq!(presented.token().pair_id().version, 2);
            }
            service.assert_exchanges(1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn n18_different_sessions_rotate_in_parallel() {
    let service = Service::of(2, page());
    let mut cookies = Vec::new();
    for _ in 0..20 {
        cookies.push(service.cookie().await);
    }
    service.world.expire().await;
    let hold = service.world.server.hold();
    let requests: Vec<_> = (0..20)
        .map(|number| request(&service.instances[number % 2], &cookies[number]))
        .collect();
    settle().await;
    assert_eq!(service.world.server.exchanges(), 20, "all are under way");
    drop(hold);
    for (cookie, presented) in cookies.iter().zip(answers(requests).await) {
        assert_eq!(presented.renewal().unwrap().id(), cookie.id());
        assert!(service.world.is_live(presented.token()));
    }
    service.assert_exchanges(20);
}
