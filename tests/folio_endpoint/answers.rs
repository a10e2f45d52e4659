//! What an answer means for a token.

use std::time::Duration;

use evertoken::{EndpointError, RefreshExpiry, Resend, TokenEndpoint};

use crate::exchanges::{answer, class, refresh, sign_in};
use crate::raw_server::{RawServer, Step};
use crate::{JWT, REFUSED, UNPROCESSABLE, eureka, okapi, pair};

#[tokio::test]
async fn a1_a_login_issues_both_tokens_and_both_lifetimes() {
    let server = RawServer::start([pair("a1", "r1"), pair("a2", "r2")]).await;
    let endpoint = okapi(&server).sign_in_with_password("ada", "sesame");
    for (issued, number) in [
        (sign_in(&endpoint).await.unwrap(), 1),
        (refresh(&endpoint, "r1").await.unwrap(), 2),
    ] {
        assert_eq!(issued.access, Some(format!("a{number}").into()));
        assert_eq!(issued.refresh, Some(format!("r{number}").into()));
        assert_eq!(issued.expires_in, Some(Duration::from_secs(600)));
        let week = Duration::from_secs(604_800);
        assert_eq!(issued.refresh_expires_in, Some(week));
        assert_eq!(issued.refresh_expiry, RefreshExpiry::Sliding);
    }
}

