//! Reads what the login service issued. The reader never refuses an answer; a value that cannot be read counts as absent.
//!
//! The tokens are in the cookies and their expiry times in the body, so an odd or broken body costs no token. Only the two
//! cookies of FOLIO's tokens are read. Path, domain and `Secure` direct a browser; this crate sends the refresh token only
//! to the service from which the cookie came, so those attributes are ignored, and there is no cookie jar.

use std::time::Duration;

use http::HeaderMap;
use http::header::SET_COOKIE;
use zeroize::Zeroizing;

use super::Asked;
use super::request::{ACCESS_COOKIE, Mode, REFRESH_COOKIE, TOKEN};
use crate::endpoint::json::{Members, Value};
use crate::endpoint::reply::Reply;
use crate::endpoint::{Issued, LONGEST_LIFETIME, time};
use crate::token::{RefreshExpiry, jwt};

/// What the service issued, which may be nothing.
pub(super) fn read(reply: &Reply, mode: Mode, asked: Asked) -> Issued {
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
        for (name, value) in members.flat_map(|members| members.iter()) {
            match value {
                Value::Text(text) => fields.text(&name, text),
                // Some answers hold the times in a wrapper.
                Value::Object(wrapped) if *name == "tokenExpiration" => {
                    for (name, value) in wrapped.iter() {
                        if let Value::Text(text) = value {
                            fields.text(&name, text);
                        }
                    }
                }
                _ => {}
            }
        }
        fields
    }

    fn text(&mut self, name: &str, text: Zeroizing<String>) {
        match name {
            "accessTokenExpiration" => {
                self.access_ends = self.access_ends.or_else(|| time::parse(&text));
            }
            "refreshTokenExpiration" => {
                self.refresh_ends = self.refresh_ends.or_else(|| time::parse(&text));
            }
            "okapiToken" => self.token = Some(text),
            _ => {}
        }
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
    use http::{HeaderName, HeaderValue, StatusCode};

    use super::*;

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
}
