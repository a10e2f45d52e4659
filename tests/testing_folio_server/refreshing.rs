use std::time::Duration;

use evertoken::testing::{FolioServer, TestClock};
use http::Method;
use serde_json::json;

use super::browser::*;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_refresh_by_cookie_rotates_both_tokens() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let mut browser = Browser::signed_in(&folio).await;
        let old = browser.clone();
        clock.advance(MINUTE / 2).await;
        let response = browser.refresh().await;
        assert_eq!(response.status(), 201);
        let times = json_of(&response);
        assert!(times["accessTokenExpiration"].is_string());
        assert!(times["refreshTokenExpiration"].is_string());
        assert_ne!(browser.access, old.access);
        assert!(browser.is_live() && !old.is_live());
        assert_eq!(old.call().await, 200, "the old access token stays live");
        let counters = folio.counters();
        assert_eq!((counters.refreshes, counters.rotations), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn t3_a_replay_is_unprocessable_and_ends_sessions() {
    for (folio, others_live) in both(&TestClock::new()).into_iter().zip([false, true]) {
        let mut browser = Browser::signed_in(&folio).await;
        let other = Browser::signed_in(&folio).await;
        let mut old = browser.clone();
        browser.refresh().await;
        assert_eq!(error_of(&old.refresh().await), unprocessable());
        assert_eq!(error_of(&browser.refresh().await), unprocessable());
        assert_eq!(other.is_live(), others_live);
        assert_eq!(browser.call().await, 200, "access tokens stay live");
        let counters = folio.counters();
        assert_eq!((counters.refreshes, counters.rotations), (3, 1));
        assert_eq!(counters.replays, 1);
        assert_eq!(counters.sessions_revoked, 2 - u64::from(others_live));
    }
}

#[tokio::test(start_paused = true)]
async fn t7_a_job_on_the_uis_refresh_token_dies_with_the_uis_next_rotation() {
    let folio = okapi(&TestClock::new());
    let mut ui = Browser::signed_in(&folio).await;
    let mut job = ui.clone();
    assert_eq!(job.refresh().await.status(), 201);
    assert_eq!(error_of(&ui.refresh().await), unprocessable());
    assert!(!job.is_live());
    assert_eq!(error_of(&job.refresh().await), unprocessable());
}

#[tokio::test(start_paused = true)]
async fn t11_an_expired_refresh_token_is_unprocessable_and_ends_no_session() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let mut browser = Browser::signed_in(&folio).await;
        clock.advance(59 * MINUTE).await;
        let other = Browser::signed_in(&folio).await;
        clock.advance(MINUTE).await;
        assert_eq!(error_of(&browser.refresh().await), unprocessable());
        assert!(other.is_live());
        assert_eq!(folio.counters().sessions_revoked, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn q9_the_bodies_of_refusals_have_the_form_of_folios() {
    let clock = TestClock::new();
    let stranger = Browser::signed_in(&okapi(&clock)).await;
    let post =
        |folio: FolioServer| async move { send(&folio, stranger.post("/authn/refresh")).await };
    let message = "Authorization server unable to process token refresh request";
    let code = "token.refresh.unprocessable";
    assert_eq!(
        json_of(&post.clone()(okapi(&clock)).await),
        json!({ "errors": [{ "message": message, "type": "error", "code": code }] })
    );
    let error = json!({ "message": message, "type": "TokenRefreshException", "code": code });
    assert_eq!(
        json_of(&post(eureka(&clock)).await),
        json!({ "errors": [error], "total_records": 1 })
    );
}

#[tokio::test(start_paused = true)]
async fn a_refresh_without_exactly_one_refresh_token_is_a_bad_request() {
    let clock = TestClock::new();
    for (folio, code) in both(&clock)
        .into_iter()
        .zip(["token.parse.failure", "validation_error"])
    {
        let browser = Browser::signed_in(&folio).await;
        let one = cookie(REFRESH, &browser.refresh);
        let post = || request(Method::POST, "/authn/refresh", "");
        for bad in [
            post(),
            with(post(), "cookie", "folioRefreshToken="),
            with(post(), "cookie", "other=1"),
            with(post(), "cookie", &format!("{one}; {one}")),
            with(with(post(), "cookie", &one), "cookie", &one),
        ] {
            let response = send(&folio, bad).await;
            assert_error(&response, 400, code);
        }
        assert!(browser.is_live());
        let counters = folio.counters();
        assert_eq!((counters.refreshes, counters.replays), (5, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a4_a_refresh_may_carry_a_valid_access_token_and_is_refused_with_an_expired_one() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let mut browser = Browser::signed_in(&folio).await;
        let with_access = |browser: &Browser| {
            let access = cookie(ACCESS, &browser.access);
            with(browser.post("/authn/refresh"), "cookie", &access)
        };
        let response = send(&folio, with_access(&browser)).await;
        assert_eq!(response.status(), 201);
        browser.keep(&response);
        clock.advance(2 * MINUTE).await;
        let response = send(&folio, with_access(&browser)).await;
        assert_eq!(response.status(), 401);
        assert!(browser.is_live());
        assert_eq!(folio.counters().unauthorized, 1);
        assert_eq!(browser.refresh().await.status(), 201);
    }
}

#[tokio::test(start_paused = true)]
async fn the_tenant_of_a_refresh_is_in_the_header_in_okapi_and_in_the_token_in_eureka() {
    for (builder, status) in [(FolioServer::okapi(), 422), (FolioServer::eureka(), 201)] {
        let folio = builder
            .clock(TestClock::new())
            .user("diku", "diku_admin", "admin")
            .user("b", "jane", "secret")
            .build();
        let browser = Browser::signed_in(&folio).await;
        let mut post = browser.post("/authn/refresh");
        let elsewhere = http::HeaderValue::from_static("b");
        post.headers_mut().insert("x-okapi-tenant", elsewhere);
        assert_eq!(send(&folio, post).await.status(), status);
        assert_eq!(browser.is_live(), status == 422);
    }
}

#[tokio::test(start_paused = true)]
async fn eight_concurrent_refreshes_bring_one_pair_which_dies_with_the_second() {
    for folio in both(&TestClock::new()) {
        let browser = Browser::signed_in(&folio).await;
        let tasks = [(); 8].map(|()| {
            let browser = browser.clone();
            tokio::spawn(async move { browser.refreshed().await.unwrap() })
        });
        let mut winner = browser.clone();
        let mut statuses = Vec::new();
        for task in tasks {
            let response = task.await.unwrap();
            statuses.push(response.status().as_u16());
            if response.status() == 201 {
                winner.keep(&response);
            }
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 422, 422, 422, 422, 422, 422, 422]);
        assert!(!winner.is_live());
        let counters = folio.counters();
        assert_eq!((counters.rotations, counters.replays), (1, 7));
        assert_eq!(counters.sessions_revoked, 1);
    }
}
