//! A 500 from the token endpoint says nothing of the token: it is taken for an answer that was lost.

use evertoken::testing::{Fault, GraceAnswer, Reuse};
use evertoken::{EndReason, Error};

use crate::cluster::{Cluster, QUARANTINE, ends, reason, seconds};

/// The server failed before it rotated, or after.
fn faults() -> [Fault; 2] {
    let body = r#"{"error":"server_error"}"#.to_owned();
    [
        Fault::Status {
            status: 500,
            body: body.clone(),
            retry_after: None,
        },
        Fault::Body { status: 500, body },
    ]
}

#[tokio::test(start_paused = true)]
async fn t14_after_a_500_a_strict_server_is_not_sent_the_token_again_before_the_quarantine_is_over()
{
    for fault in faults() {
        let cluster = Cluster::strict();
        let (one, two) = (cluster.warm_node().await, cluster.warm_node().await);
        cluster.expire().await;
        cluster.server.fail_next(fault);
        let start = tokio::time::Instant::now();
        while start.elapsed() < QUARANTINE - seconds(2) {
            for node in [&one, &two] {
                let asking = tokio::time::timeout(seconds(1), node.token());
                assert!(!matches!(asking.await, Ok(Ok(_))));
            }
            assert_eq!(cluster.counts(), (1, 0, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn t14_where_the_token_was_not_consumed_the_last_resort_saves_the_session() {
    let [fault, _] = faults();
    let cluster = Cluster::strict();
    let node = cluster.patient_node().await;
    let mut events = node.subscribe();
    cluster.expire().await;
    cluster.server.fail_next(fault);
    assert_eq!(node.token().await.unwrap().identity().version, 2);
    assert_eq!(cluster.counts(), (2, 0, 0));
    assert_eq!(ends(&mut events), []);
}

#[tokio::test(start_paused = true)]
async fn t14_where_it_was_the_session_ends_once_and_typed() {
    let [_, fault] = faults();
    for (last_resort, end, counts) in [
        (true, EndReason::Rejected, (2, 1, 1)),
        (false, EndReason::OutcomeUnknown, (1, 0, 0)),
    ] {
        let mut cluster = Cluster::strict();
        cluster.profile = cluster.profile.last_resort(last_resort);
        let node = cluster.patient_node().await;
        let mut events = node.subscribe();
        cluster.expire().await;
        cluster.server.fail_next(fault.clone());
        let error = node.token().await.unwrap_err();
        assert_eq!(reason(&error), Some(end.clone()));
        assert!(node.token().await.unwrap_err().needs_sign_in());
        assert_eq!(cluster.counts(), counts);
        assert_eq!(ends(&mut events), [end]);
    }
}

#[tokio::test(start_paused = true)]
async fn t14_a_server_with_a_replay_window_is_asked_again_inside_it() {
    for (fault, replays) in faults().into_iter().zip([0, 1]) {
        let window = seconds(60);
        let mut cluster = Cluster::new(|server| {
            server.reuse(Reuse::Grace {
                window,
                answer: GraceAnswer::SamePair,
            })
        });
        cluster.profile = cluster.profile.replay_window(window);
        let node = cluster.warm_node().await;
        cluster.expire().await;
        cluster.server.fail_next(fault);
        let start = tokio::time::Instant::now();
        let token = node.token().await.unwrap();
        assert!(start.elapsed() < seconds(5));
        assert_eq!(token.identity().version, 2);
        assert_eq!(cluster.counts(), (2, replays, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn t14_a_valid_token_is_served_throughout() {
    for fault in faults() {
        let cluster = Cluster::strict();
        let node = cluster.warm_node().await;
        cluster.server.fail_next(fault);
        let rotating = tokio::spawn({
            let node = node.clone();
            async move { node.rotate().await }
        });
        cluster.server.arrived(1).await;
        for _ in 0..30 {
            assert!(node.token().await.is_ok());
            cluster.clock.advance(seconds(1)).await;
        }
        assert_eq!(cluster.counts(), (1, 0, 0));
        let error = rotating.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    }
}
