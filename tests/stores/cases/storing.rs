//! The content of the store, and the time at which it is written.

use evertoken::Coordination;

use crate::scene::{Node, Scene, answer, until};

super::cases![
    w1_a_rotated_pair_is_in_the_store_before_it_is_returned,
    w1_a_pair_of_a_sign_in_is_in_the_store_before_it_is_returned,
    w2_an_active_pair_is_returned_from_memory_or_the_store_and_no_session_is_created,
    w9_another_scope_or_subject_is_another_session_and_another_order_of_scopes_is_not,
    w9_any_number_of_pairs_is_inactive_and_one_is_active,
];

/// A rotated pair is in the store before a caller gets the token.
async fn w1_a_rotated_pair_is_in_the_store_before_it_is_returned(scene: Scene) {
    let node = scene.node().await;
    for rotation in 1..=3 {
        let before = scene.active().await;
        scene.expire().await;
        let (shut, caller) = scene.call_before_commit(&node).await;
        assert!(!caller.is_finished());
        assert!(node.try_token().is_err());
        assert_eq!(scene.active().await, before);
        drop(shut);
        let token = answer(caller).await.unwrap();
        scene.assert_active(&token).await;
        assert!(scene.inactive().await.contains(&before[0]));
        assert_eq!(scene.counts(), (rotation, 0, 0));
    }
}

/// The pair of a sign-in is in the store before a caller gets the token.
async fn w1_a_pair_of_a_sign_in_is_in_the_store_before_it_is_returned(scene: Scene) {
    let scene = scene.with(|server| server.sign_in(true));
    let line = scene.line().await;
    let tokens = scene.bare(scene.endpoint(), &line).build().unwrap();
    let node = Node { tokens, line };
    let hold = scene.server.hold();
    let caller = node.call();
    until("the sign-in has arrived", async || {
        scene.server.sign_ins() == 1
    })
    .await;
    let shut = node.line.stop_swaps();
    drop(hold);
    shut.reached().await;
    assert!(!caller.is_finished());
    assert_eq!(scene.active().await, []);
    drop(shut);
    let token = answer(caller).await.unwrap();
    scene.assert_active(&token).await;
    assert_eq!(scene.server.sign_ins(), 1);
}

/// An active pair is returned from memory or from the store, and a session is not created.
async fn w2_an_active_pair_is_returned_from_memory_or_the_store_and_no_session_is_created(
    scene: Scene,
) {
    let scene = scene.with(|server| server.sign_in(true));
    let first = scene.node().await;
    scene.expire().await;
    let rotated = first.token().await.unwrap();
    let stored = scene.json().await;
    let before = (first.line.loads(), first.line.swaps());
    assert_eq!(first.token().await.unwrap().pair_id(), rotated.pair_id());
    assert_eq!((first.line.loads(), first.line.swaps()), before);

    for coordination in [Coordination::Lease, Coordination::None] {
        let line = scene.line().await;
        let builder = scene.bare(scene.endpoint(), &line);
        let tokens = builder.coordination(coordination).build().unwrap();
        for _ in 0..3 {
            assert_eq!(tokens.token().await.unwrap().expose(), rotated.expose());
        }
        assert_eq!((line.loads(), line.swaps()), (1, 0));
    }
    assert_eq!(scene.json().await, stored);
    assert_eq!(scene.server.sign_ins(), 0);
    assert_eq!(scene.counts(), (1, 0, 0));
}

/// Another scope or subject is another session; another order of the scopes is the same session.
async fn w9_another_scope_or_subject_is_another_session_and_another_order_of_scopes_is_not(
    scene: Scene,
) {
    let scene = scene.with(|server| server.sign_in(true));
    let base = scene.key.clone();
    let keys = [
        base.clone(),
        base.clone().scope("read"),
        base.clone().scope("read write"),
        base.clone().scope("read").subject("Ada"),
        base.clone().scope("read").subject("Grace"),
        base.clone().scope("read").tenant("diku"),
    ];
    let mut tokens = Vec::new();
    for (signed_in, key) in (1..).zip(&keys) {
        let line = scene.line().await;
        let builder = scene.bare(scene.endpoint(), &line).key(key.clone());
        let token = builder.build().unwrap().token().await.unwrap();
        assert_eq!(scene.server.sign_ins(), signed_in);
        assert!(tokens.iter().all(|other| other != token.expose()));
        tokens.push(token.expose().to_owned());
    }
    for (key, token) in keys.iter().zip(&tokens) {
        let record = scene
            .storage
            .record(key)
            .await
            .expect("the record is stored");
        let stored = serde_json::to_value(&record).unwrap();
        assert_eq!(stored["pair"]["access_token"], token.as_str());
        assert_eq!(scene.storage.active(key).await, [record.digest()]);
    }
    // A key with its scopes in another order is the same session.
    let line = scene.line().await;
    let turned = scene
        .bare(scene.endpoint(), &line)
        .key(base.scope("write  read"));
    let token = turned.build().unwrap().token().await.unwrap();
    assert_eq!(token.expose(), tokens[2]);
    assert_eq!(scene.server.sign_ins(), 6);
}

/// Any number of pairs of a session is inactive, and one pair is active.
async fn w9_any_number_of_pairs_is_inactive_and_one_is_active(scene: Scene) {
    let nodes: [_; 2] = scene.nodes().await;
    let mut past = vec![scene.first.digest(&scene.key)];
    for rotation in 0..8 {
        scene.expire().await;
        let token = nodes[rotation % 2].token().await.unwrap();
        scene.assert_active(&token).await;
        let mut inactive = scene.inactive().await;
        inactive.sort();
        past.sort();
        assert_eq!(inactive, past);
        past.push(scene.record().await.digest());
    }
}
