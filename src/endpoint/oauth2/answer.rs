//! Reads an answer of the token endpoint: JSON (RFC 6749 section 5.1), or a form if the server prefers that. The reader
//! never refuses an answer; a field that cannot be read counts as absent.
//!
//! The refresh token of the request is spent by now, so a new one matters more than the correctness of the answer. An odd
//! lifetime, a wrong type, a wrapper around the pair, or a body that breaks off must not cost the new token. Each field is
//! read by itself, and a broken body yields every field that is complete. An incomplete field counts as absent: half a
//! token is worse than no token. Error codes are read as well where RFC 6749 does not put them.

use std::mem;
use std::time::Duration;

use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::endpoint::json::{Members, Value};
use crate::endpoint::{Issued, LONGEST_LIFETIME, time};
use crate::token::Scope;

/// The names under which servers put their errors: an object under `error` (OpenAI), a list of `errors` (Fitbit, Strava),
/// `fault.detail` (Apigee), `data` (TikTok). An error in another place may belong to another request, such as one that a
/// gateway made.
const ERRORS: [&str; 5] = ["error", "errors", "fault", "detail", "data"];

/// The number of levels on which error codes count.
const DEPTH: usize = 2;

/// The number of inner objects that are read.
const OBJECTS: usize = 64;

/// The names under which servers give error codes, besides `error`. A `status` that is a text is an error code too.
const CODE_NAMES: [&str; 8] = [
    "code",
    "error_code",
    "errorCode",
    "ErrorCode",
    "errorcode",
    "errcode",
    "error_type",
    "errorType",
];

/// The number of codes of one object that are kept.
const CODES: usize = 8;

/// The number of inner error codes that are kept.
const INNER_CODES: usize = 16;

/// The number of places after a notice at which an object is tried.
const PLACES: usize = 4;

/// Texts that only a page holds, and a notice does not.
const PAGE: [&str; 3] = ["<html", "<!doctype", "<script"];

/// A point in time from this number on counts milliseconds: as seconds, the number would be beyond the year 5000.
const MILLISECONDS: f64 = 1e11;

/// An answer or an object in it, as far as it can be read. No text is empty.
#[derive(Default)]
pub(in crate::endpoint) struct Answer {
    access_token: Option<Zeroizing<String>>,
    refresh_token: Option<Zeroizing<String>>,
    token_type: Option<Zeroizing<String>>,
    scope: Option<Zeroizing<String>>,
    expiry: Expiry,
    refresh_expiry: Expiry,
    refresh_in: Option<Duration>,
    error: Option<Zeroizing<String>>,
    error_description: Option<Zeroizing<String>>,
    message: Option<Zeroizing<String>>,
    /// The subject of `codes`.
    resource: Option<Zeroizing<String>>,
    /// Texts beside `error` that may be error codes, in the order in which they count. Only a known code has a meaning
    /// there.
    pub(super) codes: Vec<Zeroizing<String>>,
    /// The same texts of the objects in which servers put their errors.
    pub(super) inner_codes: Vec<Zeroizing<String>>,
    /// Whether the answer may have been cut off before a field: before a refresh token, say.
    pub(super) is_cut: bool,
}

/// The expiry of a token, as a span or as a point in time.
#[derive(Clone, Copy, Default)]
struct Expiry {
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
    fn lifetime(self, server: Option<Duration>, wall: Duration) -> Option<Duration> {
        let mut clocks = server.into_iter().chain([wall]);
        let until_end = || clocks.find_map(|now| time::lifetime_until(self.end, now));
        self.span.or_else(until_end)
    }

    /// Whether the token states a point in time and no span, and that point lies in the ten years before `now`.
    fn is_over(self, now: Duration) -> bool {
        let since = self.end.and_then(|end| now.checked_sub(end));
        self.span.is_none() && since.is_some_and(|since| since <= LONGEST_LIFETIME)
    }
}

impl Answer {
    /// Reads an answer. `is_whole` is whether `body` is known to be complete.
    pub(in crate::endpoint) fn read(body: &[u8], is_whole: bool) -> Self {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        if let Some(members) = Members::of(body) {
            return object(&members);
        }
        // White space at the end shows that the last field is complete.
        let is_whole = is_whole || body.last().is_some_and(u8::is_ascii_whitespace);
        let trimmed = body.trim_ascii();
        let Some(form) = form(trimmed, is_whole) else {
            return behind_a_notice(body);
        };
        let mut answer = Self::default();
        for (name, value) in form_urlencoded::parse(form) {
            answer.text(&name, Zeroizing::new(value.into_owned()));
        }
        answer.add_codes_of_the_resource();
        answer.is_cut = form.len() < trimmed.len();
        answer
    }

