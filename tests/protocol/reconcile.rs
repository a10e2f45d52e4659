//! What a record means to an instance that holds a pair.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use evertoken::testing::{InProcessEndpoint, RefreshTokens};
use evertoken::{
    EndReason, EndpointError, Grant, Issued, OnSeedConflict, TokenEndpoint, TokenPair, async_trait,
};
use serde_json::json;

use crate::cluster::{Cluster, seconds};
use crate::support::{end_of, loaded};

/// An endpoint whose server omits the access token once.
#[derive(Debug)]
pub(crate) struct ForgetsAccess {
    inner: InProcessEndpoint,
    forgot: Arc<AtomicBool>,
}

impl ForgetsAccess {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self {
            inner: cluster.endpoint(),
            forgot: Arc::default(),
        }
    }
}

#[async_trait]
impl TokenEndpoint for ForgetsAccess {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        let mut issued = self.inner.exchange(grant).await?;
        if !self.forgot.swap(true, Ordering::SeqCst) {
            issued.access = None;
        }
        Ok(issued)
    }

    fn key(&self) -> evertoken::Key {
        self.inner.key()
    }
}

/// After a restart the stored pair wins over the seed.
#[tokio::test(start_paused = true)]
async fn fm34_after_a_restart_the_stored_pair_wins_over_the_seed() {
    let cluster = Cluster::strict();
    let before = cluster.warm_node().await;
    cluster.expire().await;
    let rotated = before.token().await.unwrap();
    before.shutdown().await.unwrap();
    // The configuration still holds the first refresh token, which is used.
    let after = cluster.node();
    assert_eq!(after.token().await.unwrap().pair_id(), rotated.pair_id());
    cluster.expire().await;
    after.token().await.unwrap();
    cluster.assert_exchanges(2);
}

#[tokio::test(start_paused = true)]
async fn a_record_older_than_the_held_pair_is_written_forward_and_never_spent() {
    let (cluster, node) = Cluster::warm().await;
    let old = cluster.record().await;
    cluster.expire().await;
    let rotated = node.token().await.unwrap();
    // A failover loses the commit.
    cluster.put(&old).await;
    cluster.expire().await;
    let next = node.token().await.unwrap();
    assert_eq!(next.pair_id().version, rotated.pair_id().version + 1);
    cluster.assert_exchanges(2);
    let fresh = cluster.node();
    assert_eq!(fresh.token().await.unwrap().pair_id(), next.pair_id());
}

#[tokio::test(start_paused = true)]
async fn an_end_of_an_older_pair_does_not_end_the_held_one() {
    let (cluster, node) = Cluster::warm().await;
    let old = cluster.record().await;
    cluster.expire().await;
    node.token().await.unwrap();
    cluster.put(&old).await;
    let digest = old.digest().to_string();
    cluster
        .end(json!({"is": "rejected", "digest": digest}))
        .await;
    cluster.expire().await;
    node.token().await.unwrap();
    cluster.assert_exchanges(2);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_finds_a_logout_revokes_the_pair_that_is_left() {
    let (cluster, node) = Cluster::expired().await;
    // The instance that logged out died before it revoked the pair.
    cluster.end(json!({"is": "logged_out"})).await;
    assert_eq!(end_of(node.token().await), EndReason::LoggedOut);
    assert_eq!(cluster.server.revocations(), 1);
    assert!(cluster.json().await["pair"].is_null());
    // A second instance that finds the logout does not revoke the pair again, and the old seed does not revive the
    // session.
    let restarted = cluster.node();
    assert_eq!(end_of(restarted.token().await), EndReason::LoggedOut);
    cluster.assert_exchanges(0);
    assert_eq!(cluster.server.revocations(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_ended_session_is_served_again_after_a_sign_in_on_another_instance() {
    let (cluster, node) = Cluster::expired().await;
    cluster.server.revoke_all();
    assert!(end_of(node.token().await).is_rejected());
    let other = cluster.signed_in_node();
    let newer = other.token().await.unwrap();
    // While the instance reads the store in the background, a call fails at once; afterwards a call succeeds.
    cluster.clock.advance(seconds(5)).await;
    let _ = node.token().await;
    cluster.clock.advance(seconds(1)).await;
    assert_eq!(node.token().await.unwrap().pair_id(), newer.pair_id());
}

#[tokio::test(start_paused = true)]
async fn a_seed_that_is_a_jwt_expires_at_its_exp_claim() {
    let cluster = Cluster::strict();
    // The claims are {"exp":1}: the token expired long ago, whatever the age of the seed.
    let pair = TokenPair::new("e30.eyJleHAiOjF9.x");
    let refresh = cluster.first.refresh.clone().unwrap();
    let builder = cluster.node_builder().seed(pair.refresh_token(refresh));
    loaded(builder.on_seed_conflict(OnSeedConflict::Replace)).await;
    cluster.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn a_seed_that_the_server_echoed_is_remembered_for_good() {
    let cluster = Cluster::ruled(|server| server.refresh_tokens(RefreshTokens::Omitted));
    let node = cluster.warm_node().await;
    cluster.expire().await;
    node.token().await.unwrap();
    let record = cluster.json().await;
    assert_eq!(record["pair"]["origin"], "seed");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_spent_after_the_shutdown() {
    let cluster = Cluster::strict();
    let node = cluster.node();
    let token = node.token().await.unwrap();
    cluster.clock.advance(seconds(2)).await;
    node.shutdown().await.unwrap();
    node.reject(&token);
    cluster.clock.advance(seconds(5)).await;
    cluster.assert_exchanges(0);
}

#[tokio::test(start_paused = true)]
async fn a_logout_on_another_instance_ends_the_access_token_too() {
    let (cluster, node) = Cluster::warm().await;
    cluster.end(json!({"is": "logged_out"})).await;
    assert_eq!(end_of(node.rotate().await), EndReason::LoggedOut);
    assert_eq!(end_of(node.token().await), EndReason::LoggedOut);
}

#[tokio::test(start_paused = true)]
async fn a_caller_can_wait_without_a_deadline() {
    let cluster = Cluster::strict();
    loaded(cluster.node_builder().wait(std::time::Duration::MAX)).await;
}
