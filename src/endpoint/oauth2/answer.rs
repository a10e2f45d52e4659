//! Reads an answer of the token endpoint: JSON (RFC 6749 section 5.1), or a form where a server
//! prefers that. It refuses nothing; what cannot be read counts as absent.
//!
//! The refresh token that was sent is spent by now, so a new one counts for more than the answer's
//! correctness: an odd lifetime, a wrong type or a body that breaks off must not cost it. Each field
//! is read by itself, and of a broken body every field that was read to its end. A field cut short is
//! none: half a token is worse than no token.

use std::mem;
use std::time::Duration;

use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::endpoint::Issued;
use crate::endpoint::json::{Members, Value};
use crate::token::Scope;

/// A lifetime beyond this is taken for a mistake, milliseconds or a point in time perhaps.
const LONGEST_LIFETIME: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The fields that matter, none of them empty.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) access_token: Option<Zeroizing<String>>,
    pub(super) refresh_token: Option<Zeroizing<String>>,
    token_type: Option<Zeroizing<String>>,
    scope: Option<Zeroizing<String>>,
    expires_in: Option<Duration>,
    refresh_expires_in: Option<Duration>,
    refresh_in: Option<Duration>,
    pub(super) error: Option<Zeroizing<String>>,
    pub(super) error_description: Option<Zeroizing<String>>,
    code: Option<Zeroizing<String>>,
}

impl Answer {
    /// Reads what there is. `is_whole` says that `body` did not break off.
    pub(super) fn read(body: &[u8], is_whole: bool) -> Self {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let mut answer = Self::default();
        if let Some(members) = Members::of(body) {
            for (name, value) in members {
                answer.member(&name, value);
            }
        } else if let Some(form) = form(body.trim_ascii(), is_whole) {
            for (name, value) in form_urlencoded::parse(form) {
                answer.text(&name, Zeroizing::new(value.into_owned()));
            }
        }
        if answer.error.is_none() {
            answer.error = answer.code.take().filter(|code| is_light4j(code));
        }
        answer
    }

    pub(super) fn has_token(&self) -> bool {
        self.access_token.is_some() || self.refresh_token.is_some()
    }

    pub(super) fn has_refresh_token(&self) -> bool {
        self.refresh_token.is_some()
    }

    /// What was issued.
    pub(super) fn into_issued(self, server_time: Option<Duration>) -> Issued {
        let plain = |mut text: Zeroizing<String>| mem::take(&mut *text);
        Issued {
            access: self.access_token.map(plain).map(Into::into),
            refresh: self.refresh_token.map(plain).map(Into::into),
            expires_in: self.expires_in,
            refresh_expires_in: self.refresh_expires_in,
            refresh_in: self.refresh_in,
            token_type: self.token_type.map(plain),
            scope: self.scope.map(|text| Scope::parse(&text)),
            server_time,
            ..Issued::default()
        }
    }

    fn member(&mut self, name: &str, value: Value<'_>) {
        match value {
            Value::Text(text) => self.text(name, text),
            Value::Bare(text) => self.number(name, text),
            Value::Array(elements) if name == "scope" => {
                let mut scopes = Zeroizing::new(String::new());
                for element in elements {
                    if let Value::Text(scope) = element {
                        scopes.push_str(&scope);
                        scopes.push(' ');
                    }
                }
                self.text(name, scopes);
            }
            Value::Array(_) | Value::Object(_) | Value::Other => {}
        }
    }

    fn text(&mut self, name: &str, text: Zeroizing<String>) {
        let field = match name {
            "access_token" => &mut self.access_token,
            "refresh_token" => &mut self.refresh_token,
            "token_type" => &mut self.token_type,
            "scope" => &mut self.scope,
            "error" => &mut self.error,
            "error_description" => &mut self.error_description,
            "code" => &mut self.code,
            _ => return self.number(name, &text),
        };
        if field.is_none() && !text.is_empty() {
            *field = Some(text);
        }
    }

    fn number(&mut self, name: &str, text: &str) {
        let lifetime = seconds(text).filter(|span| *span <= LONGEST_LIFETIME);
        let (field, lifetime) = match name {
            "expires_in" => (&mut self.expires_in, lifetime),
            "refresh_in" => (&mut self.refresh_in, lifetime),
            // Keycloak's name, and that of GitHub and Azure. Keycloak writes 0 for a token without an
            // end of its own (keycloak/keycloak#8919).
            "refresh_expires_in" | "refresh_token_expires_in" => (
                &mut self.refresh_expires_in,
                lifetime.filter(|span| !span.is_zero()),
            ),
            _ => return,
        };
        *field = field.or(lifetime);
    }
}

/// Whether it is an error code of light-4j's, which has its own form of refusal: `ERR` and five digits.
fn is_light4j(code: &str) -> bool {
    let digits = code.strip_prefix("ERR").unwrap_or_default();
    digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A number of seconds, fractions included; `None` for one that is negative or no number.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    if seconds.is_infinite() {
        return None;
    }
    // From here on, a span that is too long to be held is just long.
    Duration::try_from_secs_f64(seconds)
        .ok()
        .or_else(|| (seconds > 0.0).then_some(Duration::MAX))
}

/// `body`, if it is a form and not a page that somebody put in its place. What follows the last `&` of
/// a form that broke off is dropped, since nothing tells where a value ends.
fn form(body: &[u8], is_whole: bool) -> Option<&[u8]> {
    let is_form = body
        .iter()
        .all(|byte| byte.is_ascii_graphic() && !br#"<>"{}"#.contains(byte));
    let end = if is_whole {
        body.len()
    } else {
        body.iter().rposition(|byte| *byte == b'&').unwrap_or(0)
    };
    is_form.then_some(&body[..end])
}

#[cfg(test)]
mod tests;
