//! A session outlives its tokens, on real sockets and in real time; and the fate of the old access token at a rotation.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use evertoken::{BackgroundTimer, OnRequest, OptimisticEarly, RefreshStrategy};
use futures_util::future::join_all;

use super::cases;
use crate::api::Api;
use crate::judge::{Judge, Rules, Server};
use crate::world::{World, rotated};

cases![
    a_job_outlives_its_tokens_with_each_strategy,
    an_hour_of_rotations_spends_each_token_once,
    the_old_access_token_lives_on_or_dies_as_the_profile_says,
    calls_during_rotations_succeed,
];

/// The number of access tokens of 3 s that a job uses, one after the other.
const TOKENS: u64 = 5;

/// The number of calls in flight at once.
const WORKERS: usize = 4;

async fn a_job_outlives_its_tokens_with_each_strategy(judge: Arc<Judge>) {
    let server = Arc::new(judge.server(Rules::BRISK).await);
    tokio::join!(
        job(&judge, &server, OnRequest::default()),
        job(&judge, &server, BackgroundTimer::default()),
        job(&judge, &server, OptimisticEarly::default()),
    );
}

async fn job(judge: &Arc<Judge>, server: &Arc<Server>, strategy: impl RefreshStrategy) {
    let name = format!("{strategy:?}");
    let world = World::of(judge, server).await;
    let api = Api::start(Arc::clone(server)).await;
    let builder = world.builder(strategy).origin(api.origin());
    let tokens = builder.build().unwrap();
    let http = reqwest::Client::new();
    let mut events = tokens.subscribe();
    let (mut calls, mut rotations) = (0, 0);
    while rotations < TOKENS {
        let call = || tokens.send(http.post(api.url()).body("one record\x1D"));
        for answer in join_all((0..WORKERS).map(|_| call())).await {
            assert_eq!(answer.unwrap().status(), 200, "{name}");
            calls += 1;
        }
        rotations += rotated(&mut events);
    }
    let last = tokens.token().await.unwrap();
    tokens.shutdown().await.unwrap();
    rotations += rotated(&mut events);
    assert_eq!(api.records(), calls, "{name}");
    world.assert_rotations(rotations);
    assert!(server.is_live_access(last.expose()).await, "{name}");
    let first = &world.first.refresh_token;
    assert!(!server.is_live_refresh(first).await, "{name}");
}

/// The hour has 60 rotations: one a minute.
async fn an_hour_of_rotations_spends_each_token_once(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let tokens = world.builder(OnRequest::default()).build().unwrap();
    let mut seen = HashSet::from([tokens.token().await.unwrap().expose().to_owned()]);
    for _ in 0..60 {
        let token = tokio::time::timeout(Duration::from_secs(20), tokens.rotate()).await;
        let token = token.unwrap().unwrap();
        let is_new = seen.insert(token.expose().to_owned());
        assert!(is_new, "the server issued the same token twice");
        assert!(world.server.is_live_access(token.expose()).await);
    }
    world.assert_rotations(60);
}

async fn the_old_access_token_lives_on_or_dies_as_the_profile_says(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let old = &world.first.access_token;
    assert!(world.server.is_live_access(old).await);
    let answer = world.server.exchange(&world.first.refresh_token).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["expires_in"], Rules::CALM.access_ttl);
    let new = answer.text("access_token");
    assert!(world.server.is_live_access(new).await);
    let is_live = world.server.is_live_access(old).await;
    assert_eq!(is_live, !judge.old_access_dies());
}

/// A call whose token dies while the request travels is sent again with the new token.
async fn calls_during_rotations_succeed(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let api = Api::start(Arc::clone(&world.server)).await;
    let builder = world.builder(OnRequest::default()).origin(api.origin());
    let tokens = builder.build().unwrap();
    let http = reqwest::Client::new();
    for _ in 0..10 {
        let calls = (0..8).map(|_| tokens.send(http.post(api.url()).body("a\x1D")));
        let (rotated, answers) = tokio::join!(tokens.rotate(), join_all(calls));
        rotated.unwrap();
        for answer in answers {
            assert_eq!(answer.unwrap().status(), 200);
        }
    }
    assert_eq!(api.records(), 80);
    world.assert_each_once();
    if !judge.old_access_dies() {
        assert_eq!(api.unauthorized(), 0);
        world.assert_rotations(10);
    }
}
