//! Callers wait through a failure that passes by itself, however long it lasts.

use evertoken::testing::{EndpointCall, Fault, FaultyEndpoint};
use evertoken::{Error, TokenManager};

use crate::cluster::{Cluster, callers, ends, is_503, page, seconds, served};

/// The cause of an outage.
#[derive(Debug, Clone, Copy)]
enum Outage {
    Refused,
    /// An answer of this status with an empty body.
    Empty(u16),
    Page(u16),
    Store,
}

impl Outage {
    const OF_THE_SERVER: [Self; 4] = [
        Self::Refused,
        Self::Empty(503),
        Self::Empty(500),
        Self::Page(404),
    ];

    fn set(self, cluster: &Cluster, is_on: bool) {
        let fault = match self {
            Self::Refused => return cluster.server.set_reachable(!is_on),
            Self::Store => return cluster.store.set_down(is_on),
            Self::Empty(status) => Fault::status(status),
            Self::Page(status) => page(status),
        };
        cluster.server.fail_always(is_on.then_some(fault));
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_without_a_token_waits_through_an_outage_of_20_s() {
    let outages = Outage::OF_THE_SERVER.into_iter();
    for outage in outages.chain([Outage::Store]) {
        let (cluster, node) = Cluster::begun().await;
        let mut events = node.subscribe();
        cluster.expire().await;
        outage.set(&cluster, true);
        let waiting = callers(&node, 20);
        cluster.clock.advance(seconds(20)).await;
        assert!(waiting.iter().all(|caller| !caller.is_finished()));
        outage.set(&cluster, false);
        for caller in waiting {
            let token = caller.await.unwrap();
            let token = token.unwrap_or_else(|error| panic!("{outage:?}: {error:?}"));
            assert_eq!(token.pair_id().version, 3, "{outage:?}");
        }
        cluster.assert_unharmed();
        assert_eq!(ends(&mut events), []);
    }
}

#[tokio::test(start_paused = true)]
async fn before_the_first_success_a_caller_waits_through_every_outage_except_a_page() {
    for outage in [
        Outage::Refused,
        Outage::Empty(503),
        Outage::Empty(500),
        Outage::Store,
    ] {
        let (cluster, node) = Cluster::expired().await;
        outage.set(&cluster, true);
        let waiting = callers(&node, 1).remove(0);
        cluster.clock.advance(seconds(20)).await;
        outage.set(&cluster, false);
        let token = waiting.await.unwrap();
        assert!(token.is_ok(), "{outage:?}: {token:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_valid_token_is_served_at_once_in_an_outage() {
    let outages = Outage::OF_THE_SERVER.into_iter();
    for outage in outages.chain([Outage::Store]) {
        let (cluster, node) = Cluster::begun().await;
        // The token is due, and valid for 5 s more.
        cluster.clock.advance(seconds(595)).await;
        outage.set(&cluster, true);
        let start = tokio::time::Instant::now();
        for token in served(callers(&node, 20)).await {
            assert_eq!(token.pair_id().version, 2);
        }
        assert!(start.elapsed() < seconds(1), "{outage:?}");
    }
}

/// Two hours in which callers of all instances ask every second. Returns the number of requests.
async fn two_hours(cluster: &Cluster, outage: Outage, instances: usize) -> u64 {
    let endpoint = FaultyEndpoint::new(cluster.endpoint());
    let requests = || endpoint.calls(EndpointCall::Refresh);
    let node = || cluster.node_builder_at(endpoint.clone()).build().unwrap();
    let nodes: Vec<TokenManager> = (0..instances).map(|_| node()).collect();
    for node in &nodes {
        node.token().await.unwrap();
    }
    nodes[0].rotate().await.unwrap();
    cluster.expire().await;
    let before = requests();
    outage.set(cluster, true);
    for _ in 0..2 * 60 * 60 {
        for node in &nodes {
            drop(callers(node, 1));
        }
        cluster.clock.advance(seconds(1)).await;
    }
    outage.set(cluster, false);
    let sent = requests() - before;
    let mut events: Vec<_> = nodes.iter().map(TokenManager::subscribe).collect();
    for _ in 0..60 {
        for node in &nodes {
            drop(callers(node, 1));
        }
        cluster.clock.advance(seconds(1)).await;
    }
    for node in &nodes {
        let token = node.try_token().unwrap();
        assert_eq!(token.pair_id().version, 3, "{outage:?} {instances}");
    }
    for events in &mut events {
        assert_eq!(ends(events), []);
    }
    assert_eq!(requests() - before, sent + 1);
    sent
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_two_hours_costs_at_most_150_requests_of_all_instances() {
    for outage in Outage::OF_THE_SERVER {
        for instances in [1, 2, 4] {
            let day = seconds(24 * 60 * 60);
            let cluster = Cluster::ruled(|server| server.refresh_ttl(day));
            let sent = two_hours(&cluster, outage, instances).await;
            // The pauses are 2, 4, 8, 16 and 32 s, then a minute each.
            assert!(
                (100..=150).contains(&sent),
                "{outage:?} {instances}: {sent}"
            );
            cluster.assert_unharmed();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_waits_for_a_store_that_is_down_for_two_hours_and_sends_nothing() {
    let cluster = Cluster::strict();
    assert_eq!(two_hours(&cluster, Outage::Store, 2).await, 0);
}

/// A caller asks again and again, as a job does that ignores the pauses.
#[tokio::test(start_paused = true)]
async fn callers_in_a_long_outage_get_the_failure_when_the_next_attempt_is_after_their_deadline() {
    let (cluster, node) = Cluster::begun().await;
    cluster.expire().await;
    Outage::Empty(503).set(&cluster, true);
    let start = tokio::time::Instant::now();
    let failed = |error: Error| {
        assert!(
            matches!(error, Error::Endpoint { .. }) && is_503(&error),
            "{error:?}"
        );
        error.retry_after().unwrap().as_secs()
    };
    // The attempts are made at 0, 2, 6, 14 and 30 s; the next one comes at 62 s, and the deadline is at 35 s.
    let retry_after = failed(node.token().await.unwrap_err());
    assert_eq!((start.elapsed().as_secs(), retry_after), (30, 32));
    // The next attempt is before the deadline of a caller that comes 1 s later.
    cluster.clock.advance(seconds(1)).await;
    let retry_after = failed(node.token().await.unwrap_err());
    assert_eq!((start.elapsed().as_secs(), retry_after), (62, 60));
    // After that attempt, the next one is after every deadline.
    let retry_after = failed(node.token().await.unwrap_err());
    assert_eq!((start.elapsed().as_secs(), retry_after), (62, 60));
    assert_eq!(failed(node.try_token().unwrap_err()), 60);
}
