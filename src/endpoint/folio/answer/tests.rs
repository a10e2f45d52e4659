use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::endpoint::reply::Broken;

/// {"exp":1010,"iat":950}
const JWT: &str = "e30.eyJleHAiOjEwMTAsImlhdCI6OTUwfQ.x";

/// The server's clock reads 1000 in answers with a `Date`; this machine's clock reads 5000.
fn reply(headers: &[(HeaderName, &str)], body: &str) -> Reply {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name, HeaderValue::from_str(value).unwrap());
    }
    let body = Zeroizing::new(body.into());
    let ours = Duration::from_secs(5_000);
    Reply::new(StatusCode::CREATED, map, body, None, ours)
}

const DATE: (HeaderName, &str) = (http::header::DATE, "Thu, 01 Jan 1970 00:16:40 GMT");

fn set(text: &str) -> (HeaderName, &str) {
    (SET_COOKIE, text)
}

fn okapi(headers: &[(HeaderName, &str)], body: &str) -> Issued {
    read(&reply(headers, body), Mode::Okapi, Asked::Refresh)
}

fn seconds(issued: &Issued) -> (Option<u64>, Option<u64>) {
    let whole = |span: Option<Duration>| span.map(|span| span.as_secs());
    (whole(issued.expires_in), whole(issued.refresh_expires_in))
}

