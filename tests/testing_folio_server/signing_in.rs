use std::time::Duration;

use evertoken::testing::{AccessCheck, FolioServer, TestClock, TokenExpirationError};
use evertoken::{RefreshExpiry, Validity};
use http::Method;
use serde_json::json;

use super::browser::*;

#[tokio::test(start_paused = true)]
async fn a1_okapi_answers_a_login_with_two_cookies_and_two_times() {
    let folio = okapi(&TestClock::new());
    let response = send(&folio, login("/authn/login-with-expiry")).await;
    assert_eq!(response.status(), 201);
    let times = json!({
        "accessTokenExpiration": "2023-11-14T22:14:20Z",
        "refreshTokenExpiration": "2023-11-14T23:13:20Z",
    });
    assert_eq!(json_of(&response), times);
    let (access, attributes) = set_cookie(&response, ACCESS).unwrap();
    assert_eq!(
        attributes,
        "Max-Age=60; Expires=Tue, 14 Nov 2023 22:14:20 GMT; Path=/; Secure; HTTPOnly; SameSite=Lax"
    );
    assert_eq!(folio.check(access), AccessCheck::Live);
    let (refresh, attributes) = set_cookie(&response, REFRESH).unwrap();
    assert_eq!(
        attributes,
        "Max-Age=3600; Expires=Tue, 14 Nov 2023 23:13:20 GMT; Path=/authn; Secure; HTTPOnly; SameSite=Lax"
    );
    assert!(folio.is_live_refresh(refresh));
    assert_eq!(folio.counters().logins, 1);
}

#[tokio::test(start_paused = true)]
async fn eurekas_cookies_are_scoped_and_written_in_its_own_way() {
    let folio = eureka(&TestClock::new());
    let response = send(&folio, login("/authn/login-with-expiry")).await;
    assert_eq!(response.status(), 201);
    let attributes = [ACCESS, REFRESH].map(|name| set_cookie(&response, name).unwrap().1);
    assert_eq!(
        attributes,
        [
            "Path=/; Max-Age=60; Expires=Tue, 14 Nov 2023 22:14:20 GMT; Secure; HttpOnly; SameSite=None",
            "Path=/authn; Max-Age=3600; Expires=Tue, 14 Nov 2023 23:13:20 GMT; Secure; HttpOnly; SameSite=None",
        ]
    );
    assert!(!response.headers().contains_key("x-okapi-token"));
}

