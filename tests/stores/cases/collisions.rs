//! Instances without coordination sign in at the same time: one key, several sessions.

use evertoken::protocol::{Digest, Record};
use evertoken::{Coordination, Error, Persistence};

use crate::line::Fate;
use crate::scene::{Caller, Node, Scene, answer, until};

super::cases![
    w4_with_write_through_the_loser_adopts_the_stored_pair_and_revokes_its_own,
    w5_with_write_behind_both_instances_return_at_once_and_the_later_pair_is_active,
    w6_a_pair_is_inserted_where_the_other_record_has_vanished,
    w7_an_expired_pair_of_another_instance_is_marked_as_expired_and_replaced,
    w8_five_collisions_are_recovered,
    w8_a_sixth_collision_is_an_error_and_leaves_no_partial_record,
];

async fn node(scene: &Scene, persistence: Persistence) -> Node {
    let line = scene.line().await;
    let builder = scene.bare(scene.endpoint(), &line).persistence(persistence);
    let tokens = builder.coordination(Coordination::None).build().unwrap();
    Node { tokens, line }
}

/// A caller whose sign-in has arrived at the server.
async fn arriving_call(scene: &Scene, node: &Node) -> Caller {
    let before = scene.server.sign_ins();
    let caller = node.call();
    let has_arrived = async || scene.server.sign_ins() > before;
    until("the sign-in arrived", has_arrived).await;
    caller
}

/// A record of this session that another sign-in left an hour ago.
async fn expired(scene: &Scene, number: u64) -> Record {
    let line = scene.line().await;
    let key = scene.key.clone().subject(format!("another user {number}"));
    let other = scene.bare(scene.endpoint(), &line).key(key.clone());
    other.build().unwrap().token().await.unwrap();
    let record = scene.storage.record(&key).await;
    let mut record = serde_json::to_value(record.expect("the record is stored")).unwrap();
    record["key"] = serde_json::to_value(&scene.key).unwrap();
    let issued_at = record["pair"]["issued_at"].as_u64().unwrap();
    record["pair"]["issued_at"] = (issued_at - 3_600_000).into();
    serde_json::from_value(record).unwrap()
}

/// The digests of the pairs that were active earlier, whether they had expired when they were replaced or not.
async fn past(scene: &Scene) -> Vec<Digest> {
    let mut past = scene.inactive().await;
    past.extend(
        scene
            .storage
            .expired(&scene.key)
            .await
            .into_iter()
            .flatten(),
    );
    past
}

/// With write-through the loser of a collision adopts the stored pair and revokes its own.
async fn w4_with_write_through_the_loser_adopts_the_stored_pair_and_revokes_its_own(scene: Scene) {
    let scene = scene.with(|server| server.sign_in(true));
    let nodes = [
        node(&scene, Persistence::write_through()).await,
        node(&scene, Persistence::write_through()).await,
    ];
    let hold = scene.server.hold();
    let one = arriving_call(&scene, &nodes[0]).await;
    let other = arriving_call(&scene, &nodes[1]).await;
    drop(hold);
    let (one, other) = (answer(one).await.unwrap(), answer(other).await.unwrap());
    assert_eq!(one.expose(), other.expose());
    assert_eq!(nodes[0].status().pair_id, nodes[1].status().pair_id);
    scene.assert_active(&one).await;
    assert_eq!(
        scene.inactive().await,
        [],
        "the loser's pair is in the store"
    );
    scene.until_revoked().await;
    assert_eq!(scene.server.sign_ins(), 2);
    assert!(scene.is_live(&one));
}

/// With write-behind both instances of a collision return at once, and the pair stored later is active.
async fn w5_with_write_behind_both_instances_return_at_once_and_the_later_pair_is_active(
    scene: Scene,
) {
    let scene = scene.with(|server| server.sign_in(true));
    let earlier = node(&scene, Persistence::write_behind(2)).await;
    let later = node(&scene, Persistence::write_behind(2)).await;
    let hold = scene.server.hold();
    let first = arriving_call(&scene, &earlier).await;
    let second = arriving_call(&scene, &later).await;
    let shut = [earlier.line.stop_swaps(), later.line.stop_swaps()];
    drop(hold);
    // Neither of the two pairs is stored.
    let (first, second) = (answer(first).await.unwrap(), answer(second).await.unwrap());
    assert_ne!(first.expose(), second.expose());
    assert_eq!(scene.active().await, []);
    let [let_first, let_second] = shut;
    let_second.reached().await;
    drop(let_first);
    scene.until_stored(&first).await;
    let superseded = scene.active().await;
    drop(let_second);
    scene.until_stored(&second).await;
    let digest = scene.record().await.digest();
    assert_eq!(scene.active().await, [digest]);
    assert_eq!(scene.inactive().await, superseded);
    // Callers have received both tokens, so both stay valid.
    assert!(scene.is_live(&first) && scene.is_live(&second));
    assert_eq!(earlier.token().await.unwrap().expose(), first.expose());
    // The rotation loads the record first.
    assert_eq!(earlier.rotate().await.unwrap().expose(), second.expose());
    assert_eq!(later.token().await.unwrap().expose(), second.expose());
    assert_eq!(
        (scene.server.sign_ins(), scene.server.revocations()),
        (2, 0)
    );
    assert_eq!(scene.counts(), (0, 0, 0));
}

