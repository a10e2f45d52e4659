//! A lease is written against the record that the manager wrote last, without loading it first.

use std::time::Duration;

use evertoken::testing::StoreCall;
use evertoken::{EndReason, TokenManager};

use crate::cluster::{Cluster, Counts, TTL, seconds};
use crate::support::{call, end_of};

/// Two instances, one of which has rotated once, on a store that answers a swap with its time.
async fn timed() -> (Cluster, TokenManager, TokenManager) {
    let cluster = Cluster::strict();
    cluster.store.set_swaps_timed(true);
    let (one, two) = (cluster.begun_node().await, cluster.warm_node().await);
    (cluster, one, two)
}

#[tokio::test(start_paused = true)]
async fn a_second_rotation_loads_nothing_if_the_store_reports_its_time() {
    for says_time in [true, false] {
        let cluster = Cluster::strict();
        cluster.store.set_swaps_timed(says_time);
        let node = cluster.begun_node().await;
        let loads = cluster.store.calls(StoreCall::Load);
        for _ in 0..3 {
            cluster.expire().await;
            node.token().await.unwrap();
        }
        let expected = if says_time { 0 } else { 3 };
        assert_eq!(cluster.store.calls(StoreCall::Load) - loads, expected);
        cluster.assert_exchanges(4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_another_instance_rotated_meanwhile_is_adopted_and_nothing_is_sent() {
    let (cluster, one, two) = timed().await;
    cluster.expire().await;
    let theirs = two.token().await.unwrap();
    let loads = cluster.store.calls(StoreCall::Load);
    let ours = one.token().await.unwrap();
    assert_eq!(ours.pair_id(), theirs.pair_id());
    assert_eq!(
        cluster.store.calls(StoreCall::Load),
        loads,
        "the swap that was lost brought it"
    );
    cluster.assert_exchanges(2);
}

#[tokio::test(start_paused = true)]
async fn an_instance_waits_for_the_lease_of_another_instance() {
    let (cluster, one, two) = timed().await;
    cluster.expire().await;
    let (hold, theirs) = cluster.call_in_flight(&two).await;
    let ours = call(&one);
    cluster.clock.advance(seconds(5)).await;
    assert_eq!(
        cluster.server.exchanges(),
        2,
        "the first instance has not sent the token as well"
    );
    drop(hold);
    let theirs = theirs.await.unwrap().unwrap();
    assert_eq!(ours.await.unwrap().unwrap().pair_id(), theirs.pair_id());
    cluster.assert_exchanges(2);
}

#[tokio::test(start_paused = true)]
async fn a_logout_on_another_instance_is_seen() {
    let (cluster, one, two) = timed().await;
    two.logout().await;
    cluster.expire().await;
    assert_eq!(end_of(one.token().await), EndReason::LoggedOut);
    assert_eq!(cluster.server.exchanges(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_record_or_a_write_that_the_store_lost_is_noticed() {
    let (cluster, node, _) = timed().await;
    let before = cluster.record().await;
    let first = node.rotate().await.unwrap();
    cluster.put(&before).await;
    cluster.expire().await;
    let second = node.token().await.unwrap();
    assert_eq!(second.pair_id().version, first.pair_id().version + 1);
    assert_eq!(
        cluster.counts(),
        Counts::exchanges(3),
        "the token before it is not sent again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lease_keeps_its_age_when_the_clock_of_the_store_jumps() {
    for ahead in [900_i64, 7_200_000, -900, -7_200_000] {
        let (cluster, node, _) = timed().await;
        cluster.clock.advance(TTL + seconds(1)).await;
        let step = Duration::from_millis(ahead.unsigned_abs());
        if ahead < 0 {
            cluster.store.step_time_back(step);
        } else {
            cluster.store.step_time(step);
        }
        let (hold, caller) = cluster.call_in_flight(&node).await;
        let record = cluster.json().await;
        let since = record["lease"]["since"].as_i64().unwrap();
        let now = i64::try_from(cluster.store_now()).unwrap() + ahead;
        let age = now - since;
        assert!(
            (-1_000..=1_000).contains(&age),
            "{age} ms old as it is sent"
        );
        // No other instance may take the lease for stale while its request is under way.
        drop(hold);
        caller.await.unwrap().unwrap();
        cluster.assert_exchanges(2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_swap_had_no_answer_is_looked_up() {
    let (cluster, node, _) = timed().await;
    cluster.expire().await;
    cluster.lose_answer_of_swap();
    node.token().await.unwrap();
    cluster.assert_exchanges(2);
}
