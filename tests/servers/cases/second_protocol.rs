//! What stands between a client and its server answers too, and ends no session. Only the server's own words do.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use evertoken::{
    EndReason, Error, MemoryStore, OnRequest, Rejection, Token, TokenManager, TokenPair,
};
use futures_util::future::join_all;

use super::cases;
use crate::api::Api;
use crate::judge::{Judge, Reuse, Rules, Server};
use crate::relay::{Page, Seen, Step};
use crate::world::World;

cases![
    a_page_costs_a_pause_and_no_session,
    callers_of_all_instances_send_once_in_a_pause,
    a_job_outlives_an_outage_without_a_failed_call,
    a_job_outlives_refused_connections_without_a_failed_call,
    answers_that_are_lost_inside_a_window_lose_no_session,
    an_answer_that_hangs_inside_a_window_loses_no_session,
    a_commit_behind_a_page_ends_the_session_in_the_servers_words_at_the_second_sending,
    an_end_has_the_servers_words,
    a_page_at_the_first_call_is_an_error_at_once,
    a_wrong_secret_at_the_first_call_is_an_error_at_once,
    a_wrong_secret_later_is_waited_through_and_ends_nothing,
];

/// The two servers differ in their grace windows only.
const WINDOWS: [Rules; 2] = [
    Rules::CALM.reuse(Reuse::Grace(10)),
    Rules::CALM.reuse(Reuse::Grace(30)),
];

/// Of each window, and each way to lose an answer.
const SESSIONS: usize = 50;

/// What proxies, gateways, firewalls and captive portals answer.
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

/// A manager that has rotated once, so that its record has a committed number.
async fn begun(world: &World) -> TokenManager {
    let builder = world
        .builder(OnRequest::default())
        .jitter(0.0)
        .shortest_interval(Duration::from_millis(10));
    let tokens = builder.build().unwrap();
    tokens.rotate().await.unwrap();
    tokens
}

