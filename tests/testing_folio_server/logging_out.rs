use std::time::Duration;

use bytes::Bytes;
use evertoken::testing::TestClock;
use http::{Method, Response};

use super::browser::*;

#[tokio::test(start_paused = true)]
async fn t4_a_logout_takes_the_refresh_token_and_clears_both_cookies() {
    for folio in both(&TestClock::new()) {
        let browser = Browser::signed_in(&folio).await;
        let other = Browser::signed_in(&folio).await;
        let response = browser.log_out().await;
        assert_eq!(response.status(), 204);
        for name in [ACCESS, REFRESH] {
            let (value, attributes) = set_cookie(&response, name).unwrap();
            assert_eq!(value, "");
            assert!(attributes.contains("Expires=Thu, 01 Jan 1970 00:00:00 GMT"));
            assert!(attributes.contains("SameSite=None"));
        }
        assert!(!browser.is_live() && other.is_live());
        assert_eq!(browser.call().await, 200, "the access token stays live");
        let counters = folio.counters();
        assert_eq!((counters.logouts, counters.logout_alls), (1, 0));
        assert_eq!(counters.sessions_revoked, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn t5_t8_a_pair_from_a_separate_refresh_survives_a_logout_in_okapi_only() {
    for (folio, survives) in both(&TestClock::new()).into_iter().zip([true, false]) {
        let ui = Browser::signed_in(&folio).await;
        let own_login = Browser::signed_in(&folio).await;
        let mut job = ui.clone();
        job.refresh().await;
        // The user logs out with the token that the job has used.
        assert_eq!(ui.log_out().await.status(), 204);
        assert_eq!(job.is_live(), survives);
        assert_eq!(job.refresh().await.status() == 201, survives);
        assert!(own_login.is_live());
    }
}

#[tokio::test(start_paused = true)]
async fn t6_a_logout_without_a_cookie_ends_all_sessions() {
    for path in ["/authn/logout", "/authn/logout-all"] {
        for folio in both(&TestClock::new()) {
            let ui = Browser::signed_in(&folio).await;
            let job = Browser::signed_in(&folio).await;
            let post = request(Method::POST, path, "");
            let response = send(&folio, with(post, "x-okapi-token", &ui.access)).await;
            assert_eq!(response.status(), 204);
            assert!(!ui.is_live() && !job.is_live());
            let counters = folio.counters();
            assert_eq!((counters.logouts, counters.logout_alls), (0, 1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn t6_a_logout_with_other_cookies_alone_is_a_bad_request_in_okapi_and_ends_all_sessions_in_eureka()
 {
    for (folio, status) in both(&TestClock::new()).into_iter().zip([400, 204]) {
        let browser = Browser::signed_in(&folio).await;
        let post = request(Method::POST, "/authn/logout", "");
        let access = cookie(ACCESS, &browser.access);
        let response = send(&folio, with(post, "cookie", &access)).await;
        assert_eq!(response.status(), status);
        assert_eq!(browser.is_live(), status == 400);
    }
}

#[tokio::test(start_paused = true)]
async fn t10_a_logout_with_a_used_refresh_token_ends_no_session_in_okapi() {
    let folio = okapi(&TestClock::new());
    let mut browser = Browser::signed_in(&folio).await;
    let old = browser.clone();
    browser.refresh().await;
    for _ in 0..2 {
        assert_eq!(old.log_out().await.status(), 204);
    }
    assert!(browser.is_live());
}

/// Logs out with the cookie of the refresh token and with this access token.
async fn leave(browser: &Browser, access: &str) -> Response<Bytes> {
    let request = with(browser.post("/authn/logout"), "x-okapi-token", access);
    send(&browser.folio, request).await
}

#[tokio::test(start_paused = true)]
async fn t4_t10_in_eureka_an_access_token_that_is_live_ends_the_session_of_the_cookie() {
    let folio = eureka(&TestClock::new());
    let mut browser = Browser::signed_in(&folio).await;
    let used = browser.clone();
    browser.refresh().await;
    // Both tokens belong to the same session.
    for _ in 0..2 {
        assert_eq!(leave(&used, &browser.access).await.status(), 204);
        assert!(!browser.is_live());
    }
    let counters = folio.counters();
    assert_eq!((counters.logouts, counters.logout_alls), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn t6_in_eureka_the_cookie_alone_is_cleared_and_its_session_lives_on() {
    let folio = eureka(&TestClock::new());
    let browser = Browser::signed_in(&folio).await;
    let response = send(&folio, browser.post("/authn/logout")).await;
    assert_error(&response, 422, "token.logout.unprocessable");
    for name in [ACCESS, REFRESH] {
        assert_eq!(set_cookie(&response, name).unwrap().0, "");
    }
    assert!(browser.is_live());
    let counters = folio.counters();
    assert_eq!((counters.logouts, counters.logout_alls), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn t4_a_logout_with_an_expired_or_unknown_access_token_changes_nothing() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let browser = Browser::signed_in(&folio).await;
        clock.advance(Duration::from_secs(61)).await;
        for bad in [browser.access.as_str(), "unknown"] {
            let response = leave(&browser, bad).await;
            assert_eq!(response.status(), 401);
            assert!(set_cookie(&response, REFRESH).is_none());
        }
        assert!(browser.is_live());
        assert_eq!(folio.counters().logouts, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_logout_that_fails_is_unprocessable() {
    let clock = TestClock::new();
    for (folio, clears) in both(&clock).into_iter().zip([false, true]) {
        let stranger = Browser::signed_in(&okapi(&clock)).await;
        let signed_out = request(Method::POST, "/authn/logout-all", "");
        for bad in [stranger.post("/authn/logout"), signed_out] {
            let response = send(&folio, bad).await;
            assert_error(&response, 422, "token.logout.unprocessable");
            assert_eq!(set_cookie(&response, REFRESH).is_some(), clears);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn i5_a_test_can_end_all_sessions_of_a_user() {
    for folio in both(&TestClock::new()) {
        let mut browser = Browser::signed_in(&folio).await;
        folio.log_out_everywhere("diku", "nobody");
        assert!(browser.is_live());
        folio.log_out_everywhere("diku", "diku_admin");
        assert_eq!(error_of(&browser.refresh().await), unprocessable());
        assert_eq!(folio.counters().logout_alls, 1);
    }
}
