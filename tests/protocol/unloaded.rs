//! Leases that are written against the record that the manager wrote last, without loading it.

use evertoken::EndReason;

use crate::cluster::{Cluster, Counts, TTL, reason, seconds};
use crate::fault_store::Fate;

fn timed() -> Cluster {
    let cluster = Cluster::strict();
    cluster.store.say_time();
    cluster
}

#[tokio::test(start_paused = true)]
async fn a_rotation_after_a_rotation_loads_nothing_where_the_store_says_the_time() {
    for says_time in [true, false] {
        let cluster = Cluster::strict();
        if says_time {
            cluster.store.say_time();
        }
        let node = cluster.begun_node().await;
        let loads = cluster.store.loads();
        for _ in 0..3 {
            cluster.expire().await;
            node.token().await.unwrap();
        }
        let expected = if says_time { 0 } else { 3 };
        assert_eq!(cluster.store.loads() - loads, expected);
        cluster.assert_exchanges(4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_another_instance_rotated_meanwhile_is_adopted_and_nothing_is_sent() {
    let cluster = timed();
    let (one, two) = (cluster.begun_node().await, cluster.warm_node().await);
    cluster.expire().await;
    let theirs = two.token().await.unwrap();
    let loads = cluster.store.loads();
    let ours = one.token().await.unwrap();
    assert_eq!(ours.pair_id(), theirs.pair_id());
    assert_eq!(
        cluster.store.loads(),
        loads,
        "the swap that was lost brought it"
    );
    cluster.assert_exchanges(2);
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_another_instance_is_waited_for() {
    let cluster = timed();
    let (one, two) = (cluster.begun_node().await, cluster.warm_node().await);
    cluster.expire().await;
    let (hold, theirs) = cluster.call_in_flight(&two).await;
    let ours = tokio::spawn(async move { one.token().await });
    cluster.clock.advance(seconds(5)).await;
    assert_eq!(cluster.server.exchanges(), 2, "one has not sent it too");
    drop(hold);
    let theirs = theirs.await.unwrap().unwrap();
    assert_eq!(ours.await.unwrap().unwrap().pair_id(), theirs.pair_id());
    cluster.assert_exchanges(2);
}

#[tokio::test(start_paused = true)]
async fn a_logout_on_another_instance_is_seen() {
    let cluster = timed();
    let (one, two) = (cluster.begun_node().await, cluster.warm_node().await);
    two.logout().await;
    cluster.expire().await;
    let error = one.token().await.unwrap_err();
    assert_eq!(reason(&error), Some(EndReason::LoggedOut));
    assert_eq!(cluster.server.exchanges(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_lost_the_record_or_the_last_write_is_found_out() {
    let cluster = timed();
    let node = cluster.warm_node().await;
    let before = cluster.store.record(&cluster.key()).await.unwrap();
    let first = node.rotate().await.unwrap();
    cluster.store.put(&cluster.key(), &before).await;
    cluster.expire().await;
    let second = node.token().await.unwrap();
    assert_eq!(second.pair_id().version, first.pair_id().version + 1);
    assert_eq!(
        cluster.counts(),
        Counts::exchanges(2),
        "the token before it is not sent again"
    );
}

#[tokio::test(start_paused = true)]
async fn the_age_of_a_lease_is_right_although_the_clock_of_the_store_was_stepped() {
    for ahead in [900, 7_200_000, -900, -7_200_000] {
        let cluster = timed();
        let node = cluster.begun_node().await;
        cluster.clock.advance(TTL + seconds(1)).await;
        cluster.store.step(ahead);
        let (hold, caller) = cluster.call_in_flight(&node).await;
        let record = cluster.store.json(&cluster.key()).await;
        let since = record["lease"]["since"].as_i64().unwrap();
        let now = i64::try_from(cluster.store_now()).unwrap() + ahead;
        let age = now - since;
        assert!(
            (-1_000..=1_000).contains(&age),
            "{age} ms old as it is sent"
        );
        // No instance may take it for stale while its request is under way.
        drop(hold);
        caller.await.unwrap().unwrap();
        cluster.assert_exchanges(2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_answer_was_lost_is_looked_for() {
    let cluster = timed();
    let node = cluster.begun_node().await;
    cluster.expire().await;
    cluster.store.swaps([Fate::AppliedUnanswered]);
    node.token().await.unwrap();
    cluster.assert_exchanges(2);
}