#[tokio::test]
async fn a2_a_login_with_odd_times_is_a_login() {
    let jwt = format!("Set-Cookie: folioAccessToken={JWT}");
    let opaque = "Set-Cookie: folioAccessToken=a1".to_owned();
    let refresh = "Set-Cookie: folioRefreshToken=e.n.c.r.y";
    for (cookie, body, expected) in [
        (&jwt, r#"{"accessTokenExpiration":"soon"}"#, Some(60)),
        (&jwt, r#"{"accessTokenExpiration":7}"#, Some(60)),
        (&jwt, "", Some(60)),
        (&jwt, "<html>", Some(60)),
        (&jwt, r#"{"accessTokenExp"#, Some(60)),
        (&opaque, r#"{"accessTokenExpiration":"soon"}"#, None),
        (&opaque, "", None),
    ] {
        let server = RawServer::start([answer(201, &[cookie, refresh], body)]).await;
        let endpoint = eureka(&server).sign_in_with_password("ada", "sesame");
        let issued = sign_in(&endpoint).await.unwrap();
        assert_eq!(issued.refresh, Some("e.n.c.r.y".into()));
        let seconds = issued.expires_in.map(|span| span.as_secs());
        assert_eq!(seconds, expected, "{cookie} {body}");
        assert_eq!(issued.refresh_expiry, RefreshExpiry::Absolute);
    }
}

#[tokio::test]
async fn tokens_count_whatever_else_is_odd() {
    let cookies = [
        "Set-Cookie: folioRefreshToken=r2; Max-Age=soon; Expires=never",
        "set-cookie: other=x",
        "SET-COOKIE: folioAccessToken=\"a2\"",
    ];
    let cut = "HTTP/1.1 201 Created\r\nSet-Cookie: folioRefreshToken=r2\r\nContent-Length: 500\r\n\r\n{\"acc";
    for step in [
        answer(200, &cookies, "[]"),
        answer(299, &cookies, "\u{0}"),
        Step::AnswerAndClose(cut.into()),
        Step::Stall(cut.into()),
    ] {
        let server = RawServer::start([step]).await;
        let endpoint = okapi(&server).timeout(Duration::from_secs(1));
        let issued = refresh(&endpoint, "r1").await.unwrap();
        assert_eq!(issued.refresh, Some("r2".into()));
    }
}

#[tokio::test]
async fn t14_a_500_is_unknown_and_a_gateways_failure_is_not() {
    let failure = r#"{"errors":[{"message":"x","type":"error","code":"token.refresh.failure"}]}"#;
    for (status, expected) in [
        (500, "unknown"),
        (501, "unknown"),
        (408, "unavailable"),
        (502, "unavailable"),
        (503, "unavailable"),
        (504, "unavailable"),
    ] {
        let server = RawServer::start([answer(status, &[], failure)]).await;
        assert_eq!(class(refresh(&okapi(&server), "r1").await), expected);
        assert_eq!(server.connections().await, [1]);
    }
}

#[tokio::test]
async fn a_4xx_is_a_refusal_with_a_code_and_a_page_without_one() {
    let text = ["Content-Type: text/plain"];
    let kong = r#"{"message":"no Route matched with those values"}"#;
    for status in [400, 401, 403, 404] {
        let bodies = [REFUSED, "No suitable module found", "<html>", kong, ""];
        let server = RawServer::start(bodies.map(|body| answer(status, &text, body))).await;
        let endpoint = okapi(&server);
        let refused = refresh(&endpoint, "r1").await.unwrap_err();
        assert_eq!(refused.code(), Some("token.parse.failure"));
        assert_eq!(refused.description(), Some("Bad request"));
        assert_eq!(class::<()>(Err(refused)), "refused");
        let page = refresh(&endpoint, "r1").await.unwrap_err();
        let said = format!("{status}, text/plain, \"No suitable module found\"");
        let said = format!("the token endpoint answered with a page: {said}");
        assert_eq!(page.to_string(), said);
        for body in &bodies[2..] {
            let outcome = refresh(&endpoint, "r1").await;
            assert_eq!(class(outcome), "page", "{status} {body}");
        }
    }
}

#[tokio::test]
async fn q9_a_422_carries_message_and_code_and_an_empty_one_is_an_error() {
    let server = RawServer::start([
        answer(422, &[], UNPROCESSABLE),
        answer(422, &[], ""),
        answer(422, &["Content-Type: text/html"], "<html>no</html>"),
    ])
    .await;
    let endpoint = eureka(&server);
    let error = refresh(&endpoint, "r1").await.unwrap_err();
    assert!(matches!(error, EndpointError::Rejected { .. }), "{error}");
    assert_eq!(error.code(), Some("token.refresh.unprocessable"));
    let said = "Authorization server unable to process token refresh request";
    assert_eq!(error.description(), Some(said));
    for _ in 0..2 {
        let error = refresh(&endpoint, "r1").await.unwrap_err();
        let said = "the token endpoint rejected the grant: 422";
        assert_eq!(error.to_string(), said);
    }
}

#[tokio::test]
async fn a_wrong_password_is_quoted_from_the_server() {
    let wrong = r#"{"errors":[{"message":"Password does not match","type":"error","code":"wrong.username.or.wrong.password.or.account.blocked"}]}"#;
    let server = RawServer::start([answer(422, &[], wrong)]).await;
    let endpoint = okapi(&server).sign_in_with_password("ada", "sesame");
    let error = sign_in(&endpoint).await.unwrap_err();
    let said = "wrong.username.or.wrong.password.or.account.blocked: Password does not";
    assert!(error.to_string().contains(said), "{error}");
}

#[tokio::test]
async fn a7_a_tenant_without_expiries_issues_a_token_that_never_expires() {
    let server = RawServer::start([
        answer(404, &["Content-Type: text/plain"], "Not found"),
        answer(
            201,
            &["x-okapi-token: forever"],
            r#"{"okapiToken":"forever"}"#,
        ),
    ])
    .await;
    let endpoint = okapi(&server).sign_in_with_password("ada", "sesame");
    let issued = sign_in(&endpoint).await.unwrap();
    assert_eq!(issued.access, Some("forever".into()));
    assert_eq!(issued.refresh, None);
    assert!(issued.never_expires && issued.expires_in.is_none());
    let requests = server.requests().await;
    let lines = [0, 1].map(|number: usize| requests[number].line());
    let paths = ["login-with-expiry", "login"];
    let expected = paths.map(|path| format!("POST /okapi/authn/{path} HTTP/1.1"));
    assert_eq!(lines, expected);
    assert_eq!(requests[0].body(), requests[1].body());
}

#[tokio::test]
async fn a7_only_a_404_of_okapi_falls_back() {
    let server = RawServer::start([answer(404, &[], "")]).await;
    let endpoint = eureka(&server).sign_in_with_password("ada", "sesame");
    assert_eq!(class(sign_in(&endpoint).await), "page");
    assert_eq!(server.connections().await, [1]);
    for status in [400, 422, 500] {
        let server = RawServer::start([answer(status, &[], "")]).await;
        let endpoint = okapi(&server).sign_in_with_password("ada", "sesame");
        assert_ne!(class(sign_in(&endpoint).await), "issued");
        assert_eq!(server.connections().await, [1]);
    }
}

#[tokio::test]
async fn each_mode_has_its_profile_and_its_key() {
    let server = RawServer::start([]).await;
    let (okapi, eureka) = (okapi(&server), eureka(&server));
    let profiles = [&okapi, &eureka].map(TokenEndpoint::profile);
    // Behind Okapi, a second use of a spent token ends every session of the user.
    let resend = [Resend::WhenUnavailable, Resend::Always];
    assert_eq!(profiles.map(|profile| profile.resend), resend);
    let key = okapi.sign_in_with_password("ada", "sesame").key();
    assert_eq!(key.issuer, server.url("/okapi"));
    assert_eq!((key.tenant.as_str(), key.subject.as_str()), ("diku", "ada"));
}
