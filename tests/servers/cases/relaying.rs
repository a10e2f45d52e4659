//! The relay treats each request as the test demands, and counts the requests that reached the server.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Response;
use url::form_urlencoded;

use super::cases;
use crate::judge::{CLIENT, Judge, Rules};
use crate::relay::{Page, Seen, Step};
use crate::world::World;

cases![
    an_answer_that_is_dropped_or_cut_was_committed,
    an_answer_that_is_held_back_arrives_whole,
    a_page_comes_in_place_of_the_servers_answer,
    connections_are_refused_and_accepted_again,
];

async fn sent(world: &World, token: &str) -> reqwest::Result<Response> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let form = format!("grant_type=refresh_token&refresh_token={}", encoded(token));
    reqwest::Client::new()
        .post(world.relay.token_url())
        .basic_auth(encoded(CLIENT.id), Some(encoded(CLIENT.secret)))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
}

async fn an_answer_that_is_dropped_or_cut_was_committed(judge: Arc<Judge>) {
    let server = Arc::new(judge.server(Rules::CALM).await);
    for step in [Step::Drop, Step::Cut] {
        let world = World::of(&judge, &server).await;
        let token = &world.first.refresh_token;
        world.relay.next(step.clone());
        let read = match sent(&world, token).await {
            Ok(answer) => answer.bytes().await,
            Err(error) => Err(error),
        };
        assert!(read.is_err(), "{step:?}");
        assert!(!server.is_live_refresh(token).await, "{step:?}");
        world.assert_exchanges(1, 0, 1);

        assert_eq!(sent(&world, token).await.unwrap().status(), 400);
        let seen = Seen {
            arrived: 2,
            exchanges: 2,
            repeated: 1,
            issued: 1,
            revocations: 0,
        };
        assert_eq!(world.relay.seen(), seen);
    }
}

async fn an_answer_that_is_held_back_arrives_whole(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let held = Duration::from_millis(300);
    world.relay.next(Step::Delay(held));
    let started = tokio::time::Instant::now();
    let answer = sent(&world, &world.first.refresh_token).await.unwrap();
    assert!(started.elapsed() >= held);
    let answer: serde_json::Value = answer.json().await.unwrap();
    let access = answer["access_token"].as_str().unwrap();
    assert!(world.server.is_live_access(access).await);
    world.assert_rotations(1);
}

async fn a_page_comes_in_place_of_the_servers_answer(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let token = &world.first.refresh_token;
    for (step, exchanges, is_live) in [
        (Step::Page(Page::html(502)), 0, true),
        (Step::PageAfter(Page::html(504)), 1, false),
    ] {
        world.relay.next(step.clone());
        let answer = sent(&world, token).await.unwrap();
        let (Step::Page(page) | Step::PageAfter(page)) = step else {
            unreachable!("both steps replace the answer with a page");
        };
        assert_eq!(answer.status(), page.status);
        assert_eq!(answer.headers()["content-type"], page.content_type);
        assert_eq!(answer.text().await.unwrap(), page.body);
        assert_eq!(world.relay.seen().exchanges, exchanges);
        assert_eq!(world.server.is_live_refresh(token).await, is_live);
    }
}

async fn connections_are_refused_and_accepted_again(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let token = &world.first.refresh_token;
    world.relay.refuse().await;
    assert!(sent(&world, token).await.unwrap_err().is_connect());
    assert_eq!(world.relay.seen(), Seen::default());
    world.relay.accept_again();
    assert_eq!(sent(&world, token).await.unwrap().status(), 200);
    world.assert_rotations(1);
}
