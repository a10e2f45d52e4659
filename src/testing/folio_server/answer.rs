//! The form of FOLIO's answers: bodies, dates, and the two cookies that carry its tokens (RFC 6265), written with
//! `Set-Cookie` and read from `Cookie`. This module never decides a request.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Response};
use serde_json::json;

use super::super::http::{json_of, response, typed};
use super::builder::{Rules, System};
use super::state::{Dated, Pair};

/// Where the body of an answer with tokens has their expiry.
pub(super) enum Shape {
    /// `{accessTokenExpiration, refreshTokenExpiration}`.
    Flat,
    /// As `tokenExpiration`, beside the user.
    Wrapped { id: String, name: String },
    /// Nowhere: the body has the tokens themselves.
    Tokens,
}

/// 201, with the tokens in cookies and their expiry in the body.
pub(super) fn issued(rules: &Rules, pair: &Pair, shape: &Shape) -> Response<Bytes> {
    let Pair { access, refresh } = pair;
    let times = json!({
        "accessTokenExpiration": iso_date(access.expires_at),
        "refreshTokenExpiration": iso_date(refresh.expires_at),
    });
    let body = match shape {
        Shape::Flat => times,
        Shape::Wrapped { id, name } => json!({
            "user": { "id": id, "username": name, "active": true },
            "tokenExpiration": times,
        }),
        Shape::Tokens => json!({ "okapiToken": access.token, "refreshToken": refresh.token }),
    };
    let mut response = json_of(201, &body);
    let (system, path) = (rules.system, &rules.path);
    let (root, authn) = match system {
        System::Okapi => (format!("{path}/"), format!("{path}/authn")),
        System::Eureka => ("/".to_owned(), "/authn".to_owned()),
    };
    let headers = response.headers_mut();
    append(headers, &written(system, ACCESS, access, &root));
    append(headers, &written(system, REFRESH, refresh, &authn));
    response
}

/// 204, which clears the cookies.
pub(super) fn logged_out(system: System) -> Response<Bytes> {
    let mut response = response(204, Bytes::new());
    clear_cookies(response.headers_mut(), system);
    response
}

pub(super) fn text(status: u16, text: impl Into<Bytes>) -> Response<Bytes> {
    typed(status, "text/plain", text)
}

/// An error in the form of Okapi's modules for sign-in.
pub(super) fn okapi_error(status: u16, message: &str, code: &str) -> Response<Bytes> {
    let error = json!({ "message": message, "type": "error", "code": code });
    json_of(status, &json!({ "errors": [error] }))
}

/// An error in the form of Eureka's modules and sidecars.
pub(super) fn eureka_error(status: u16, message: &str, kind: &str, code: &str) -> Response<Bytes> {
    let error = json!({ "message": message, "type": kind, "code": code });
    json_of(status, &json!({ "errors": [error], "total_records": 1 }))
}

pub(super) const ACCESS: &str = "folioAccessToken";
pub(super) const REFRESH: &str = "folioRefreshToken";

/// The request has two cookies of this name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Twice;

/// The value of the cookie with this name.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Twice> {
    let mut values = cookies(headers)
        .filter_map(|pair| pair.split_once('='))
        .filter(|(found, _)| *found == name)
        .map(|(_, value)| value);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Twice),
        (value, None) => Ok(value),
    }
}

/// All cookies of a request, each with its name and value.
pub(super) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let texts = headers.get_all(COOKIE).iter();
    let texts = texts.filter_map(|text| text.to_str().ok());
    texts.flat_map(|text| text.split(';')).map(str::trim)
}

/// Clears both cookies.
pub(super) fn clear_cookies(headers: &mut HeaderMap, system: System) {
    let over = Dated::default();
    let end = http_date(over.expires_at);
    for (name, path) in [(ACCESS, "/"), (REFRESH, "/authn")] {
        let cookie = match system {
            System::Okapi => {
                format!("{name}=; Expires={end}; Path={path}; Secure; HTTPOnly; SameSite=None")
            }
            System::Eureka => written(system, name, &over, path),
        };
        append(headers, &cookie);
    }
}

fn written(system: System, name: &str, token: &Dated, path: &str) -> String {
    let (token, age, end) = (&token.token, token.lives, http_date(token.expires_at));
    match system {
        System::Okapi => format!(
            "{name}={token}; Max-Age={age}; Expires={end}; Path={path}; Secure; HTTPOnly; SameSite=Lax"
        ),
        System::Eureka => format!(
            "{name}={token}; Path={path}; Max-Age={age}; Expires={end}; Secure; HttpOnly; SameSite=None"
        ),
    }
}

fn append(headers: &mut HeaderMap, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        headers.append(SET_COOKIE, value);
    }
}

/// The date of a cookie or a `Date` header (RFC 9110 section 5.6.7), from seconds since the Unix epoch.
pub(super) fn http_date(seconds: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The date in a body: ISO 8601, in UTC and with whole seconds, from seconds since the Unix epoch.
fn iso_date(seconds: u64) -> String {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let date = http_date(seconds);
    let month = MONTHS.find(&date[8..11]).unwrap_or_default() / 3 + 1;
    let (day, year, time) = (&date[5..7], &date[12..16], &date[17..25]);
    format!("{year}-{month:02}-{day}T{time}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(cookies: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, HeaderValue::from_static(cookie));
        }
        headers
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        for (headers, found) in [
            (sent(&[]), None),
            (sent(&["folioRefreshToken=a.b=="]), Some("a.b==")),
            (
                sent(&["folioAccessToken=x; folioRefreshToken=y"]),
                Some("y"),
            ),
            (sent(&["a=b", "folioRefreshToken=y"]), Some("y")),
            (sent(&["xfolioRefreshToken=y; folioRefreshToken"]), None),
            (sent(&["folioRefreshToken="]), Some("")),
        ] {
            assert_eq!(cookie(&headers, REFRESH), Ok(found), "{headers:?}");
        }
    }

    #[test]
    fn two_cookies_of_one_name_are_an_error() {
        for headers in [
            sent(&["folioAccessToken=x; folioAccessToken=x"]),
            sent(&["folioAccessToken=x", "folioAccessToken=y"]),
        ] {
            assert_eq!(cookie(&headers, ACCESS), Err(Twice));
            assert_eq!(cookie(&headers, REFRESH), Ok(None));
        }
    }

    #[test]
    fn dates_are_written_in_both_forms() {
        assert_eq!(iso_date(1_729_780_408), "2024-10-24T14:33:28Z");
        assert_eq!(http_date(1_729_780_408), "Thu, 24 Oct 2024 14:33:28 GMT");
        assert_eq!(iso_date(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso_date(1_709_164_800), "2024-02-29T00:00:00Z");
    }
}
