//! Proxies and gateways between a client and its server answer too, and do not end a session. A page, a gateway's
//! answer and a refused connection each cost a pause.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use evertoken::{MemoryStore, OnRequest};
use futures_util::future::join_all;

use super::callers::tokens_of;
use super::cases;
use crate::api::Api;
use crate::judge::{Judge, Rules, Server};
use crate::relay::{Page, Seen, Step};
use crate::world::{SHORTEST_INTERVAL, World, reject, without_a_token};

cases![
    a_page_in_mid_session_costs_a_pause_and_no_session,
    callers_of_all_instances_send_once_in_a_pause,
    a_job_outlives_pages_without_a_failed_call,
    a_job_outlives_refused_connections_without_a_failed_call,
];

/// The answers of proxies, gateways, firewalls and captive portals.
fn pages() -> Vec<Page> {
    let statuses = [200, 301, 400, 401, 403, 404, 408, 413, 500, 502, 503, 504];
    let html = statuses.map(Page::html);
    let bare = [400, 401, 503].map(|status| Page {
        status,
        content_type: "text/plain",
        body: "",
    });
    html.into_iter().chain(bare).collect()
}

async fn a_page_in_mid_session_costs_a_pause_and_no_session(judge: Arc<Judge>) {
    let server = Arc::new(judge.server(Rules::CALM).await);
    let sessions = pages().into_iter().map(async |page| {
        let world = World::of(&judge, &server).await;
        let tokens = world.begun().await;
        world.relay.next(Step::Page(page.clone()));
        let token = without_a_token(&tokens).await;
        let token = token.unwrap_or_else(|error| panic!("{page:?}: {error:?}"));
        assert!(server.is_live_access(token.expose()).await, "{page:?}");
        let seen = Seen {
            arrived: 3,
            exchanges: 2,
            repeated: 0,
            issued: 2,
            revocations: 0,
        };
        assert_eq!(world.relay.seen(), seen, "{page:?}");
    });
    join_all(sessions).await;
}

async fn callers_of_all_instances_send_once_in_a_pause(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let store = MemoryStore::new();
    let instance = || {
        let builder = world.refreshing(&world.first.refresh_token).jitter(0.0);
        let builder = builder.shortest_interval(SHORTEST_INTERVAL);
        builder.store(store.clone()).build().unwrap()
    };
    let instances = [instance(), instance(), instance()];
    for tokens in &instances {
        tokens.token().await.unwrap();
    }
    world.assert_rotations(1);
    for _ in 0..2 {
        world.relay.next(Step::Page(Page::html(503)));
    }
    for tokens in &instances {
        reject(tokens).await;
    }
    let served = tokens_of(&instances.each_ref(), 20).await;
    assert_eq!(served.len(), 1);
    let served = served.iter().next().unwrap();
    assert!(world.server.is_live_access(served).await);
    assert_eq!(world.relay.seen().arrived, 4);
    world.assert_exchanges(2, 0, 2);
}

async fn a_job_outlives_pages_without_a_failed_call(judge: Arc<Judge>) {
    let server = Arc::new(judge.server(Rules::BRISK).await);
    let outages = [200, 403, 404, 500, 502, 503, 504].map(Page::html);
    let jobs = outages.into_iter().map(async |page| {
        let world = World::of(&judge, &server).await;
        let status = page.status;
        let during = async || {
            world.relay.always(Some(Step::Page(page.clone())));
            tokio::time::sleep(OUTAGE).await;
            world.relay.always(None);
        };
        job(&world, &server, &format!("{status}"), during).await;
        // The pauses are 2 s and longer. The first pause may begin while the token is still valid.
        let seen = world.relay.seen();
        assert!(seen.arrived - seen.exchanges <= 5, "{status}: {seen:?}");
        assert_eq!(seen.repeated, 0, "{status}");
    });
    join_all(jobs).await;
}

async fn a_job_outlives_refused_connections_without_a_failed_call(judge: Arc<Judge>) {
    let server = Arc::new(judge.server(Rules::BRISK).await);
    let world = World::of(&judge, &server).await;
    let during = async || {
        world.relay.refuse().await;
        tokio::time::sleep(OUTAGE).await;
        world.relay.accept_again();
    };
    job(&world, &server, "refused", during).await;
    world.assert_each_once();
}

/// An outage that is longer than the lifetime of an access token and the first pause together.
const OUTAGE: Duration = Duration::from_secs(8);

/// The number of calls after an outage, of 50 ms each. They last until the token of the outage has expired.
const CALLS_AFTER: usize = 80;

/// Sends records before, during and after an outage. The session is live at the end.
async fn job(world: &World, server: &Arc<Server>, name: &str, during: impl AsyncFnOnce()) {
    let api = Api::start(Arc::clone(server)).await;
    let builder = world.builder(OnRequest::default()).origin(api.origin());
    let tokens = builder.build().unwrap();
    tokens.rotate().await.unwrap();
    let http = reqwest::Client::new();
    let calls = Cell::new(0);
    let call = async || {
        let request = http.post(api.url()).body("one record\x1D");
        let answer = tokens.send(request).await;
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(answer.status(), 200, "{name}");
        calls.set(calls.get() + 1);
    };
    call().await;
    let is_over = Cell::new(false);
    let outage = async {
        during().await;
        is_over.set(true);
    };
    let work = async {
        while !is_over.get() {
            call().await;
        }
    };
    tokio::join!(outage, work);
    for _ in 0..CALLS_AFTER {
        call().await;
    }
    assert_eq!(api.records(), calls.get(), "{name}");
    let token = tokens.token().await.unwrap();
    assert!(server.is_live_access(token.expose()).await, "{name}");
}
