//! Where a request carries its token. Nothing here knows what a token is worth.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

/// A header of a request, or one cookie in its `Cookie`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Channel {
    Header(HeaderName),
    Cookie(Cow<'static, str>),
}

impl Channel {
    /// `Authorization: Bearer` (RFC 6750 section 2.1).
    pub(crate) const BEARER: Self = Self::Header(AUTHORIZATION);

    /// What stands before the token in the header.
    pub(crate) fn prefix(&self) -> String {
        match self {
            Self::Header(name) if *name == AUTHORIZATION => "Bearer ".to_owned(),
            Self::Header(_) => String::new(),
            Self::Cookie(name) => format!("{name}="),
        }
    }

    /// What cannot be the name of a cookie (RFC 6265 section 4.1.1).
    pub(crate) fn problem(&self) -> Option<&'static str> {
        match self {
            // The same characters make the name of a header.
            Self::Cookie(name) if HeaderName::from_bytes(name.as_bytes()).is_err() => {
                Some("must be the name of a cookie, of letters, digits and hyphens")
            }
            _ => None,
        }
    }

    fn header(&self) -> &HeaderName {
        match self {
            Self::Header(name) => name,
            Self::Cookie(_) => &COOKIE,
        }
    }

    /// Whether reqwest takes it off when it follows a redirect to another origin.
    pub(super) fn is_taken_off(&self) -> bool {
        [AUTHORIZATION, COOKIE].contains(self.header())
    }

    /// Takes whatever is there out.
    pub(super) fn clear(&self, headers: &mut HeaderMap) {
        match self {
            Self::Header(name) => {
                headers.remove(name);
            }
            Self::Cookie(name) => {
                if headers.contains_key(COOKIE) {
                    let others = other_cookies(headers, name);
                    headers.remove(COOKIE);
                    if let Some(value) = sensitive(others).filter(|value| !value.is_empty()) {
                        headers.insert(COOKIE, value);
                    }
                }
            }
        }
    }

    /// Puts `value`, which begins with the [prefix](Self::prefix), in the place of whatever is there.
    pub(super) fn put(&self, headers: &mut HeaderMap, value: HeaderValue) {
        self.clear(headers);
        let others = match self {
            Self::Header(_) => None,
            Self::Cookie(_) => headers.get(COOKIE),
        };
        let value = match others {
            None => value,
            Some(others) => {
                let parts = [others.as_bytes(), b"; ", value.as_bytes()];
                // Both were header values.
                sensitive(joined(&parts)).unwrap_or(value)
            }
        };
        headers.insert(self.header(), value);
    }
}

/// The cookies of a request but the one of this name.
fn other_cookies(headers: &HeaderMap, name: &str) -> Zeroizing<Vec<u8>> {
    let values = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let cookies = values.flat_map(|value| value.split(|byte| *byte == b';'));
    let others = cookies.map(<[u8]>::trim_ascii).filter(|cookie| {
        let key = cookie.split(|byte| *byte == b'=').next();
        !cookie.is_empty() && key.map(<[u8]>::trim_ascii) != Some(name.as_bytes())
    });
    let mut parts = Vec::new();
    for (at, cookie) in others.enumerate() {
        if at > 0 {
            parts.push(&b"; "[..]);
        }
        parts.push(cookie);
    }
    joined(&parts)
}

/// In a buffer that does not grow: one that does leaves a copy behind.
fn joined(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let room = parts.iter().map(|part| part.len()).sum();
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    for part in parts {
        text.extend_from_slice(part);
    }
    text
}

fn sensitive(text: Zeroizing<Vec<u8>>) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(text)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOKIES: Channel = Channel::Cookie(Cow::Borrowed("token"));

    fn with(channel: &Channel, cookies: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, HeaderValue::from_static(cookie));
        }
        channel.put(&mut headers, HeaderValue::from_static("token=new"));
        headers
    }

    #[test]
    fn a_cookie_takes_the_place_of_its_own_name_only() {
        for (cookies, expected) in [
            (&[][..], "token=new"),
            (&["token=old"], "token=new"),
            (&["a=1; token=old; b=2"], "a=1; b=2; token=new"),
            (
                &["a=1;token = old", "token=older; b=\"2\""],
                "a=1; b=\"2\"; token=new",
            ),
            (&["tokens=1; =x; ;"], "tokens=1; =x; token=new"),
        ] {
            let headers = with(&COOKIES, cookies);
            let values: Vec<_> = headers.get_all(COOKIE).iter().collect();
            assert_eq!(values, [expected], "{cookies:?}");
        }
        assert!(with(&COOKIES, &["a=1"])[COOKIE].is_sensitive());
    }

    #[test]
    fn a_header_takes_the_place_of_all_its_values() {
        let header = Channel::Header(COOKIE);
        assert_eq!(
            with(&header, &["a=1", "b=2"])
                .get_all(COOKIE)
                .iter()
                .count(),
            1
        );
    }

    #[test]
    fn what_is_no_name_of_a_cookie_is_a_problem() {
        for name in ["", "a b", "a=b", "a;b", "\u{fc}"] {
            assert!(Channel::Cookie(name.into()).problem().is_some(), "{name}");
        }
        assert!(COOKIES.problem().is_none() && Channel::BEARER.problem().is_none());
    }
}
