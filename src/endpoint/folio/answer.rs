//! Reads what the login service issued. It refuses nothing; what cannot be read counts as absent.
//!
//! The tokens are in the cookies and their ends in the body, so a body that is odd or broke off costs no token.

use std::time::Duration;

use zeroize::Zeroizing;

use super::cookies::{self, Cookie};
use super::site::Mode;
use super::{Asked, wire};
use crate::endpoint::json::{Members, Value};
use crate::endpoint::transport::Reply;
use crate::endpoint::{Issued, LONGEST_LIFETIME, time};
use crate::token::{RefreshExpiry, jwt};

/// What was issued; it may be nothing.
pub(super) fn read(reply: &Reply, mode: Mode, asked: Asked) -> Issued {
    let said = Said::read(&reply.body);
    let access_cookie = cookies::find(&reply.headers, cookies::ACCESS);
    let refresh_cookie = cookies::find(&reply.headers, cookies::REFRESH);
    let header = reply.headers.get(&wire::TOKEN);
    let access = access_cookie
        .map(|cookie| cookie.value)
        .or_else(|| header.and_then(|value| value.to_str().ok()))
        .or_else(|| said.token.as_ref().map(|token| token.as_str()))
        .filter(|token| !token.is_empty());
    let refresh = refresh_cookie.map(|cookie| cookie.value);
    let times = access.and_then(jwt::times);
    let server = times.map_or(reply.date, |times| times.server_time(reply.date));
    let access_end = said.access_ends.or(times.map(|times| times.expires_at));
    let refresh_end = said
        .refresh_ends
        .or_else(|| Some(jwt::times(refresh?)?.expires_at));
    Issued {
        access: access.map(Into::into),
        refresh: refresh.map(Into::into),
        expires_in: access.and_then(|_| lifetime(access_end, access_cookie, server, reply.read_at)),
        refresh_expires_in: refresh
            .and_then(|_| lifetime(refresh_end, refresh_cookie, server, reply.read_at)),
        never_expires: asked == Asked::LegacyLogin && times.is_none(),
        // Each refresh spends what it was sent.
        refresh_is_spent: asked == Asked::Refresh,
        refresh_expiry: match mode {
            Mode::Okapi => RefreshExpiry::Sliding,
            Mode::Eureka => RefreshExpiry::Absolute,
        },
        server_time: reply.date,
        ..Issued::default()
    }
}

/// How long a token that ends at `end` is good for: by the server's clock, where that is known; else as its cookie has
/// it; else by ours.
fn lifetime(
    end: Option<Duration>,
    cookie: Option<Cookie<'_>>,
    server: Option<Duration>,
    ours: Duration,
) -> Option<Duration> {
    let end = end.or(cookie.and_then(|cookie| cookie.expires));
    let is_sane = |span: &Duration| *span <= LONGEST_LIFETIME;
    // Nobody issues what is over: then a clock is wrong.
    let from = |now: Duration| {
        let span = end?.checked_sub(now)?;
        Some(span).filter(|span| !span.is_zero() && is_sane(span))
    };
    server
        .and_then(from)
        .or_else(|| cookie?.max_age.filter(is_sane))
        .or_else(|| from(ours))
}

/// What the body says.
#[derive(Default)]
struct Said {
    access_ends: Option<Duration>,
    refresh_ends: Option<Duration>,
    /// Where tokens have no expiry, the token itself.
    token: Option<Zeroizing<String>>,
}

impl Said {
    fn read(body: &[u8]) -> Self {
        let mut said = Self::default();
        if let Some(members) = Members::of(body) {
            said.members(members);
        }
        said
    }

    fn members(&mut self, members: Members<'_>) {
        for (name, value) in members {
            match value {
                Value::Text(text) => self.text(&name, text),
                // Some answers have the times in a wrapper.
                Value::Object(wrapped) if *name == "tokenExpiration" => {
                    for (name, value) in wrapped {
                        if let Value::Text(text) = value {
                            self.text(&name, text);
                        }
                    }
                }
                _ => {}
            }
        }
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

#[cfg(test)]
mod tests {
    use http::header::SET_COOKIE;
    use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

    use super::*;

    /// {"exp":1010,"iat":950}
    const JWT: &str = "e30.eyJleHAiOjEwMTAsImlhdCI6OTUwfQ.x";

    /// The server's clock says 1000, in the answers that have one; ours says 5000.
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

    fn cookie(text: &str) -> (HeaderName, &str) {
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
                cookie("folioAccessToken=a2; Max-Age=1"),
                cookie("folioRefreshToken=r2"),
            ];
            let issued = okapi(&cookies, &body);
            assert_eq!(issued.access, Some("a2".into()));
            assert_eq!(issued.refresh, Some("r2".into()));
            assert_eq!(seconds(&issued), (Some(600), Some(604_800)), "{body}");
        }
    }

