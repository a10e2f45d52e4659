//! What an answer that is no pair means for the token.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evertoken::testing::{AccessCheck, Fault, GraceAnswer, InProcessEndpoint, Reuse, TestClock};
use evertoken::{
    Coordination, EndReason, EndpointError, Grant, Issued, Persistence, Token, TokenEndpoint,
    TokenManager, async_trait,
};

use crate::cluster::{Cluster, QUARANTINE, TTL, ends, reason, seconds};
use crate::fault_store::Fate;

/// The machine sleeps once, after the manager looked at the window and before the bytes leave.
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

#[tokio::test(start_paused = true)]
async fn t13_what_was_not_sent_is_released_and_tried_again() {
    let cluster = Cluster::strict();
    let node = cluster.warm_node().await;
    cluster.expire().await;
    cluster.server.set_reachable(false);
    let error = node.token().await.unwrap_err();
    assert!(
        matches!(error.endpoint(), Some(EndpointError::NotSent { .. })),
        "{error:?}"
    );
    assert!(cluster.store.json(&cluster.key()).await["claim"].is_null());
    cluster.server.set_reachable(true);
    tokio::time::sleep(error.retry_after().unwrap()).await;
    node.token().await.unwrap();
    assert_eq!(cluster.counts(), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn n16_a_misconfigured_client_ends_the_session_for_nobody() {
    let cluster = Cluster::new(|server| server.client("importer", "secret"));
    let wrong = cluster.endpoint().with_client("importer", "wrong");
    let wrong = cluster.builder(wrong).build().unwrap();
    wrong.token().await.unwrap();
    let right = cluster.warm_node().await;
    cluster.expire().await;
    let error = wrong.token().await.unwrap_err();
    assert!(
        matches!(error.endpoint(), Some(EndpointError::Misconfigured { .. })),
        "{error:?}"
    );
    assert!(!error.is_retryable() && !error.needs_sign_in());
    let token = right.token().await.unwrap();
    assert_eq!(cluster.counts(), (2, 0, 0));
    // The one that is misconfigured goes on with what the other rotated.
    tokio::time::sleep(error.retry_after().unwrap()).await;
    assert_eq!(wrong.token().await.unwrap().identity(), token.identity());
    assert_eq!(cluster.counts(), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_rejection_ends_the_digest_at_once_and_serves_the_access_token_to_its_end() {
    let cluster = Cluster::strict();
    let (one, two) = (cluster.warm_node().await, cluster.warm_node().await);
    let mut events = one.subscribe();
    // Somebody else spends the token behind our back.
    cluster.server.revoke_all();
    let error = one.rotate().await.unwrap_err();
    assert_eq!(reason(&error), Some(EndReason::Rejected));
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
        assert_eq!(
            reason(&node.token().await.unwrap_err()),
            Some(EndReason::Rejected)
        );
    }
    assert_eq!(
        cluster.server.exchanges(),
        1,
        "nobody asks the server again"
    );
    assert_eq!(ends(&mut events), [EndReason::Rejected]);
}

#[tokio::test(start_paused = true)]
async fn the_first_reject_ends_the_service_of_an_ended_sessions_token() {
    let cluster = Cluster::strict();
    let node = cluster.warm_node().await;
    cluster.server.revoke_all();
    node.rotate().await.unwrap_err();
    let token = node.token().await.unwrap();
    assert_eq!(node.reject(&token), evertoken::Rejection::Ended);
    assert_eq!(
        reason(&node.token().await.unwrap_err()),
        Some(EndReason::Rejected)
    );
}

#[tokio::test(start_paused = true)]
async fn fm15_a_refusal_counts_only_after_the_store_was_read_once_more() {
    // The other instance's rotation lands while ours is refused.
    let cluster = Cluster::new(|server| server.reuse(Reuse::Refuse));
    let (one, two) = (cluster.warm_node().await, cluster.warm_node().await);
    let mut events = one.subscribe();
    let old = cluster.store.record(&cluster.key()).await.unwrap();
    cluster.expire().await;
    let newer = two.token().await.unwrap();
    let record = cluster.store.record(&cluster.key()).await.unwrap();
    // A failover loses the landing, and it is found again while one asks.
    cluster.store.put(&cluster.key(), &old).await;
    let (hold, waiter) = cluster.call_in_flight(&one).await;
    cluster.store.put(&cluster.key(), &record).await;
    drop(hold);
    assert_eq!(waiter.await.unwrap().unwrap().identity(), newer.identity());
    assert_eq!(ends(&mut events), []);
}

#[tokio::test(start_paused = true)]
async fn fm8_a_lost_answer_is_not_followed_by_the_same_token_before_the_quarantine() {
    let cluster = Cluster::strict();
    let node = cluster.patient_node().await;
    cluster.expire().await;
    cluster.server.fail_next(Fault::DropBefore);
    let before = tokio::time::Instant::now();
    node.token().await.unwrap();
    let waited = before.elapsed();
    assert!(
        waited >= QUARANTINE && waited < QUARANTINE + seconds(6),
        "{waited:?}"
    );
    assert_eq!(cluster.counts(), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn t12_a_token_that_was_spent_is_lost_on_a_strict_server_and_says_so() {
    let cluster = Cluster::strict();
    let node = cluster.patient_node().await;
    let mut events = node.subscribe();
    cluster.expire().await;
    cluster.server.fail_next(Fault::DropAfter);
    let error = node.token().await.unwrap_err();
    // The last resort was refused: the family was lost with the answer.
    assert_eq!(reason(&error), Some(EndReason::Rejected));
    assert_eq!(cluster.counts(), (2, 1, 1));
    assert_eq!(ends(&mut events), [EndReason::Rejected]);
}

#[tokio::test(start_paused = true)]
async fn t12_a_server_with_a_replay_window_is_asked_again_at_once() {
    let window = seconds(60);
    let answer = GraceAnswer::SamePair;
    let mut cluster = Cluster::new(|server| server.reuse(Reuse::Grace { window, answer }));
    cluster.profile = cluster.profile.replay_window(window);
    let node = cluster.warm_node().await;
    cluster.expire().await;
    cluster.server.fail_next(Fault::DropAfter);
    let before = tokio::time::Instant::now();
    node.token().await.unwrap();
    assert!(before.elapsed() < seconds(5));
    assert_eq!(cluster.counts(), (2, 1, 0));
    assert!(cluster.store.json(&cluster.key()).await["claim"].is_null());
}

/// A server that answers a token again, whose access tokens live for `ttl`; an instance that has spent the token and
/// died with its claim; and one that sends it again after the quarantine, and serves this token.
async fn answered_again(
    ttl: Duration,
    answer: GraceAnswer,
    persistence: Persistence,
) -> (Cluster, TokenManager, Token) {
    let window = QUARANTINE * 2;
    let grace = Reuse::Grace { window, answer };
    let mut cluster = Cluster::new(|server| server.access_ttl(ttl).reuse(grace));
    cluster.profile = cluster.profile.replay_window(window);
    let node = cluster
        .builder(cluster.endpoint())
        .wait(seconds(3_000))
        .persistence(persistence)
        .build()
        .unwrap();
    node.token().await.unwrap();
    cluster.clock.advance(ttl).await;
    cluster.plant_claim().await;
    let dead = evertoken::TokenManager::builder(cluster.endpoint())
        .clock(cluster.clock.clone())
        .seed(cluster.first.clone())
        .build()
        .unwrap();
    dead.rotate().await.unwrap();
    let token = node.token().await.unwrap();
    assert_eq!((cluster.server.replays(), cluster.counts().2), (1, 0));
    (cluster, node, token)
}

#[tokio::test(start_paused = true)]
async fn n15_a_pair_that_is_repeated_after_its_access_token_expired_is_rotated_once_more() {
    let ttl = QUARANTINE / 3;
    let through = Persistence::write_through();
    for (answer, persistence) in [
        (GraceAnswer::SamePair, through.clone()),
        (GraceAnswer::Fork, through.clone()),
        (GraceAnswer::LastWins, through),
        (GraceAnswer::SamePair, Persistence::write_behind(1)),
    ] {
        let (cluster, node, token) = answered_again(ttl, answer, persistence).await;
        assert_eq!(cluster.server.check(token.expose()), AccessCheck::Live);
        assert_eq!(cluster.server.exchanges(), 3, "{answer:?}");
        // It was not taken for a server's that issues expired tokens.
        cluster.clock.advance(ttl).await;
        let next = node.token().await.unwrap();
        assert_eq!(cluster.server.check(next.expose()), AccessCheck::Live);
        assert_eq!(cluster.server.exchanges(), 4, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn n15_a_pair_that_is_repeated_is_as_old_as_its_first_request() {
    let ttl = QUARANTINE * 3;
    let through = Persistence::write_through();
    let (cluster, node, token) = answered_again(ttl, GraceAnswer::SamePair, through).await;
    assert_eq!(cluster.server.exchanges(), 2);
    cluster.clock.advance(ttl - QUARANTINE).await;
    assert_eq!(cluster.server.check(token.expose()), AccessCheck::Expired);
    let next = node.token().await.unwrap();
    assert_eq!(cluster.server.check(next.expose()), AccessCheck::Live);
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_made_as_often_as_declared_and_no_more() {
    let window = seconds(120);
    let mut cluster = Cluster::new(|server| {
        server.reuse(Reuse::Grace {
            window,
            answer: GraceAnswer::SamePair,
        })
    });
    cluster.profile = cluster
        .profile
        .replay_window(window)
        .replays(2)
        .last_resort(false);
    let node = cluster.warm_node().await;
    cluster.expire().await;
    cluster.server.fail_always(Some(Fault::DropAfter));
    let error = node.token().await.unwrap_err();
    assert_eq!(reason(&error), Some(EndReason::OutcomeUnknown));
    assert_eq!(cluster.counts(), (3, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn last_resorts_are_three_with_the_quarantine_doubling() {
    let cluster = Cluster::strict();
    let node = cluster.patient_node().await;
    cluster.expire().await;
    cluster.server.fail_always(Some(Fault::DropBefore));
    let before = tokio::time::Instant::now();
    let error = node.token().await.unwrap_err();
    assert_eq!(reason(&error), Some(EndReason::OutcomeUnknown));
    assert_eq!(cluster.counts(), (4, 0, 0));
    let waited = before.elapsed();
    let expected = QUARANTINE * (1 + 2 + 4);
    assert!(
        waited >= expected && waited < expected + seconds(20),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn where_the_endpoint_can_sign_in_a_lost_session_is_replaced() {
    let cluster = Cluster::new(|server| server.sign_in(true));
    let (one, two) = (cluster.warm_node().await, cluster.warm_node().await);
    let before = one.token().await.unwrap();
    cluster.expire().await;
    cluster.server.fail_next(Fault::DropAfter);
    let token = one.token().await.unwrap();
    assert_ne!(token.identity().lineage, before.identity().lineage);
    assert_eq!(two.token().await.unwrap().identity(), token.identity());
    assert_eq!(
        (cluster.server.sign_ins(), cluster.counts()),
        (1, (1, 0, 0))
    );
}

#[tokio::test(start_paused = true)]
async fn n_machines_without_a_session_sign_in_once() {
    let cluster = Cluster::new(|server| server.sign_in(true).latency(seconds(1)));
    let builder = || {
        evertoken::TokenManager::builder(cluster.endpoint())
            .clock(cluster.clock.clone())
            .store(cluster.store.clone())
            .build()
            .unwrap()
    };
    let nodes = [builder(), builder(), builder()];
    let (one, two, three) = tokio::join!(nodes[0].token(), nodes[1].token(), nodes[2].token());
    let tokens = [one.unwrap(), two.unwrap(), three.unwrap()];
    assert!(
        tokens
            .iter()
            .all(|token| token.identity() == tokens[0].identity())
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
    assert_eq!(served.identity().version, 1);
    // The rotation goes on by itself, and the import with it.
    cluster.clock.advance(QUARANTINE + seconds(6)).await;
    assert_eq!(node.token().await.unwrap().identity().version, 2);
    assert_eq!(cluster.counts(), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_did_not_get_through_is_not_made_up_for_after_the_window() {
    let mut cluster = Cluster::strict();
    cluster.profile = cluster
        .profile
        .replay_window(seconds(30))
        .last_resort(false);
    let node = cluster
        .builder(cluster.endpoint())
        .wait(seconds(300))
        .build()
        .unwrap();
    node.token().await.unwrap();
    cluster.expire().await;
    // Sent, and the answer lost; the claim for the replay may or may not be stored.
    cluster.server.fail_next(Fault::DropAfter);
    cluster
        .store
        .swaps([Fate::Works, Fate::Works, Fate::AppliedUnanswered]);
    let error = node.token().await.unwrap_err();
    assert!(matches!(error, evertoken::Error::Store { .. }), "{error:?}");
    cluster.clock.advance(seconds(120)).await;
    let error = node.token().await.unwrap_err();
    assert_eq!(reason(&error), Some(EndReason::OutcomeUnknown));
    assert_eq!(cluster.counts(), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn without_coordination_a_token_that_cannot_be_marked_is_not_sent_in_a_loop() {
    let cluster = Cluster::strict();
    let node = cluster
        .builder(cluster.endpoint())
        .coordination(Coordination::None)
        .build()
        .unwrap();
    node.token().await.unwrap();
    cluster.expire().await;
    cluster.server.fail_next(Fault::DropBefore);
    cluster.store.swaps([Fate::Lost]);
    node.token().await.unwrap_err();
    assert_eq!(cluster.server.exchanges(), 1);
}
