//! Reads what the login service issued, and decides what an answer means for the token of the request. This module does no
//! I/O and reads no clock.
//!
//! The reader never refuses an answer; a value that cannot be read counts as absent. The tokens are in the cookies and their
//! expiry times in the body, so an odd or broken body costs no token. Only the two cookies of FOLIO's tokens are read. Path,
//! domain and `Secure` direct a browser; this crate sends the refresh token only to the service from which the cookie came,
//! so those attributes are ignored, and there is no cookie jar.
//!
//! Only FOLIO's own statement counts. Its errors have a known form: JSON with a list of `errors`, each with a `code`. The
//! table lists the programs that answer with each status:
//!
//! | status | with a code | without |
//! |---|---|---|
//! | 400 | mod-login and mod-login-keycloak: no cookie was found, the password does not match. Eureka's sidecar: the tenant is not enabled (yet) | Okapi, as text: no such tenant, a header is missing. Proxies |
//! | 401, 403 | Eureka's sidecar: the caller is not admitted | mod-authtoken, as text: `Invalid token`. Firewalls |
//! | 404 | Eureka's sidecar: there is no such route | Okapi, as text: `No suitable module found`, also while a module is being deployed. Kong: `no Route matched` |
//! | 408 | Eureka's sidecar waited for the module in vain | Proxies |
//! | 422 | mod-login and mod-login-keycloak: the authorization server refuses | - |
//! | 429 | - | Kong |
//! | 500 | mod-login: mod-login did not reach mod-authtoken, or lost its answer. Eureka's sidecar | Okapi |
//! | 502, 503, 504 | Eureka's sidecar, with a `Retry-After`: its own token was refused | Kong, proxies |
//!
//! A **4xx with a code** is a refusal of this client. Either the service found no token to judge, or the sidecar in front
//! of it did not pass the request on; in both cases the token is unspent. A **4xx without a code** is a page: text and HTML
//! come from programs in front of the service, and mean nothing for the token.
//!
//! **A 422 ends the token.** The login service answers so whenever the authorization server behind it does not rotate. The
//! token had expired, was used before or was revoked - or that server failed, which the answer does not distinguish. A 422
//! counts as a refusal in every case, also without a code, because no gateway in front of FOLIO gives that status by itself.
//!
//! With Okapi the token must not be sent again: if it was spent, even by this very request, a second use ends every session
//! of the user. The caution costs one session, which a sign-in replaces. To treat a 422 as unknown would spare no session
//! there, and would hide the end of a session that did end. In Eureka, a failure that is treated as the end costs a session
//! that might have been kept. But to try the token again after each 422 would cost every session that did end minutes of
//! errors before its end is reported. An endpoint that can sign in recovers at once from both.
//!
//! **A 500 leaves the token unknown.** Behind Okapi, mod-login answers so when mod-authtoken consumed the token and the
//! answer of mod-authtoken was lost. A **408, 502, 503 or 504** comes from a program that did not reach the service, or gave
//! up on it.

use std::time::Duration;

use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};
use zeroize::Zeroizing;

use super::Asked;
use super::request::{ACCESS_COOKIE, Mode, REFRESH_COOKIE, TOKEN};
use crate::endpoint::json::{Members, Value};
use crate::endpoint::quote::{Quote, Secrets};
use crate::endpoint::reply::Reply;
use crate::endpoint::{EndpointError, Issued, LONGEST_LIFETIME, time};
use crate::token::{RefreshExpiry, jwt};

/// The outcome of an exchange.
pub(in crate::endpoint) fn exchange(
    reply: Reply,
    mode: Mode,
    asked: Asked,
    secrets: &Secrets,
) -> Result<Issued, EndpointError> {
    if !reply.status.is_success() {
        let missing = "the answer holds neither a token nor a refusal";
        return Err(failure(reply, true, secrets, missing));
    }
    let issued = read(&reply, mode, asked);
    if issued.is_empty() {
        // The body may hold an unknown token.
        let quote = Quote::status(reply.status.as_u16());
        return Err(reply.unclear(quote, "the answer sets no token in its cookies"));
    }
    Ok(issued)
}