#[tokio::test(start_paused = true)]
async fn a1_the_ui_gets_the_times_in_a_wrapper() {
    for folio in both(&TestClock::new()) {
        let response = send(&folio, login("/bl-users/login-with-expiry")).await;
        assert_eq!(response.status(), 201);
        let body = json_of(&response);
        assert_eq!(body["user"]["username"], "diku_admin");
        let times = &body["tokenExpiration"];
        assert_eq!(times["accessTokenExpiration"], "2023-11-14T22:14:20Z");
        assert!(set_cookie(&response, REFRESH).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_login_reports_its_reason() {
    let clock = TestClock::new();
    let (okapi, eureka) = (okapi(&clock), eureka(&clock));
    let post = |body: &str| request(Method::POST, "/authn/login-with-expiry", body.to_owned());
    let wrong = r#"{"username":"diku_admin","password":"guess"}"#;
    let nobody = r#"{"username":"nobody","password":"admin"}"#;
    for body in [wrong, nobody] {
        let (status, code, _) = error_of(&send(&okapi, post(body)).await);
        let expected = "wrong.username.or.wrong.password.or.account.blocked";
        assert_eq!((status, code.as_str()), (422, expected));
        assert_error(&send(&eureka, post(body)).await, 401, "unauthorized_error");
    }
    let response = send(&okapi, post(r#"{"username":"diku_admin"}"#)).await;
    assert_eq!(response.status(), 400);
    assert_eq!(text_of(&response), "You must provide a password");
    let response = send(&okapi, post("not JSON")).await;
    assert_eq!(text_of(&response), "You must provide a username or userId");
    assert_eq!(okapi.counters().logins, 0);
    let unauthorized = eureka.counters().unauthorized;
    assert_eq!(unauthorized, 0, "this message is for access tokens");
}

#[tokio::test(start_paused = true)]
async fn a6_the_lifetimes_of_tokens_follow_the_configuration_of_the_tenant() {
    let clock = TestClock::new();
    let folio = FolioServer::okapi()
        .clock(clock.clone())
        .token_expiration("accessToken:60;tenantId:b,accessToken:7,refreshToken:8")
        .unwrap()
        .user("diku", "jane", "secret")
        .user("b", "jane", "secret")
        .build();
    let lives = |tenant| {
        let pair = folio.issue(tenant, "jane").unwrap();
        (pair.lifetime.access, pair.lifetime.refresh)
    };
    let seconds = Duration::from_secs;
    assert_eq!(lives("diku"), (seconds(60).into(), seconds(604_800).into()));
    assert_eq!(lives("b"), (seconds(7).into(), seconds(8).into()));

    let refused = FolioServer::okapi().token_expiration("accesToken:60");
    let unknown = TokenExpirationError::UnknownKey("accesToken".to_owned());
    assert_eq!(refused.unwrap_err(), unknown);
}

#[tokio::test(start_paused = true)]
async fn by_default_refresh_tokens_live_7_days_in_okapi_and_sessions_24_h_in_eureka() {
    let day = Duration::from_secs(86_400);
    for (builder, refresh, session) in [
        (FolioServer::okapi(), 7 * day, RefreshExpiry::Sliding),
        (FolioServer::eureka(), day, RefreshExpiry::Absolute),
    ] {
        let folio = builder.clock(TestClock::new()).build();
        let lifetime = folio.issue("diku", "diku_admin").unwrap().lifetime;
        assert_eq!(lifetime.access, Duration::from_secs(600).into());
        assert_eq!(lifetime.refresh, refresh.into());
        assert_eq!(lifetime.refresh_expiry, session);
        assert!(folio.issue("diku", "nobody").is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a7_a_legacy_tenant_gets_a_token_without_expiry_in_header_and_body() {
    let clock = TestClock::new();
    let folio = FolioServer::okapi()
        .clock(clock.clone())
        .legacy_tenants("diku")
        .build();
    let response = send(&folio, login("/authn/login-with-expiry")).await;
    assert_eq!(response.status(), 404);
    let response = send(&folio, login("/authn/login")).await;
    assert_eq!(response.status(), 201);
    let token = response.headers()["x-okapi-token"].to_str().unwrap();
    assert_eq!(json_of(&response), json!({ "okapiToken": token }));
    assert!(!response.headers().contains_key("set-cookie"));
    let issued = folio.issue("diku", "diku_admin").unwrap();
    assert_eq!(issued.lifetime.access, Validity::Never);
    assert_eq!(issued.refresh, None);
    clock.suspend(Duration::from_secs(1_000_000_000));
    for token in [token, issued.access.as_ref().unwrap().expose()] {
        assert_eq!(folio.check(token), AccessCheck::Live);
    }

    let response = send(&okapi(&clock), login("/authn/login")).await;
    assert_eq!(response.status(), 404);
}

#[tokio::test(start_paused = true)]
async fn eurekas_older_login_answers_with_the_tokens_themselves() {
    let folio = eureka(&TestClock::new());
    let response = send(&folio, login("/authn/login")).await;
    let [access, refresh] = [ACCESS, REFRESH].map(|name| set_cookie(&response, name).unwrap().0);
    let body = json!({ "okapiToken": access, "refreshToken": refresh });
    assert_eq!(response.status(), 201);
    assert_eq!(json_of(&response), body);
}

#[tokio::test(start_paused = true)]
async fn eureka_exchanges_a_code_once() {
    let clock = TestClock::new();
    let folio = eureka(&clock);
    let code = folio.code("diku", "diku_admin", "http://ui/cb").unwrap();
    let path = format!("/authn/token?code={code}&redirect-uri=http%3A%2F%2Fui%2Fcb");
    let ask = || request(Method::GET, &path, "");
    let response = send(&folio, ask()).await;
    assert_eq!(response.status(), 201);
    assert!(folio.is_live_refresh(set_cookie(&response, REFRESH).unwrap().0));
    assert_eq!(folio.counters().logins, 1);

    let response = send(&folio, ask()).await;
    let (status, code, message) = error_of(&response);
    assert_eq!((status, code.as_str()), (400, "service_error"));
    assert_eq!(message, "Failed to obtain a token");
    let (cleared, _) = set_cookie(&response, REFRESH).unwrap();
    assert_eq!(cleared, "");
    let response = send(&folio, request(Method::GET, "/authn/token?code=x", "")).await;
    assert_eq!(error_of(&response).1, "validation_error");
    let response = send(&okapi(&clock), ask()).await;
    assert_eq!(response.status(), 404, "Okapi has no codes");
}

#[tokio::test(start_paused = true)]
async fn an_inactive_user_can_neither_sign_in_nor_refresh_nor_call() {
    for folio in both(&TestClock::new()) {
        let mut browser = Browser::signed_in(&folio).await;
        folio.set_active("diku", "diku_admin", false);
        let response = send(&folio, login("/authn/login-with-expiry")).await;
        assert!([422, 401].contains(&response.status().as_u16()));
        assert_eq!(browser.call().await, 401);
        assert_eq!(error_of(&browser.refresh().await), unprocessable());
        assert!(folio.handed_on(&browser.access).is_none());
        folio.set_active("diku", "diku_admin", true);
        assert_eq!(browser.refresh().await.status(), 201);
    }
}

#[tokio::test(start_paused = true)]
async fn the_debug_form_of_a_folio_server_holds_no_secret() {
    for folio in both(&TestClock::new()) {
        let browser = Browser::signed_in(&folio).await;
        let said = format!("{folio:?} {:?} {:?}", folio.counters(), folio.seen());
        for secret in [&browser.access, &browser.refresh] {
            assert!(!said.contains(secret), "{said}");
        }
    }
}
