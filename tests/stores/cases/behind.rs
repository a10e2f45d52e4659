//! Write-behind: callers do not wait for the store.

use evertoken::{Builder, Coordination, EndReason, Event, Persistence, Resend};

use crate::scene::{Mortal, Node, Scene, answer, common_token, reason, until};

super::cases![
    w10_a_pair_is_stored_before_it_is_returned_only_without_workers,
    w11_shutdown_stores_what_is_not_stored_yet,
    w11_a_store_error_of_a_worker_is_reported_and_counted_and_the_pair_is_stored_later,
    w11_a_token_that_a_dead_process_has_spent_is_not_spent_again,
    n2_other_instances_wait_until_the_pair_is_stored,
    w12_waiting_pairs_are_stored_in_one_swap_and_the_last_issued_is_active,
    w12_sessions_share_workers_and_each_is_stored_in_order,
];

fn behind(workers: usize) -> impl FnOnce(Builder) -> Builder {
    move |builder| {
        let builder = builder.coordination(Coordination::None);
        builder.persistence(Persistence::write_behind(workers))
    }
}

/// Returns a token that a caller has received, and a guard. The instance cannot store the token's pair before the guard
/// is dropped.
async fn given_out(scene: &Scene, node: &Node) -> (crate::line::Shut, evertoken::Token) {
    let (shut, caller) = scene.call_before_commit(node).await;
    (shut, answer(caller).await.unwrap())
}

/// A pair is stored before a caller gets the token, unless workers store the pair behind the caller.
async fn w10_a_pair_is_stored_before_it_is_returned_only_without_workers(scene: Scene) {
    assert!(Persistence::default().is_write_through());
    let by_default = scene.node().await;
    scene.expire().await;
    let (shut, caller) = scene.call_before_commit(&by_default).await;
    assert!(!caller.is_finished());
    assert!(!by_default.status().is_unpersisted);
    drop(shut);
    answer(caller).await.unwrap();

    let scene = scene.strict();
    let node = scene.node_with(behind(1)).await;
    scene.expire().await;
    let (shut, token) = given_out(&scene, &node).await;
    assert!(scene.is_live(&token));
    assert!(node.status().is_unpersisted);
    assert_eq!(scene.active().await, [scene.first.digest(&scene.key)]);
    drop(shut);
    node.until_persisted().await;
    scene.assert_active(&token).await;
}

/// Shutdown stores the pairs that are not stored yet, and the next process continues with them.
async fn w11_shutdown_stores_what_is_not_stored_yet(scene: Scene) {
    let node = scene.node_with(behind(1)).await;
    scene.expire().await;
    let (shut, token) = given_out(&scene, &node).await;
    let tokens = node.tokens.clone();
    let stopping = tokio::spawn(async move { tokens.shutdown().await });
    until("the shutdown has begun", async || {
        node.token().await.is_err()
    })
    .await;
    assert!(!stopping.is_finished());
    drop(shut);
    stopping.await.unwrap().unwrap();
    scene.assert_active(&token).await;
    // The next process continues with the pair.
    let next = scene.node().await;
    assert_eq!(next.token().await.unwrap().expose(), token.expose());
    assert_eq!(scene.counts(), (1, 0, 0));
}

/// A store error of a worker is reported once and counted, and the worker stores the pair when the store works.
async fn w11_a_store_error_of_a_worker_is_reported_and_counted_and_the_pair_is_stored_later(
    scene: Scene,
) {
    let node = scene.node_with(behind(1)).await;
    let mut events = node.subscribe();
    scene.expire().await;
    let (shut, token) = given_out(&scene, &node).await;
    node.line.cut(true);
    drop(shut);
    until("the worker tries again", async || {
        node.status().store_failures >= 3
    })
    .await;
    assert!(node.status().is_unpersisted);
    assert_eq!(node.token().await.unwrap().expose(), token.expose());
    node.line.cut(false);
    scene.until_stored(&token).await;
    node.until_persisted().await;
    scene.assert_active(&token).await;
    let mut told = 0;
    while let Some(event) = events.try_recv() {
        told += usize::from(matches!(event, Event::Unpersisted { .. }));
    }
    assert_eq!(told, 1);
    assert_eq!(scene.counts(), (1, 0, 0));
}

