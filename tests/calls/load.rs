//! Many callers at once: before the first token, and while tokens expire.

use std::sync::Arc;
use std::time::Duration;

use evertoken::testing::{AuthorizationServer, ImportApi};
use evertoken::{Builder, TokenManager, TokenPair};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::ways::{Call, Way, ways};
use crate::world::{SECOND, World};

const CALLERS: usize = 64;

ways! {
    #[tokio::test(start_paused = true)]
    every way:
    callers_without_a_token_share_one_exchange,
    callers_that_cross_expiries_meet_no_401,
}

ways! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    every way:
    i10_callers_on_many_threads_without_a_token_share_one_exchange,
}

/// The statuses of many calls at once.
async fn at_once<W: Way>(way: &W, url: &str) -> Vec<u16> {
    let start = Arc::new(Barrier::new(CALLERS));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (way, start, call) = (way.clone(), start.clone(), Call::post(url));
        callers.spawn(async move {
            start.wait().await;
            way.status(call).await
        });
    }
    callers.join_all().await
}

/// The pair of a new process that got only a refresh token.
fn refresh_alone(server: &AuthorizationServer) -> TokenPair {
    TokenPair::from_refresh_token(server.issue().refresh.unwrap())
}

async fn callers_without_a_token_share_one_exchange<W: Way>() {
    let world = World::of(|server| server.latency(SECOND)).await;
    let tokens = world.builder(&refresh_alone(&world.server));
    one_exchange_serves_all::<W>(&world.server, tokens).await;
}

async fn i10_callers_on_many_threads_without_a_token_share_one_exchange<W: Way>() {
    let latency = Duration::from_millis(20);
    let server = AuthorizationServer::builder().latency(latency).build();
    let expired = server.issue().expires_in(Duration::from_nanos(1));
    for pair in [refresh_alone(&server), expired] {
        let tokens = TokenManager::builder(server.endpoint()).seed(pair);
        one_exchange_serves_all::<W>(&server, tokens).await;
    }
}

async fn one_exchange_serves_all<W: Way>(server: &AuthorizationServer, tokens: Builder) {
    let api = ImportApi::builder(server).build();
    let http = api.listen().await.unwrap();
    let tokens = tokens.origin(http.origin()).build().unwrap();
    let before = server.exchanges();
    let statuses = at_once(&W::new(&tokens), http.url()).await;
    assert_eq!(statuses, [200; CALLERS]);
    assert_eq!((api.calls(), api.unauthorized()), (CALLERS as u64, 0));
    assert_eq!((server.exchanges() - before, server.replays()), (1, 0));
}

/// Three minutes of tokens that live for one minute.
async fn callers_that_cross_expiries_meet_no_401<W: Way>() {
    const CALLERS: u64 = 16;
    const CALLS: u64 = 180;
    let latency = Duration::from_millis(50);
    let world = World::of(|server| server.access_ttl(60 * SECOND).latency(latency)).await;
    let way = W::new(&world.tokens);
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (way, call) = (way.clone(), Call::post(world.http.url()));
        callers.spawn(async move {
            tokio::time::sleep(Duration::from_millis(caller)).await;
            for _ in 0..CALLS {
                assert_eq!(way.status(call.clone()).await, 200);
                tokio::time::sleep(SECOND).await;
            }
        });
    }
    callers.join_all().await;
    assert_eq!(world.counts(), (CALLERS * CALLS, 0, 3));
    assert_eq!(world.server.replays(), 0);
}