/// A pair is inserted when the record that it collided with has vanished.
async fn w6_a_pair_is_inserted_where_the_other_record_has_vanished(scene: Scene) {
    for persistence in [Persistence::write_through(), Persistence::write_behind(1)] {
        let scene = scene.with(|server| server.sign_in(true));
        let node = node(&scene, persistence).await;
        node.line.swaps_meet([Fate::BeatenByWhatVanished]);
        let token = node.token().await.unwrap();
        scene.until_stored(&token).await;
        assert_eq!(scene.active().await, [scene.record().await.digest()]);
        assert_eq!(scene.inactive().await, []);
        assert_eq!(node.line.swaps(), 2);
        assert_eq!(scene.server.sign_ins(), 1);
    }
}

/// An expired pair of another instance is marked as expired, and a new pair replaces it.
async fn w7_an_expired_pair_of_another_instance_is_marked_as_expired_and_replaced(scene: Scene) {
    let scene = scene.with(|server| server.sign_in(true));
    let theirs = expired(&scene, 0).await;
    let node = node(&scene, Persistence::write_through()).await;
    node.line
        .swaps_meet([Fate::BeatenBy(Box::new(theirs.clone()))]);
    let token = node.token().await.unwrap();
    scene.assert_active(&token).await;
    match scene.storage.expired(&scene.key).await {
        Some(expired) => assert_eq!(expired, [theirs.digest()]),
        None => assert_eq!(scene.inactive().await, [theirs.digest()]),
    }
    assert!(scene.is_live(&token));
    assert_eq!(scene.server.revocations(), 0);
}

/// An instance recovers from five collisions in a row.
async fn w8_five_collisions_are_recovered(scene: Scene) {
    let scene = scene.with(|server| server.sign_in(true));
    let (node, theirs) = crowded(&scene, 5).await;
    let token = node.token().await.unwrap();
    scene.assert_active(&token).await;
    let past = past(&scene).await;
    assert!(past.contains(&theirs[4].digest()));
    assert_eq!(node.line.swaps(), 6);
    assert_eq!(scene.server.revocations(), 0);
}

/// A sixth collision in a row is an error, and leaves no partial record.
async fn w8_a_sixth_collision_is_an_error_and_leaves_no_partial_record(scene: Scene) {
    let scene = scene.with(|server| server.sign_in(true));
    let (node, theirs) = crowded(&scene, 6).await;
    let error = node.token().await.unwrap_err();
    assert!(matches!(error, Error::Collision { .. }), "{error:?}");
    assert!(error.is_retryable() && error.retry_after().is_some());
    assert_eq!(node.line.swaps(), 6);
    assert_eq!(scene.record().await, theirs[5]);
    let mut past = past(&scene).await;
    past.sort();
    past.dedup();
    let mut known: Vec<_> = theirs[..5].iter().map(Record::digest).collect();
    known.sort();
    assert!(
        past.iter().all(|digest| known.contains(digest)),
        "the pair of the failed sign-in is stored"
    );
    scene.until_revoked().await;
    assert_eq!(node.status().pair_id, None);
    // The sign-in works after the pause.
    let token = scene.token_at_last(&node).await;
    assert!(scene.is_live(&token));
    scene.assert_active(&token).await;
}

/// An instance whose sign-in collides with those of this number of other instances. The pairs of the others have
/// expired.
async fn crowded(scene: &Scene, others: u64) -> (Node, Vec<Record>) {
    let mut theirs = Vec::new();
    for number in 0..others {
        theirs.push(expired(scene, number).await);
    }
    let node = node(scene, Persistence::write_through()).await;
    let beaten = theirs.iter().cloned().map(Box::new).map(Fate::BeatenBy);
    node.line.swaps_meet(beaten);
    (node, theirs)
}
