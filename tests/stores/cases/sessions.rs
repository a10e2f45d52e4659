//! Several sessions in one store, and sessions that begin again.

use evertoken::{Key, OnSeedConflict};

use crate::scene::{Node, Scene, answer, common_token, seconds, until};

super::cases![
    a_session_continues_from_its_newest_pair_when_the_store_loses_writes,
    n18_different_sessions_rotate_in_parallel,
    fm34_a_restarted_instance_continues_with_the_rotated_pair_although_the_first_is_given_again,
    fm20_sessions_with_different_keys_are_not_mixed,
    fm20_a_session_is_not_split_by_the_spelling_of_its_scopes,
    fm28_a_newer_sign_in_elsewhere_replaces_the_cached_pair,
    fm28_a_newer_seed_replaces_the_stored_pair,
];

async fn session(scene: &Scene, key: &Key) -> Node {
    let line = scene.line().await;
    let builder = scene.bare(scene.endpoint(), &line).key(key.clone());
    Node::loaded(builder.seed(scene.server.issue()), line).await
}

async fn a_session_continues_from_its_newest_pair_when_the_store_loses_writes(scene: Scene) {
    let (node, other) = (scene.node().await, scene.node().await);
    let first = scene.record().await;
    for round in 1..=3 {
        scene.expire().await;
        let before = scene.record().await;
        let held = node.token().await.unwrap();
        // The store loses one swap, or all of them.
        let lost = if round == 2 { &first } else { &before };
        scene.fall_back_to(lost).await;
        scene.expire().await;
        let token = node.token().await.unwrap();
        assert_eq!(token.pair_id().version, held.pair_id().version + 1);
        assert_eq!(other.token().await.unwrap().expose(), token.expose());
        scene.assert_active(&token).await;
        assert_eq!(scene.counts(), (2 * round, 0, 0));
    }
}

/// A restarted instance continues with the rotated pair, although the first pair is given again.
async fn fm34_a_restarted_instance_continues_with_the_rotated_pair_although_the_first_is_given_again(
    scene: Scene,
) {
    let [first_run] = scene.due_nodes().await;
    let rotated = first_run.token().await.unwrap();
    first_run.shutdown().await.unwrap();
    drop(first_run);
    let second_run = scene.node().await;
    let token = second_run.token().await.unwrap();
    assert_eq!(token.pair_id(), rotated.pair_id());
    assert_eq!(token.expose(), rotated.expose());
    assert_eq!(scene.counts(), (1, 0, 0));
    scene.expire().await;
    assert!(scene.is_live(&second_run.token().await.unwrap()));
    assert_eq!(scene.counts(), (2, 0, 0));
}

/// Different sessions rotate in parallel.
async fn n18_different_sessions_rotate_in_parallel(scene: Scene) {
    let mut nodes = Vec::new();
    for user in 0..16 {
        let key = scene.key.clone().subject(format!("user {user}"));
        nodes.push(session(&scene, &key).await);
    }
    scene.expire().await;
    let hold = scene.server.hold();
    let callers: Vec<_> = nodes.iter().map(Node::call).collect();
    // The server answers only after all requests have arrived.
    scene.server.arrived(16).await;
    drop(hold);
    for caller in callers {
        answer(caller).await.unwrap();
    }
    assert_eq!(scene.counts(), (16, 0, 0));
}

/// Sessions whose keys differ in any part are not mixed.
async fn fm20_sessions_with_different_keys_are_not_mixed(scene: Scene) {
    let base = scene.key.clone();
    let keys = [
        base.clone(),
        base.clone().audience("https://api.example.org"),
        base.clone().audience("https://other.example.org"),
        base.clone().scope("read"),
        base.clone().subject("Ada"),
        base.clone().tenant("diku"),
    ];
    let mut nodes = Vec::new();
    for key in &keys {
        nodes.push([session(&scene, key).await, {
            let line = scene.line().await;
            let builder = scene.bare(scene.endpoint(), &line).key(key.clone());
            Node::loaded(builder, line).await
        }]);
    }
    scene.expire().await;
    let callers: Vec<_> = nodes
        .iter()
        .map(|pair| pair.each_ref().map(Node::call))
        .collect();
    let mut families = Vec::new();
    for (key, callers) in keys.iter().zip(callers) {
        let token = common_token(callers).await;
        let record = scene
            .storage
            .record(key)
            .await
            .expect("the record is stored");
        assert_eq!(record.pair_id(), token.pair_id());
        families.push(token.pair_id().family.to_string());
    }
    families.sort();
    families.dedup();
    assert_eq!(families.len(), keys.len());
    assert_eq!(scene.counts(), (6, 0, 0));
}

/// The order, spacing and repetition of scopes do not split a session.
async fn fm20_a_session_is_not_split_by_the_spelling_of_its_scopes(scene: Scene) {
    let mut nodes = Vec::new();
    for scope in [
        "read write admin",
        "admin  read write",
        "write admin read read",
    ] {
        let line = scene.line().await;
        let builder = scene.builder(&line).key(scene.key.clone().scope(scope));
        nodes.push(Node::loaded(builder, line).await);
    }
    scene.expire().await;
    common_token(nodes.iter().map(Node::call).collect::<Vec<_>>()).await;
    assert_eq!(scene.counts(), (1, 0, 0));
}

/// A newer sign-in of another instance replaces the cached pair.
async fn fm28_a_newer_sign_in_elsewhere_replaces_the_cached_pair(scene: Scene) {
    let (here, there) = (scene.node().await, scene.node().await);
    let cached = here.token().await.unwrap();
    there.replace(scene.server.issue()).await.unwrap();
    let newer = there.token().await.unwrap();
    // The manager reads the store before it replaces a token that is due, expired or rejected.
    here.reject(&cached);
    let found = here.token().await.unwrap();
    assert_eq!(found.expose(), newer.expose());
    assert_eq!(scene.counts(), (0, 0, 0));

    there.replace(scene.server.issue()).await.unwrap();
    let newer = there.token().await.unwrap();
    scene.pass(seconds(595)).await;
    // The token of the other session has expired too. That token is exchanged, and not the cached one.
    common_token([here.call()]).await;
    until("both instances have the successor", async || {
        let (here, there) = (here.token().await.unwrap(), there.token().await.unwrap());
        here.expose() == there.expose()
            && here.pair_id().family == newer.pair_id().family
            && here.pair_id().version == newer.pair_id().version + 1
    })
    .await;
    assert_eq!(scene.counts(), (1, 0, 0));
}

/// A newer pair that is given at the start replaces the stored pair.
async fn fm28_a_newer_seed_replaces_the_stored_pair(scene: Scene) {
    let old = scene.node().await;
    let newer = scene.server.issue();
    let digest = newer.digest(&scene.key);
    let started = scene
        .node_with(|builder| {
            let builder = builder.on_seed_conflict(OnSeedConflict::Replace);
            builder.seed(newer.clone())
        })
        .await;
    assert_eq!(scene.active().await, [digest]);
    assert_eq!(scene.inactive().await, [scene.first.digest(&scene.key)]);
    scene.expire().await;
    common_token([old.call(), started.call()]).await;
    assert_eq!(scene.counts(), (1, 0, 0));
    // An old configuration gives the first seed again, which does not start a new session.
    scene.node().await;
    assert!(
        !scene
            .active()
            .await
            .contains(&scene.first.digest(&scene.key))
    );
    assert_eq!(scene.counts(), (1, 0, 0));
}