/// A token is not spent again when the process that spent it died before the new pair was stored.
async fn w11_a_token_that_a_dead_process_has_spent_is_not_spent_again(mut scene: Scene) {
    scene.profile = scene.profile.resend(Resend::Never);
    let holder = Mortal::new(&scene).await;
    let other = scene.node().await;
    scene.expire().await;
    let hold = scene.server.hold();
    holder.call();
    scene.server.arrived(1).await;
    let shut = holder.node.line.stop_swaps();
    drop(hold);
    shut.reached().await;
    holder.die().await;
    drop(shut);
    scene.outlast_leases().await;
    let error = other.token().await.unwrap_err();
    assert_eq!(reason(&error), Some(EndReason::OutcomeUnknown));
    assert_eq!(scene.counts(), (1, 0, 0));
}

/// The other instances wait until the pair of a rotation is stored.
async fn n2_other_instances_wait_until_the_pair_is_stored(scene: Scene) {
    let (node, other) = (scene.node().await, scene.node().await);
    for rotation in 1..=3 {
        scene.expire().await;
        let (hold, first) = scene.call_in_flight(&node).await;
        let shut = node.line.stop_swaps();
        drop(hold);
        shut.reached().await;
        let caller = other.call();
        other.line.looked(3).await;
        assert!(!caller.is_finished());
        assert_eq!(scene.counts(), (rotation, 0, 0));
        drop(shut);
        common_token([first, caller]).await;
    }
    scene.expire().await;
    common_token([node.call(), other.call()]).await;
    assert_eq!(scene.counts(), (4, 0, 0));
}

/// The pairs that wait for a worker are stored in one swap, and the last issued pair is active.
async fn w12_waiting_pairs_are_stored_in_one_swap_and_the_last_issued_is_active(scene: Scene) {
    for workers in [1, 8] {
        let scene = scene.strict();
        let node = scene.node_with(behind(workers)).await;
        let before = node.line.swaps();
        let shut = node.line.stop_swaps();
        let mut given = Vec::new();
        for _ in 0..9 {
            scene.expire().await;
            given.push(node.token().await.unwrap());
            // The first swap is on its way, and the other pairs wait behind that swap.
            shut.reached().await;
        }
        assert_eq!(node.line.swaps() - before, 1);
        drop(shut);
        node.until_persisted().await;
        // The first swap, one swap that finds the first one applied, and one swap for all other pairs.
        assert_eq!(node.line.swaps() - before, 3);
        let last = scene
            .digest_of(&given[8])
            .await
            .expect("the last pair is the current one");
        assert_eq!(scene.active().await, [last]);
        assert_eq!(scene.inactive().await.len(), 9);
        let pair_id = scene.record().await.pair_id();
        assert_eq!(pair_id.version, 10);
        assert_eq!(node.status().pair_id, Some(pair_id));
        scene.expire().await;
        assert!(scene.is_live(&node.token().await.unwrap()));
        assert_eq!(scene.counts(), (10, 0, 0));
    }
}

/// Sessions share the workers, and the pairs of each session are stored in order.
async fn w12_sessions_share_workers_and_each_is_stored_in_order(scene: Scene) {
    let persistence = Persistence::write_behind(2);
    let mut nodes = Vec::new();
    for user in 0..6 {
        let line = scene.line().await;
        let builder = scene
            .bare(scene.endpoint(), &line)
            .key(scene.key.clone().subject(format!("user {user}")))
            .seed(scene.server.issue())
            .coordination(Coordination::None)
            .persistence(persistence.clone());
        nodes.push(Node::loaded(builder, line).await);
    }
    let mut last = Vec::new();
    for _ in 0..8 {
        scene.expire().await;
        let callers: Vec<_> = nodes.iter().map(Node::call).collect();
        last.clear();
        for caller in callers {
            last.push(answer(caller).await.unwrap());
        }
    }
    for (node, token) in nodes.iter().zip(last) {
        node.shutdown().await.unwrap();
        let record = scene
            .storage
            .record(node.key())
            .await
            .expect("the record is stored");
        let stored = serde_json::to_value(&record).unwrap();
        assert_eq!(stored["pair"]["access_token"], token.expose());
        assert_eq!(record.pair_id().version, 9);
        assert_eq!(scene.storage.active(node.key()).await, [record.digest()]);
    }
    assert_eq!(scene.counts(), (6 * 8, 0, 0));
}
