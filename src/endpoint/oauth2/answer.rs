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

use super::fields::Fields;
use crate::endpoint::Issued;
use crate::endpoint::json::{Members, Value};
use crate::token::Scope;

/// The names under which servers put their errors: an object under `error` (OpenAI), a list of `errors` (Fitbit, Strava),
/// `fault.detail` (Apigee), `data` (TikTok). An error in another place may belong to another request, such as one that a
/// gateway made.
const ERRORS: [&str; 5] = ["error", "errors", "fault", "detail", "data"];

/// The number of levels on which error codes count.
const DEPTH: usize = 2;

/// The number of inner objects that are read.
const OBJECTS: usize = 64;

/// The number of inner error codes that are kept.
const CODES: usize = 16;

/// The number of places after a notice at which an object is tried.
const PLACES: usize = 4;

/// Texts that only a page holds, and a notice does not.
const PAGE: [&str; 3] = ["<html", "<!doctype", "<script"];

/// An answer, as far as it can be read.
#[derive(Default)]
pub(in crate::endpoint) struct Answer {
    pub(super) fields: Fields,
    /// Texts beside `error` that may be error codes, in the order in which they count. Only a known code has a meaning
    /// there.
    codes: Vec<Zeroizing<String>>,
    /// The same texts of the objects in which servers put their errors.
    inner_codes: Vec<Zeroizing<String>>,
    /// Whether the answer may have been cut off before a field: before a refresh token, say.
    pub(super) is_cut: bool,
}

impl Answer {
    /// Reads an answer. `is_whole` is whether `body` is known to be complete.
    pub(in crate::endpoint) fn read(body: &[u8], is_whole: bool) -> Self {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        if let Some(members) = Members::of(body) {
            return Self {
                is_cut: !members.is_closed(),
                ..object(members)
            };
        }
        // White space at the end shows that the last field is complete.
        let is_whole = is_whole || body.last().is_some_and(u8::is_ascii_whitespace);
        let trimmed = body.trim_ascii();
        match form(trimmed, is_whole) {
            Some(form) => Self::of_form(form, form.len() < trimmed.len()),
            None => behind_a_notice(body),
        }
    }

    fn of_form(form: &[u8], is_cut: bool) -> Self {
        let mut fields = Fields::default();
        for (name, value) in form_urlencoded::parse(form) {
            fields.text(&name, Zeroizing::new(value.into_owned()));
        }
        Self {
            codes: fields.take_codes(),
            fields,
            inner_codes: Vec::new(),
            is_cut,
        }
    }

    pub(in crate::endpoint) fn access_token(&self) -> Option<&str> {
        self.fields.access_token.as_ref().map(|it| it.as_str())
    }

    pub(in crate::endpoint) fn refresh_token(&self) -> Option<&str> {
        self.fields.refresh_token.as_ref().map(|it| it.as_str())
    }

    /// The `error` (RFC 6749 section 5.2).
    pub(super) fn error(&self) -> Option<&str> {
        self.fields.error.as_ref().map(|it| it.as_str())
    }

    /// Texts beside `error` that may be error codes.
    pub(super) fn codes(&self) -> impl Iterator<Item = &str> {
        self.codes.iter().map(|code| code.as_str())
    }

    /// Texts in an inner object or a list that may be error codes.
    pub(super) fn inner_codes(&self) -> impl Iterator<Item = &str> {
        self.inner_codes.iter().map(|code| code.as_str())
    }