    #[test]
    fn a2_an_end_that_cannot_be_read_is_the_tokens_own_else_the_cookies_else_unknown() {
        let body = r#"{"accessTokenExpiration":"soon","refreshTokenExpiration":null}"#;
        let jwt = format!("folioAccessToken={JWT}");
        let lifetime = |access: &str, date: bool| {
            let date = date.then_some(DATE);
            let headers: Vec<_> = date.into_iter().chain([cookie(access)]).collect();
            seconds(&okapi(&headers, body)).0
        };
        assert_eq!(lifetime(&jwt, true), Some(10));
        // By the clock that the token came with.
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
    fn an_end_is_read_by_the_servers_clock_rather_than_by_ours() {
        let body = r#"{"accessTokenExpiration":"1970-01-01T00:26:40Z"}"#;
        let age = "folioAccessToken=a2; Max-Age=599";
        let lifetime = |headers: &[_], body| seconds(&okapi(headers, body)).0;
        assert_eq!(lifetime(&[DATE, cookie(age)], body), Some(600));
        assert_eq!(lifetime(&[cookie(age)], body), Some(599));
        // 1600 is long over by ours, which is 5000.
        assert_eq!(lifetime(&[cookie("folioAccessToken=a2")], body), None);
        let later = r#"{"accessTokenExpiration":"1970-01-01T01:23:30Z"}"#;
        assert_eq!(lifetime(&[cookie("folioAccessToken=a2")], later), Some(10));
    }

    #[test]
    fn a2_an_end_or_an_age_beyond_all_measure_does_not_hide_the_other() {
        let far = r#"{"accessTokenExpiration":"9999-12-31T23:59:59Z"}"#;
        let near = r#"{"accessTokenExpiration":"1970-01-01T01:23:30Z"}"#;
        let age = |seconds: &str| format!("folioAccessToken=a2; Max-Age={seconds}");
        let (good, absurd) = (age("600"), age("99999999999"));
        let lifetime = |headers: &[_], body| seconds(&okapi(headers, body)).0;
        assert_eq!(lifetime(&[DATE, cookie(&good)], far), Some(600));
        assert_eq!(lifetime(&[cookie(&good)], far), Some(600));
        assert_eq!(lifetime(&[cookie(&absurd)], near), Some(10));
        assert_eq!(lifetime(&[DATE, cookie(&absurd)], far), None);
    }

    #[test]
    fn a_fixed_sessions_refresh_token_tells_its_own_end() {
        let refresh = format!("folioRefreshToken={JWT}");
        let cookies = [DATE, cookie("folioAccessToken=a2"), cookie(&refresh)];
        let issued = read(&reply(&cookies, ""), Mode::Eureka, Asked::SignIn);
        assert_eq!(seconds(&issued), (None, Some(10)));
        assert_eq!(issued.refresh_expiry, RefreshExpiry::Absolute);
        assert!(!issued.refresh_is_spent);
        assert_eq!(okapi(&cookies, "").refresh_expiry, RefreshExpiry::Sliding);
    }

    #[test]
    fn a7_a_legacy_token_comes_in_a_header_and_never_expires() {
        let token = (wire::TOKEN, "a2");
        for (headers, body) in [(vec![token], "{}"), (vec![DATE], r#"{"okapiToken":"a2"}"#)] {
            let issued = read(&reply(&headers, body), Mode::Okapi, Asked::LegacyLogin);
            assert_eq!(issued.access, Some("a2".into()));
            assert!(issued.never_expires && issued.expires_in.is_none());
        }
        let stated = read(
            &reply(&[(wire::TOKEN, JWT)], ""),
            Mode::Okapi,
            Asked::LegacyLogin,
        );
        assert!(!stated.never_expires);
    }

    #[test]
    fn what_lacks_a_part_yields_the_rest() {
        assert!(
            okapi(
                &[DATE],
                r#"{"accessTokenExpiration":"1970-01-01T00:26:40Z"}"#
            )
            .is_empty()
        );
        let access = okapi(&[cookie("folioAccessToken=a2")], "<html>");
        assert_eq!(access.access, Some("a2".into()));
        // The old one was spent for this.
        assert!(access.refresh.is_none() && access.refresh_is_spent);
        let refresh = okapi(&[cookie("folioRefreshToken=r2; Max-Age=60")], "");
        assert_eq!(refresh.refresh, Some("r2".into()));
        assert_eq!(seconds(&refresh), (None, Some(60)));
    }
}
