//! A store that was set back shows sessions that the user has replaced or logged out of. None of them comes back.

use evertoken::protocol::Record;
use evertoken::testing::Fault;
use evertoken::{Coordination, EndReason, PairId, TokenManager};

use crate::cluster::{Cluster, seconds};
use crate::support::{end_of, loaded};

async fn pair_id(node: &TokenManager) -> PairId {
    node.token().await.unwrap().pair_id()
}

/// A session that was replaced does not come back when the store is set back.
#[tokio::test(start_paused = true)]
async fn t03_a_session_that_was_replaced_does_not_come_back() {
    for (has_left, has_rotated) in [(false, false), (false, true), (true, false), (true, true)] {
        let (cluster, node, other) = Cluster::two().await;
        let old = cluster.record().await;
        let before = pair_id(&node).await;
        if has_left {
            assert!(node.logout().await.is_complete());
        }
        let fresh = cluster.server.issue();
        node.replace(fresh.clone()).await.unwrap();
        if has_rotated {
            node.rotate().await.unwrap();
        }
        let held = pair_id(&node).await;
        assert_ne!(held.family, before.family);
        // The store loses its latest writes.
        cluster.put(&old).await;
        cluster.clock.advance(seconds(300)).await;
        let rotated = node.rotate().await.unwrap();
        assert_eq!(rotated.pair_id().family, held.family);
        let record = cluster.record().await;
        assert_eq!(record.pair_id(), rotated.pair_id());
        // An instance that has not seen those writes adopts the former session.
        cluster.expire().await;
        assert_eq!(pair_id(&node).await, pair_id(&other).await);
        assert_eq!(pair_id(&other).await.family, held.family);
        cluster.assert_unharmed();
    }
}

/// A pair that is issued while the store is set back is stored.
#[tokio::test(start_paused = true)]
async fn t03_a_pair_that_is_issued_while_the_store_is_set_back_is_stored() {
    let (cluster, node) = Cluster::begun().await;
    let old = cluster.record().await;
    node.replace(cluster.server.issue()).await.unwrap();
    let held = pair_id(&node).await;
    cluster.expire().await;
    let (hold, waiter) = cluster.call_in_flight(&node).await;
    cluster.put(&old).await;
    drop(hold);
    let token = waiter.await.unwrap().unwrap();
    assert_eq!(token.pair_id().family, held.family);
    cluster.clock.advance(seconds(10)).await;
    let record = cluster.record().await;
    assert_eq!(record.pair_id(), token.pair_id());
    assert_eq!(cluster.server.revocations(), 0);
}

/// A rotation gets no answer, and the store is set back meanwhile: the lease is lost before the doubt about its token
/// is stored. The token is not sent again.
async fn ends_with_unknown_outcome(cluster: &Cluster, node: &TokenManager, old: &Record) {
    cluster.server.fail_next(Fault::DropBefore);
    let (hold, waiter) = cluster.call_in_flight(node).await;
    let sent = cluster.server.exchanges();
    cluster.put(old).await;
    drop(hold);
    assert_eq!(end_of(waiter.await.unwrap()), EndReason::OutcomeUnknown);
    assert_eq!(cluster.server.exchanges(), sent);
}

#[tokio::test(start_paused = true)]
async fn a_doubt_remains_when_the_store_loses_its_lease() {
    let cluster = Cluster::without_resending();
    let node = cluster.begun_node().await;
    let old = cluster.record().await;
    cluster.expire().await;
    ends_with_unknown_outcome(&cluster, &node, &old).await;
}

#[tokio::test(start_paused = true)]
async fn a_doubt_remains_when_the_store_shows_a_lease_on_the_former_token() {
    let cluster = Cluster::without_resending();
    let node = cluster.begun_node().await;
    cluster.expire().await;
    let (hold, waiter) = cluster.call_in_flight(&node).await;
    let old = cluster.record().await;
    drop(hold);
    waiter.await.unwrap().unwrap();
    cluster.expire().await;
    ends_with_unknown_outcome(&cluster, &node, &old).await;
}

/// The version changes when a pair is written over another pair of its session.
#[tokio::test(start_paused = true)]
async fn a_doubt_remains_when_the_version_of_its_pair_changes() {
    let cluster = Cluster::without_resending();
    let node = cluster.begun_node().await;
    let old = cluster.record().await;
    cluster.set("version", old.pair_id().version + 1).await;
    let renamed = cluster.record().await;
    cluster.put(&old).await;
    cluster.expire().await;
    ends_with_unknown_outcome(&cluster, &node, &renamed).await;
}