    /// What the server issued. `server_time` is the `Date` of the answer, and `wall` the clock of this machine when the
    /// answer was read.
    pub(super) fn into_issued(self, server_time: Option<Duration>, wall: Duration) -> Issued {
        let plain = |mut text: Zeroizing<String>| mem::take(&mut *text);
        let fields = self.fields;
        Issued {
            access: fields.access_token.map(plain).map(Into::into),
            refresh: fields.refresh_token.map(plain).map(Into::into),
            expires_in: fields.expiry.lifetime(server_time, wall),
            refresh_expires_in: fields.refresh_expiry.lifetime(server_time, wall),
            refresh_in: fields.refresh_in,
            token_type: fields.token_type.map(plain),
            scope: fields.scope.map(|text| Scope::parse(&text)),
            server_time,
            ..Issued::default()
        }
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
    fields: Fields,
}

/// Reads a pair in the object itself, or one level down: in `data` (Lark, TikTok), `authed_user` (Slack), `body`
/// (Withings).
///
/// If several objects hold tokens, the one with both tokens counts. One level down, an access token alone counts only with
/// a lifetime or a type beside it, and only if the answer has no `error`.
fn object(members: Members<'_>) -> Answer {
    let mut inner = Vec::new();
    let mut fields = read(members, 1, true, &mut inner);
    let is_pair = |it: &Inner| it.depth == 1 && it.fields.has_both_tokens();
    let is_token = |it: &Inner| it.depth == 1 && it.fields.is_of_a_token();
    let wrapped = if fields.has_both_tokens() {
        None
    } else {
        let pair = inner.iter().position(is_pair);
        let may_be_alone = !fields.has_token() && fields.error.is_none();
        pair.or_else(|| inner.iter().position(is_token).filter(|_| may_be_alone))
    };
    if let Some(at) = wrapped {
        let mut pair = inner.swap_remove(at).fields;
        pair.add_lifetimes(&fields);
        return Answer {
            fields: pair,
            ..Answer::default()
        };
    }
    let mut answer = Answer {
        codes: fields.take_codes(),
        ..Answer::default()
    };
    for within in inner.iter_mut().filter(|within| within.is_error) {
        let codes = &mut answer.inner_codes;
        codes.extend(within.fields.error.take());
        codes.extend(within.fields.take_codes());
        fields.add_description(&mut within.fields);
    }
    answer.inner_codes.truncate(CODES);
    answer.fields = fields;
    answer
}

/// Reads a pair in an object after other text: a warning of PHP, a guard against scripts, a bracket. A page that holds such
/// an object is not an answer, and an error code after a notice has no meaning.
fn behind_a_notice(body: &[u8]) -> Answer {
    let starts = body.iter().enumerate().filter(|(at, byte)| {
        **byte == b'{' && body[at + 1..].trim_ascii_start().starts_with(b"\"")
    });
    for (at, _) in starts.take(PLACES) {
        if is_page(&body[..at]) {
            break;
        }
        let answer = Members::of(&body[at..]).map(object);
        let is_issued =
            |answer: &Answer| answer.fields.has_both_tokens() || answer.fields.is_of_a_token();
        if let Some(answer) = answer.filter(is_issued) {
            return Answer {
                is_cut: !Members::of(&body[at..]).is_some_and(|it| it.is_closed()),
                ..answer
            };
        }
    }
    Answer::default()
}

fn is_page(notice: &[u8]) -> bool {
    PAGE.iter().any(|tag| {
        let mut windows = notice.windows(tag.len());
        windows.any(|part| part.eq_ignore_ascii_case(tag.as_bytes()))
    })
}

/// Reads the object's own members. Inner objects go to `inner` with their depth.
fn read(members: Members<'_>, depth: usize, is_error: bool, inner: &mut Vec<Inner>) -> Fields {
    let mut fields = Fields::default();
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
            value => fields.member(&name, value),
        }
    }
    fields
}

fn descend(members: Members<'_>, depth: usize, is_error: bool, inner: &mut Vec<Inner>) {
    if depth > DEPTH || inner.len() >= OBJECTS {
        return;
    }
    let at = inner.len();
    let fields = read(members, depth + 1, is_error, inner);
    if !fields.is_empty() {
        inner.insert(
            at,
            Inner {
                depth,
                is_error,
                fields,
            },
        );
    }
}

#[cfg(test)]
mod tests;
