//! What an answer without a pair means for the token.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evertoken::testing::{
    AccessCheck, CallFault, Fault, GraceAnswer, InProcessEndpoint, Reuse, StoreCall, TestClock,
};
use evertoken::{
    Coordination, EndReason, EndpointError, Error, Grant, Issued, Persistence, Rejection, Resend,
    Token, TokenEndpoint, TokenManager, async_trait,
};

use crate::cluster::{Cluster, Counts, LEASE_DURATION, TTL, callers, ends, reason, seconds};
use crate::support::call;

/// An endpoint whose machine sleeps once, after the manager has checked the send window and before the request is
/// sent.
#[derive(Debug, Clone)]
pub(crate) struct SleepsBeforeSending {
    inner: InProcessEndpoint,
    clock: TestClock,
    nap: Duration,
    slept: Arc<AtomicBool>,
}

impl SleepsBeforeSending {
    pub(crate) fn new(cluster: &Cluster, nap: Duration) -> Self {
        Self {
            inner: cluster.endpoint(),
            clock: cluster.clock.clone(),
            nap,
            slept: Arc::default(),
        }
    }
}

#[async_trait]
impl TokenEndpoint for SleepsBeforeSending {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        if !self.slept.swap(true, Ordering::SeqCst) {
            self.clock.suspend(self.nap);
        }
        self.inner.exchange(grant).await
    }
}

/// A token that was not sent is released and tried again.
#[tokio::test(start_paused = true)]
async fn t13_a_request_that_was_not_sent_releases_its_lease_and_is_tried_again() {
    let cluster = Cluster::strict();
    let node = cluster.warm_node().await;
    cluster.expire().await;
    cluster.server.set_reachable(false);
    let waiter = call(&node);
    cluster.clock.advance(seconds(1)).await;
    let record = cluster.store.json(&cluster.key()).await;
    assert!(record["lease"].is_null(), "{record}");
    assert_eq!(record["not_before"]["class"], "not_sent");
    assert!(matches!(
        node.status().failure.as_ref().and_then(Error::endpoint),
        Some(EndpointError::NotSent { .. })
    ));
    cluster.server.set_reachable(true);
    waiter.await.unwrap().unwrap();
    cluster.assert_exchanges(1);
    let record = cluster.store.json(&cluster.key()).await;
    assert!(record["not_before"].is_null(), "{record}");
}

