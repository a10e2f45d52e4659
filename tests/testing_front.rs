//! The front before a server, which answers in the server's place during an outage.

#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use evertoken::testing::{Answer, AuthorizationServer, Front, HttpServer, Outage};
use reqwest::redirect::Policy;

async fn front_before(latency: Duration) -> (AuthorizationServer, HttpServer, Front) {
    let server = AuthorizationServer::builder().latency(latency).build();
    let listening = server.listen().await.unwrap();
    let front = Front::before(listening.addr()).await.unwrap();
    (server, listening, front)
}

/// Sends a refresh with a token that the server does not know.
async fn refresh(front: &Front) -> Result<(u16, String), reqwest::Error> {
    let http = reqwest::Client::builder()
        .redirect(Policy::none())
        .build()?;
    let grant = "grant_type=refresh_token&refresh_token=unknown&client_id=a";
    let request = http
        .post(format!("{}/token", front.origin()))
        .header("content-type", "application/x-www-form-urlencoded");
    let response = request.body(grant).send().await?;
    Ok((response.status().as_u16(), response.text().await?))
}

#[tokio::test]
async fn a_front_answers_during_an_outage_and_passes_connections_on_before_and_after() {
    let (server, _listening, front) = front_before(Duration::ZERO).await;
    let of_the_server = refresh(&front).await.unwrap();
    assert_eq!(of_the_server.0, 400);
    for status in [503, 404, 301, 200] {
        let answer = Answer::status(status).body("a page");
        front.begin(Outage::Answered(answer)).await.unwrap();
        assert_eq!(refresh(&front).await.unwrap(), (status, "a page".into()));
    }
    assert_eq!(front.answered(), 4);
    front.end().unwrap();
    assert_eq!(refresh(&front).await.unwrap(), of_the_server);
    assert_eq!((front.answered(), server.exchanges()), (4, 2));
}

#[tokio::test]
async fn one_request_meets_an_outage_that_begins_once() {
    let (_server, _listening, front) = front_before(Duration::ZERO).await;
    let outage = Outage::Answered(Answer::status(500));
    front.begin_once(outage).unwrap();
    assert_eq!(refresh(&front).await.unwrap().0, 500);
    front.answers(1).await;
    assert_eq!(refresh(&front).await.unwrap().0, 400);
}

#[tokio::test]
async fn a_connection_is_reset_in_the_middle_of_an_answer() {
    let (server, _listening, front) = front_before(Duration::ZERO).await;
    front.begin(Outage::Reset).await.unwrap();
    let error = refresh(&front).await.unwrap_err();
    assert!(!error.is_connect(), "{error:?}");
    assert_eq!((front.answered(), server.exchanges()), (1, 0));
}

#[tokio::test]
async fn no_connection_is_accepted_and_the_port_is_kept() {
    let (_server, _listening, front) = front_before(Duration::ZERO).await;
    for _ in 0..2 {
        front.begin(Outage::Refused).await.unwrap();
        let error = refresh(&front).await.unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        front.end().unwrap();
        assert_eq!(refresh(&front).await.unwrap().0, 400);
    }
    assert_eq!(front.answered(), 0);
}

#[tokio::test]
async fn a_request_that_was_passed_on_is_not_cut_off_by_an_outage() {
    let (server, _listening, front) = front_before(Duration::from_millis(200)).await;
    let under_way = async { refresh(&front).await.unwrap().0 };
    let outage = async {
        while server.exchanges() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        front.begin(Outage::Refused).await.unwrap();
    };
    let (status, ()) = tokio::join!(under_way, outage);
    assert_eq!(status, 400);
}
