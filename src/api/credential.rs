//! Where a request carries its token: in a header, or in a cookie. This module never decides whether a request gets a
//! token.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue};

use super::Api;
use crate::endpoint::sensitive_header;
use crate::snapshot::Token;

/// What a request is sent with: a token, or nothing if its URL gets no token.
#[derive(Clone)]
pub struct Credential {
    api: Arc<Api>,
    given: Option<(Token, HeaderValue)>,
}

impl Credential {
    /// `given` is the token and the header value that carries the token.
    pub(crate) fn new(api: Arc<Api>, given: Option<(Token, HeaderValue)>) -> Self {
        Self { api, given }
    }

    /// The token; `None` if the request is to be sent without one.
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        self.given.as_ref().map(|(token, _)| token)
    }

    /// Puts the token where the API looks for it, and replaces whatever is there: `Authorization: Bearer` (RFC 6750
    /// section 2.1), or the place that the [profile](crate::ApiProfile) or the builder names. Does nothing without a
    /// token.
    pub fn put(&self, headers: &mut HeaderMap) {
        if let Some((_, value)) = &self.given {
            for other in self.api.profile.excluded {
                other.clear(headers);
            }
            self.api.channel.put(headers, value.clone());
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("token", &self.token())
            .finish_non_exhaustive()
    }
}

/// A place for a token: a header of the request, or one cookie of its `Cookie` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Channel {
    Header(HeaderName),
    Cookie(Cow<'static, str>),
}

impl Channel {
    /// `Authorization: Bearer` (RFC 6750 section 2.1).
    pub(crate) const BEARER: Self = Self::Header(AUTHORIZATION);

    /// The text before the token in the header's value.
    pub(crate) fn prefix(&self) -> String {
        match self {
            Self::Header(name) if *name == AUTHORIZATION => "Bearer ".to_owned(),
            Self::Header(_) => String::new(),
            Self::Cookie(name) => format!("{name}="),
        }
    }

    /// Why the name cannot be the name of a cookie (RFC 6265 section 4.1.1).
    pub(crate) fn problem(&self) -> Option<&'static str> {
        match self {
            // The name of a header consists of the same characters.
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

    /// Whether reqwest removes this header when reqwest follows a redirect to another origin.
    pub(crate) fn is_taken_off(&self) -> bool {
        [AUTHORIZATION, COOKIE].contains(self.header())
    }

    /// Removes whatever is in this place.
    fn clear(&self, headers: &mut HeaderMap) {
        let others = match self {
            Self::Header(_) => None,
            Self::Cookie(name) => other_cookies(headers, name),
        };
        headers.remove(self.header());
        if let Some(others) = others.filter(|others| !others.is_empty()) {
            headers.insert(COOKIE, others);
        }
    }

    /// Puts `value` in this place, and replaces whatever is there. `value` begins with the [prefix](Self::prefix).
    fn put(&self, headers: &mut HeaderMap, value: HeaderValue) {
        self.clear(headers);
        let value = match (self, headers.get(COOKIE)) {
            // The result is a valid header value, because both parts are.
            (Self::Cookie(_), Some(others)) => {
                sensitive_header(&[others.as_bytes(), b"; ", value.as_bytes()]).unwrap_or(value)
            }
            _ => value,
        };
        headers.insert(self.header(), value);
    }
}

/// The cookies of a request except the one with this name.
fn other_cookies(headers: &HeaderMap, name: &str) -> Option<HeaderValue> {
    let values = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let cookies = values.flat_map(|value| value.split(|byte| *byte == b';'));
    let others = cookies.map(<[u8]>::trim_ascii).filter(|cookie| {
        let key = cookie.split(|byte| *byte == b'=').next();
        !cookie.is_empty() && key.map(<[u8]>::trim_ascii) != Some(name.as_bytes())
    });
    let parts = others.flat_map(|cookie| [&b"; "[..], cookie]).skip(1);
    sensitive_header(&parts.collect::<Vec<_>>())
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
    fn a_cookie_replaces_only_the_cookie_of_the_same_name() {
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
    fn a_header_replaces_all_values_of_the_same_name() {
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
    fn a_text_that_cannot_name_a_cookie_is_a_problem() {
        for name in ["", "a b", "a=b", "a;b", "\u{fc}"] {
            assert!(Channel::Cookie(name.into()).problem().is_some(), "{name}");
        }
        assert!(COOKIES.problem().is_none() && Channel::BEARER.problem().is_none());
    }
}