/// A client that the server refuses ends the session for no instance.
#[tokio::test(start_paused = true)]
async fn n16_a_misconfigured_client_does_not_end_the_session_of_other_instances() {
    let cluster = Cluster::ruled(|server| server.client("importer", "secret"));
    let wrong = cluster.endpoint().with_client("importer", "wrong");
    let wrong = cluster.node_builder_at(wrong).build().unwrap();
    wrong.token().await.unwrap();
    let right = cluster.warm_node().await;
    cluster.expire().await;
    let error = wrong.token().await.unwrap_err();
    assert!(
        matches!(error.endpoint(), Some(EndpointError::Refused { .. })),
        "{error:?}"
    );
    assert!(!error.is_retryable() && !error.needs_sign_in());
    // The other instance keeps the pause and its callers wait, because its own configuration may be right.
    let start = tokio::time::Instant::now();
    let token = right.token().await.unwrap();
    assert!(start.elapsed() >= error.retry_after().unwrap());
    cluster.assert_exchanges(2);
    // The misconfigured instance adopts the pair that the other one rotated.
    assert_eq!(wrong.token().await.unwrap().pair_id(), token.pair_id());
    cluster.assert_exchanges(2);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_ends_the_session_at_once_and_its_access_token_is_served_until_it_expires() {
    let cluster = Cluster::strict();
    let (one, two) = (cluster.warm_node().await, cluster.warm_node().await);
    let mut events = one.subscribe();
    // Another client spends the token without the store.
    cluster.server.revoke_all();
    let error = one.rotate().await.unwrap_err();
    assert!(reason(&error).is_some_and(|reason| reason.is_rejected()));
    assert_eq!(cluster.server.exchanges(), 1);
    assert_eq!(
        cluster.store.json(&cluster.key()).await["state"]["is"],
        "rejected"
    );
    for node in [&one, &two] {
        node.token()
            .await
            .expect("the access token is served to its end");
    }
    cluster.expire().await;
    for node in [&one, &two] {
        assert!(
            reason(&node.token().await.unwrap_err()).is_some_and(|reason| reason.is_rejected())
        );
    }
    assert_eq!(
        cluster.server.exchanges(),
        1,
        "no caller causes another request"
    );
    assert!(matches!(ends(&mut events)[..], [EndReason::Rejected(_)]));
}

#[tokio::test(start_paused = true)]
async fn an_access_token_of_an_ended_session_is_served_until_it_is_rejected_once() {
    let cluster = Cluster::strict();
    let node = cluster.warm_node().await;
    cluster.server.revoke_all();
    node.rotate().await.unwrap_err();
    let token = node.token().await.unwrap();
    assert_eq!(node.reject(&token), evertoken::Rejection::Ended);
    assert!(reason(&node.token().await.unwrap_err()).is_some_and(|reason| reason.is_rejected()));
}

/// A refusal counts only after the store was read once more.
#[tokio::test(start_paused = true)]
async fn fm15_a_rejection_counts_only_after_the_record_was_loaded_again() {
    // The other instance commits its rotation while the token of this one is rejected.
    let cluster = Cluster::ruled(|server| server.reuse(Reuse::Refuse));
    let (one, two) = (cluster.warm_node().await, cluster.warm_node().await);
    let mut events = one.subscribe();
    let old = cluster.store.record(&cluster.key()).await.unwrap();
    cluster.expire().await;
    let newer = two.token().await.unwrap();
    let record = cluster.store.record(&cluster.key()).await.unwrap();
    // A failover loses the commit, and the commit is visible again while this instance sends its request.
    cluster.store.put(&cluster.key(), &old).await;
    let (hold, waiter) = cluster.call_in_flight(&one).await;
    cluster.store.put(&cluster.key(), &record).await;
    drop(hold);
    assert_eq!(waiter.await.unwrap().unwrap().pair_id(), newer.pair_id());
    assert_eq!(ends(&mut events), []);
}

/// After a lost answer the holder of the lease pauses, and sends the same token again.
#[tokio::test(start_paused = true)]
async fn fm8_after_a_lost_answer_the_holder_sends_the_same_token_again_after_a_pause() {
    let cluster = Cluster::strict();
    let nodes = [cluster.warm_node().await, cluster.warm_node().await];
    cluster.expire().await;
    cluster.server.fail_next(Fault::DropBefore);
    let before = tokio::time::Instant::now();
    let (one, two) = tokio::join!(nodes[0].token(), nodes[1].token());
    assert_eq!(one.unwrap().pair_id(), two.unwrap().pair_id());
    let waited = before.elapsed();
    assert!(waited >= seconds(2) && waited < seconds(3), "{waited:?}");
    cluster.assert_exchanges(2);
}

/// On a strict server a spent token ends the session, and the end is reported.
#[tokio::test(start_paused = true)]
async fn t12_a_spent_token_ends_the_session_on_a_strict_server_and_the_error_says_so() {
    let cluster = Cluster::strict();
    let node = cluster.patient_node().await;
    let mut events = node.subscribe();
    cluster.expire().await;
    cluster.server.fail_next(Fault::DropAfter);
    let error = node.token().await.unwrap_err();
    // The server rejected the second sending: the family was lost together with the answer.
    assert!(reason(&error).is_some_and(|reason| reason.is_rejected()));
    assert_eq!(
        cluster.counts(),
        Counts::exchanges(2).replays(1).families_revoked(1)
    );
    assert!(matches!(ends(&mut events)[..], [EndReason::Rejected(_)]));
}

/// After a lost answer a server with a grace window is asked again inside the window.
#[tokio::test(start_paused = true)]
async fn t12_a_token_is_sent_again_inside_the_grace_window_of_its_server() {
    let window = seconds(10);
    let answer = GraceAnswer::SamePair;
    let cluster = Cluster::ruled(|server| server.reuse(Reuse::Grace { window, answer }));
    let node = cluster.warm_node().await;
    cluster.expire().await;
    cluster.server.fail_next(Fault::DropAfter);
    let before = tokio::time::Instant::now();
    node.token().await.unwrap();
    assert!(before.elapsed() < seconds(3));
    assert_eq!(cluster.counts(), Counts::exchanges(2).replays(1));
    assert!(cluster.store.json(&cluster.key()).await["lease"].is_null());
}

/// A server that answers a used token again and whose access tokens live for `ttl`; an instance that has spent the
/// token and died with its lease; and an instance that sends the token again after the lease has expired, and serves
/// this access token.
async fn answered_again(
    ttl: Duration,
    answer: GraceAnswer,
    persistence: Persistence,
) -> (Cluster, TokenManager, Token) {
    let window = LEASE_DURATION * 2;
    let grace = Reuse::Grace { window, answer };
    let cluster = Cluster::ruled(|server| server.access_ttl(ttl).reuse(grace));
    let node = cluster
        .node_builder()
        .wait(seconds(3_000))
        .coordination(match persistence.is_write_through() {
            true => Coordination::Lease,
            false => Coordination::None,
        })
        .persistence(persistence)
        .build()
        .unwrap();
    node.token().await.unwrap();
    cluster.clock.advance(ttl).await;
    cluster.plant_lease().await;
    let dead = evertoken::TokenManager::builder(cluster.endpoint())
        .clock(cluster.clock.clone())
        .seed(cluster.first.clone())
        .build()
        .unwrap();
    dead.rotate().await.unwrap();
    let token = node.token().await.unwrap();
    assert_eq!(
        (cluster.server.replays(), cluster.server.families_revoked()),
        (1, 0)
    );
    (cluster, node, token)
}

/// No server repeats an answer for longer than five minutes, so a repeated pair is taken for older by at most half
/// its lifetime. If a pair is repeated later than that, an API finds its access token dead.
#[tokio::test(start_paused = true)]
async fn n15_a_pair_that_is_repeated_after_its_access_token_expired_is_rotated_once_it_is_rejected()
{
    let ttl = LEASE_DURATION / 3;
    let through = Persistence::write_through();
    for (answer, persistence) in [
        (GraceAnswer::SamePair, through.clone()),
        (GraceAnswer::Fork, through.clone()),
        (GraceAnswer::LastWins, through),
        (GraceAnswer::SamePair, Persistence::write_behind(1)),
    ] {
        let (cluster, node, mut token) = answered_again(ttl, answer, persistence).await;
        if answer == GraceAnswer::SamePair {
            assert_eq!(cluster.server.check(token.expose()), AccessCheck::Expired);
            assert_eq!(node.reject(&token), Rejection::Rotating);
            token = node.token().await.unwrap();
        }
        assert_eq!(cluster.server.check(token.expose()), AccessCheck::Live);
        let exchanges = cluster.server.exchanges();
        cluster.clock.advance(ttl).await;
        let next = node.token().await.unwrap();
        assert_eq!(cluster.server.check(next.expose()), AccessCheck::Live);
        assert_eq!(cluster.server.exchanges(), exchanges + 1, "{answer:?}");
    }
}

/// A pair that the server repeats is as old as the first request for the pair.
#[tokio::test(start_paused = true)]
async fn n15_a_pair_that_is_repeated_is_as_old_as_its_first_request() {
    let ttl = LEASE_DURATION * 3;
    let through = Persistence::write_through();
    let (cluster, node, token) = answered_again(ttl, GraceAnswer::SamePair, through).await;
    assert_eq!(cluster.server.exchanges(), 2);
    cluster.clock.advance(ttl - LEASE_DURATION).await;
    assert_eq!(cluster.server.check(token.expose()), AccessCheck::Expired);
    let next = node.token().await.unwrap();
    assert_eq!(cluster.server.check(next.expose()), AccessCheck::Live);
}

/// Without coordination, too, a repeated pair is as old as the first request for the pair.
#[tokio::test(start_paused = true)]
async fn n15_without_coordination_a_pair_that_is_repeated_is_as_old_as_its_first_request() {
    let ttl = LEASE_DURATION * 3;
    let grace = Reuse::Grace {
        window: LEASE_DURATION * 2,
        answer: GraceAnswer::SamePair,
    };
    let cluster = Cluster::ruled(|server| server.access_ttl(ttl).reuse(grace));
    let builder = cluster.node_builder();
    let builder = builder.coordination(Coordination::None).wait(seconds(300));
    let node = builder.build().unwrap();
    node.token().await.unwrap();
    cluster.clock.advance(ttl).await;
    // The server issues the pair now, and its answer comes too late. The record notes a moment half a minute later.
    cluster.server.fail_next(Fault::Delay(seconds(3_600)));
    let waiting = callers(&node, 1);
    cluster.clock.advance(seconds(40)).await;
    for caller in waiting {
        let token = caller.await.unwrap().unwrap();
        assert_eq!(cluster.server.check(token.expose()), AccessCheck::Live);
    }
    assert_eq!(cluster.counts(), Counts::exchanges(2).replays(1));
    cluster.clock.advance(ttl - seconds(39)).await;
    let token = node.token().await.unwrap();
    assert_eq!(cluster.server.check(token.expose()), AccessCheck::Live);
    assert_eq!(cluster.counts(), Counts::exchanges(3).replays(1));
}

#[tokio::test(start_paused = true)]
async fn no_number_of_lost_answers_ends_a_session() {
    let window = seconds(3_600);
    let answer = GraceAnswer::SamePair;
    let cluster = Cluster::ruled(|server| server.reuse(Reuse::Grace { window, answer }));
    let node = cluster.patient_node().await;
    let mut events = node.subscribe();
    cluster.expire().await;
    cluster.server.fail_always(Some(Fault::DropAfter));
    let waiter = call(&node);
    // The pauses are 2, 4, 8, 16 and 32 s, then a minute each.
    cluster.clock.advance(seconds(62 + 19 * 60 + 1)).await;
    assert_eq!(cluster.counts(), Counts::exchanges(25).replays(24));
    assert!(!waiter.is_finished());
    cluster.server.fail_always(None);
    waiter.await.unwrap().unwrap();
    assert_eq!(cluster.counts(), Counts::exchanges(26).replays(25));
    assert_eq!(ends(&mut events), []);
}

/// Pauses double up to a minute, and the lease stays with its holder.
#[tokio::test(start_paused = true)]
async fn n11_pauses_double_to_a_minute_and_the_holder_keeps_its_lease() {
    let cluster = Cluster::strict();
    let (node, other) = (cluster.patient_node().await, cluster.patient_node().await);
    cluster.expire().await;
    cluster.server.fail_always(Some(Fault::DropBefore));
    let start = tokio::time::Instant::now();
    let callers = [node, other].map(|node| tokio::spawn(async move { node.token().await }));
    let mut pauses = Vec::new();
    let mut last = start.elapsed();
    for count in 1..=8 {
        cluster.server.arrived(count).await;
        pauses.push((start.elapsed() - last).as_secs());
        last = start.elapsed();
    }
    assert_eq!(pauses, [0, 2, 4, 8, 16, 32, 60, 60]);
    let lease = cluster.store.json(&cluster.key()).await["lease"].clone();
    assert_eq!(lease["sendings"], 7);
    cluster.server.fail_always(None);
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    cluster.assert_exchanges(9);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_can_sign_in_replaces_a_lost_session() {
    let cluster = Cluster::ruled(|server| server.sign_in(true));
    let (one, two) = (cluster.warm_node().await, cluster.warm_node().await);
    let before = one.token().await.unwrap();
    cluster.expire().await;
    cluster.server.fail_next(Fault::DropAfter);
    let token = one.token().await.unwrap();
    assert_ne!(token.pair_id().family, before.pair_id().family);
    assert_eq!(two.token().await.unwrap().pair_id(), token.pair_id());
    assert_eq!(cluster.server.sign_ins(), 1);
    cluster.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn several_instances_without_a_session_sign_in_once() {
    let cluster = Cluster::ruled(|server| server.sign_in(true).latency(seconds(1)));
    let builder = || {
        evertoken::TokenManager::builder(cluster.endpoint())
            .clock(cluster.clock.clone())
            .store(cluster.store.connection())
            .build()
            .unwrap()
    };
    let nodes = [builder(), builder(), builder()];
    let (one, two, three) = tokio::join!(nodes[0].token(), nodes[1].token(), nodes[2].token());
    let tokens = [one.unwrap(), two.unwrap(), three.unwrap()];
    assert!(
        tokens
            .iter()
            .all(|token| token.pair_id() == tokens[0].pair_id())
    );
    assert_eq!(cluster.server.sign_ins(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_valid_token_is_served_throughout_an_unknown_outcome() {
    let cluster = Cluster::strict();
    let node = cluster.warm_node().await;
    cluster.clock.advance(TTL - seconds(8)).await;
    cluster.server.fail_next(Fault::DropBefore);
    let before = tokio::time::Instant::now();
    let served = node.token().await.unwrap();
    assert!(before.elapsed() < seconds(1));
    assert_eq!(served.pair_id().version, 1);
    // The first request after the pause goes on with the rotation.
    cluster.clock.advance(seconds(5)).await;
    assert_eq!(node.token().await.unwrap().pair_id().version, 2);
    cluster.assert_exchanges(2);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_may_be_stored_does_not_permit_resending_that_the_profile_forbids() {
    let mut cluster = Cluster::strict();
    cluster.profile = cluster.profile.resend(Resend::Never);
    let node = cluster.warm_node().await;
    cluster.expire().await;
    // The token was sent and the answer lost. The store applies the swap that makes the lease doubtful, but does not
    // answer it.
    cluster.server.fail_next(Fault::DropAfter);
    cluster.store.work_next(StoreCall::Swap, 1);
    cluster
        .store
        .fail_next(StoreCall::Swap, 1, CallFault::LoseAnswer);
    let error = node.token().await.unwrap_err();
    assert_eq!(reason(&error), Some(EndReason::OutcomeUnknown));
    cluster.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn without_coordination_a_token_that_cannot_be_marked_is_not_sent_in_a_loop() {
    let cluster = Cluster::strict();
    let node = cluster
        .node_builder()
        .coordination(Coordination::None)
        .build()
        .unwrap();
    node.token().await.unwrap();
    cluster.expire().await;
    cluster.server.fail_next(Fault::DropBefore);
    cluster.store.fail_next(StoreCall::Swap, 1, CallFault::Fail);
    let waiter = tokio::spawn(async move { node.token().await });
    cluster.clock.advance(seconds(1)).await;
    assert_eq!(cluster.server.exchanges(), 1);
    waiter.await.unwrap().unwrap();
    assert_eq!(cluster.server.exchanges(), 2);
}
