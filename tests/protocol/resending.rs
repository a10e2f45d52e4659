//! After an unclear answer, the holder of the lease sends the same token again, as far as the server's profile
//! permits. A 500 is such an answer.

use std::time::Duration;

use evertoken::testing::{Fault, GraceAnswer, Reuse};
use evertoken::{Coordination, EndReason, EndpointError, Error, Resend};

use crate::cluster::{
    Cluster, Counts, LEASE_DURATION, TTL, callers, ends, failures, page, reason, refusal, seconds,
};
use crate::support::{end_of, loaded};

/// Unclear answers, and for each whether the token is probably unspent.
fn unclear() -> [(Fault, bool); 8] {
    [
        (page(404), true),
        (page(400), true),
        (Fault::status(401), true),
        (Fault::status(502), true),
        (Fault::status(503), true),
        (Fault::status(504), true),
        (Fault::status(500), false),
        (Fault::DropBefore, false),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_token_is_sent_again_if_the_profile_permits_and_else_the_session_ends_with_its_access_token()
 {
    for resend in [Resend::Always, Resend::WhenUnavailable, Resend::Never] {
        for (fault, is_unavailable) in unclear() {
            let mut cluster = Cluster::strict();
            cluster.profile = cluster.profile.resend(resend);
            let (one, two) = (cluster.begun_node().await, cluster.warm_node().await);
            let mut events = one.subscribe();
            cluster.expire().await;
            cluster.server.fail_next(fault.clone());
            let is_permitted = match resend {
                Resend::Always => true,
                Resend::WhenUnavailable => is_unavailable,
                _ => false,
            };
            let start = tokio::time::Instant::now();
            if is_permitted {
                assert_eq!(one.token().await.unwrap().pair_id().version, 3);
                assert_eq!(start.elapsed().as_secs(), 2, "{resend:?} {fault:?}");
                assert_eq!(two.token().await.unwrap().pair_id().version, 3);
                assert_eq!(ends(&mut events), []);
                assert_eq!(
                    cluster.counts(),
                    Counts::exchanges(3),
                    "{resend:?} {fault:?}"
                );
            } else {
                let error = one.token().await.unwrap_err();
                assert_eq!(reason(&error), Some(EndReason::OutcomeUnknown));
                // The error names the answer that left the outcome unknown.
                let Error::Ended { source, .. } = &error else {
                    panic!("{error:?}");
                };
                let answer = source.as_deref().and_then(Error::endpoint);
                assert!(answer.is_some_and(EndpointError::is_unclear), "{error:?}");
                assert_eq!(end_of(two.token().await), EndReason::OutcomeUnknown);
                assert!(start.elapsed() < seconds(1));
                assert_eq!(ends(&mut events), [EndReason::OutcomeUnknown]);
                assert_eq!(
                    cluster.counts(),
                    Counts::exchanges(2),
                    "{resend:?} {fault:?}"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_resending_the_access_token_is_served_until_it_expires_and_then_the_session_ends() {
    let cluster = Cluster::without_resending();
    let (one, two) = (cluster.begun_node().await, cluster.warm_node().await);
    let mut events = one.subscribe();
    cluster.clock.advance(TTL / 2).await;
    cluster.server.fail_next(Fault::status(503));
    one.rotate().await.unwrap_err();
    for node in [&one, &two] {
        assert_eq!(node.token().await.unwrap().pair_id().version, 2);
    }
    cluster.clock.advance(TTL / 2 - seconds(2)).await;
    for node in [&one, &two] {
        assert_eq!(node.token().await.unwrap().pair_id().version, 2);
    }
    assert_eq!(ends(&mut events), []);
    cluster.clock.advance(seconds(2)).await;
    for node in [&one, &two] {
        assert_eq!(end_of(node.token().await), EndReason::OutcomeUnknown);
    }
    assert_eq!(ends(&mut events), [EndReason::OutcomeUnknown]);
    cluster.assert_exchanges(2);
}

/// The lease records the kind of answer that left the token doubtful.
#[tokio::test(start_paused = true)]
async fn an_instance_that_takes_a_lease_over_resends_only_as_the_profile_permits() {
    for (fault, is_permitted) in [(Fault::status(503), true), (Fault::DropBefore, false)] {
        let mut cluster = Cluster::strict();
        let one = cluster.begun_node().await;
        cluster.profile = cluster.profile.resend(Resend::WhenUnavailable);
        let two = cluster.warm_node().await;
        cluster.expire().await;
        cluster.server.fail_next(fault.clone());
        one.try_token().unwrap_err();
        cluster.server.arrived(2).await;
        one.shutdown().await.unwrap();
        cluster.clock.advance(seconds(2)).await;
        match two.token().await {
            Ok(token) => assert!(is_permitted && token.pair_id().version == 3, "{fault:?}"),
            Err(error) => {
                assert!(!is_permitted, "{fault:?}: {error:?}");
                assert_eq!(reason(&error), Some(EndReason::OutcomeUnknown));
            }
        }
        assert_eq!(cluster.server.exchanges(), 2 + u64::from(is_permitted));
    }
}

#[tokio::test(start_paused = true)]
async fn without_coordination_a_silence_beside_the_lease_of_another_instance_is_noted_in_it() {
    let mut cluster = Cluster::strict();
    cluster.profile = cluster.profile.resend(Resend::WhenUnavailable);
    let uncoordinated = async || {
        let builder = cluster.node_builder();
        let builder = builder.coordination(Coordination::None);
        loaded(builder.wait(seconds(300))).await
    };
    let (one, two) = (uncoordinated().await, uncoordinated().await);
    cluster.expire().await;
    // The first request gets no answer in time. The second gets a page, and so do the following ones.
    cluster.server.fail_next(Fault::DelayBefore(seconds(3_600)));
    let first = callers(&one, 1);
    cluster.server.arrived(1).await;
    cluster.server.fail_always(Some(Fault::status(503)));
    let second = callers(&two, 1);
    cluster.clock.advance(seconds(25)).await;
    assert_eq!(cluster.server.exchanges(), 5);
    cluster.clock.advance(seconds(60)).await;
    for error in failures(first.into_iter().chain(second)).await {
        assert_eq!(reason(&error), Some(EndReason::OutcomeUnknown), "{error:?}");
    }
    assert_eq!(cluster.server.exchanges(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_strict_server_that_consumed_the_token_behind_a_502_ends_the_session_at_the_second_sending()
 {
    let (cluster, one, two) = Cluster::two().await;
    let mut events = [one.subscribe(), two.subscribe()];
    cluster.expire().await;
    let body = "<html>Bad Gateway</html>".to_owned();
    cluster.server.fail_next(Fault::Body { status: 502, body });
    let start = tokio::time::Instant::now();
    for error in failures([callers(&one, 20), callers(&two, 20)].into_iter().flatten()).await {
        let Some(EndReason::Rejected(word)) = reason(&error) else {
            panic!("{error:?}");
        };
        assert_eq!(word.code(), Some("invalid_grant"));
        assert!(error.needs_sign_in());
    }
    assert_eq!(start.elapsed().as_secs(), 2);
    cluster.clock.advance(LEASE_DURATION * 10).await;
    assert!(one.token().await.is_err() && two.token().await.is_err());
    assert_eq!(
        cluster.counts(),
        Counts::exchanges(3).replays(1).families_revoked(1)
    );
    for events in &mut events {
        assert!(matches!(ends(events)[..], [EndReason::Rejected(_)]));
    }
}

/// A machine may have been copied while the request was out. The copy takes its broken connection for the end of the
/// request, although the request goes on from the original.
#[tokio::test(start_paused = true)]
async fn a_process_that_was_suspended_after_sending_leaves_its_lease_alone_for_its_duration() {
    for slept in [false, true] {
        let cluster = Cluster::strict();
        let node = cluster.patient_node().await;
        node.rotate().await.unwrap();
        cluster.expire().await;
        cluster.server.fail_next(Fault::DropBefore);
        let (hold, waiter) = cluster.call_in_flight(&node).await;
        if slept {
            cluster.clock.suspend(seconds(20));
        }
        let start = tokio::time::Instant::now();
        drop(hold);
        waiter.await.unwrap().unwrap();
        let waited = start.elapsed();
        // The store's clock went on while the process slept.
        let expected = match slept {
            true => LEASE_DURATION - seconds(20),
            false => seconds(2),
        };
        assert!(
            waited >= expected && waited < expected + seconds(6),
            "{slept}: {waited:?}"
        );
        cluster.assert_exchanges(3);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_under_a_lease_that_was_taken_over_meanwhile() {
    let cluster = Cluster::strict();
    let (node, other) = (cluster.patient_node().await, cluster.patient_node().await);
    node.rotate().await.unwrap();
    cluster.expire().await;
    cluster.server.fail_next(Fault::DropBefore);
    let waiter = callers(&node, 1).remove(0);
    cluster.clock.advance(seconds(1)).await;
    // Another instance takes the lease over, with a request of its own that takes a while.
    cluster
        .edit(|record| {
            record["lease"]["owner"] = "2a".into();
            record["lease"]["number"] = record["next_number"].clone();
            record["lease"]["since"] = cluster.store_now().into();
            let next = record["next_number"].as_u64().unwrap() + 1;
            record["next_number"] = next.into();
        })
        .await;
    cluster.clock.advance(LEASE_DURATION - seconds(5)).await;
    assert_eq!(cluster.server.exchanges(), 2);
    assert!(!waiter.is_finished());
    let (token, other) = (waiter.await.unwrap().unwrap(), other.token().await.unwrap());
    assert_eq!(token.pair_id(), other.pair_id());
    cluster.assert_exchanges(3);
}

/// The server failed before it rotated the token, or afterwards.
fn server_errors() -> [Fault; 2] {
    let body = r#"{"error":"server_error"}"#.to_owned();
    let after = Fault::Body { status: 500, body };
    [refusal(500, "server_error"), after]
}

/// After a 500 the token is not sent again before the pause is over.
#[tokio::test(start_paused = true)]
async fn t14_after_a_500_the_token_is_not_sent_again_before_the_pause_is_over() {
    for fault in server_errors() {
        let cluster = Cluster::strict();
        let (one, two) = (cluster.warm_node().await, cluster.warm_node().await);
        cluster.expire().await;
        cluster.server.fail_next(fault);
        let callers = [one, two].map(|node| tokio::spawn(async move { node.token().await }));
        let pause = seconds(2) - Duration::from_millis(1);
        cluster.clock.advance(pause).await;
        assert!(callers.iter().all(|caller| !caller.is_finished()));
        cluster.assert_exchanges(1);
        cluster.server.arrived(2).await;
    }
}

/// A token that the failing server did not consume is sent again, which saves the session.
#[tokio::test(start_paused = true)]
async fn t14_a_token_that_a_failing_server_did_not_consume_is_sent_again_and_saves_the_session() {
    let [fault, _] = server_errors();
    let (cluster, node) = Cluster::warm().await;
    let mut events = node.subscribe();
    cluster.expire().await;
    cluster.server.fail_next(fault);
    assert_eq!(node.token().await.unwrap().pair_id().version, 2);
    cluster.assert_exchanges(2);
    assert_eq!(ends(&mut events), []);
}

/// A token that the failing server consumed ends the session once, with a typed reason.
#[tokio::test(start_paused = true)]
async fn t14_a_token_that_a_failing_server_consumed_ends_the_session_once_with_a_typed_reason() {
    let [_, fault] = server_errors();
    let replayed = Counts::exchanges(2).replays(1).families_revoked(1);
    for (resend, code, counts) in [
        (Resend::Always, Some("invalid_grant"), replayed),
        (Resend::WhenUnavailable, None, Counts::exchanges(1)),
        (Resend::Never, None, Counts::exchanges(1)),
    ] {
        let mut cluster = Cluster::strict();
        cluster.profile = cluster.profile.resend(resend);
        let node = cluster.warm_node().await;
        let mut events = node.subscribe();
        cluster.expire().await;
        cluster.server.fail_next(fault.clone());
        let end = reason(&node.token().await.unwrap_err()).unwrap();
        match (&end, code) {
            (EndReason::Rejected(word), Some(code)) => assert_eq!(word.code(), Some(code)),
            (end, _) => assert_eq!((end, code), (&EndReason::OutcomeUnknown, None)),
        }
        assert!(node.token().await.unwrap_err().needs_sign_in());
        assert_eq!(cluster.counts(), counts);
        assert_eq!(ends(&mut events), [end]);
    }
}

/// After a server error a server with a grace window is asked again inside the window.
#[tokio::test(start_paused = true)]
async fn t14_a_token_is_sent_again_inside_the_grace_window_of_its_server() {
    for (fault, replays) in server_errors().into_iter().zip([0, 1]) {
        let window = seconds(10);
        let answer = GraceAnswer::SamePair;
        let cluster = Cluster::ruled(|server| server.reuse(Reuse::Grace { window, answer }));
        let node = cluster.warm_node().await;
        cluster.expire().await;
        cluster.server.fail_next(fault);
        let start = tokio::time::Instant::now();
        let token = node.token().await.unwrap();
        assert!(start.elapsed() < seconds(3));
        assert_eq!(token.pair_id().version, 2);
        assert_eq!(cluster.counts(), Counts::exchanges(2).replays(replays));
    }
}

/// A valid token is served throughout server errors.
#[tokio::test(start_paused = true)]
async fn t14_a_valid_token_is_served_throughout_server_errors() {
    let [fault, _] = server_errors();
    let (cluster, node) = Cluster::warm().await;
    cluster.server.fail_always(Some(fault));
    let error = node.rotate().await.unwrap_err();
    assert!(
        matches!(error.endpoint(), Some(EndpointError::Unknown { .. })),
        "{error:?}"
    );
    for _ in 0..30 {
        assert!(node.token().await.is_ok());
        cluster.clock.advance(seconds(1)).await;
    }
    // The pair is not due, so that no caller waits for another one.
    cluster.assert_exchanges(1);
}
