//! The two cookies that FOLIO's tokens travel in. It knows no others.
//!
//! Path, domain and `Secure` tell a browser where a cookie may go. Here there is one place that it came from, and one
//! that the refresh token goes back to, so they are not read; nor is there a jar that could send it elsewhere.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

pub(super) const ACCESS: &str = "folioAccessToken";
pub(super) const REFRESH: &str = "folioRefreshToken";

/// What a `Set-Cookie` holds (RFC 6265 section 5.2). The value is not empty.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cookie<'a> {
    pub(super) value: &'a str,
    /// How long it is good for from when it was set.
    pub(super) max_age: Option<Duration>,
    /// Until when, since the Unix epoch.
    pub(super) expires: Option<Duration>,
}

/// The cookie of this name, as it was set last. One that is only taken back is none.
pub(super) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cookie<'a>> {
    let set = headers.get_all(SET_COOKIE).iter();
    set.filter_map(|header| parse(str::from_utf8(header.as_bytes()).ok()?, name))
        .next_back()
}

/// The header that carries this one cookie and no other; `None` if a cookie cannot hold the token.
pub(super) fn header(name: &str, token: &str) -> Option<HeaderValue> {
    let is_octet = |byte: u8| byte.is_ascii_graphic() && !br#"",;\"#.contains(&byte);
    if token.is_empty() || !token.bytes().all(is_octet) {
        return None;
    }
    let mut text = Zeroizing::new(Vec::with_capacity(name.len() + 1 + token.len()));
    for part in [name, "=", token] {
        text.extend_from_slice(part.as_bytes());
    }
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(text)).ok()?;
    value.set_sensitive(true);
    Some(value)
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
            // Of what is good for no time at all, nothing is known.
            let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
            cookie.max_age = seconds.map(Duration::from_secs);
        } else if attribute.eq_ignore_ascii_case("expires") {
            let at = httpdate::parse_http_date(text).ok();
            cookie.expires = at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        }
    }
    Some(cookie)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookies: &[&'static str]) -> HeaderMap {
        let values = cookies.iter().map(|text| HeaderValue::from_static(text));
        values.map(|value| (SET_COOKIE, value)).collect()
    }

    #[test]
    fn a4_a_cookie_is_read_whatever_a_browser_would_do_with_it() {
        let headers = headers(&[
            "folioAccessToken=a2; Max-Age=600; Expires=Fri, 17 Nov 2023 10:39:15 GMT; Path=/okapi/; Secure; HTTPOnly; SameSite=Lax",
            "folioRefreshToken=r2 ;max-age = 604800;path=/okapi/authn;Domain=elsewhere.example.org;Secure;HttpOnly",
            "other=x; Max-Age=1",
        ]);
        let access = find(&headers, ACCESS).unwrap();
        assert_eq!(access.value, "a2");
        assert_eq!(access.max_age, Some(Duration::from_secs(600)));
        assert_eq!(access.expires, Some(Duration::from_secs(1_700_217_555)));
        let refresh = find(&headers, REFRESH).unwrap();
        assert_eq!(
            (refresh.value, refresh.max_age),
            ("r2", Some(Duration::from_secs(604_800)))
        );
    }

    #[test]
    fn a_cookie_that_is_taken_back_or_broken_is_none() {
        for text in [
            "folioRefreshToken=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/authn",
            "folioRefreshToken",
            "folioRefreshToken=\"\"",
            "foliorefreshtoken=r2",
            "xfolioRefreshToken=r2",
            "x=1; folioRefreshToken=r2",
            "",
        ] {
            assert!(find(&headers(&[text]), REFRESH).is_none(), "{text}");
        }
        let twice = headers(&[
            "folioRefreshToken=old",
            "folioRefreshToken=\"r2\"; Max-Age=soon",
            "folioRefreshToken=; Max-Age=0",
        ]);
        let last = find(&twice, REFRESH).unwrap();
        assert_eq!((last.value, last.max_age), ("r2", None));
    }

    #[test]
    fn one_cookie_is_sent_and_no_token_can_make_it_two() {
        let value = header(REFRESH, "e30.a-b_c.~+/=").unwrap();
        assert_eq!(value, "folioRefreshToken=e30.a-b_c.~+/=");
        assert!(value.is_sensitive());
        for token in ["", "a;b", "a b", "a,b", "a\"b", "a\\b", "a\nb", "\u{fc}"] {
            assert!(header(REFRESH, token).is_none(), "{token}");
        }
    }
}
