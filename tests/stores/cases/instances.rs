//! Instances that find the same token due.

use evertoken::{BackgroundTimer, Error, RefreshToken};

use crate::logs_hold;
use crate::scene::{Scene, TTL, answer, common_token, millis, rotated_and_adopted, seconds, until};

super::cases![
    n2_fm1_one_of_many_instances_spends_the_token_and_the_others_read_its_pair,
    n3_a_lease_is_named_by_the_digest_and_no_name_channel_or_log_holds_a_token,
    n6_a_waiter_whose_deadline_passes_gets_a_typed_error_and_the_rotation_goes_on,
    n6_a_waiter_with_a_valid_token_gets_that_and_does_not_wait_for_another_instance,
    n12_waiters_that_queue_at_any_instance_do_not_start_another_rotation,
    n14_fm2_an_instance_delayed_between_load_and_lease_reads_the_new_pair,
    n14_an_instance_delayed_before_its_lease_waits_for_the_pair_of_the_holder,
    fm21_instances_that_fall_due_together_make_one_call_and_none_storms_the_store,
];

/// One of many instances spends the token, and the others read its pair from the store.
async fn n2_fm1_one_of_many_instances_spends_the_token_and_the_others_read_its_pair(scene: Scene) {
    let nodes: [_; 4] = scene.nodes().await;
    let mut events: Vec<_> = nodes.iter().map(|node| node.subscribe()).collect();
    for round in 1..=5 {
        scene.expire().await;
        let callers: Vec<_> = (0..16).map(|caller| nodes[caller % 4].call()).collect();
        let token = common_token(callers).await;
        assert_eq!(token.pair_id().version, round + 1);
        assert_eq!(scene.counts(), (round, 0, 0));
        scene.assert_active(&token).await;
    }
    let (rotated, adopted) = events
        .iter_mut()
        .map(rotated_and_adopted)
        .fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
    assert_eq!((rotated, adopted), (5, 5 * 3));
}

/// A lease is named by the digest of its token, and names, channels and logs do not hold a token.
async fn n3_a_lease_is_named_by_the_digest_and_no_name_channel_or_log_holds_a_token(scene: Scene) {
    let [one, other] = scene.due_nodes().await;
    let (hold, caller) = scene.call_in_flight(&one).await;
    let waiter = other.call();
    other.line.waited(1).await;

    let leased = scene.json().await;
    let digest = scene.first.digest(&scene.key).to_string();
    assert_eq!(leased["lease"]["digest"], digest);
    let mut seen = scene.storage.in_the_open().await;
    drop(hold);
    let token = common_token([caller, waiter]).await;
    seen += &scene.storage.in_the_open().await;

    let first = scene.first.refresh.as_ref().map(RefreshToken::expose);
    let committed = scene.json().await;
    let second = committed["pair"]["refresh_token"].as_str();
    for secret in [first.unwrap(), second.unwrap(), token.expose()] {
        assert!(!seen.contains(secret), "a token can be seen: {seen}");
        assert!(!logs_hold(secret), "a token was logged");
        for mut record in [leased.clone(), committed.clone()] {
            record["pair"].take();
            assert!(!record.to_string().contains(secret), "{record}");
        }
    }
    assert!(logs_hold(&scene.key.label), "the log is not collected");
}

/// A waiter whose deadline passes gets a typed error, and the rotation continues.
async fn n6_a_waiter_whose_deadline_passes_gets_a_typed_error_and_the_rotation_goes_on(
    scene: Scene,
) {
    let holder = scene.node().await;
    let line = scene.line().await;
    let deadline = millis(100);
    let endpoint = scene.endpoint().with_timeout(millis(50));
    let hasty = scene.bare(endpoint, &line).wait(deadline).build().unwrap();
    until("the session is loaded", async || {
        hasty.token().await.is_ok()
    })
    .await;
    scene.expire().await;
    let (hold, caller) = scene.call_in_flight(&holder).await;
    let error = hasty.token().await.unwrap_err();
    assert!(
        matches!(error, Error::TimedOut { after, .. } if after == deadline),
        "{error:?}"
    );
    assert!(error.is_retryable());
    drop(hold);
    let token = answer(caller).await.unwrap();
    until("the waiter has the new pair", async || {
        hasty
            .token()
            .await
            .is_ok_and(|found| found.pair_id() == token.pair_id())
    })
    .await;
    assert_eq!(scene.counts(), (1, 0, 0));
}

