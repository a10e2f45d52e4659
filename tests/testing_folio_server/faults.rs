use std::io::ErrorKind;
use std::time::Duration;

use evertoken::testing::{Fault, FolioServer, TestClock};
use serde_json::json;
use tokio::time::Instant;

use super::browser::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn t12_an_answer_is_lost_before_or_after_the_token_was_consumed() {
    for (fault, kind, rotations) in [
        (Fault::DropBefore, ErrorKind::ConnectionReset, 0),
        (Fault::DropAfter, ErrorKind::ConnectionReset, 1),
        (Fault::Truncate, ErrorKind::UnexpectedEof, 1),
    ] {
        for folio in both(&TestClock::new()) {
            let browser = Browser::signed_in(&folio).await;
            folio.fail_next(fault.clone());
            let error = browser.refreshed().await.unwrap_err();
            assert_eq!(error.kind(), kind);
            assert_eq!(browser.is_live(), rotations == 0);
            let counters = folio.counters();
            assert_eq!((counters.refreshes, counters.rotations), (1, rotations));
            let last = folio.seen().pop().unwrap();
            assert_eq!(last.path, "/authn/refresh");
            assert_eq!(last.status.is_none(), kind == ErrorKind::ConnectionReset);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn t13_nothing_arrives_where_connections_are_refused() {
    for folio in both(&TestClock::new()) {
        let mut browser = Browser::signed_in(&folio).await;
        folio.set_reachable(false);
        let error = browser.refreshed().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(folio.counters().refreshes, 0);
        folio.set_reachable(true);
        assert_eq!(browser.refresh().await.status(), 201);
    }
}

#[tokio::test(start_paused = true)]
async fn t14_a_500_reports_nothing_about_the_token() {
    let body = json!({ "errors": [{ "code": "token.refresh.failure" }] }).to_string();
    let unspent = Fault::Status {
        status: 500,
        body: body.clone(),
        retry_after: Some(3 * SECOND),
    };
    let spent = Fault::Body { status: 500, body };
    for (fault, rotations) in [(unspent, 0), (spent, 1)] {
        for folio in both(&TestClock::new()) {
            let mut browser = Browser::signed_in(&folio).await;
            folio.fail_next(fault.clone());
            let response = browser.refresh().await;
            assert_eq!(response.status(), 500);
            let code = &json_of(&response)["errors"][0]["code"];
            assert_eq!(code, "token.refresh.failure");
            assert!(set_cookie(&response, REFRESH).is_none());
            assert_eq!(folio.counters().rotations, rotations);
            assert_eq!(browser.is_live(), rotations == 0);
            let retry_after = response.headers().get("retry-after");
            assert_eq!(retry_after.is_some(), rotations == 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_scripted_body_can_hold_the_new_tokens() {
    let folio = okapi(&TestClock::new());
    let browser = Browser::signed_in(&folio).await;
    folio.fail_next(Fault::Body {
        status: 201,
        body: "{refresh_token} {access_token}".to_owned(),
    });
    let response = browser.refreshed().await.unwrap();
    let body = std::str::from_utf8(response.body()).unwrap();
    let (refresh, access) = body.split_once(' ').unwrap();
    assert!(folio.is_live_refresh(refresh));
    assert_eq!(folio.check(access), evertoken::testing::AccessCheck::Live);
}

#[tokio::test(start_paused = true)]
async fn a_fault_meets_requests_for_tokens_only_until_it_is_ended() {
    let folio = okapi(&TestClock::new());
    let mut browser = Browser::signed_in(&folio).await;
    folio.fail_always(Some(Fault::status(503)));
    assert_eq!(browser.call().await, 200);
    assert_eq!(browser.refresh().await.status(), 503);
    assert_eq!(browser.log_out().await.status(), 503);
    folio.fail_always(None);
    assert_eq!(browser.refresh().await.status(), 201);
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_meets_a_fault_is_counted() {
    let folio = okapi(&TestClock::new());
    let mut browser = Browser::signed_in(&folio).await;
    let old = browser.clone();
    browser.refresh().await;
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        folio.fail_next(fault);
        assert!(old.refreshed().await.is_err());
    }
    assert_eq!(folio.counters().replays, 2);
    assert!(!browser.is_live(), "the second request was processed");
}

#[tokio::test(start_paused = true)]
async fn r12_a_slow_answer_comes_late_and_a_slow_request_is_decided_late() {
    for (fault, decided_at) in [
        (Fault::Delay(15 * SECOND), 1),
        (Fault::DelayBefore(15 * SECOND), 16),
    ] {
        let folio = FolioServer::okapi()
            .clock(TestClock::new())
            .latency(2 * SECOND)
            .build();
        let browser = Browser::signed_in(&folio).await;
        folio.fail_next(fault);
        let start = Instant::now();
        let task = tokio::spawn({
            let browser = browser.clone();
            async move { browser.refreshed().await.map(|response| response.status()) }
        });
        tokio::time::sleep(decided_at * SECOND - SECOND / 2).await;
        assert!(browser.is_live());
        tokio::time::sleep(SECOND).await;
        assert!(!browser.is_live());
        assert_eq!(task.await.unwrap().unwrap(), 201);
        assert_eq!(start.elapsed(), 17 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_arrived_is_decided_though_the_client_hangs_up() {
    let folio = okapi(&TestClock::new());
    let browser = Browser::signed_in(&folio).await;
    folio.fail_next(Fault::DelayBefore(5 * SECOND));
    let given_up = tokio::time::timeout(SECOND, browser.refreshed()).await;
    assert!(given_up.is_err());
    assert!(browser.is_live());
    tokio::time::sleep(5 * SECOND).await;
    assert!(!browser.is_live());
    assert_eq!(folio.counters().rotations, 1);
}
