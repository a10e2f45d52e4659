//! Instances without coordination sign in at the same time: one key, several sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use evertoken::store::Swap;
use evertoken::testing::{Fault, TestClock};
use evertoken::{
    Coordination, EndpointError, Error, Grant, Issued, MemoryStore, OnRequest, Persistence,
    TokenEndpoint, TokenManager, TokenPair, TokenStore as _, async_trait,
};

use crate::Gate;
use crate::support::{MINUTE, SECOND, World, call, settle};

type Site = World<Gate>;

/// A world whose endpoint signs in.
fn site() -> Site {
    World::with(|server| server.sign_in(true)).with_store(Gate::new)
}

impl Site {
    fn node(&self, persistence: Persistence) -> TokenManager {
        let builder = self.unseeded(OnRequest::default()).persistence(persistence);
        let builder = builder.coordination(Coordination::None);
        builder.build().unwrap()
    }

    /// Two nodes that sign in at the same time.
    async fn both(&self, persistence: Persistence) -> [(TokenManager, evertoken::Token); 2] {
        let nodes = [self.node(persistence.clone()), self.node(persistence)];
        let hold = self.server.hold();
        let [one, two] = nodes.each_ref().map(call);
        settle().await;
        drop(hold);
        let tokens = [one.await.unwrap().unwrap(), two.await.unwrap().unwrap()];
        let [a, b] = nodes;
        let [x, y] = tokens;
        [(a, x), (b, y)]
    }

    /// The record of another sign-in.
    async fn of_another_node(&self) -> evertoken::protocol::Record {
        let other = site();
        let node = other.node(Persistence::write_through());
        node.token().await.unwrap();
        other.store.record(node.key()).await.unwrap()
    }

    /// The record of another sign-in, whose access token has expired.
    async fn expired(&self) -> evertoken::protocol::Record {
        let record = self.of_another_node().await;
        self.clock.advance(10 * MINUTE + SECOND).await;
        record
    }
}

/// With write-through the second of two sign-ins adopts the first pair and revokes its own.
#[tokio::test(start_paused = true)]
async fn w4_the_second_of_two_sign_ins_adopts_the_first_pair_and_revokes_its_own() {
    let site = site();
    let [(a, one), (b, two)] = site.both(Persistence::write_through()).await;
    assert_eq!(one.expose(), two.expose());
    assert_eq!(a.status().pair_id, b.status().pair_id);
    assert_eq!(site.server.sign_ins(), 2);
    assert_eq!(site.server.revocations(), 1);
    assert!(site.is_live(&one));
}

/// With write-behind both of two sign-ins return at once, and the pair stored later supersedes the earlier one.
#[tokio::test(start_paused = true)]
async fn w5_both_of_two_sign_ins_return_at_once_and_the_later_supersedes_the_earlier() {
    let site = site();
    let [(a, one), (b, two)] = site.both(Persistence::write_behind(2)).await;
    assert_ne!(one.expose(), two.expose());
    assert_eq!(site.server.revocations(), 0);
    a.shutdown().await.unwrap();
    let record = site.store.record(a.key()).await.unwrap();
    let stored = serde_json::to_value(&record).unwrap();
    let (earlier, later) = if stored["pair"]["access_token"] == one.expose() {
        ((b.clone(), two), one)
    } else {
        ((a.clone(), one), two)
    };
    assert_eq!(stored["pair"]["access_token"], later.expose());
    assert_eq!(record.retired().count(), 1);
    assert!(
        site.is_live(&earlier.1),
        "a token that a caller has received is dead"
    );
}

/// The instance that holds the superseded pair adopts the later one at its next load.
#[tokio::test(start_paused = true)]
async fn w5_the_instance_with_the_superseded_pair_adopts_the_later_one_at_its_next_load() {
    let site = site();
    let nodes = site.both(Persistence::write_behind(2)).await;
    site.clock.advance(SECOND).await;
    let record = site.store.record(nodes[0].0.key()).await.unwrap();
    let family = record.pair_id().family;
    let earlier = nodes
        .iter()
        .find(|(node, _)| node.status().pair_id.unwrap().family != family);
    let (node, _) = earlier.unwrap();
    node.rotate().await.unwrap();
    assert_eq!(node.status().pair_id.unwrap().family, family);
    assert_eq!(site.server.sign_ins(), 2);
    site.assert_unharmed();
}

/// A session that has rotated before its first pair is stored supersedes the stored one.
#[tokio::test(start_paused = true)]
async fn w5_a_session_that_has_rotated_before_it_is_stored_supersedes_the_stored_one() {
    let site = site();
    let theirs = site.of_another_node().await;
    site.store.set_down(true);
    let node = site.node(Persistence::write_behind(2));
    node.token().await.unwrap();
    // The first pair is not stored yet, and the session rotates.
    let token = node.rotate().await.unwrap();
    site.assert_exchanges(1);
    let digest = theirs.digest();
    site.store.rival(move |_| Some(theirs));
    site.store.set_down(false);
    site.clock.advance(10 * SECOND).await;
    let stored = site.store.record(node.key()).await.unwrap();
    assert_eq!(stored.pair_id().family, token.pair_id().family);
    assert_eq!(node.status().pair_id, Some(stored.pair_id()));
    assert_eq!(stored.retired().filter(|it| **it == digest).count(), 1);
    assert_eq!(
        stored.retired().count(),
        2,
        "the stored record names the other pair and the first pair of this session"
    );
    assert_eq!(site.server.revocations(), 0);
    assert!(!node.status().is_unpersisted);
    site.clock.advance(10 * MINUTE).await;
    assert!(site.is_live(&node.token().await.unwrap()));
    site.assert_unharmed();
}