/// The outcome of a logout.
///
/// A 422 decides nothing. The authorization server may have failed; or, in Eureka, the request carried no access token that
/// names the session, and then the session lives on. Another attempt does no harm, and a refusal would prevent it.
pub(in crate::endpoint) fn logout(reply: Reply, secrets: &Secrets) -> Result<(), EndpointError> {
    if reply.status.is_success() {
        return Ok(());
    }
    let missing = "the answer does not report that the session ended";
    Err(failure(reply, false, secrets, missing))
}

/// The error of an answer that is not a success. A 422 refuses an exchange.
fn failure(
    reply: Reply,
    is_exchange: bool,
    secrets: &Secrets,
    missing: &'static str,
) -> EndpointError {
    let complaint = Complaint::read(&reply.body);
    let is_422 = reply.status == StatusCode::UNPROCESSABLE_ENTITY;
    let code = complaint.code.as_ref().map(|code| code.as_str());
    let code = code.or((is_422 && is_exchange).then_some("422"));
    let message = complaint.message.as_ref().map(|text| text.as_str());
    let quote = reply.quote(code, message, secrets);
    match is_422 {
        true if is_exchange => EndpointError::rejected("").with_quote(quote),
        true => reply.unclear(quote, missing),
        false => reply.not_done(false, code.is_some(), quote, missing),
    }
}

/// The reason of a refusal: the first error of the list, or a line of text.
#[derive(Default)]
struct Complaint {
    code: Option<Zeroizing<String>>,
    message: Option<Zeroizing<String>>,
}

impl Complaint {
    fn read(body: &[u8]) -> Self {
        let mut complaint = Self::default();
        let Some(members) = Members::of(body) else {
            let text = Zeroizing::new(String::from_utf8_lossy(body).into_owned());
            // A page is not a statement of FOLIO.
            complaint.message = Some(text).filter(|it| !it.trim_start().starts_with(['<', '[']));
            return complaint;
        };
        let mut errors = members.iter().filter_map(|(name, value)| match value {
            Value::Array(elements) if *name == "errors" => Some(elements),
            _ => None,
        });
        if let Some(Value::Object(error)) = errors.next().and_then(|list| list.iter().next()) {
            for (name, value) in error.iter() {
                match (name.as_str(), value) {
                    ("code", Value::Text(text)) if !text.trim().is_empty() => {
                        complaint.code = Some(text);
                    }
                    ("message", Value::Text(text)) => complaint.message = Some(text),
                    _ => {}
                }
            }
        }
        complaint
    }
}

/// What the service issued, which may be nothing.
fn read(reply: &Reply, mode: Mode, asked: Asked) -> Issued {
    let fields = Fields::read(&reply.body);
    let access_cookie = cookie(&reply.headers, ACCESS_COOKIE);
    let refresh_cookie = cookie(&reply.headers, REFRESH_COOKIE);
    let header = reply.headers.get(&TOKEN);
    let access = access_cookie
        .map(|cookie| cookie.value)
        .or_else(|| header.and_then(|value| value.to_str().ok()))
        .or_else(|| fields.token.as_ref().map(|token| token.as_str()))
        .filter(|token| !token.is_empty());
    let refresh = refresh_cookie.map(|cookie| cookie.value);
    let times = access.and_then(jwt::times);
    let server = times.map_or(reply.date, |times| times.server_time(reply.date));
    let access_end = fields.access_ends.or(times.map(|times| times.expires_at));
    let refresh_end = fields
        .refresh_ends
        .or_else(|| Some(jwt::times(refresh?)?.expires_at));
    Issued {
        access: access.map(Into::into),
        refresh: refresh.map(Into::into),
        expires_in: access.and_then(|_| lifetime(access_end, access_cookie, server, reply.read_at)),
        refresh_expires_in: refresh
            .and_then(|_| lifetime(refresh_end, refresh_cookie, server, reply.read_at)),
        never_expires: asked == Asked::LegacyLogin && times.is_none(),
        // The server spends the refresh token of each refresh.
        refresh_is_spent: asked == Asked::Refresh,
        refresh_expiry: match mode {
            Mode::Okapi => RefreshExpiry::Sliding,
            Mode::Eureka => RefreshExpiry::Absolute,
        },
        server_time: reply.date,
        ..Issued::default()
    }
}

