//! A pair that was read from the server is always kept: stored, published, or revoked.

use evertoken::clock::Clock;
use evertoken::testing::{AccessCheck, Fault, StoreCall};
use evertoken::{EndReason, Error, OldPair, OnStoreFailure, TokenManager};
use serde_json::{Value, json};

use crate::cluster::{Cluster, TTL, seconds};
use crate::support::{call, end_of, loaded};

/// A pair that cannot be stored is served, and stored when the store is back.
#[tokio::test(start_paused = true)]
async fn fm10_a_pair_that_cannot_be_stored_is_served_and_stored_later() {
    let (cluster, node) = Cluster::expired().await;
    // The swap of the lease works; the swap of the commit does not arrive.
    let (hold, waiter) = cluster.call_in_flight(&node).await;
    cluster.store.set_down(true);
    drop(hold);
    let token = waiter.await.unwrap().unwrap();
    assert_eq!(token.pair_id().version, 2);
    cluster.clock.advance(seconds(30)).await;
    cluster.store.set_down(false);
    cluster.clock.advance(seconds(6)).await;
    let json = cluster.json().await;
    assert_eq!(json["pair"]["access_token"], token.expose());
    assert!(json["lease"].is_null());
    let again = cluster.warm_node().await.token().await.unwrap();
    assert_eq!(again.pair_id(), token.pair_id());
    cluster.assert_exchanges(1);
}

