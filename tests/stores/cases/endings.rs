//! Answers that end the session, or seem to end it.

use evertoken::testing::{AccessCheck, Fault, GraceAnswer, Reuse};
use evertoken::{Coordination, EndReason, OldPair, Rejection, Resend};

use crate::scene::{Scene, answer, common_token, reason, until};

super::cases![
    fm8_a_token_whose_answer_was_lost_is_not_sent_again_where_the_profile_forbids_it,
    fm8_a_lost_pair_is_recovered_after_a_pause_where_the_server_answers_again,
    fm15_a_refusal_does_not_end_a_session_that_another_instance_has_renewed,
    fm15_a_refusal_that_is_stored_first_is_overridden_by_the_new_pair,
    fm15_without_leases_the_loser_goes_on_with_the_winners_pair,
    fm24_an_access_token_that_died_with_a_peers_rotation_is_replaced_without_another_rotation,
    fm26_the_winners_pair_is_kept_and_found_whatever_the_server_answers_to_the_loser,
];

/// A token whose answer was lost is not sent again by any instance where the profile forbids that.
async fn fm8_a_token_whose_answer_was_lost_is_not_sent_again_where_the_profile_forbids_it(
    scene: Scene,
) {
    for fault in [Fault::DropAfter, Fault::Truncate, Fault::status(500)] {
        let mut scene = scene.strict();
        scene.profile = scene.profile.resend(Resend::Never);
        let [node, other] = scene.due_nodes().await;
        scene.server.fail_next(fault);
        for node in [&node, &other] {
            let error = node.token().await.unwrap_err();
            assert_eq!(reason(&error), Some(EndReason::OutcomeUnknown));
        }
        assert_eq!(scene.counts(), (1, 0, 0));
        assert_eq!(scene.active().await, []);
    }
}

/// A pair whose answer was lost is recovered after a pause where the server answers the token again.
async fn fm8_a_lost_pair_is_recovered_after_a_pause_where_the_server_answers_again(scene: Scene) {
    let scene = scene.with_grace(GraceAnswer::SamePair);
    let [node, other] = scene.due_nodes().await;
    scene.server.fail_next(Fault::DropAfter);
    let first = scene.arriving_call(&node).await;
    // The other instance waits for the holder to resolve the unclear answer, and not for a lease duration.
    let token = common_token([first, other.call()]).await;
    assert_eq!(scene.counts(), (2, 1, 0));
    scene.assert_active(&token).await;
    assert!(scene.is_free().await);
}

/// A refusal does not end a session that another instance has renewed. Two instances send the same token: one with a
/// stale lease, and one that has taken the lease over.
async fn fm15_a_refusal_does_not_end_a_session_that_another_instance_has_renewed(scene: Scene) {
    let scene = scene.with(|server| server.reuse(Reuse::Refuse));
    let [slow, other] = scene.due_nodes().await;
    let (hold, first) = scene.call_in_flight(&slow).await;
    scene.outlast_leases().await;
    // The second instance gets the answer to its lease only after the first one has committed its pair. The second
    // request therefore comes later.
    let shut = other.line.stop_answers();
    let second = other.call();
    shut.reached().await;
    drop(hold);
    let token = answer(first).await.unwrap();
    drop(shut);
    assert_eq!(common_token([second]).await.expose(), token.expose());
    assert_eq!(scene.record().await.end(), None);
    assert_eq!(scene.counts(), (2, 1, 0));
    assert!(!other.status().is_rotating);
    assert_eq!(other.status().end, None);
}

/// A new pair overrides the refusal of its old token, also when the refusal is stored first.
async fn fm15_a_refusal_that_is_stored_first_is_overridden_by_the_new_pair(scene: Scene) {
    let scene = scene.with(|server| server.reuse(Reuse::Refuse));
    let [slow, other] = scene.due_nodes().await;
    let (shut, first) = scene.call_before_commit(&slow).await;
    scene.outlast_leases().await;
    assert!(other.token().await.unwrap_err().needs_sign_in());
    assert_eq!(scene.active().await, []);
    drop(shut);
    let token = answer(first).await.unwrap();
    scene.assert_active(&token).await;
    assert_eq!(scene.token_at_last(&other).await.expose(), token.expose());
    assert_eq!(scene.counts(), (2, 1, 0));
}

