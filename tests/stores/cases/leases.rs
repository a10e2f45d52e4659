//! Leases that fail: too short, lost, ambiguous, orphaned.

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use evertoken::testing::InProcessEndpoint;
use evertoken::{
    EndReason, EndpointError, Error, Grant, Issued, OnStoreFailure, Resend, TokenEndpoint,
    TokenManager, async_trait,
};

use crate::line::Fate;
use crate::scene::{
    LEASE_DURATION, Node, PAUSE, Scene, answer, common_token, pausing, reason, seconds, until,
};

super::cases![
    fm3_a_refresh_that_outlives_its_lease_is_not_repeated_and_commits,
    fm3_a_token_is_not_sent_under_a_lease_that_is_already_stale,
    fm4_giving_up_a_lease_leaves_the_lease_of_the_next_holder,
    fm5_an_instance_recognizes_its_lease_when_the_answer_was_lost,
    fm5_a_lease_that_did_not_reach_the_store_is_made_again,
    fm5_an_instance_recognizes_its_lease_that_timed_out_and_was_stored_later,
    fm6_without_the_store_a_refresh_token_is_not_spent_and_a_valid_token_is_served,
    fm6_a_pair_that_cannot_be_stored_is_served_only_if_configured,
    fm7_an_orphaned_lease_ends_after_the_lease_duration,
    fm7_an_endpoint_that_asks_its_own_manager_gets_an_error_at_once,
];

/// A refresh that outlives its lease is not repeated where the profile forbids that, and its pair is committed.
async fn fm3_a_refresh_that_outlives_its_lease_is_not_repeated_and_commits(mut scene: Scene) {
    scene.profile = scene.profile.resend(Resend::Never);
    let [slow, other] = scene.due_nodes().await;
    let (hold, caller) = scene.call_in_flight(&slow).await;
    scene.outlast_leases().await;
    let error = other.token().await.unwrap_err();
    assert_eq!(reason(&error), Some(EndReason::OutcomeUnknown));
    assert_eq!(scene.counts(), (1, 0, 0));
    drop(hold);
    let token = answer(caller).await.unwrap();
    // The end in the record counts only for the old token, so the new pair is served.
    let found = scene.token_at_last(&other).await;
    assert_eq!(found.pair_id(), token.pair_id());
    assert_eq!(scene.counts(), (1, 0, 0));
    assert!(scene.is_free().await);
}

/// A token is not sent under a lease that is stale when its holder learns of it.
async fn fm3_a_token_is_not_sent_under_a_lease_that_is_already_stale(scene: Scene) {
    let [slow, other] = scene.due_nodes().await;
    let shut = slow.line.stop_answers();
    let caller = slow.call();
    // The lease is stored, and its holder has no answer yet.
    shut.reached().await;
    scene.outlast_leases().await;
    let token = other.token().await.unwrap();
    drop(shut);
    assert_eq!(common_token([caller]).await.expose(), token.expose());
    assert_eq!(scene.counts(), (1, 0, 0));
}

/// A holder that gives up its lease leaves the lease of the next holder in place.
async fn fm4_giving_up_a_lease_leaves_the_lease_of_the_next_holder(scene: Scene) {
    let [slow, next] = scene.due_nodes().await;
    let shut = slow.line.stop_answers();
    let caller = slow.call();
    shut.reached().await;
    let first = scene.json().await["lease"].clone();
    scene.outlast_leases().await;
    let (hold, taken) = scene.call_in_flight(&next).await;
    let second = scene.json().await["lease"].clone();
    assert_ne!(first["owner"], second["owner"]);
    // The slow instance gives its lease up before it sends, and waits for the other lease.
    drop(shut);
    slow.line.waited(1).await;
    assert_eq!(scene.json().await["lease"], second);
    drop(hold);
    common_token([caller, taken]).await;
    assert_eq!(scene.counts(), (1, 0, 0));
}

/// An instance recognizes its own lease when the store's answer to the lease was lost.
async fn fm5_an_instance_recognizes_its_lease_when_the_answer_was_lost(scene: Scene) {
    is_leased_after_all(scene, Fate::AppliedUnanswered).await;
}

/// A lease that did not reach the store is made again.
async fn fm5_a_lease_that_did_not_reach_the_store_is_made_again(scene: Scene) {
    is_leased_after_all(scene, Fate::Lost).await;
}

/// A pause in which the manager's clock may run ahead of the timers. After more than five seconds the manager treats
/// its process as one that slept, and its own attempt as one that a copy of its machine may have made.
const SHORT: Duration = Duration::from_secs(4);

async fn is_leased_after_all(scene: Scene, fate: Fate) {
    let node = scene.node_with(pausing(SHORT)).await;
    let other = scene.node().await;
    scene.expire().await;
    node.line.swaps_meet([fate]);
    let caller = node.call();
    store_failed(&node).await;
    assert_eq!(scene.counts(), (0, 0, 0));
    // An instance does not wait until its own lease is stale.
    const { assert!(SHORT.as_secs() < LEASE_DURATION.as_secs() / 2) };
    scene.pass(SHORT).await;
    let token = answer(caller).await.unwrap();
    assert_eq!(other.token().await.unwrap().pair_id(), token.pair_id());
    assert_eq!(scene.counts(), (1, 0, 0));
}

