//! A 500 from the token endpoint does not say what became of the token: the client treats it like a lost answer.

use std::time::Duration;

use evertoken::testing::{Fault, GraceAnswer, Reuse};
use evertoken::{EndReason, EndpointError, Resend};

use crate::cluster::{Cluster, Counts, ends, reason, refusal, seconds};

/// The server failed before it rotated the token, or afterwards.
fn faults() -> [Fault; 2] {
    let body = r#"{"error":"server_error"}"#.to_owned();
    let after = Fault::Body { status: 500, body };
    [refusal(500, "server_error"), after]
}

/// After a 500 the token is not sent again before the pause is over.
#[tokio::test(start_paused = true)]
async fn t14_after_a_500_the_token_is_not_sent_again_before_the_pause_is_over() {
    for fault in faults() {
        let cluster = Cluster::strict();
        let (one, two) = (cluster.warm_node().await, cluster.warm_node().await);
        cluster.expire().await;
        cluster.server.fail_next(fault);
        let callers = [one, two].map(|node| tokio::spawn(async move { node.token().await }));
        cluster
            .clock
            .advance(seconds(2) - Duration::from_millis(1))
            .await;
        assert!(callers.iter().all(|caller| !caller.is_finished()));
        cluster.assert_exchanges(1);
        cluster.server.arrived(2).await;
    }
}

/// A token that the failing server did not consume is sent again, which saves the session.
#[tokio::test(start_paused = true)]
async fn t14_a_token_that_a_failing_server_did_not_consume_is_sent_again_and_saves_the_session() {
    let [fault, _] = faults();
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
    let [_, fault] = faults();
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
    for (fault, replays) in faults().into_iter().zip([0, 1]) {
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
    let [fault, _] = faults();
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
