//! Holders of a lease that die, or that need longer than the lease lasts.

use evertoken::testing::GraceAnswer;
use evertoken::{EndReason, Resend};

use crate::scene::{
    Mortal, PAUSE, Scene, answer, common_token, never, pausing, reason, unanswered, until,
};

super::cases![
    n4_a_dead_holders_unspent_token_is_spent_after_the_lease_and_not_before,
    n4_a_dead_holders_spent_token_ends_the_session_as_rejected,
    n4_a_dead_holders_token_is_not_sent_where_the_profile_forbids_it,
    n4_a_dead_holders_pair_is_recovered_where_the_server_answers_again,
    n4_a_second_request_that_failed_is_repeated_after_a_pause_by_one_instance,
    n4_an_instance_reads_the_record_after_the_lease_and_does_not_refresh_a_new_pair,
    n4_a_holder_that_commits_at_the_last_moment_is_not_taken_over,
    n5_a_holder_slower_than_its_lease_does_not_overwrite_a_newer_pair,
    n5_a_slow_holder_commits_its_pair_and_leaves_the_lease_of_the_next_holder,
    n5_a_slow_holder_does_not_overwrite_the_pair_of_a_new_sign_in,
    fm32_a_rotation_goes_on_under_its_lease_when_caller_and_manager_are_dropped,
];

/// Another instance spends the unspent token of a dead holder after the lease, and not before.
async fn n4_a_dead_holders_unspent_token_is_spent_after_the_lease_and_not_before(scene: Scene) {
    let (holder, next) = (Mortal::new(&scene).await, scene.node().await);
    scene.expire().await;
    holder.die_sending(&scene, never()).await;
    let caller = next.call();
    next.line.waited(1).await;
    next.line.looked(3).await;
    assert_eq!(scene.counts(), (1, 0, 0));
    scene.outlast_leases().await;
    answer(caller).await.unwrap();
    assert_eq!(scene.counts(), (2, 0, 0));
}

/// A token that a dead holder has spent ends the session as rejected on a strict server.
async fn n4_a_dead_holders_spent_token_ends_the_session_as_rejected(scene: Scene) {
    let (holder, next) = (Mortal::new(&scene).await, scene.node().await);
    scene.expire().await;
    holder.die_sending(&scene, unanswered()).await;
    scene.outlast_leases().await;
    let error = next.token().await.unwrap_err();
    assert!(reason(&error).is_some_and(|reason| reason.is_rejected()));
    assert_eq!(
        scene.counts(),
        (2, 1, 1),
        "the next instance sends the token once more"
    );
    assert_eq!(scene.active().await, []);
    // The session has ended for all instances, without another request.
    let third = scene.line().await;
    let third = scene.builder(&third).build().unwrap();
    let error = third.token().await.unwrap_err();
    assert!(reason(&error).is_some_and(|reason| reason.is_rejected()));
    assert_eq!(scene.counts(), (2, 1, 1));
}

/// The token of a dead holder is not sent again where the profile forbids that.
async fn n4_a_dead_holders_token_is_not_sent_where_the_profile_forbids_it(mut scene: Scene) {
    scene.profile = scene.profile.resend(Resend::Never);
    let (holder, next) = (Mortal::new(&scene).await, scene.node().await);
    scene.expire().await;
    holder.die_sending(&scene, unanswered()).await;
    scene.outlast_leases().await;
    let error = next.token().await.unwrap_err();
    assert_eq!(reason(&error), Some(EndReason::OutcomeUnknown));
    assert_eq!(scene.counts(), (1, 0, 0));
    assert_eq!(scene.active().await, []);
}

/// The pair of a dead holder is recovered where the server answers the token again.
async fn n4_a_dead_holders_pair_is_recovered_where_the_server_answers_again(scene: Scene) {
    let scene = scene.with_grace(GraceAnswer::SamePair);
    let (holder, next) = (Mortal::new(&scene).await, scene.node().await);
    scene.expire().await;
    holder.die_sending(&scene, unanswered()).await;
    scene.outlast_leases().await;
    let token = next.token().await.unwrap();
    assert_eq!(scene.counts(), (2, 1, 0));
    scene.assert_active(&token).await;
    assert_eq!(scene.inactive().await, [scene.first.digest(&scene.key)]);
}

/// A second request that did not reach the server is repeated after a pause, by one of the instances.
async fn n4_a_second_request_that_failed_is_repeated_after_a_pause_by_one_instance(scene: Scene) {
    let one = scene.node_with(pausing(PAUSE)).await;
    let other = scene.node().await;
    scene.expire().await;
    scene.plant_lease().await;
    scene.outlast_leases().await;
    scene.server.set_reachable(false);
    let first = one.call();
    until(
        "the request was not sent, and the lease is released",
        async || scene.json().await["lease"]["released"] == true,
    )
    .await;
    scene.server.set_reachable(true);
    // The other instance reads the failure in the record.
    let second = other.call();
    until(
        "the other instance waits for the end of the pause",
        async || other.status().failure.is_some(),
    )
    .await;
    assert_eq!(scene.counts(), (0, 0, 0));
    scene.pass(PAUSE).await;
    common_token([first, second]).await;
    assert_eq!(scene.counts(), (1, 0, 0));
}

