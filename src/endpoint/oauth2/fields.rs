//! The fields of one JSON object or of a form, under all the names that servers use. This module reads values; it never
//! decides which object of an answer counts.

use std::mem;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::endpoint::json::Value;
use crate::endpoint::{LONGEST_LIFETIME, time};

/// A point in time from this number on counts milliseconds: as seconds, the number would be beyond the year 5000.
const MILLISECONDS: f64 = 1e11;

/// The number of codes that are kept.
const CODES: usize = 8;

/// The fields that matter. No field is empty.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) access_token: Option<Zeroizing<String>>,
    pub(super) refresh_token: Option<Zeroizing<String>>,
    pub(super) token_type: Option<Zeroizing<String>>,
    pub(super) scope: Option<Zeroizing<String>>,
    pub(super) expiry: Expiry,
    pub(super) refresh_expiry: Expiry,
    pub(super) refresh_in: Option<Duration>,
    pub(super) error: Option<Zeroizing<String>>,
    error_description: Option<Zeroizing<String>>,
    message: Option<Zeroizing<String>>,
    /// The subject of `codes`.
    resource: Option<Zeroizing<String>>,
    codes: Vec<Zeroizing<String>>,
}

/// The expiry of a token, as a span or as a point in time.
#[derive(Clone, Copy, Default)]
pub(super) struct Expiry {
    span: Option<Duration>,
    /// Since the Unix epoch.
    end: Option<Duration>,
}

impl Expiry {
    fn is_known(self) -> bool {
        self.span.is_some() || self.end.is_some()
    }

    /// The lifetime of the token: the span, or else the time until `end`, by the server's clock first and then by this
    /// machine's clock.
    pub(super) fn lifetime(self, server: Option<Duration>, wall: Duration) -> Option<Duration> {
        let mut clocks = server.into_iter().chain([wall]);
        let until_end = || clocks.find_map(|now| time::lifetime_until(self.end, now));
        self.span.or_else(until_end)
    }
}

impl Fields {
    pub(super) fn has_token(&self) -> bool {
        self.access_token.is_some() || self.refresh_token.is_some()
    }

    pub(super) fn has_both_tokens(&self) -> bool {
        self.access_token.is_some() && self.refresh_token.is_some()
    }

    /// Whether there is an access token, with a lifetime or a type beside it. Other objects hold an `accessToken` too: the
    /// settings of a page, for instance.
    pub(super) fn is_of_a_token(&self) -> bool {
        let is_described = self.expiry.is_known() || self.token_type.is_some();
        self.access_token.is_some() && is_described
    }

    /// Whether no field was read.
    pub(super) fn is_empty(&self) -> bool {
        let has_words = self.error.is_some() || self.description().is_some();
        !self.has_token() && !has_words && self.codes.is_empty()
    }

    pub(super) fn description(&self) -> Option<&str> {
        let text = self.error_description.as_ref().or(self.message.as_ref());
        text.map(|text| text.as_str())
    }

    /// Takes the lifetimes of the enclosing object if this object has none.
    pub(super) fn add_lifetimes(&mut self, around: &Self) {
        for (mine, theirs) in [
            (&mut self.expiry, &around.expiry),
            (&mut self.refresh_expiry, &around.refresh_expiry),
        ] {
            if !mine.is_known() {
                *mine = *theirs;
            }
        }
        self.refresh_in = self.refresh_in.or(around.refresh_in);
    }

    /// Takes the description of an inner object if this object has none.
    pub(super) fn add_description(&mut self, within: &mut Self) {
        let text = within.error_description.take();
        let text = text.or_else(|| within.message.take());
        if self.message.is_none() {
            self.message = text;
        }
    }

    /// Takes the texts beside `error` that may be error codes.
    pub(super) fn take_codes(&mut self) -> Vec<Zeroizing<String>> {
        let mut codes = mem::take(&mut self.codes);
        if let Some(resource) = self.resource.take() {
            let with_resource = codes.iter().map(|code| format!("{}.{}", *resource, **code));
            let with_resource: Vec<_> = with_resource.map(Zeroizing::new).collect();
            codes.extend(with_resource);
        }
        codes
    }

    /// Reads a member whose value is not an object. The only array that counts is a scope.
    pub(super) fn member(&mut self, name: &str, value: Value<'_>) {
        match value {
            Value::Text(text) => self.text(name, text),
            Value::Bare(text) => self.bare(name, text),
            Value::Array(elements) if name == "scope" => {
                let mut scopes = Zeroizing::new(String::new());
                for element in elements.iter() {
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
            name if name == "status" || is_code(name) => return self.code(text),
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
            "expires_in" | "expiresIn" => (&mut self.expiry.span, lifetime(text)),
            "refresh_in" => (&mut self.refresh_in, lifetime(text)),
            // Entra's first version, Square and Strava use these names.
            "expires_at" | "expires_on" | "expiresAt" => (&mut self.expiry.end, point(text)),
            // The names of Keycloak, of GitHub and Azure, and of Intuit. Keycloak writes 0 for a token without an expiry of
            // its own (keycloak/keycloak#8919).
            "refresh_expires_in"
            | "refresh_token_expires_in"
            | "x_refresh_token_expires_in"
            | "refreshTokenExpiresIn" => (
                &mut self.refresh_expiry.span,
                lifetime(text).filter(|span| !span.is_zero()),
            ),
            "refresh_token_expires_at" | "refresh_expires_at" | "refreshTokenExpiresAt" => {
                (&mut self.refresh_expiry.end, point(text))
            }
            _ => return,
        };
        *field = field.or(span);
    }
}

/// Whether servers give error codes under this name, besides `error`. A `status` that is a text is an error code too.
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

/// A number of seconds that may be a lifetime. A larger number is milliseconds or a point in time.
fn lifetime(text: &str) -> Option<Duration> {
    seconds(text).filter(|span| *span <= LONGEST_LIFETIME)
}

/// A number of seconds, with fractions; `None` for a negative number, and for a text that is not a number.
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