/// Where the policy or the profile forbids to serve an unstored pair, the pair is kept and served once it is stored.
#[tokio::test(start_paused = true)]
async fn fm10_a_pair_that_must_not_be_served_unstored_is_kept_and_served_once_it_is_stored() {
    for policy in [OnStoreFailure::Fail, OnStoreFailure::Serve] {
        let mut cluster = Cluster::strict();
        if policy == OnStoreFailure::Serve {
            cluster.profile = cluster.profile.old_pair(OldPair::DiesAtFirstUse);
        }
        let node = loaded(cluster.node_builder().on_store_failure(policy)).await;
        cluster.expire().await;
        let (hold, waiter) = cluster.call_in_flight(&node).await;
        cluster.store.set_down(true);
        drop(hold);
        let error = waiter.await.unwrap().unwrap_err();
        match policy {
            OnStoreFailure::Fail => assert!(matches!(error, Error::Store { .. }), "{error:?}"),
            _ => assert!(matches!(error, Error::TimedOut { .. }), "{error:?}"),
        }
        cluster.store.set_down(false);
        cluster.clock.advance(seconds(6)).await;
        assert_eq!(node.token().await.unwrap().pair_id().version, 2);
        cluster.assert_exchanges(1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_expired_while_it_could_not_be_stored_is_rotated_and_not_served() {
    let profile = Cluster::strict().profile;
    for (policy, profile) in [
        (OnStoreFailure::Fail, profile),
        (OnStoreFailure::Serve, profile),
        (
            OnStoreFailure::Serve,
            profile.old_pair(OldPair::DiesAtFirstUse),
        ),
    ] {
        let mut cluster = Cluster::strict();
        cluster.profile = profile;
        let builder = cluster.node_builder();
        let node = loaded(builder.on_store_failure(policy)).await;
        cluster.expire().await;
        let (hold, waiter) = cluster.call_in_flight(&node).await;
        cluster.store.set_down(true);
        drop(hold);
        let _ = waiter.await.unwrap();
        cluster.expire().await;
        let late = call(&node);
        cluster.store.set_down(false);
        cluster.clock.advance(seconds(6)).await;
        if let Ok(token) = late.await.unwrap() {
            assert_eq!(cluster.server.check(token.expose()), AccessCheck::Live);
        }
        let token = node.token().await.unwrap();
        assert_eq!(token.pair_id().version, 3, "{policy:?}");
        assert_eq!(cluster.server.check(token.expose()), AccessCheck::Live);
        cluster.assert_exchanges(2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_slower_than_a_token_lifetime_does_not_cause_endless_rotations() {
    let cluster = Cluster::strict();
    let store = cluster.store.clone();
    let builder = cluster.node_builder().wait(10 * TTL);
    let node = loaded(builder.on_store_failure(OnStoreFailure::Fail)).await;
    cluster.expire().await;
    // Each commit fails until the access token has expired.
    let outages = tokio::spawn({
        let server = cluster.server.clone();
        let clock = cluster.clock.clone();
        async move {
            for round in 1..=5 {
                let hold = server.hold();
                server.arrived(round).await;
                store.set_down(true);
                drop(hold);
                clock.advance(TTL + seconds(1)).await;
                store.set_down(false);
            }
        }
    });
    let _ = node.token().await;
    cluster.clock.advance(7 * TTL).await;
    cluster.assert_exchanges(3);
    outages.abort();
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_timed_out_but_was_applied_is_recognised() {
    let (cluster, node) = Cluster::expired().await;
    cluster.store.work_next(StoreCall::Swap, 1);
    cluster.lose_answer_of_swap();
    let token = node.token().await.unwrap();
    cluster.clock.advance(seconds(6)).await;
    let json = cluster.json().await;
    assert_eq!(json["version"], 2);
    assert_eq!(json["pair"]["access_token"], token.expose());
    cluster.expire().await;
    node.token().await.unwrap();
    cluster.assert_exchanges(2);
}

/// A rotation that commits after the logout is revoked and never published.
#[tokio::test(start_paused = true)]
async fn fm16_a_rotation_that_commits_after_the_logout_is_revoked_and_never_published() {
    let (cluster, node) = Cluster::expired().await;
    let (hold, waiter) = cluster.call_in_flight(&node).await;
    cluster.end(json!({"is": "logged_out"})).await;
    drop(hold);
    assert_eq!(end_of(waiter.await.unwrap()), EndReason::LoggedOut);
    assert_eq!(cluster.server.revocations(), 1);
    assert!(node.try_token().is_err());
    assert_eq!(cluster.json().await["state"]["is"], "logged_out");
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_commits_after_a_new_sign_in_is_superseded() {
    let (cluster, node) = Cluster::expired().await;
    let (hold, waiter) = cluster.call_in_flight(&node).await;
    // Another instance starts with a seed of its own: the user has signed in again.
    let other = cluster.signed_in_node();
    let newer = other.token().await.unwrap();
    drop(hold);
    assert_eq!(waiter.await.unwrap().unwrap().pair_id(), newer.pair_id());
    assert_eq!(
        cluster.server.revocations(),
        1,
        "the superseded pair is revoked"
    );
    cluster.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_of_a_superseded_rotation_does_not_wait_for_the_revocation() {
    for logout in [false, true] {
        let cluster = Cluster::ruled(|server| server.latency(seconds(1)));
        let node = cluster.warm_node().await;
        cluster.expire().await;
        let (hold, waiter) = cluster.call_in_flight(&node).await;
        let other = cluster.signed_in_node();
        let newer = other.token().await.unwrap();
        if logout {
            assert!(other.logout().await.stored.is_ok());
        }
        let start = cluster.clock.now();
        drop(hold);
        let answer = waiter.await.unwrap();
        if logout {
            assert_eq!(end_of(answer), EndReason::LoggedOut);
        } else {
            assert_eq!(answer.unwrap().pair_id(), newer.pair_id());
        }
        // The waiter waited only for the rest of the exchange.
        assert!(cluster.clock.now().since(start) <= seconds(1), "{logout}");
        node.shutdown().await.unwrap();
        assert_eq!(cluster.server.revocations(), 1 + u64::from(logout));
    }
}

/// An instance whose lease went stale can still commit its pair.
#[tokio::test(start_paused = true)]
async fn n5_a_lease_that_went_stale_can_still_commit_its_pair() {
    let (cluster, node) = Cluster::expired().await;
    let (hold, waiter) = cluster.call_in_flight(&node).await;
    // The machine of the holder slept; another instance found the lease stale and ended the session.
    let digest = cluster.first.digest(&cluster.key()).to_string();
    cluster
        .end(json!({"is": "outcome_unknown", "digest": digest}))
        .await;
    drop(hold);
    let token = waiter.await.unwrap().unwrap();
    assert_eq!(cluster.json().await["state"]["is"], "active");
    let again = cluster.warm_node().await.token().await.unwrap();
    assert_eq!(again.pair_id(), token.pair_id());
}

/// A new refresh token that comes without an access token is kept.
#[tokio::test(start_paused = true)]
async fn fm29_a_new_refresh_token_without_an_access_token_is_kept() {
    let cluster = Cluster::strict();
    let endpoint = crate::reconcile::ForgetsAccess::new(&cluster);
    let node = loaded(cluster.node_builder_at(endpoint)).await;
    cluster.expire().await;
    let error = node.token().await.unwrap_err();
    assert!(matches!(error, Error::NoAccessToken { .. }), "{error:?}");
    tokio::time::sleep(error.retry_after().unwrap()).await;
    node.token().await.unwrap();
    cluster.assert_exchanges(2);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_answer_inside_the_timeout_does_not_cause_a_second_request() {
    let (cluster, node) = Cluster::expired().await;
    cluster.server.fail_next(Fault::Delay(seconds(15)));
    node.token().await.unwrap();
    cluster.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_expired_before_its_answer_was_read_is_rotated_on_and_not_served() {
    let ttl = seconds(10);
    let cluster = Cluster::ruled(|server| server.access_ttl(ttl));
    let node = cluster.warm_node().await;
    for round in 1..=3 {
        cluster.clock.advance(ttl).await;
        // The process is suspended in the middle of this exchange and of the next one.
        for _ in 0..2 {
            cluster.server.fail_next(Fault::Delay(ttl + seconds(2)));
        }
        let token = node.token().await.unwrap();
        assert_eq!(cluster.server.check(token.expose()), AccessCheck::Live);
        cluster.assert_exchanges(3 * round);
    }
}

/// An instance whose pair was outrun: another instance had taken its lease over and committed first. The instance
/// holds the other pair, and keeps its own as a spare until the server has accepted the other one.
async fn outrun(cluster: &Cluster) -> TokenManager {
    let node = cluster.warm_node().await;
    cluster.expire().await;
    let (hold, waiter) = cluster.call_in_flight(&node).await;
    let theirs = cluster.server.issue();
    cluster
        .edit(|record| {
            record["version"] = 2.into();
            record["committed_number"] = 98.into();
            record["next_number"] = 99.into();
            record["lease"] = Value::Null;
            for (name, token) in [
                ("access_token", theirs.access.as_ref().unwrap().expose()),
                ("refresh_token", theirs.refresh.as_ref().unwrap().expose()),
            ] {
                record["pair"][name] = token.into();
            }
            record["pair"]["issued_at"] = cluster.store_now().into();
        })
        .await;
    drop(hold);
    let token = waiter.await.unwrap().unwrap();
    assert_eq!(token.expose(), theirs.access.unwrap().expose());
    node
}

/// A pair that was outrun is revoked when another instance has logged out.
#[tokio::test(start_paused = true)]
async fn fm16_an_outrun_pair_is_revoked_when_another_instance_has_logged_out() {
    let cluster = Cluster::strict();
    let node = outrun(&cluster).await;
    cluster.end(json!({"is": "logged_out"})).await;
    assert_eq!(end_of(node.rotate().await), EndReason::LoggedOut);
    // Two pairs are revoked: the record's and the outrun one.
    assert_eq!(cluster.server.revocations(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_outrun_pair_is_not_used_in_the_session_that_replaced_its_own() {
    let cluster = Cluster::strict();
    let node = outrun(&cluster).await;
    node.replace(cluster.server.issue()).await.unwrap();
    cluster.server.revoke_all();
    assert!(end_of(node.rotate().await).is_rejected());
    // Two pairs are revoked: the outrun one and the new one.
    assert_eq!(cluster.server.exchanges(), 2);
}
