//! Only the server's own words end a session, and only they are an error at once.

use evertoken::testing::Fault;
use evertoken::{EndReason, EndpointError, Error};

use crate::cluster::{
    Cluster, Counts, callers, ends, is_refused, page, reason, refusal, seconds, served,
};
use crate::support::loaded;

#[tokio::test(start_paused = true)]
async fn a_page_with_any_status_ends_nothing() {
    for fault in [
        page(400),
        page(401),
        page(403),
        page(404),
        page(200),
        page(301),
        Fault::status(400),
        Fault::status(401),
    ] {
        let cluster = Cluster::strict();
        let nodes = [cluster.begun_node().await, cluster.warm_node().await];
        let mut events = nodes.each_ref().map(evertoken::TokenManager::subscribe);
        cluster.expire().await;
        cluster.server.fail_next(fault.clone());
        let waiting = nodes.iter().flat_map(|node| callers(node, 20));
        for caller in waiting.collect::<Vec<_>>() {
            let token = caller.await.unwrap();
            assert!(token.is_ok(), "{fault:?}: {token:?}");
        }
        assert_eq!(cluster.counts(), Counts::exchanges(3), "{fault:?}");
        let record = cluster.json().await;
        assert_eq!(record["state"]["is"], "active");
        assert!(events.iter_mut().all(|events| ends(events).is_empty()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_at_the_first_call_is_an_error_at_once_that_quotes_it_and_ends_nothing() {
    let (cluster, node) = Cluster::warm().await;
    let mut events = node.subscribe();
    cluster.expire().await;
    cluster.server.fail_next(page(404));
    let start = tokio::time::Instant::now();
    let error = node.token().await.unwrap_err();
    assert!(start.elapsed() < seconds(1));
    let Some(EndpointError::Page { quote, .. }) = error.endpoint() else {
        panic!("{error:?}");
    };
    assert_eq!(quote.status, Some(404));
    let start = quote.start.as_deref();
    assert!(start.is_some_and(|start| start.contains("not the page")));
    assert!(!error.needs_sign_in() && error.is_retryable());
    cluster.clock.advance(error.retry_after().unwrap()).await;
    node.token().await.unwrap();
    cluster.assert_exchanges(2);
    assert_eq!(ends(&mut events), []);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_refused_after_a_first_success_waits_until_it_is_accepted_again() {
    for code in ["invalid_client", "unauthorized_client", "invalid_request"] {
        let (cluster, node) = Cluster::begun().await;
        let mut events = node.subscribe();
        cluster.expire().await;
        cluster.server.fail_always(Some(refusal(401, code)));
        let waiting = callers(&node, 20);
        cluster.clock.advance(seconds(20)).await;
        let failure = node.status().failure.unwrap();
        assert!(is_refused(&failure, code), "{failure:?}");
        cluster.server.fail_always(None);
        served(waiting).await;
        // The requests are sent at 0, 2, 6, 14 and 30 s.
        cluster.assert_exchanges(6);
        assert_eq!(ends(&mut events), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stays_refused_is_an_error_with_the_servers_words_at_the_deadline() {
    let (cluster, node) = Cluster::begun().await;
    cluster.expire().await;
    cluster
        .server
        .fail_always(Some(refusal(401, "invalid_client")));
    let start = tokio::time::Instant::now();
    let error = node.token().await.unwrap_err();
    assert!(start.elapsed() <= seconds(35));
    assert!(is_refused(&error, "invalid_client"), "{error:?}");
    assert!(!error.needs_sign_in());
}

#[tokio::test(start_paused = true)]
async fn a_wrong_secret_at_the_first_call_is_an_error_at_once() {
    let cluster = Cluster::ruled(|server| server.client("importer", "secret"));
    let wrong = cluster.endpoint().with_client("importer", "wrong");
    let node = loaded(cluster.node_builder_at(wrong)).await;
    cluster.expire().await;
    let start = tokio::time::Instant::now();
    for _ in 0..20 {
        let error = node.token().await.unwrap_err();
        let Some(EndpointError::Refused { quote, .. }) = error.endpoint() else {
            panic!("{error:?}");
        };
        assert_eq!(quote.code.as_deref(), Some("invalid_client"));
        assert!(matches!(error, Error::Endpoint { .. }));
        assert!(!error.is_retryable() && !error.needs_sign_in());
    }
    assert_eq!(start.elapsed(), seconds(0));
    cluster.assert_exchanges(1);
    let refresh = cluster.first.refresh.as_ref().unwrap();
    assert!(cluster.server.is_live_refresh(refresh.expose()));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_needs_the_user_is_an_error_at_once_and_is_asked_again_once_a_minute() {
    for code in ["interaction_required", "consent_required", "login_required"] {
        let (cluster, node) = Cluster::begun().await;
        let mut events = node.subscribe();
        cluster.expire().await;
        cluster.server.fail_always(Some(refusal(400, code)));
        let start = tokio::time::Instant::now();
        let error = node.token().await.unwrap_err();
        assert_eq!(start.elapsed(), seconds(0));
        assert!(error.needs_sign_in(), "{error:?}");
        for _ in 0..600 {
            assert!(node.token().await.is_err_and(|error| error.needs_sign_in()));
            cluster.clock.advance(seconds(1)).await;
        }
        assert_eq!(cluster.server.exchanges(), 1 + 10);
        // The session stays active for the user who answers.
        cluster.server.fail_always(None);
        cluster.clock.advance(seconds(60)).await;
        node.token().await.unwrap();
        assert_eq!(ends(&mut events), []);
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_carries_the_servers_words_to_every_instance_and_process() {
    let (cluster, one, two) = Cluster::two().await;
    cluster.expire().await;
    let body =
        r#"{"error":"invalid_grant","error_description":"the session was ended"}"#.to_owned();
    cluster.server.fail_next(Fault::Status {
        status: 400,
        body,
        retry_after: None,
    });
    let restarted = cluster.node();
    for node in [one, two, restarted] {
        let error = node.token().await.unwrap_err();
        let Some(EndReason::Rejected(word)) = reason(&error) else {
            panic!("{error:?}");
        };
        assert_eq!(word.code(), Some("invalid_grant"));
        assert_eq!(word.description(), Some("the session was ended"));
    }
    assert_eq!(cluster.server.exchanges(), 2);
}