/// An instance reads the record after the lease of a holder, and does not refresh a new pair.
async fn n4_an_instance_reads_the_record_after_the_lease_and_does_not_refresh_a_new_pair(
    scene: Scene,
) {
    let holder = scene.node().await;
    let next = scene.node_with(pausing(PAUSE)).await;
    scene.expire().await;
    let (hold, caller) = scene.call_in_flight(&holder).await;
    let waiter = next.call();
    next.line.waited(1).await;
    // The next instance is cut off from the store, and does not see the holder's commit.
    next.line.cut(true);
    drop(hold);
    let token = answer(caller).await.unwrap();
    drop(holder);
    until(
        "the next instance has failed to read the record",
        async || next.status().failure.is_some(),
    )
    .await;
    next.line.cut(false);
    scene.outlast_leases().await;
    let found = answer(waiter).await.unwrap();
    assert_eq!(found.pair_id(), token.pair_id());
    assert_eq!(scene.counts(), (1, 0, 0));
}

/// A holder that commits at the last moment keeps its rotation: another instance adopts the pair.
async fn n4_a_holder_that_commits_at_the_last_moment_is_not_taken_over(scene: Scene) {
    let [holder, next] = scene.due_nodes().await;
    let (hold, caller) = scene.call_in_flight(&holder).await;
    scene.outlast_leases().await;
    let shut = next.line.stop_swaps();
    let waiter = next.call();
    // The next instance has found the lease stale.
    shut.reached().await;
    drop(hold);
    let token = answer(caller).await.unwrap();
    drop(shut);
    assert_eq!(common_token([waiter]).await.expose(), token.expose());
    assert_eq!(scene.counts(), (1, 0, 0));
}

/// A holder that is slower than its lease does not overwrite a newer pair.
async fn n5_a_holder_slower_than_its_lease_does_not_overwrite_a_newer_pair(scene: Scene) {
    // The server answers every second use with another pair, and all pairs are valid.
    let scene = scene.with_grace(GraceAnswer::Fork);
    let [slow, next] = scene.due_nodes().await;
    let (shut, caller) = scene.call_before_commit(&slow).await;
    scene.outlast_leases().await;
    let newer = next.token().await.unwrap();
    let committed = scene.json().await;
    drop(shut);
    let token = answer(caller).await.unwrap();
    assert_eq!(token.expose(), newer.expose());
    let after = scene.json().await;
    assert_eq!(after["pair"], committed["pair"]);
    assert_eq!(after["version"], committed["version"]);
    assert_eq!(scene.counts(), (2, 1, 0));
}

/// A slow holder commits its pair if no newer pair is stored, and leaves the lease of the next holder.
async fn n5_a_slow_holder_commits_its_pair_and_leaves_the_lease_of_the_next_holder(scene: Scene) {
    let scene = scene.with_grace(GraceAnswer::Fork);
    let [slow, next] = scene.due_nodes().await;
    let (hold, first) = scene.call_in_flight(&slow).await;
    scene.outlast_leases().await;
    let second = scene.arriving_call(&next).await;
    let lease = scene.json().await["lease"].clone();
    let shut = next.line.stop_swaps();
    drop(hold);
    let older = answer(first).await.unwrap();
    assert_eq!(older.pair_id().version, 2);
    shut.reached().await;
    assert_eq!(scene.json().await["lease"], lease);
    drop(shut);
    let newer = answer(second).await.unwrap();
    assert_eq!(newer.pair_id().version, 3);
    assert_eq!(slow.rotate().await.unwrap().expose(), newer.expose());
    assert!(scene.is_free().await);
    assert_eq!(scene.counts(), (2, 1, 0));
}

/// A slow holder does not overwrite the pair of a new sign-in, and revokes its own pair.
async fn n5_a_slow_holder_does_not_overwrite_the_pair_of_a_new_sign_in(scene: Scene) {
    let [slow, next] = scene.due_nodes().await;
    let (shut, caller) = scene.call_before_commit(&slow).await;
    let fresh = scene.server.issue();
    let digest = fresh.digest(&scene.key);
    next.replace(fresh).await.unwrap();
    let newer = next.token().await.unwrap();
    drop(shut);
    assert_eq!(answer(caller).await.unwrap().expose(), newer.expose());
    assert_eq!(scene.active().await, [digest]);
    scene.until_revoked().await;
    assert_eq!(scene.counts(), (1, 0, 0));
}

/// A rotation continues under its lease when its caller and its manager are dropped.
async fn fm32_a_rotation_goes_on_under_its_lease_when_caller_and_manager_are_dropped(scene: Scene) {
    let [holder, waiter] = scene.due_nodes().await;
    let (hold, caller) = scene.call_in_flight(&holder).await;
    let lease = scene.json().await["lease"].clone();
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    drop(holder);
    let waiting = waiter.call();
    waiter.line.waited(1).await;
    waiter.line.looked(2).await;
    assert_eq!(scene.json().await["lease"], lease);
    assert_eq!(scene.counts(), (1, 0, 0));
    drop(hold);
    let token = answer(waiting).await.unwrap();
    assert_eq!(token.pair_id().version, 2);
    assert_eq!(scene.counts(), (1, 0, 0));
    assert!(scene.is_free().await);
}
