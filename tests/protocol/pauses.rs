//! A pause after a failure holds for all callers of all instances: nothing is sent meanwhile, and the record is still
//! read.

use std::time::Duration;

use evertoken::testing::Fault;
use evertoken::{EndReason, Error};

use crate::cluster::{
    Cluster, Counts, LEASE_DURATION, TTL, callers, ends, failures, is_503, is_page, page, reason,
    refusal, seconds, served,
};
use crate::support::{drain, failed, loaded};

fn put_off(status: u16, after: Duration) -> Fault {
    Fault::Status {
        status,
        body: String::new(),
        retry_after: Some(after),
    }
}

#[tokio::test(start_paused = true)]
async fn there_is_never_more_than_one_exchange_in_a_pause_for_20_callers_of_2_instances() {
    for fault in [
        page(404),
        Fault::status(503),
        Fault::status(500),
        Fault::DropBefore,
        refusal(429, "slow_down"),
        refusal(401, "invalid_client"),
    ] {
        let cluster = Cluster::strict();
        let nodes = [cluster.begun_node().await, cluster.warm_node().await];
        let mut events = nodes[0].subscribe();
        cluster.expire().await;
        cluster.server.fail_always(Some(fault.clone()));
        let start = tokio::time::Instant::now();
        let mut waiting: Vec<_> = nodes.iter().flat_map(|node| callers(node, 20)).collect();
        // The first request was the rotation that succeeded before the outage.
        for (exchanges, until) in [(2, 2), (3, 6), (4, 14)] {
            cluster.server.arrived(exchanges).await;
            while start.elapsed() < seconds(until) - Duration::from_millis(200) {
                waiting.extend(nodes.iter().flat_map(|node| callers(node, 1)));
                cluster.clock.advance(Duration::from_millis(100)).await;
                assert_eq!(cluster.server.exchanges(), exchanges, "{fault:?}");
            }
        }
        cluster.server.fail_always(None);
        for token in served(waiting).await {
            assert_eq!(token.pair_id().version, 3);
        }
        assert_eq!(cluster.counts(), Counts::exchanges(5), "{fault:?}");
        // Each failure of an instance is one event.
        let seen = drain(&mut events);
        assert!(failed(&seen) <= 3, "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_one_instance_is_kept_by_another_whose_callers_learn_the_reason() {
    let cluster = Cluster::strict();
    let one = cluster.begun_node().await;
    let endpoint = cluster.endpoint().with_timeout(seconds(34));
    let two = loaded(cluster.node_builder_at(endpoint)).await;
    cluster.expire().await;
    cluster.server.fail_next(page(404));
    one.try_token().unwrap_err();
    cluster.server.arrived(2).await;
    cluster.clock.advance(Duration::from_millis(100)).await;
    // The first instance stops, so that the other one makes the next attempt, which gets no answer.
    one.shutdown().await.unwrap();
    let hold = cluster.server.hold();
    let waiting = callers(&two, 20);
    cluster.clock.advance(Duration::from_millis(1_700)).await;
    assert_eq!(cluster.server.exchanges(), 2);
    let failure = two.status().failure.unwrap();
    assert!(is_page(&failure, 404), "{failure:?}");
    cluster.clock.advance(seconds(1)).await;
    assert_eq!(cluster.server.exchanges(), 3);
    for error in failures(waiting).await {
        let Error::TimedOut { source, .. } = &error else {
            panic!("{error:?}");
        };
        assert!(matches!(source.as_deref(), Some(Error::Endpoint { .. })));
        assert!(is_page(&error, 404), "{error:?}");
    }
    drop(hold);
}

#[tokio::test(start_paused = true)]
async fn a_caller_with_a_valid_token_does_not_wait_for_the_next_attempt() {
    let (cluster, node) = Cluster::begun().await;
    // The remaining lifetime is so short that a caller waits for the rotation, and gets the held token if the
    // rotation fails.
    cluster.clock.advance(TTL - seconds(8)).await;
    cluster.server.fail_always(Some(Fault::status(503)));
    let start = tokio::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(node.token().await.unwrap().pair_id().version, 2);
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(cluster.server.exchanges(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_pause_of_the_next_instance_is_twice_that_of_the_one_before() {
    let cluster = Cluster::strict();
    let (one, two) = (cluster.begun_node().await, cluster.patient_node().await);
    cluster.expire().await;
    cluster.server.fail_always(Some(Fault::status(503)));
    one.try_token().unwrap_err();
    cluster.server.arrived(2).await;
    cluster.clock.advance(Duration::from_millis(100)).await;
    one.shutdown().await.unwrap();
    // By then that pause has ended, and the record still counts it.
    cluster.clock.advance(seconds(3)).await;
    let waiting = callers(&two, 1);
    for (after, exchanges) in [(100, 3), (3_500, 3), (1_000, 4), (7_000, 4), (1_500, 5)] {
        cluster.clock.advance(Duration::from_millis(after)).await;
        assert_eq!(cluster.server.exchanges(), exchanges);
    }
    cluster.server.fail_always(None);
    served(waiting).await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_whose_deadline_is_before_the_next_attempt_of_another_instance_gets_its_failure() {
    let (cluster, one, two) = Cluster::two().await;
    cluster.expire().await;
    cluster.server.fail_next(put_off(503, seconds(120)));
    let start = tokio::time::Instant::now();
    for (node, left) in [(&one, 120), (&two, 120)] {
        let error = node.token().await.unwrap_err();
        assert!(is_503(&error), "{error:?}");
        assert_eq!(
            error.retry_after().unwrap().as_secs_f64().round(),
            f64::from(left)
        );
        assert!(error.is_retryable());
    }
    assert!(start.elapsed() < Duration::from_millis(100));
    assert_eq!(cluster.server.exchanges(), 2);
    // When the end of the pause is near, callers wait for it.
    cluster.clock.advance(seconds(90)).await;
    let (one, two) = tokio::join!(one.token(), two.token());
    assert_eq!(one.unwrap().pair_id(), two.unwrap().pair_id());
    assert!(start.elapsed() < seconds(121));
    cluster.assert_exchanges(3);
}

/// A pair that another instance stored is adopted during a long pause.
#[tokio::test(start_paused = true)]
async fn t02_a_pair_that_another_instance_stored_is_adopted_in_a_long_pause() {
    for fault in [
        put_off(429, seconds(1_800)),
        put_off(503, seconds(1_800)),
        // A user has to act: the pause is the longest one, and no caller waits for its end.
        refusal(400, "interaction_required"),
    ] {
        let (cluster, one, two) = Cluster::two().await;
        cluster.expire().await;
        cluster.server.fail_next(fault.clone());
        one.token().await.unwrap_err();
        // The user signs in again on the other instance.
        two.replace(cluster.server.issue()).await.unwrap();
        let stored = two.token().await.unwrap();
        // In the pause, the store is read at most once in 5 s.
        let mut waited = 0;
        let token = loop {
            match one.token().await {
                Ok(token) => break token,
                Err(_) if waited < 6 => waited += 1,
                Err(error) => panic!("{fault:?}: {error:?}"),
            }
            cluster.clock.advance(seconds(1)).await;
        };
        assert_eq!(token.pair_id(), stored.pair_id());
        assert_eq!(cluster.server.exchanges(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_logout_in_a_pause_ends_it_at_once_and_nothing_is_sent() {
    for elsewhere in [false, true] {
        for fault in [Fault::status(503), refusal(429, "slow_down")] {
            let (cluster, node, other) = Cluster::two().await;
            let mut events = node.subscribe();
            cluster.expire().await;
            cluster.server.fail_next(fault);
            let waiting = callers(&node, 20);
            cluster.clock.advance(seconds(1)).await;
            let start = tokio::time::Instant::now();
            let leaving = if elsewhere { &other } else { &node };
            assert!(leaving.logout().await.is_complete());
            for error in failures(waiting).await {
                assert_eq!(reason(&error), Some(EndReason::LoggedOut));
            }
            assert!(start.elapsed() < Duration::from_millis(100));
            cluster.clock.advance(seconds(7_200)).await;
            cluster.assert_exchanges(2);
            assert_eq!(ends(&mut events), [EndReason::LoggedOut]);
            let record = cluster.json().await;
            assert!(
                record["lease"].is_null() && record["not_before"].is_null(),
                "{record}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_in_a_pause_returns_soon_and_releases_the_lease() {
    for fault in [Fault::DropBefore, page(404), refusal(429, "slow_down")] {
        let (cluster, node) = Cluster::begun().await;
        cluster.expire().await;
        cluster.server.fail_next(fault.clone());
        let waiting = callers(&node, 20);
        cluster.clock.advance(seconds(1)).await;
        let start = tokio::time::Instant::now();
        node.shutdown().await.unwrap();
        assert!(start.elapsed() < Duration::from_millis(100));
        for caller in waiting {
            assert!(matches!(caller.await.unwrap(), Err(Error::ShutDown)));
        }
        let lease = cluster.json().await["lease"].clone();
        assert!(
            lease.is_null() || lease["released"] == true,
            "{fault:?}: {lease}"
        );
        // The next process waits for the end of the pause, and not for a lease duration.
        let next = cluster.node();
        next.token().await.unwrap();
        let waited = start.elapsed();
        assert!(
            waited >= Duration::from_millis(900) && waited < seconds(2),
            "{waited:?}"
        );
        cluster.assert_exchanges(3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_no_caller_and_no_timer_waits_for_ends_with_its_lease_released() {
    let (cluster, node) = Cluster::begun().await;
    cluster.expire().await;
    cluster.server.fail_next(Fault::DropBefore);
    node.try_token().unwrap_err();
    cluster.server.arrived(2).await;
    cluster.clock.advance(seconds(1)).await;
    let lease = cluster.json().await["lease"].clone();
    assert_eq!(
        (&lease["released"], &lease["by"]),
        (&false.into(), &"silence".into())
    );
    cluster.clock.advance(seconds(2)).await;
    let lease = cluster.json().await["lease"].clone();
    assert_eq!(lease["released"], true);
    assert_eq!(cluster.server.exchanges(), 2);
    // An instance that needs the token sends it without waiting for a lease duration.
    let start = tokio::time::Instant::now();
    cluster.warm_node().await;
    assert!(start.elapsed() < seconds(1));
    cluster.assert_exchanges(3);
}

#[tokio::test(start_paused = true)]
async fn a_lease_does_not_go_stale_in_its_holders_own_pause() {
    let cluster = Cluster::strict();
    let (one, two) = (cluster.begun_node().await, cluster.patient_node().await);
    cluster.expire().await;
    // The pause is twice as long as the lease duration.
    cluster.server.fail_next(put_off(503, LEASE_DURATION * 2));
    one.token().await.unwrap_err();
    let waiting = callers(&two, 1).remove(0);
    cluster.clock.advance(LEASE_DURATION * 2 - seconds(1)).await;
    assert_eq!(cluster.server.exchanges(), 2);
    let lease = cluster.json().await["lease"].clone();
    assert_eq!(lease["released"], false, "{lease}");
    // The duration of the lease, in milliseconds, is the pause plus the lease duration after it.
    assert_eq!(lease["duration"], 3 * 60_000);
    drop(waiting);
}