/// Returns when the instance is in the pause after a store failure.
async fn store_failed(node: &Node) {
    until("the store has failed", async || {
        matches!(node.status().failure, Some(Error::Store { .. }))
    })
    .await;
}

/// An instance recognizes its own lease when the request timed out and the store applied it.
async fn fm5_an_instance_recognizes_its_lease_that_timed_out_and_was_stored_later(scene: Scene) {
    let limit = seconds(1);
    let node = scene
        .node_with(|builder| pausing(SHORT)(builder).store_timeout(limit))
        .await;
    scene.expire().await;
    let shut = node.line.stop_answers();
    let caller = node.call();
    store_failed(&node).await;
    drop(shut);
    assert!(
        !scene.json().await["lease"].is_null(),
        "the lease is not stored"
    );
    scene.pass(SHORT).await;
    answer(caller).await.unwrap();
    assert_eq!(scene.counts(), (1, 0, 0));
    assert!(scene.is_free().await);
}

/// Without the store a refresh token is not spent, and a valid access token is served.
async fn fm6_without_the_store_a_refresh_token_is_not_spent_and_a_valid_token_is_served(
    scene: Scene,
) {
    // The pause is longer than a caller waits, so callers get the error at once.
    let node = scene.node_with(pausing(2 * PAUSE)).await;
    node.line.cut(true);
    // The token is due, and has not expired yet.
    scene.pass(seconds(595)).await;
    node.token().await.unwrap();
    scene.pass(seconds(60)).await;
    for _ in 0..3 {
        let error = node.token().await.unwrap_err();
        assert!(
            matches!(error, Error::Store { .. }) && error.is_retryable(),
            "{error:?}"
        );
        scene.pass(error.retry_after().unwrap()).await;
    }
    assert_eq!(scene.counts(), (0, 0, 0));
    node.line.cut(false);
    node.token().await.unwrap();
    assert_eq!(scene.counts(), (1, 0, 0));
}

/// A pair that cannot be stored is served only if the policy for store failures says so.
async fn fm6_a_pair_that_cannot_be_stored_is_served_only_if_configured(scene: Scene) {
    for policy in [OnStoreFailure::Serve, OnStoreFailure::Fail] {
        let scene = scene.strict();
        let node = scene
            .node_with(|builder| builder.on_store_failure(policy))
            .await;
        scene.expire().await;
        let (hold, caller) = scene.call_in_flight(&node).await;
        node.line.cut(true);
        drop(hold);
        match (policy, answer(caller).await) {
            (OnStoreFailure::Serve, Ok(token)) => assert_eq!(token.pair_id().version, 2),
            (OnStoreFailure::Fail, Err(Error::Store { .. })) => {}
            (policy, told) => panic!("{policy:?}: {told:?}"),
        }
        assert!(node.status().is_unpersisted);
        node.line.cut(false);
        until("the pair is stored", async || {
            scene.record().await.pair_id().version == 2
        })
        .await;
        until("the pair is served", async || node.token().await.is_ok()).await;
        let digest = scene.digest_of(&node.token().await.unwrap()).await;
        assert_eq!(scene.active().await, [digest.unwrap()]);
        assert_eq!(scene.counts(), (1, 0, 0));
    }
}

/// An orphaned lease ends after the lease duration, and one instance then spends the token.
async fn fm7_an_orphaned_lease_ends_after_the_lease_duration(scene: Scene) {
    let nodes: [_; 3] = scene.due_nodes().await;
    scene.plant_lease().await;
    let callers: Vec<_> = nodes.iter().map(|node| node.call()).collect();
    for node in &nodes {
        node.line.waited(1).await;
        node.line.looked(2).await;
    }
    assert_eq!(scene.counts(), (0, 0, 0));
    scene.outlast_leases().await;
    common_token(callers).await;
    assert_eq!(scene.counts(), (1, 0, 0));
    assert!(scene.is_free().await);
}

/// An endpoint that asks its own manager for a token before it sends.
#[derive(Debug)]
struct Curious {
    inner: InProcessEndpoint,
    tokens: Arc<OnceLock<TokenManager>>,
    told: Arc<OnceLock<Error>>,
}

#[async_trait]
impl TokenEndpoint for Curious {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        if let Some(tokens) = self.tokens.get() {
            let error = tokens
                .token()
                .await
                .expect_err("a token is returned during its own rotation");
            self.told.set(error).expect("the endpoint asks once");
        }
        self.inner.exchange(grant).await
    }
}

/// An endpoint that asks its own manager for a token gets an error at once, and no deadlock.
async fn fm7_an_endpoint_that_asks_its_own_manager_gets_an_error_at_once(scene: Scene) {
    let (tokens, told) = (Arc::default(), Arc::default());
    let endpoint = Curious {
        inner: scene.endpoint(),
        tokens: Arc::clone(&tokens),
        told: Arc::clone(&told),
    };
    let line = scene.line().await;
    let builder = scene.bare(endpoint, &line).seed(scene.first.clone());
    let node = Node::loaded(builder, line).await;
    tokens.set(node.tokens.clone()).expect("once");
    scene.expire().await;
    node.token().await.unwrap();
    assert!(matches!(told.get(), Some(Error::Reentrant)), "{told:?}");
    assert_eq!(scene.counts(), (1, 0, 0));
}