/// A waiter with a valid token gets that token, and does not wait for the rotation of another instance.
async fn n6_a_waiter_with_a_valid_token_gets_that_and_does_not_wait_for_another_instance(
    scene: Scene,
) {
    let (holder, waiter) = (scene.node().await, scene.node().await);
    let before = waiter.token().await.unwrap();
    // The token is inside the leeway, where a request waits for a rotation.
    scene.pass(TTL - seconds(5)).await;
    let (hold, caller) = scene.call_in_flight(&holder).await;
    let served = waiter.token().await.unwrap();
    assert_eq!(served.pair_id(), before.pair_id());
    assert!(!caller.is_finished());
    drop(hold);
    let token = answer(caller).await.unwrap();
    until("the waiter has the new pair", async || {
        waiter.token().await.unwrap().pair_id() == token.pair_id()
    })
    .await;
    assert_eq!(scene.counts(), (1, 0, 0));
}

/// Waiters at any instance do not start another rotation.
async fn n12_waiters_that_queue_at_any_instance_do_not_start_another_rotation(scene: Scene) {
    let [one, other] = scene.due_nodes().await;
    let (hold, first) = scene.call_in_flight(&one).await;
    let mut callers = vec![first];
    callers.extend((0..50).flat_map(|_| [one.call(), other.call()]));
    other.line.waited(1).await;
    drop(hold);
    let token = common_token(callers).await;
    // An instance that is called after the rotation does not spend a token either.
    for node in [&one, &other] {
        assert_eq!(node.token().await.unwrap().pair_id(), token.pair_id());
        assert!(!node.status().is_rotating);
    }
    assert_eq!(scene.counts(), (1, 0, 0));
}

/// An instance that is delayed between its load and its lease reads the new pair and sends nothing.
async fn n14_fm2_an_instance_delayed_between_load_and_lease_reads_the_new_pair(scene: Scene) {
    let [delayed, other] = scene.due_nodes().await;
    let shut = delayed.line.stop_swaps();
    let late = delayed.call();
    // The instance has loaded the old pair without a lease.
    shut.reached().await;
    let token = other.token().await.unwrap();
    drop(shut);
    assert_eq!(common_token([late]).await.expose(), token.expose());
    assert_eq!(scene.counts(), (1, 0, 0));
    // The delayed instance can be the next holder.
    scene.expire().await;
    delayed.token().await.unwrap();
    assert_eq!(scene.counts(), (2, 0, 0));
}

/// An instance that is delayed before its lease waits for the pair of the current holder.
async fn n14_an_instance_delayed_before_its_lease_waits_for_the_pair_of_the_holder(scene: Scene) {
    let [delayed, other] = scene.due_nodes().await;
    let shut = delayed.line.stop_swaps();
    let late = delayed.call();
    shut.reached().await;
    let (hold, caller) = scene.call_in_flight(&other).await;
    drop(shut);
    delayed.line.waited(1).await;
    drop(hold);
    common_token([late, caller]).await;
    assert_eq!(scene.counts(), (1, 0, 0));
}

/// Instances that fall due together send one request, and each makes at most two swaps.
async fn fm21_instances_that_fall_due_together_make_one_call_and_none_storms_the_store(
    scene: Scene,
) {
    let timed = |builder: evertoken::Builder| builder.strategy(BackgroundTimer::default());
    let nodes: [_; 8] = scene.nodes_with(timed).await;
    for round in 1..=3 {
        let before: Vec<_> = nodes.iter().map(|node| node.line.swaps()).collect();
        // All timers fire, and callers do not ask for a token.
        scene.pass(seconds(481)).await;
        until("every instance has the new pair", async || {
            let version = |node: &crate::scene::Node| node.status().pair_id.unwrap().version;
            nodes.iter().all(|node| version(node) == round + 1)
        })
        .await;
        assert_eq!(scene.counts(), (round, 0, 0));
        let swaps = nodes
            .iter()
            .zip(before)
            .map(|(node, before)| node.line.swaps() - before);
        // An instance makes one swap for a lease that comes too late, or two swaps for a lease in time and a commit.
        let swaps: Vec<_> = swaps.collect();
        assert!(swaps.iter().all(|swaps| *swaps <= 2), "{swaps:?}");
        assert!(swaps.iter().sum::<u64>() <= 9, "{swaps:?}");
    }
}