/// An endpoint that answers each sign-in with the same pair, as long as the pair is valid.
#[derive(Debug, Clone, Default)]
struct SamePair {
    sign_ins: Arc<AtomicU64>,
    revocations: Arc<AtomicU64>,
}

#[async_trait]
impl TokenEndpoint for SamePair {
    async fn exchange(&self, _: Grant<'_>) -> Result<Issued, EndpointError> {
        self.sign_ins.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(SECOND).await;
        let issued = Issued::new("the one").refresh_token("the other");
        Ok(issued.expires_in(10 * MINUTE))
    }

    fn can_sign_in(&self) -> bool {
        true
    }

    async fn revoke(&self, _: &TokenPair) -> Result<(), EndpointError> {
        self.revocations.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_another_instance_holds_is_not_revoked() {
    let (endpoint, store) = (SamePair::default(), MemoryStore::new());
    let node = || {
        let tokens = TokenManager::builder(endpoint.clone())
            .clock(TestClock::new())
            .store(store.clone());
        tokens.coordination(Coordination::None).build().unwrap()
    };
    let (a, b) = (node(), node());
    let (one, two) = tokio::join!(a.token(), b.token());
    assert_eq!(one.unwrap().expose(), two.unwrap().expose());
    assert_eq!(a.status().pair_id, b.status().pair_id);
    a.shutdown().await.unwrap();
    b.shutdown().await.unwrap();
    assert_eq!(endpoint.sign_ins.load(Ordering::SeqCst), 2);
    assert_eq!(endpoint.revocations.load(Ordering::SeqCst), 0);
}

/// A pair is inserted when the record that it collided with has vanished.
#[tokio::test(start_paused = true)]
async fn w6_a_pair_is_inserted_when_the_colliding_record_has_vanished() {
    let site = site();
    site.store.rival(|_| None);
    let node = site.node(Persistence::write_through());
    let token = node.token().await.unwrap();
    let stored = site.store.record(node.key()).await.unwrap();
    assert_eq!(stored.pair_id(), token.pair_id());
    assert_eq!(site.store.swaps(), 2);
    assert_eq!(site.server.sign_ins(), 1);
}

/// A pair replaces a colliding pair that has expired.
#[tokio::test(start_paused = true)]
async fn w7_a_pair_replaces_a_colliding_pair_that_has_expired() {
    let site = site();
    let expired = site.expired().await;
    let theirs = expired.digest();
    site.store.rival(move |_| Some(expired));
    let node = site.node(Persistence::write_through());
    let token = node.token().await.unwrap();
    assert!(site.is_live(&token));
    let stored = site.store.record(node.key()).await.unwrap();
    assert_eq!(stored.pair_id(), token.pair_id());
    assert!(stored.retired().any(|digest| *digest == theirs));
    assert_eq!(site.server.sign_ins(), 1);
    assert_eq!(site.server.revocations(), 0);
}

/// Five collisions in a row are recovered from; the sixth is an error.
#[tokio::test(start_paused = true)]
async fn w8_five_collisions_are_recovered_and_the_sixth_is_an_error() {
    for (collisions, recovers) in [(5, true), (6, false)] {
        let site = site();
        let mut theirs = Vec::new();
        for _ in 0..collisions {
            let expired = site.expired().await;
            theirs.push(expired.digest());
            site.store.rival(move |_| Some(expired));
        }
        let node = site.node(Persistence::write_through());
        let answer = node.token().await;
        let stored = site.store.record(node.key()).await.unwrap();
        assert_eq!(site.store.swaps(), 6);
        assert_eq!(site.server.sign_ins(), 1);
        if recovers {
            assert_eq!(stored.pair_id(), answer.unwrap().pair_id());
            continue;
        }
        let error = answer.unwrap_err();
        assert!(matches!(error, Error::Collision { .. }), "{error:?}");
        assert!(error.is_retryable() && error.retry_after().is_some());
        assert_eq!(
            stored.digest(),
            theirs[5],
            "the store holds a pair of the failed sign-in"
        );
        node.shutdown().await.unwrap();
        assert_eq!(site.server.revocations(), 1);
    }
}

/// Without leases another instance may write at any moment.
#[tokio::test(start_paused = true)]
async fn a_token_whose_answer_was_lost_is_marked_although_the_record_has_changed_meanwhile() {
    let world = World::new(10 * MINUTE).with_store(Gate::new);
    let store = &world.store;
    let tokens = world.shared(OnRequest::default());
    let tokens = tokens.coordination(Coordination::None).build().unwrap();
    tokens.token().await.unwrap();
    world.server.fail_next(Fault::DropAfter);
    let (hold, caller) = world.rotate_in_flight(&tokens).await;
    let (record, revision) = store.inner.load(tokens.key()).await.unwrap().entry.unwrap();
    let written = store
        .inner
        .swap(tokens.key(), Some(revision), &record)
        .await;
    assert!(matches!(written, Ok(Swap::Swapped(_))));
    drop(hold);
    world.clock.advance(SECOND).await;
    assert_eq!(world.server.exchanges(), 1);
    let record = store.record(tokens.key()).await.unwrap();
    let form = serde_json::to_value(record).unwrap();
    assert!(form["lease"]["doubtful"].is_u64(), "{}", form["lease"]);
    drop(caller);
}