    pub(in crate::endpoint) fn access_token(&self) -> Option<&str> {
        self.access_token.as_ref().map(|it| it.as_str())
    }

    pub(in crate::endpoint) fn refresh_token(&self) -> Option<&str> {
        self.refresh_token.as_ref().map(|it| it.as_str())
    }

    /// The `error` (RFC 6749 section 5.2).
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_ref().map(|it| it.as_str())
    }

    pub(super) fn has_token(&self) -> bool {
        self.access_token.is_some() || self.refresh_token.is_some()
    }

    fn has_both_tokens(&self) -> bool {
        self.access_token.is_some() && self.refresh_token.is_some()
    }

    /// Whether there is an access token, with a lifetime or a type beside it. Other objects hold an `accessToken` too: the
    /// settings of a page, for instance.
    fn is_of_a_token(&self) -> bool {
        let is_described = self.expiry.is_known() || self.token_type.is_some();
        self.access_token.is_some() && is_described
    }

    /// Whether no field was read.
    fn is_empty(&self) -> bool {
        let has_words = self.error.is_some() || self.description().is_some();
        !self.has_token() && !has_words && self.codes.is_empty()
    }

    pub(super) fn description(&self) -> Option<&str> {
        let text = self.error_description.as_ref().or(self.message.as_ref());
        text.map(|text| text.as_str())
    }

    /// What the server issued. `server_time` is the `Date` of the answer, and `wall` the clock of this machine when the
    /// answer was read.
    pub(super) fn into_issued(self, server_time: Option<Duration>, wall: Duration) -> Issued {
        let plain = |mut text: Zeroizing<String>| mem::take(&mut *text);
        Issued {
            access: self.access_token.map(plain).map(Into::into),
            refresh: self.refresh_token.map(plain).map(Into::into),
            expires_in: self.expiry.lifetime(server_time, wall),
            refresh_expires_in: self.refresh_expiry.lifetime(server_time, wall),
            refresh_in: self.refresh_in,
            token_type: self.token_type.map(plain),
            scope: self.scope.map(|text| Scope::parse(&text)),
            server_time,
            ..Issued::default()
        }
    }

    /// Whether the access token and the refresh token have expired by `wall`, the clock of this machine, by a point in time
    /// that the answer states. Only an answer of unknown age is asked: a server issues no expired token.
    pub(super) fn is_over(&self, wall: Duration) -> (bool, bool) {
        (self.expiry.is_over(wall), self.refresh_expiry.is_over(wall))
    }

    /// Takes the lifetimes of the enclosing object if this object has none.
    fn add_lifetimes(&mut self, around: &Self) {
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

    /// Adds the codes of an inner object in which servers put their errors, and its description if this object has none.
    fn add_error(&mut self, within: Self) {
        self.inner_codes.extend(within.error);
        self.inner_codes.extend(within.codes);
        let description = within.error_description.or(within.message);
        self.message = self.message.take().or(description);
    }

    /// Adds each code once more with the resource that it is about.
    fn add_codes_of_the_resource(&mut self) {
        if let Some(resource) = self.resource.take() {
            let with_resource = |code: &Zeroizing<String>| format!("{}.{}", *resource, **code);
            let codes: Vec<_> = self.codes.iter().map(with_resource).collect();
            self.codes.extend(codes.into_iter().map(Zeroizing::new));
        }
    }

    /// Reads a member whose value is not an object. The only array that counts is a scope.
    fn member(&mut self, name: &str, value: Value<'_>) {
        match value {
            Value::Text(text) => self.text(name, text),
            Value::Bare(text) if CODE_NAMES.contains(&name) => {
                self.code(Zeroizing::new(text.to_owned()));
            }
            Value::Bare(text) => self.number(name, text),
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

    fn text(&mut self, name: &str, text: Zeroizing<String>) {
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
            name if name == "status" || CODE_NAMES.contains(&name) => return self.code(text),
            "resource" => &mut self.resource,
            _ => return self.number(name, &text),
        };
        field.get_or_insert(text);
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

/// `body`, if it is a form and not a page. If the form is not known to be complete, the text after its last `&` is
/// dropped, because the last value may be incomplete.
fn form(body: &[u8], is_whole: bool) -> Option<&[u8]> {
    let is_form = body
        .iter()
        .all(|byte| byte.is_ascii_graphic() && !br#"<>"{}"#.contains(byte));
    let end = match is_whole {
        true => body.len(),
        false => body.iter().rposition(|byte| *byte == b'&').unwrap_or(0),
    };
    is_form.then_some(&body[..end])
}

/// An inner object of the answer.
struct Inner {
    depth: usize,
    /// Whether servers put their errors into this object.
    is_error: bool,
    answer: Answer,
}

/// Reads a pair in the object itself, or one level down: in `data` (Lark, TikTok), `authed_user` (Slack), `body`
/// (Withings).
///
/// If several objects hold tokens, the one with both tokens counts. One level down, an access token alone counts only with
/// a lifetime or a type beside it, and only if the answer has no `error`.
fn object(members: &Members<'_>) -> Answer {
    let mut inner = Vec::new();
    let mut answer = read(members, 1, true, &mut inner);
    answer.is_cut = !members.is_closed();
    let position = |is_wanted: fn(&Answer) -> bool| {
        let mut inner = inner.iter();
        inner.position(|it: &Inner| it.depth == 1 && is_wanted(&it.answer))
    };
    let may_be_alone = !answer.has_token() && answer.error.is_none();
    let wrapped = match position(Answer::has_both_tokens) {
        _ if answer.has_both_tokens() => None,
        None if may_be_alone => position(Answer::is_of_a_token),
        pair => pair,
    };
    if let Some(at) = wrapped {
        let mut pair = inner.swap_remove(at).answer;
        pair.add_lifetimes(&answer);
        pair.codes.clear();
        pair.is_cut = answer.is_cut;
        return pair;
    }
    for within in inner.into_iter().filter(|within| within.is_error) {
        answer.add_error(within.answer);
    }
    answer.inner_codes.truncate(INNER_CODES);
    answer
}

/// Reads a pair in an object after other text: a warning of PHP, a guard against scripts, a bracket. A page that holds such
/// an object is not an answer, and an error code after a notice has no meaning.
fn behind_a_notice(body: &[u8]) -> Answer {
    let starts = body.iter().enumerate().filter(|(at, byte)| {
        **byte == b'{' && body[at + 1..].trim_ascii_start().starts_with(b"\"")
    });
    let places = starts.take(PLACES).map(|(at, _)| at);
    places
        .take_while(|at| !is_page(&body[..*at]))
        .filter_map(|at| Members::of(&body[at..]))
        .map(|members| object(&members))
        .find(|answer| answer.has_both_tokens() || answer.is_of_a_token())
        .unwrap_or_default()
}

fn is_page(notice: &[u8]) -> bool {
    PAGE.iter().any(|tag| {
        let mut windows = notice.windows(tag.len());
        windows.any(|part| part.eq_ignore_ascii_case(tag.as_bytes()))
    })
}

/// Reads the object's own members. Inner objects go to `inner` with their depth.
fn read(members: &Members<'_>, depth: usize, is_error: bool, inner: &mut Vec<Inner>) -> Answer {
    let mut answer = Answer::default();
    for (name, value) in members.iter() {
        let is_error = is_error && ERRORS.contains(&name.as_str());
        match value {
            Value::Object(members) => descend(members, depth, is_error, inner),
            Value::Array(elements) if *name != "scope" => {
                for element in elements.iter() {
                    if let Value::Object(members) = element {
                        descend(members, depth, is_error, inner);
                    }
                }
            }
            value => answer.member(&name, value),
        }
    }
    answer.add_codes_of_the_resource();
    answer
}

fn descend(members: Members<'_>, depth: usize, is_error: bool, inner: &mut Vec<Inner>) {
    if depth > DEPTH || inner.len() >= OBJECTS {
        return;
    }
    let at = inner.len();
    let answer = read(&members, depth + 1, is_error, inner);
    if !answer.is_empty() {
        let within = Inner {
            depth,
            is_error,
            answer,
        };
        inner.insert(at, within);
    }
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

#[cfg(test)]
mod tests;