/// What a caller gets that has no token any more.
async fn without_a_token(tokens: &TokenManager) -> Result<Token, Error> {
    let token = tokens.token().await.unwrap();
    // One that was issued in the last 10 ms is served on.
    while tokens.reject(&token) == Rejection::TooSoon {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokens.token().await
}

async fn a_page_costs_a_pause_and_no_session(judge: Arc<Judge>) {
    let server = Arc::new(judge.server(Rules::CALM).await);
    let sessions = pages().into_iter().map(async |page| {
        let world = World::of(&judge, &server).await;
        let tokens = begun(&world).await;
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
        let seed = TokenPair::from_refresh_token(world.first.refresh_token.as_str());
        let builder = TokenManager::builder(world.endpoint()).strategy(OnRequest::default());
        let builder = builder
            .jitter(0.0)
            .shortest_interval(Duration::from_millis(10));
        builder.store(store.clone()).seed(seed).build().unwrap()
    };
    let instances = [instance(), instance(), instance()];
    for tokens in &instances {
        tokens.token().await.unwrap();
    }
    world.assert_rotations(1);
    for _ in 0..2 {
        world.relay.next(Step::Page(Page::html(503)));
    }
    let callers = instances
        .iter()
        .flat_map(|tokens| (0..20).map(|_| without_a_token(tokens)));
    let served = join_all(callers).await;
    let served: HashSet<_> = served
        .into_iter()
        .map(|token| token.unwrap().expose().to_owned())
        .collect();
    assert_eq!(served.len(), 1);
    let seen = world.relay.seen();
    assert_eq!(
        (seen.arrived, seen.exchanges, seen.repeated),
        (4, 2, 0),
        "{seen:?}"
    );
}

async fn a_job_outlives_an_outage_without_a_failed_call(judge: Arc<Judge>) {
    let server = Arc::new(judge.server(Rules::BRISK).await);
    let outages = [200, 403, 404, 500, 502, 503, 504].map(Page::html);
    let jobs = outages.into_iter().map(async |page| {
        let world = World::of(&judge, &server).await;
        let status = page.status;
        let during = async || {
            world.relay.always(Some(Step::Page(page.clone())));
            tokio::time::sleep(Duration::from_secs(8)).await;
            world.relay.always(None);
        };
        job(&world, &server, &format!("{status}"), during).await;
        // Pauses of 2 s and more, some of them begun while the token was valid.
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
        tokio::time::sleep(Duration::from_secs(8)).await;
        world.relay.accept_again();
    };
    job(&world, &server, "refused", during).await;
    let seen = world.relay.seen();
    assert_eq!(
        (seen.repeated, seen.issued),
        (0, seen.exchanges),
        "{seen:?}"
    );
}

/// Sends records before, during and after something, and ends with a live session.
async fn job(world: &World, server: &Arc<Server>, name: &str, during: impl AsyncFnOnce()) {
    let api = Api::start(Arc::clone(server)).await;
    let builder = world.builder(OnRequest::default()).origin(api.origin());
    let tokens = builder.build().unwrap();
    tokens.rotate().await.unwrap();
    let http = reqwest::Client::new();
    let mut calls = 0;
    let mut call = async || {
        let answer = tokens
            .send(http.post(api.url()).body("one record\x1D"))
            .await;
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(answer.status(), 200, "{name}");
        calls += 1;
    };
    call().await;
    let is_over = Cell::new(false);
    let over = async {
        during().await;
        is_over.set(true);
    };
    tokio::join!(over, async {
        while !is_over.get() {
            call().await;
        }
    });
    // Over the end of the token that the outage left.
    for _ in 0..80 {
        call().await;
    }
    assert_eq!(api.records(), calls, "{name}");
    let token = tokens.token().await.unwrap();
    assert!(server.is_live_access(token.expose()).await, "{name}");
}

async fn answers_that_are_lost_inside_a_window_lose_no_session(judge: Arc<Judge>) {
    let ways = [Step::Drop, Step::Cut, Step::PageAfter(Page::html(502))];
    for rules in WINDOWS {
        let server = Arc::new(judge.server(rules).await);
        for step in &ways {
            let sessions = (0..SESSIONS).map(async |_| {
                let world = World::of(&judge, &server).await;
                let tokens = begun(&world).await;
                world.relay.next(step.clone());
                let token = without_a_token(&tokens).await;
                let token = token.unwrap_or_else(|error| panic!("{step:?}: {error:?}"));
                assert!(server.is_live_access(token.expose()).await, "{step:?}");
                assert_eq!(world.relay.seen().repeated, 1, "{step:?}");
                // The pair that the second sending brought is not a dead branch.
                tokens.rotate().await.unwrap();
            });
            join_all(sessions).await;
        }
    }
}

/// `timeout` is 6 s shorter than the window.
async fn an_answer_that_hangs_inside_a_window_loses_no_session(judge: Arc<Judge>) {
    let world = World::new(&judge, WINDOWS[0]).await;
    let endpoint = world.endpoint().timeout(Duration::from_secs(4));
    let builder = TokenManager::builder(endpoint).strategy(OnRequest::default());
    let builder = builder
        .jitter(0.0)
        .shortest_interval(Duration::from_millis(10));
    let tokens = builder.seed(world.first.pair()).build().unwrap();
    tokens.rotate().await.unwrap();
    world.relay.next(Step::Delay(Duration::from_secs(60)));
    let token = without_a_token(&tokens).await.unwrap();
    assert!(world.server.is_live_access(token.expose()).await);
    let seen = world.relay.seen();
    assert_eq!(
        (seen.exchanges, seen.repeated, seen.issued),
        (3, 1, 3),
        "{seen:?}"
    );
}

async fn a_commit_behind_a_page_ends_the_session_in_the_servers_words_at_the_second_sending(
    judge: Arc<Judge>,
) {
    let world = World::new(&judge, Rules::CALM).await;
    let tokens = begun(&world).await;
    world.relay.next(Step::PageAfter(Page::html(502)));
    assert_refused(without_a_token(&tokens).await);
    assert_refused(tokens.token().await);
    let seen = world.relay.seen();
    assert_eq!(
        (seen.exchanges, seen.repeated, seen.issued),
        (3, 1, 2),
        "{seen:?}"
    );
}

async fn an_end_has_the_servers_words(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let tokens = begun(&world).await;
    let pair = tokens.token().await.unwrap();
    assert_eq!(world.server.revoke(pair.expose()).await, 200);
    assert_refused(without_a_token(&tokens).await);
    assert_eq!(world.relay.seen().repeated, 0);
}

#[track_caller]
fn assert_refused(answer: Result<Token, Error>) {
    match answer {
        Err(Error::Ended {
            reason: EndReason::Rejected { code, .. },
            ..
        }) => assert_eq!(&*code, "invalid_grant"),
        other => panic!("{other:?}"),
    }
}

/// Nothing was ever committed here, so the URL is probably wrong.
async fn a_page_at_the_first_call_is_an_error_at_once(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    world.relay.next(Step::Page(Page::html(404)));
    let seed = TokenPair::from_refresh_token(world.first.refresh_token.as_str());
    let builder = TokenManager::builder(world.endpoint()).strategy(OnRequest::default());
    let tokens = builder.seed(seed).build().unwrap();
    let error = tokens.token().await.unwrap_err();
    let told = format!("{:?}", error.endpoint());
    assert!(told.contains("404") && told.contains("text/html"), "{told}");
    assert!(!error.needs_sign_in(), "{error:?}");
    assert_eq!(world.relay.seen().arrived, 1);
    // The session goes on when the way is free.
    let token = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            if let Ok(token) = tokens.token().await {
                break token;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert!(
        world
            .server
            .is_live_access(token.await.unwrap().expose())
            .await
    );
}

fn with_a_wrong_secret(world: &World, store: MemoryStore) -> TokenManager {
    let endpoint = world.endpoint().client_secret("wrong");
    let seed = TokenPair::from_refresh_token(world.first.refresh_token.as_str());
    let builder = TokenManager::builder(endpoint).strategy(OnRequest::default());
    builder.store(store).seed(seed).build().unwrap()
}

async fn a_wrong_secret_at_the_first_call_is_an_error_at_once(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let tokens = with_a_wrong_secret(&world, MemoryStore::new());
    let error = tokens.token().await.unwrap_err();
    let told = format!("{:?}", error.endpoint());
    assert!(told.contains("invalid_client"), "{told}");
    assert_eq!(world.relay.seen().arrived, 1);
    assert!(
        world
            .server
            .is_live_refresh(&world.first.refresh_token)
            .await
    );
}

/// A client that has worked here is refused while a deployment is under way.
async fn a_wrong_secret_later_is_waited_through_and_ends_nothing(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let tokens = begun(&world).await;
    world.relay.next(Step::Page(Page {
        status: 401,
        content_type: "application/json",
        body: r#"{"error":"invalid_client"}"#,
    }));
    let token = without_a_token(&tokens).await.unwrap();
    assert!(world.server.is_live_access(token.expose()).await);
}