#[test]
fn a1_two_cookies_and_two_times_are_a_pair_flat_or_wrapped() {
    let times = r#""accessTokenExpiration":"1970-01-01T00:26:40Z","refreshTokenExpiration":"1970-01-08T00:16:40.000Z""#;
    for body in [
        format!("{{{times}}}"),
        format!(r#"{{"user":{{"id":"7"}},"tokenExpiration":{{{times}}},"total":1}}"#),
    ] {
        let cookies = [
            DATE,
            set("folioAccessToken=a2; Max-Age=1"),
            set("folioRefreshToken=r2"),
        ];
        let issued = okapi(&cookies, &body);
        assert_eq!(issued.access, Some("a2".into()));
        assert_eq!(issued.refresh, Some("r2".into()));
        assert_eq!(seconds(&issued), (Some(600), Some(604_800)), "{body}");
    }
}

#[test]
fn a2_an_unreadable_end_falls_back_to_the_tokens_own_then_to_the_cookies() {
    let body = r#"{"accessTokenExpiration":"soon","refreshTokenExpiration":null}"#;
    let jwt = format!("folioAccessToken={JWT}");
    let lifetime = |access: &str, date: bool| {
        let date = date.then_some(DATE);
        let headers: Vec<_> = date.into_iter().chain([set(access)]).collect();
        seconds(&okapi(&headers, body)).0
    };
    assert_eq!(lifetime(&jwt, true), Some(10));
    // The `iat` of the token is the server's clock.
    assert_eq!(lifetime(&jwt, false), Some(60));
    assert_eq!(
        lifetime("folioAccessToken=a2; Max-Age=600", true),
        Some(600)
    );
    let until = "folioAccessToken=a2; Expires=Thu, 01 Jan 1970 00:16:50 GMT";
    assert_eq!(lifetime(until, true), Some(10));
    assert_eq!(lifetime("folioAccessToken=a2", true), None);
    assert_eq!(
        lifetime("folioAccessToken=a2; Max-Age=99999999999", true),
        None
    );
}

#[test]
fn a_lifetime_is_measured_by_the_servers_clock_first() {
    let body = r#"{"accessTokenExpiration":"1970-01-01T00:26:40Z"}"#;
    let age = "folioAccessToken=a2; Max-Age=599";
    let lifetime = |headers: &[_], body| seconds(&okapi(headers, body)).0;
    assert_eq!(lifetime(&[DATE, set(age)], body), Some(600));
    assert_eq!(lifetime(&[set(age)], body), Some(599));
    // This machine's clock reads 5000, so 1600 is over.
    assert_eq!(lifetime(&[set("folioAccessToken=a2")], body), None);
    let later = r#"{"accessTokenExpiration":"1970-01-01T01:23:30Z"}"#;
    assert_eq!(lifetime(&[set("folioAccessToken=a2")], later), Some(10));
}

#[test]
fn a2_an_absurd_end_or_age_does_not_hide_the_other() {
    let far = r#"{"accessTokenExpiration":"9999-12-31T23:59:59Z"}"#;
    let near = r#"{"accessTokenExpiration":"1970-01-01T01:23:30Z"}"#;
    let age = |seconds: &str| format!("folioAccessToken=a2; Max-Age={seconds}");
    let (good, absurd) = (age("600"), age("99999999999"));
    let lifetime = |headers: &[_], body| seconds(&okapi(headers, body)).0;
    assert_eq!(lifetime(&[DATE, set(&good)], far), Some(600));
    assert_eq!(lifetime(&[set(&good)], far), Some(600));
    assert_eq!(lifetime(&[set(&absurd)], near), Some(10));
    assert_eq!(lifetime(&[DATE, set(&absurd)], far), None);
}

#[test]
fn the_refresh_token_of_an_absolute_session_states_its_own_end() {
    let refresh = format!("folioRefreshToken={JWT}");
    let cookies = [DATE, set("folioAccessToken=a2"), set(&refresh)];
    let issued = read(&reply(&cookies, ""), Mode::Eureka, Asked::SignIn);
    assert_eq!(seconds(&issued), (None, Some(10)));
    assert_eq!(issued.refresh_expiry, RefreshExpiry::Absolute);
    assert!(!issued.refresh_is_spent);
    assert_eq!(okapi(&cookies, "").refresh_expiry, RefreshExpiry::Sliding);
}

#[test]
fn a7_a_legacy_token_comes_in_a_header_and_never_expires() {
    let token = (TOKEN, "a2");
    for (headers, body) in [(vec![token], "{}"), (vec![DATE], r#"{"okapiToken":"a2"}"#)] {
        let issued = read(&reply(&headers, body), Mode::Okapi, Asked::LegacyLogin);
        assert_eq!(issued.access, Some("a2".into()));
        assert!(issued.never_expires && issued.expires_in.is_none());
    }
    let stated = read(&reply(&[(TOKEN, JWT)], ""), Mode::Okapi, Asked::LegacyLogin);
    assert!(!stated.never_expires);
}

#[test]
fn an_incomplete_answer_yields_the_rest() {
    assert!(
        okapi(
            &[DATE],
            r#"{"accessTokenExpiration":"1970-01-01T00:26:40Z"}"#
        )
        .is_empty()
    );
    let access = okapi(&[set("folioAccessToken=a2")], "<html>");
    assert_eq!(access.access, Some("a2".into()));
    // The exchange has spent the old refresh token.
    assert!(access.refresh.is_none() && access.refresh_is_spent);
    let refresh = okapi(&[set("folioRefreshToken=r2; Max-Age=60")], "");
    assert_eq!(refresh.refresh, Some("r2".into()));
    assert_eq!(seconds(&refresh), (None, Some(60)));
}

fn set_cookies(cookies: &[&'static str]) -> HeaderMap {
    let values = cookies.iter().map(|text| HeaderValue::from_static(text));
    values.map(|value| (SET_COOKIE, value)).collect()
}

#[test]
fn a4_a_cookie_is_read_whatever_its_path_domain_and_flags() {
    let headers = set_cookies(&[
        "folioAccessToken=a2; Max-Age=600; Expires=Fri, 17 Nov 2023 10:39:15 GMT; Path=/okapi/; Secure; HTTPOnly; SameSite=Lax",
        "folioRefreshToken=r2 ;max-age = 604800;path=/okapi/authn;Domain=elsewhere.example.org;Secure;HttpOnly",
        "other=x; Max-Age=1",
    ]);
    let access = cookie(&headers, ACCESS_COOKIE).unwrap();
    assert_eq!(access.value, "a2");
    assert_eq!(access.max_age, Some(Duration::from_secs(600)));
    assert_eq!(access.expires, Some(Duration::from_secs(1_700_217_555)));
    let refresh = cookie(&headers, REFRESH_COOKIE).unwrap();
    assert_eq!(
        (refresh.value, refresh.max_age),
        ("r2", Some(Duration::from_secs(604_800)))
    );
}

#[test]
fn a_deleted_or_broken_cookie_counts_as_absent() {
    for text in [
        "folioRefreshToken=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/authn",
        "folioRefreshToken",
        "folioRefreshToken=\"\"",
        "foliorefreshtoken=r2",
        "xfolioRefreshToken=r2",
        "x=1; folioRefreshToken=r2",
        "",
    ] {
        assert!(
            cookie(&set_cookies(&[text]), REFRESH_COOKIE).is_none(),
            "{text}"
        );
    }
    let twice = set_cookies(&[
        "folioRefreshToken=old",
        "folioRefreshToken=\"r2\"; Max-Age=soon",
        "folioRefreshToken=; Max-Age=0",
    ]);
    let last = cookie(&twice, REFRESH_COOKIE).unwrap();
    assert_eq!((last.value, last.max_age), ("r2", None));
}

const UNPROCESSABLE: &str = r#"{"errors":[{"message":"Authorization server unable to process token refresh request","type":"error","code":"token.refresh.unprocessable","parameters":[]}]}"#;
const PARSE: &str = r#"{"errors":[{"message":"Bad request","type":"error","code":"token.parse.failure"}],"total_records":1}"#;
const FAILURE: &str = r#"{"errors":[{"message":"Token refresh failed","type":"error","code":"token.refresh.failure"}]}"#;

const UNAUTHORIZED: &str = r#"{"errors":[{"message":"Unauthorized","type":"UnauthorizedException","code":"authorization_error"}],"total_records":1}"#;
const ROUTE: &str = r#"{"errors":[{"message":"Route is not found","type":"NotFoundException","code":"route_not_found_error"}],"total_records":1}"#;
const TENANT: &str = r#"{"errors":[{"message":"Application is not enabled for tenant: diku","type":"TenantNotEnabledException","code":"tenant_not_enabled"}],"total_records":1}"#;
const TIMEOUT: &str = r#"{"errors":[{"message":"Request Timeout","type":"TimeoutException","code":"read_timeout_error"}],"total_records":1}"#;
const KONG: &str = r#"{"message":"no Route matched with those values","request_id":"7"}"#;

fn answer(status: u16, body: &[u8]) -> Reply {
    let body = Zeroizing::new(body.into());
    let status = StatusCode::from_u16(status).unwrap();
    Reply::new(status, HeaderMap::new(), body, None, Duration::ZERO)
}

fn refreshed(reply: Reply) -> Result<Issued, EndpointError> {
    exchange(reply, Mode::Okapi, Asked::Refresh, &Secrets::default())
}

fn class(error: &EndpointError) -> &'static str {
    match error {
        EndpointError::NotSent { .. } => "not sent",
        EndpointError::Later { .. } => "later",
        EndpointError::Rejected { .. } => "rejected",
        EndpointError::UserNeeded { .. } => "user needed",
        EndpointError::Refused { .. } => "refused",
        EndpointError::Page { .. } => "page",
        EndpointError::Unavailable { .. } => "unavailable",
        EndpointError::Unknown { .. } => "unknown",
    }
}

#[test]
fn each_answer_has_one_meaning_for_the_token() {
    for (status, body, expected) in [
        (422, UNPROCESSABLE, "rejected"),
        (422, "", "rejected"),
        (422, "<html>", "rejected"),
        (400, PARSE, "refused"),
        (400, TENANT, "refused"),
        (400, "Unable to process request: tenant", "page"),
        (400, "<html>", "page"),
        (400, "", "page"),
        (401, UNAUTHORIZED, "refused"),
        (401, "Invalid token", "page"),
        (401, "", "page"),
        (403, UNAUTHORIZED, "refused"),
        (403, "<html>", "page"),
        (404, ROUTE, "refused"),
        (404, "No suitable module found", "page"),
        (404, KONG, "page"),
        (408, TIMEOUT, "unavailable"),
        (408, "", "unavailable"),
        (413, "", "page"),
        (425, "", "later"),
        (429, KONG, "later"),
        (500, FAILURE, "unknown"),
        (500, "", "unknown"),
        (501, "", "unknown"),
        (502, UNPROCESSABLE, "unavailable"),
        (503, "", "unavailable"),
        (503, KONG, "unavailable"),
        (504, "", "unavailable"),
        (301, "", "page"),
        (307, PARSE, "page"),
        (200, "", "unknown"),
        (
            201,
            r#"{"accessTokenExpiration":"2024-10-24T14:33:28Z"}"#,
            "unknown",
        ),
        (204, "", "unknown"),
    ] {
        let error = refreshed(answer(status, body.as_bytes())).unwrap_err();
        assert_eq!(class(&error), expected, "{status} {body}");
    }
}

#[test]
fn q9_a_refusal_carries_message_and_code() {
    let error = refreshed(answer(422, UNPROCESSABLE.as_bytes())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the token endpoint rejected the grant: token.refresh.unprocessable: Authorization server unable to process token refresh request (422)"
    );
    let error = refreshed(answer(400, PARSE.as_bytes())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the token endpoint refuses this client: token.parse.failure: Bad request (400)"
    );
    let error = refreshed(answer(500, FAILURE.as_bytes())).unwrap_err();
    let EndpointError::Unknown { source, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(
        source.to_string(),
        "the answer holds neither a token nor a refusal: token.refresh.failure: Token refresh failed (500)"
    );
}

#[test]
fn q9_a_refusal_with_an_unreadable_body_is_a_refusal() {
    for body in [
        &b""[..],
        b"{}",
        b"<html>",
        b"[]",
        br#"{"errors":[]}"#,
        br#"{"errors":[7]}"#,
        br#"{"errors":{"code":"x"}}"#,
        br#"{"errors":[{"code":7,"message":null}]}"#,
        br#"{"errors":[{"code":"tok"#,
        br#"{"errors":[x"]"]}"#,
        br#"{"errors":[x"]",]"#,
    ] {
        let error = refreshed(answer(422, body)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the token endpoint rejected the grant: 422"
        );
    }
    let error = refreshed(answer(422, b"no\xff way")).unwrap_err();
    assert!(error.to_string().contains("no\u{fffd} way"));
}

#[test]
fn i8_the_wait_that_a_gateway_asks_for_is_kept() {
    let after = |status| {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        let read = Reply::new(status, headers, Zeroizing::default(), None, Duration::ZERO);
        let error = refreshed(read).unwrap_err();
        (class(&error), error.retry_after())
    };
    let second = Some(Duration::from_secs(1));
    assert_eq!(after(StatusCode::TOO_MANY_REQUESTS), ("later", second));
    assert_eq!(
        after(StatusCode::SERVICE_UNAVAILABLE),
        ("unavailable", second)
    );
    assert_eq!(
        after(StatusCode::INTERNAL_SERVER_ERROR),
        ("unknown", second)
    );
}

#[test]
fn a_page_is_quoted() {
    let error = refreshed(answer(
        404,
        b"No suitable module\nfound for path /authn/refresh",
    ));
    assert_eq!(
        error.unwrap_err().to_string(),
        r#"the token endpoint answered with a page: 404, "No suitable module found for path /authn/refresh""#
    );
}

#[test]
fn only_an_explicit_answer_decides_a_logout() {
    for (status, body, expected) in [
        (204, "", "done"),
        (200, "", "done"),
        (422, UNPROCESSABLE, "unknown"),
        (400, PARSE, "refused"),
        (401, UNAUTHORIZED, "refused"),
        (401, "Invalid token", "page"),
        (404, "No suitable module found", "page"),
        (302, "", "page"),
        (429, "", "later"),
        (408, "", "unavailable"),
        (503, "", "unavailable"),
        (500, FAILURE, "unknown"),
    ] {
        let ended = logout(answer(status, body.as_bytes()), &Secrets::default());
        let shown = ended.as_ref().map_or_else(class, |()| "done");
        assert_eq!(shown, expected, "{status} {body}");
    }
}

#[test]
fn tokens_are_kept_whatever_the_body_holds() {
    let mut cut = answer(201, br#"{"accessTokenExp"#);
    let cookie = HeaderValue::from_static("folioRefreshToken=r2; Max-Age=60");
    cut.headers.append(SET_COOKIE, cookie);
    cut.broken = Some(Broken::TooLong { limit: 65_536 });
    let issued = refreshed(cut).unwrap();
    assert_eq!(issued.refresh, Some("r2".into()));
}

#[test]
fn no_secret_is_quoted() {
    let mut secrets = Secrets::default();
    secrets.add("sesame-refresh-token");
    for body in [
        "cannot read folioRefreshToken=sesame-refresh-token",
        r#"{"errors":[{"code":"sesame-refresh-token","message":"sesame-refresh-token?"}]}"#,
    ] {
        for status in [400, 422, 500] {
            let reply = answer(status, body.as_bytes());
            let outcome = exchange(reply, Mode::Eureka, Asked::Refresh, &secrets);
            let shown = format!("{:?}", outcome.unwrap_err());
            assert!(!shown.contains("sesame"), "{shown}");
        }
    }
    // An unreadable success is not quoted at all.
    let odd = refreshed(answer(200, br#"token: unknown-to-us"#)).unwrap_err();
    assert!(!format!("{odd:?}").contains("unknown-to-us"));
}

proptest! {
    #[test]
    fn q9_no_answer_makes_the_judge_panic(
        status in 100_u16..1000,
        body: Vec<u8>,
        odd in r#"(\{|\}|\[|\]|:|,|"|"errors":|"code":|"message":|9|a){0,30}"#,
    ) {
        for body in [body.as_slice(), odd.as_bytes()] {
            let _ = refreshed(answer(status, body));
            let _ = logout(answer(status, body), &Secrets::default());
        }
    }
}
