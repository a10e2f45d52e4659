//! Answers that are lost after the server has issued a pair. The client sends the token a second time after a pause of
//! seconds. A server with a grace window answers the second request with a pair; a strict server ends the session in
//! its own words.

use std::sync::Arc;
use std::time::Duration;

use evertoken::{OnRequest, TokenManager};
use futures_util::future::join_all;

use super::cases;
use crate::judge::{Judge, Reuse, Rules};
use crate::relay::{Page, Step};
use crate::world::{SHORTEST_INTERVAL, World, assert_rejected, without_a_token};

cases![
    answers_that_are_lost_inside_a_window_of_10_s_lose_no_session,
    answers_that_are_lost_inside_a_window_of_30_s_lose_no_session,
    an_answer_that_hangs_inside_a_window_loses_no_session,
    a_commit_behind_a_page_ends_the_session_in_the_servers_words_at_the_second_sending,
];

/// Sessions for each window and for each way to lose an answer: as many as a real server answers within seconds.
const SESSIONS: usize = 12;

const fn window(seconds: u64) -> Rules {
    Rules::CALM.reuse(Reuse::Grace(seconds))
}

async fn answers_that_are_lost_inside_a_window_of_10_s_lose_no_session(judge: Arc<Judge>) {
    lose_no_session(&judge, window(10)).await;
}

async fn answers_that_are_lost_inside_a_window_of_30_s_lose_no_session(judge: Arc<Judge>) {
    lose_no_session(&judge, window(30)).await;
}

async fn lose_no_session(judge: &Arc<Judge>, rules: Rules) {
    let server = Arc::new(judge.server(rules).await);
    for step in [Step::Drop, Step::Cut, Step::PageAfter(Page::html(502))] {
        let sessions = (0..SESSIONS).map(async |_| {
            let world = World::of(judge, &server).await;
            let tokens = world.begun().await;
            world.relay.next(step.clone());
            let token = without_a_token(&tokens).await;
            let token = token.unwrap_or_else(|error| panic!("{step:?}: {error:?}"));
            assert!(server.is_live_access(token.expose()).await, "{step:?}");
            assert_eq!(world.relay.seen().repeated, 1, "{step:?}");
            // The pair that the second request brought can be rotated, so it belongs to the live family.
            tokens.rotate().await.unwrap();
        });
        join_all(sessions).await;
    }
}

/// The timeout and the pause together are shorter than the grace window.
async fn an_answer_that_hangs_inside_a_window_loses_no_session(judge: Arc<Judge>) {
    let world = World::new(&judge, window(10)).await;
    let endpoint = world.endpoint().timeout(Duration::from_secs(4));
    let builder = TokenManager::builder(endpoint).strategy(OnRequest::default());
    let builder = builder.jitter(0.0).shortest_interval(SHORTEST_INTERVAL);
    let tokens = builder.seed(world.first.pair()).build().unwrap();
    tokens.rotate().await.unwrap();
    world.relay.next(Step::Delay(Duration::from_secs(60)));
    let token = without_a_token(&tokens).await.unwrap();
    assert!(world.server.is_live_access(token.expose()).await);
    world.assert_exchanges(3, 1, 3);
}

async fn a_commit_behind_a_page_ends_the_session_in_the_servers_words_at_the_second_sending(
    judge: Arc<Judge>,
) {
    let world = World::new(&judge, Rules::CALM).await;
    let tokens = world.begun().await;
    let token = tokens.token().await.unwrap();
    world.relay.next(Step::PageAfter(Page::html(502)));
    assert_rejected(without_a_token(&tokens).await);
    assert_rejected(tokens.token().await);
    world.assert_exchanges(3, 1, 2);
    assert!(!world.server.is_live_access(token.expose()).await);
}
