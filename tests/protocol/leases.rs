//! A token is spent only under a lease: the instance leases it first and sends it afterwards.

use evertoken::testing::{CallFault, Fault, FaultyStore, StoreCall};
use evertoken::{EndReason, EndpointError, Error, Event};

use crate::cluster::{Cluster, LEASE_DURATION, TTL, callers, seconds, served};
use crate::support::{call, end_of, loaded, settle};

/// Machines that find a token expired spend its refresh token once.
#[tokio::test(start_paused = true)]
async fn n1_instances_that_find_a_token_expired_spend_it_once() {
    let (cluster, one) = Cluster::warm().await;
    let (two, three) = (cluster.warm_node().await, cluster.warm_node().await);
    cluster.expire().await;
    for token in &served([&one, &two, &three].map(call)).await {
        let first = one.token().await.unwrap();
        assert_eq!(token.pair_id(), first.pair_id());
        assert_eq!(token.expose(), first.expose());
    }
    cluster.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_finds_the_lease_of_another_waits_for_its_result() {
    let cluster = Cluster::strict();
    let (one, two) = (cluster.warm_node().await, cluster.warm_node().await);
    cluster.expire().await;
    let (hold, first) = cluster.call_in_flight(&one).await;
    let second = call(&two);
    cluster.clock.advance(seconds(10)).await;
    assert!(!second.is_finished());
    drop(hold);
    let tokens = served([first, second]).await;
    assert_eq!(tokens[0].pair_id(), tokens[1].pair_id());
    cluster.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn a_valid_token_is_served_while_another_instance_rotates() {
    let (cluster, node) = Cluster::warm().await;
    // Inside the leeway a caller waits for a rotation of its own instance, but not for the lease duration of another
    // instance.
    cluster.clock.advance(TTL - seconds(5)).await;
    cluster.plant_lease().await;
    let before = tokio::time::Instant::now();
    node.token().await.unwrap();
    assert!(before.elapsed() < seconds(1));
    assert_eq!(cluster.server.exchanges(), 0);
}

/// A stale lease is taken over, and its token is sent only once the new lease is stored.
#[tokio::test(start_paused = true)]
async fn n4_a_stale_lease_is_taken_over_and_its_token_sent_only_after_the_lease() {
    let cluster = Cluster::strict();
    let node = cluster.patient_node().await;
    cluster.expire().await;
    cluster.plant_lease().await;
    let before = tokio::time::Instant::now();
    node.token().await.unwrap();
    let waited = before.elapsed();
    assert!(
        waited >= LEASE_DURATION && waited < LEASE_DURATION + seconds(6),
        "{waited:?}"
    );
    // The token had not been spent, so sending it again does no harm.
    cluster.assert_exchanges(1);
    assert!(cluster.json().await["lease"].is_null());
}

#[tokio::test(start_paused = true)]
async fn a_stale_lease_never_permits_a_plain_spend() {
    let cluster = Cluster::without_resending();
    let node = cluster.warm_node().await;
    cluster.plant_lease().await;
    cluster.expire().await;
    cluster.clock.advance(LEASE_DURATION).await;
    assert_eq!(end_of(node.token().await), EndReason::OutcomeUnknown);
    assert_eq!(cluster.server.exchanges(), 0);
}

/// An instance recognises its own lease when the swap timed out but was applied.
#[tokio::test(start_paused = true)]
async fn fm5_a_lease_whose_swap_timed_out_but_was_applied_is_used_by_its_instance() {
    let (cluster, node) = Cluster::warm().await;
    let mut events = node.subscribe();
    cluster.expire().await;
    cluster.lose_answer_of_swap();
    let before = tokio::time::Instant::now();
    node.token().await.unwrap();
    assert!(
        before.elapsed() < seconds(5),
        "no lease duration for our own lease"
    );
    cluster.assert_exchanges(1);
    let Some(Event::Failed { error, .. }) = events.try_recv() else {
        panic!("the failure of the store is not reported");
    };
    assert!(
        matches!(error, Error::Store { .. }) && error.is_retryable(),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_swap_was_lost_is_made_again() {
    let (cluster, node) = Cluster::expired().await;
    cluster.store.fail_next(StoreCall::Swap, 1, CallFault::Fail);
    node.token().await.unwrap();
    cluster.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_an_earlier_rotation_that_sent_does_not_permit_another_sending() {
    // The server rotated the pair and the answer was lost: the lease names this very instance.
    let cluster = Cluster::without_resending();
    let node = cluster.warm_node().await;
    cluster.expire().await;
    cluster.server.fail_next(Fault::DropAfter);
    assert_eq!(end_of(node.token().await), EndReason::OutcomeUnknown);
    cluster.clock.advance(LEASE_DURATION * 3).await;
    assert_eq!(end_of(node.token().await), EndReason::OutcomeUnknown);
    cluster.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn releasing_a_doubtful_lease_leaves_it_in_place() {
    let (cluster, node) = Cluster::warm().await;
    cluster.plant_lease().await;
    cluster.expire().await;
    // The lease is stale and taken over, but the request is not sent: the doubt about the token stays.
    cluster.server.set_reachable(false);
    let error = node.token().await.unwrap_err();
    assert!(
        matches!(error.endpoint(), Some(EndpointError::NotSent { .. })),
        "{error:?}"
    );
    let record = cluster.json().await;
    let lease = &record["lease"];
    assert_eq!(lease["released"], true);
    assert!(lease["doubtful"].is_u64(), "{lease}");
    let sendings = lease["sendings"].as_u64().unwrap();
    assert!(sendings > 1, "{lease}");
    // Another instance may send the token as soon as the pause has ended, and the count of sendings goes on.
    cluster.server.set_reachable(true);
    let other = cluster.node_builder().wait(seconds(300)).build().unwrap();
    let (hold, waiter) = cluster.call_in_flight(&other).await;
    let lease = cluster.json().await["lease"].clone();
    assert_eq!(lease["sendings"].as_u64(), Some(sendings + 1));
    drop(hold);
    waiter.await.unwrap().unwrap();
    cluster.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_once_the_send_window_has_passed() {
    // The machine sleeps between the lease and the request: the lease is stale when the machine wakes.
    let cluster = Cluster::strict();
    let endpoint = crate::outcomes::SleepsBeforeSending::new(&cluster, seconds(7_200));
    let node = loaded(cluster.node_builder_at(endpoint.clone()).wait(seconds(300))).await;
    cluster.expire().await;
    node.token().await.unwrap();
    cluster.assert_exchanges(1);
    // The token was sent under the second lease, and the first one was released.
    let key = evertoken::TokenEndpoint::key(&endpoint);
    let record = cluster.store.json(&key).await;
    assert_eq!(record["committed_number"], 2);
}

/// The refresh token appears in no key and no lease.
#[tokio::test(start_paused = true)]
async fn n3_the_refresh_token_appears_in_no_key_and_no_lease() {
    let (cluster, node) = Cluster::expired().await;
    let (hold, waiter) = cluster.call_in_flight(&node).await;
    let mut json = cluster.json().await;
    let digest = cluster.first.digest(&cluster.key()).to_string();
    assert_eq!(json["lease"]["digest"], digest);
    json["pair"].take();
    let secret = cluster.first.refresh.as_ref().unwrap().expose();
    assert!(!json.to_string().contains(secret));
    assert!(!format!("{:?}", cluster.store).contains(secret));
    drop(hold);
    waiter.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_attempted_before_the_token_was_sent_does_not_permit_another_sending() {
    let cluster = Cluster::without_resending();
    let node = cluster.patient_node().await;
    cluster.expire().await;
    cluster.lose_answer_of_swap();
    let hold = cluster.server.hold();
    let waiter = call(&node);
    cluster.clock.advance(seconds(1)).await;
    let attempted = cluster.record().await;
    assert!(cluster.json().await["lease"].is_object());
    // The lease is written again and the token sent; the answer is lost, and the store falls back to the first
    // attempt.
    cluster.server.fail_next(Fault::DropAfter);
    cluster.server.arrived(1).await;
    cluster.put(&attempted).await;
    drop(hold);
    assert_eq!(end_of(waiter.await.unwrap()), EndReason::OutcomeUnknown);
    cluster.assert_exchanges(1);
}

/// The swap of the lease may have been applied without an answer. By the time the instance finds the lease, the
/// refresh token has expired.
#[tokio::test(start_paused = true)]
async fn a_lease_that_was_attempted_for_a_refresh_is_not_used_for_a_sign_in() {
    let cluster = Cluster::ruled(|server| server.sign_in(true).refresh_ttl(TTL + seconds(2)));
    let node = cluster.begun_node().await;
    cluster.expire().await;
    cluster.lose_answer_of_swap();
    let hold = cluster.server.hold();
    let waiting = callers(&node, 1);
    cluster.clock.advance(seconds(5)).await;
    let record = cluster.json().await;
    let digest = cluster.record().await.digest();
    assert_eq!(cluster.server.exchanges(), 1);
    assert!(record["lease"].is_object(), "{record}");
    assert_ne!(record["lease"]["digest"], digest.to_string(), "{record}");
    drop(hold);
    served(waiting).await;
    assert_eq!(cluster.server.sign_ins(), 1);
}

/// The holder is in the pause after a page, and prolongs its own lease for that pause.
#[tokio::test(start_paused = true)]
async fn a_lease_that_its_holder_prolongs_is_respected_for_its_new_duration() {
    let cluster = Cluster::strict();
    let node = cluster.patient_node().await;
    cluster.expire().await;
    cluster.plant_lease().await;
    let waiting = callers(&node, 1);
    cluster.clock.advance(seconds(30)).await;
    let now = cluster.store_now();
    cluster
        .edit(|record| {
            let lease = &mut record["lease"];
            lease["doubtful"] = lease["since"].clone();
            lease["since"] = now.into();
            lease["by"] = "unavailable".into();
            lease["before"] = "unavailable".into();
            lease["duration"] = 62_000.into();
        })
        .await;
    cluster.clock.advance(seconds(61)).await;
    assert_eq!(cluster.server.exchanges(), 0);
    cluster.clock.advance(seconds(2)).await;
    served(waiting).await;
    assert_eq!(cluster.server.exchanges(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_instance_with_a_shorter_lease_duration_respects_the_duration_of_a_lease() {
    let cluster = Cluster::strict();
    let slow = FaultyStore::new(cluster.store.connection());
    let patient = cluster.node_builder().store(slow.clone());
    let patient = patient.lease_duration(seconds(200));
    let patient = patient.store_timeout(seconds(75)).wait(seconds(300));
    let hasty = cluster.node_builder().lease_duration(seconds(60));
    let (patient, hasty) = (
        loaded(patient).await,
        loaded(hasty.wait(seconds(300))).await,
    );
    cluster.clock.advance(TTL).await;
    slow.fail_next(StoreCall::Swap, 1, CallFault::DelayAfter(seconds(70)));
    let first = call(&patient);
    settle().await;
    let tokens = served([first, call(&hasty)]).await;
    assert_eq!(tokens[0].expose(), tokens[1].expose());
    cluster.assert_exchanges(1);
}
