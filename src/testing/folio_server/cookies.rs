//! The two cookies that FOLIO's tokens travel in (RFC 6265): written with `Set-Cookie`, read from `Cookie`.

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

use super::builder::System;
use super::date;
use super::state::{Dated, Pair};

pub(super) const ACCESS: &str = "folioAccessToken";
pub(super) const REFRESH: &str = "folioRefreshToken";

/// There are two cookies of this name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Twice;

/// The value of the cookie with this name.
pub(super) fn value<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Twice> {
    let texts = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|header| header.to_str().ok());
    let mut values = texts
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(found, _)| *found == name)
        .map(|(_, value)| value);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Twice),
        (value, None) => Ok(value),
    }
}

/// Adds both cookies.
pub(super) fn set(headers: &mut HeaderMap, system: System, path: &str, pair: &Pair) {
    let (root, authn) = match system {
        System::Okapi => (format!("{path}/"), format!("{path}/authn")),
        System::Eureka => ("/".to_owned(), "/authn".to_owned()),
    };
    append(headers, &written(system, ACCESS, &pair.access, &root));
    append(headers, &written(system, REFRESH, &pair.refresh, &authn));
}

/// Takes both cookies away.
pub(super) fn clear(headers: &mut HeaderMap, system: System) {
    const OVER: &str = "Expires=Thu, 01 Jan 1970 00:00:00 GMT";
    for (name, path) in [(ACCESS, "/"), (REFRESH, "/authn")] {
        let cookie = match system {
            System::Okapi => {
                format!("{name}=; {OVER}; Path={path}; Secure; HTTPOnly; SameSite=None")
            }
            System::Eureka => {
                format!("{name}=; Path={path}; Max-Age=0; {OVER}; Secure; HttpOnly; SameSite=None")
            }
        };
        append(headers, &cookie);
    }
}

fn written(system: System, name: &str, token: &Dated, path: &str) -> String {
    let (token, age, end) = (&token.token, token.lives, date::http(token.expires_at));
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
            assert_eq!(value(&headers, REFRESH), Ok(found), "{headers:?}");
        }
    }

    #[test]
    fn two_cookies_of_one_name_are_an_error() {
        for headers in [
            sent(&["folioAccessToken=x; folioAccessToken=x"]),
            sent(&["folioAccessToken=x", "folioAccessToken=y"]),
        ] {
            assert_eq!(value(&headers, ACCESS), Err(Twice));
            assert_eq!(value(&headers, REFRESH), Ok(None));
        }
    }
}