/// Without leases the instance whose token is refused continues with the winner's pair.
async fn fm15_without_leases_the_loser_goes_on_with_the_winners_pair(scene: Scene) {
    let scene = scene.with(|server| server.reuse(Reuse::Refuse));
    let alone = |builder: evertoken::Builder| builder.coordination(Coordination::None);
    let nodes: [_; 2] = scene.nodes_with(alone).await;
    scene.expire().await;
    let hold = scene.server.hold();
    let callers = [
        scene.arriving_call(&nodes[0]).await,
        scene.arriving_call(&nodes[1]).await,
    ];
    drop(hold);
    let mut served = 0;
    for caller in callers {
        // An instance that is refused before the winner's pair is stored cannot recognize the winner.
        served += usize::from(answer(caller).await.is_ok());
    }
    assert!(served >= 1);
    let one = scene.token_at_last(&nodes[0]).await;
    let other = scene.token_at_last(&nodes[1]).await;
    assert_eq!(one.expose(), other.expose());
    assert_eq!(scene.record().await.end(), None);
    assert_eq!(scene.counts(), (2, 1, 0));
}

/// An access token that died with the rotation of another instance is replaced without another rotation.
async fn fm24_an_access_token_that_died_with_a_peers_rotation_is_replaced_without_another_rotation(
    scene: Scene,
) {
    for old_pair in [OldPair::AccessLivesOn, OldPair::AccessDiesAtRotation] {
        let mut scene = scene.with(|server| server.old_access_dies(true));
        scene.profile = scene.profile.old_pair(old_pair);
        let (here, there) = (scene.node().await, scene.node().await);
        let dead = here.token().await.unwrap();
        let newer = there.rotate().await.unwrap();
        assert_ne!(scene.server.check(dead.expose()), AccessCheck::Live);
        assert_eq!(here.reject(&dead), Rejection::Rotating);
        let found = here.token().await.unwrap();
        assert_eq!(found.expose(), newer.expose());
        assert_eq!(scene.server.check(found.expose()), AccessCheck::Live);
        assert_eq!(scene.counts(), (1, 0, 0));
    }
}

/// The winner's pair is kept, and the loser finds it, whatever the server answers to the loser.
async fn fm26_the_winners_pair_is_kept_and_found_whatever_the_server_answers_to_the_loser(
    scene: Scene,
) {
    let retry = Fault::Status {
        status: 400,
        body: r#"{"error":"concurrent_refresh"}"#.to_owned(),
        retry_after: None,
    };
    for fault in [
        Fault::status(500),
        Fault::status(409),
        retry,
        Fault::status(400),
        Fault::DropBefore,
    ] {
        let scene = scene.strict();
        let [winner, loser] = scene.due_nodes().await;
        let (hold, first) = scene.call_in_flight(&winner).await;
        scene.outlast_leases().await;
        scene.server.fail_next(fault.clone());
        let second = scene.arriving_call(&loser).await;
        drop(hold);
        let token = answer(first).await.unwrap();
        // The caller may get the failure, but not an error that the session has ended.
        let _ = answer(second).await;
        assert_eq!(
            scene.token_at_last(&loser).await.expose(),
            token.expose(),
            "{fault:?}"
        );
        assert_eq!(scene.record().await.end(), None, "{fault:?}");
        scene.assert_active(&token).await;
        assert_eq!(scene.server.exchanges(), 2, "{fault:?}");
        assert_eq!(scene.server.families_revoked(), 0, "{fault:?}");
        until("no instance is rotating", async || {
            !loser.status().is_rotating && !winner.status().is_rotating
        })
        .await;
    }
}