/// The lifetime of a token that ends at `end`: by the server's clock if that is known, or else by the `Max-Age` of its
/// cookie, or else by this machine's clock.
fn lifetime(
    end: Option<Duration>,
    cookie: Option<Cookie<'_>>,
    server: Option<Duration>,
    ours: Duration,
) -> Option<Duration> {
    let end = end.or(cookie.and_then(|cookie| cookie.expires));
    let until_end = |now| time::lifetime_until(end, now);
    let age = || cookie?.max_age.filter(|age| *age <= LONGEST_LIFETIME);
    let by_server = server.and_then(until_end);
    by_server.or_else(age).or_else(|| until_end(ours))
}

/// The fields of the body.
#[derive(Default)]
struct Fields {
    access_ends: Option<Duration>,
    refresh_ends: Option<Duration>,
    /// The token itself, if tokens have no expiry.
    token: Option<Zeroizing<String>>,
}

impl Fields {
    fn read(body: &[u8]) -> Self {
        let mut fields = Self::default();
        let members = Members::of(body).into_iter();
        let members = members.flat_map(|members| members.iter());
        // Some answers hold the times in a wrapper.
        let members = members.flat_map(|(name, value)| match value {
            Value::Object(wrapped) if *name == "tokenExpiration" => wrapped.iter().collect(),
            value => vec![(name, value)],
        });
        for (name, value) in members {
            let Value::Text(text) = value else { continue };
            match name.as_str() {
                "accessTokenExpiration" => {
                    fields.access_ends = fields.access_ends.or_else(|| time::parse(&text));
                }
                "refreshTokenExpiration" => {
                    fields.refresh_ends = fields.refresh_ends.or_else(|| time::parse(&text));
                }
                "okapiToken" => fields.token = Some(text),
                _ => {}
            }
        }
        fields
    }
}

/// A cookie of a `Set-Cookie` header (RFC 6265 section 5.2). The value is not empty.
#[derive(Debug, Clone, Copy)]
pub(in crate::endpoint) struct Cookie<'a> {
    pub(in crate::endpoint) value: &'a str,
    /// The lifetime of the cookie, from the answer that set it.
    max_age: Option<Duration>,
    /// The end of the cookie, since the Unix epoch.
    expires: Option<Duration>,
}

/// The cookie of this name, as the answer set it last. A cookie that the answer only deletes does not count.
pub(in crate::endpoint) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cookie<'a>> {
    let set = headers.get_all(SET_COOKIE).iter();
    set.filter_map(|header| parse(str::from_utf8(header.as_bytes()).ok()?, name))
        .next_back()
}

fn parse<'a>(header: &'a str, name: &str) -> Option<Cookie<'a>> {
    let mut parts = header.split(';').map(str::trim);
    let (key, value) = parts.next()?.split_once('=')?;
    let value = value.trim();
    let unquoted = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    let value = unquoted.unwrap_or(value);
    if key.trim() != name || value.is_empty() {
        return None;
    }
    let mut cookie = Cookie {
        value,
        max_age: None,
        expires: None,
    };
    for (attribute, text) in parts.filter_map(|part| part.split_once('=')) {
        let (attribute, text) = (attribute.trim(), text.trim());
        if attribute.eq_ignore_ascii_case("max-age") {
            // A lifetime of zero counts as unknown.
            let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
            cookie.max_age = seconds.map(Duration::from_secs);
        } else if attribute.eq_ignore_ascii_case("expires") {
            cookie.expires = time::http_date(text);
        }
    }
    Some(cookie)
}

#[cfg(test)]
mod tests {
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
}
