//! The members of one object, or the fields of a form.

use std::mem;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::endpoint::json::Value;
use crate::endpoint::{LONGEST_LIFETIME, time};

/// From here on a number that is a point in time counts milliseconds: as seconds it would be beyond the year 5000.
const MILLISECONDS: f64 = 1e11;

/// How many codes are looked at.
const CODES: usize = 8;

/// What matters, none of it empty.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) access_token: Option<Zeroizing<String>>,
    pub(super) refresh_token: Option<Zeroizing<String>>,
    pub(super) token_type: Option<Zeroizing<String>>,
    pub(super) scope: Option<Zeroizing<String>>,
    pub(super) expires_in: Option<Duration>,
    /// Since the Unix epoch.
    pub(super) expires_at: Option<Duration>,
    pub(super) refresh_expires_in: Option<Duration>,
    pub(super) refresh_expires_at: Option<Duration>,
    pub(super) refresh_in: Option<Duration>,
    pub(super) error: Option<Zeroizing<String>>,
    error_description: Option<Zeroizing<String>>,
    message: Option<Zeroizing<String>>,
    /// What `codes` are about.
    resource: Option<Zeroizing<String>>,
    codes: Vec<Zeroizing<String>>,
}

impl Fields {
    pub(super) fn has_token(&self) -> bool {
        self.access_token.is_some() || self.refresh_token.is_some()
    }

    pub(super) fn has_both_tokens(&self) -> bool {
        self.access_token.is_some() && self.refresh_token.is_some()
    }

    /// Whether there is an access token, and something beside it that says that it is one: other objects hold an
    /// `accessToken` too, a page's settings for instance.
    pub(super) fn is_of_a_token(&self) -> bool {
        let has_lifetime = self.expires_in.is_some() || self.expires_at.is_some();
        self.access_token.is_some() && (has_lifetime || self.token_type.is_some())
    }

    /// Whether nothing was read.
    pub(super) fn is_empty(&self) -> bool {
        let has_words = self.error.is_some() || self.description().is_some();
        !self.has_token() && !has_words && self.codes.is_empty()
    }

    pub(super) fn description(&self) -> Option<&str> {
        let text = self.error_description.as_ref().or(self.message.as_ref());
        text.map(|text| text.as_str())
    }

    /// The lifetimes of the object around, where this one has none.
    pub(super) fn add_lifetimes(&mut self, around: &Self) {
        if self.expires_in.is_none() && self.expires_at.is_none() {
            self.expires_in = around.expires_in;
            self.expires_at = around.expires_at;
        }
        if self.refresh_expires_in.is_none() && self.refresh_expires_at.is_none() {
            self.refresh_expires_in = around.refresh_expires_in;
            self.refresh_expires_at = around.refresh_expires_at;
        }
        self.refresh_in = self.refresh_in.or(around.refresh_in);
    }

    /// The description within, where this one has none.
    pub(super) fn add_description(&mut self, within: &mut Self) {
        let text = within.error_description.take();
        let text = text.or_else(|| within.message.take());
        if self.message.is_none() {
            self.message = text;
        }
    }

    /// What may be an error code, besides `error`.
    pub(super) fn take_codes(&mut self) -> Vec<Zeroizing<String>> {
        let mut codes = mem::take(&mut self.codes);
        if let Some(resource) = self.resource.take() {
            let with_resource = codes.iter().map(|code| format!("{}.{}", *resource, **code));
            let with_resource: Vec<_> = with_resource.map(Zeroizing::new).collect();
            codes.extend(with_resource);
        }
        codes
    }

    /// A member whose value is no object; of arrays only a scope counts.
    pub(super) fn member(&mut self, name: &str, value: Value<'_>) {
        match value {
            Value::Text(text) => self.text(name, text),
            Value::Bare(text) => self.bare(name, text),
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

    pub(super) fn text(&mut self, name: &str, text: Zeroizing<String>) {
        if text.is_empty() {
            return;
        }
        let field = match name {
            "access_token" | "accessToken" => &mut self.access_token,
            "refresh_token" | "refreshToken" => &mut self.refresh_token,
            "token_type" | "tokenType" => &mut self.token_type,
            "scope" => &mut self.scope,
            "error" => &mut self.error,
            "error_description" => &mut self.error_description,
            "message" | "description" | "msg" => &mut self.message,
            name if name == "status" || is_code(name) => {
                return self.code(text);
            }
            "resource" => &mut self.resource,
            _ => return self.number(name, &text),
        };
        field.get_or_insert(text);
    }

    fn bare(&mut self, name: &str, text: &str) {
        match name {
            name if is_code(name) => self.code(Zeroizing::new(text.to_owned())),
            _ => self.number(name, text),
        }
    }

    fn code(&mut self, code: Zeroizing<String>) {
        if self.codes.len() < CODES {
            self.codes.push(code);
        }
    }

    fn number(&mut self, name: &str, text: &str) {
        let (field, span) = match name {
            "expires_in" | "expiresIn" => (&mut self.expires_in, lifetime(text)),
            "refresh_in" => (&mut self.refresh_in, lifetime(text)),
            // Entra's first version, Square, Strava.
            "expires_at" | "expires_on" | "expiresAt" => (&mut self.expires_at, point(text)),
            // Keycloak's name, that of GitHub and Azure, and that of Intuit. Keycloak writes 0 for a token without an
            // end of its own (keycloak/keycloak#8919).
            "refresh_expires_in"
            | "refresh_token_expires_in"
            | "x_refresh_token_expires_in"
            | "refreshTokenExpiresIn" => (
                &mut self.refresh_expires_in,
                lifetime(text).filter(|span| !span.is_zero()),
            ),
            "refresh_token_expires_at" | "refresh_expires_at" | "refreshTokenExpiresAt" => {
                (&mut self.refresh_expires_at, point(text))
            }
            _ => return,
        };
        *field = field.or(span);
    }
}

/// Whether it is a name under which servers give error codes, besides `error`; a `status` is one if it is a text.
fn is_code(name: &str) -> bool {
    matches!(
        name,
        "code"
            | "error_code"
            | "errorCode"
            | "ErrorCode"
            | "errorcode"
            | "errcode"
            | "error_type"
            | "errorType"
    )
}

/// A number of seconds that may be a lifetime. A longer one is milliseconds or a point in time.
fn lifetime(text: &str) -> Option<Duration> {
    seconds(text).filter(|span| *span <= LONGEST_LIFETIME)
}

/// A number of seconds, fractions included; `None` for one that is negative or no number.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// A point in time: seconds or milliseconds since the Unix epoch, or a date (RFC 3339).
fn point(text: &str) -> Option<Duration> {
    match text.trim().parse::<f64>() {
        Ok(number) if number >= MILLISECONDS => Duration::try_from_secs_f64(number / 1e3).ok(),
        Ok(number) => Duration::try_from_secs_f64(number).ok(),
        Err(_) => time::parse(text),
    }
}

/// How long it is to a point in time, by the server's clock if that makes a lifetime of it, else by ours. What is over as
/// soon as it is issued is no lifetime: then a clock is wrong.
pub(super) fn until(
    point: Option<Duration>,
    server: Option<Duration>,
    wall: Duration,
) -> Option<Duration> {
    let point = point?;
    let from = |now: Duration| {
        let span = point.checked_sub(now)?;
        Some(span).filter(|span| !span.is_zero() && *span <= LONGEST_LIFETIME)
    };
    server.and_then(from).or_else(|| from(wall))
}