#[tokio::test(start_paused = true)]
async fn a_doubt_that_the_store_loses_is_written_again_for_the_other_instances() {
    let cluster = Cluster::without_resending();
    let (node, other) = (cluster.begun_node().await, cluster.warm_node().await);
    let old = cluster.record().await;
    cluster.server.fail_next(Fault::DropBefore);
    let (hold, rotation) = cluster.rotate_in_flight(&node).await;
    cluster.put(&old).await;
    drop(hold);
    cluster.clock.advance(seconds(5)).await;
    // The access token is valid for minutes, and the other instance wants a new one.
    assert!(other.rotate().await.is_err());
    assert!(rotation.await.unwrap().is_err());
    assert_eq!(cluster.server.exchanges(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_doubt_remains_after_a_sign_in_that_fails() {
    let cluster = Cluster::ruled(|server| server.sign_in(true));
    let node = cluster.begun_node().await;
    let old = cluster.record().await;
    cluster.expire().await;
    cluster.server.fail_next(Fault::DropBefore);
    cluster.server.fail_next(Fault::status(503));
    node.try_token().unwrap_err();
    cluster.clock.advance(seconds(1)).await;
    assert_eq!(cluster.server.exchanges(), 2);
    cluster.put(&old).await;
    cluster.clock.advance(seconds(2)).await;
    let token = node.token().await.unwrap();
    assert_eq!(cluster.server.exchanges(), 2);
    assert!(token.pair_id().version > 2);
}

/// Without coordination a doubt is stored after the answer, in whatever record the store holds by then.
#[tokio::test(start_paused = true)]
async fn a_doubt_does_not_undo_a_logout() {
    let cluster = Cluster::ruled(|server| server.sign_in(true));
    let uncoordinated = async || {
        let builder = cluster.node_builder();
        loaded(builder.coordination(Coordination::None)).await
    };
    let (node, other) = (uncoordinated().await, uncoordinated().await);
    cluster.expire().await;
    cluster.server.fail_next(Fault::DropBefore);
    let (hold, waiter) = cluster.call_in_flight(&node).await;
    // The pair stays in the record until it can be revoked.
    cluster.server.set_reachable(false);
    other.logout().await;
    drop(hold);
    assert_eq!(end_of(waiter.await.unwrap()), EndReason::LoggedOut);
    cluster.server.set_reachable(true);
    cluster.clock.advance(seconds(300)).await;
    assert!(node.token().await.unwrap_err().needs_sign_in());
    assert_eq!(cluster.server.sign_ins(), 0);
}

/// A session that was logged out does not come back when the store is set back.
#[tokio::test(start_paused = true)]
async fn t51_a_session_that_was_logged_out_does_not_come_back() {
    for sessions in 1..=3 {
        let (cluster, node) = Cluster::begun().await;
        let old = cluster.record().await;
        for nth in 0..sessions {
            if nth > 0 {
                node.replace(cluster.server.issue()).await.unwrap();
            }
            assert!(node.logout().await.is_complete());
        }
        for _ in 0..2 {
            cluster.put(&old).await;
            cluster.clock.advance(seconds(120)).await;
            // A call fails at once, and the instance reads the store to see whether there is another session.
            for _ in 0..3 {
                assert_eq!(end_of(node.token().await), EndReason::LoggedOut);
                cluster.clock.advance(seconds(5)).await;
            }
            let record = cluster.json().await;
            assert_eq!(record["state"]["is"], "logged_out", "{sessions}");
        }
        cluster.assert_exchanges(1);
        // The user may sign in again.
        node.replace(cluster.server.issue()).await.unwrap();
        node.token().await.unwrap();
        let again = cluster.warm_node().await.token().await.unwrap();
        assert_eq!(again.pair_id(), pair_id(&node).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failover_that_restarts_the_versions_does_not_bring_an_older_pair_back() {
    let (cluster, node) = Cluster::begun().await;
    let held = pair_id(&node).await;
    // The record seems to have had as many commits, none of which this instance has seen. The number of the lease
    // decides.
    cluster.set("version", 9).await;
    cluster.set("committed_number", 1).await;
    cluster.expire().await;
    let token = node.token().await.unwrap();
    assert_eq!(token.pair_id().family, held.family);
    cluster.assert_exchanges(2);
}
