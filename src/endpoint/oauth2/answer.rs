//! Reads an answer of the token endpoint: JSON (RFC 6749 section 5.1), or a form where a server
//! prefers that. It refuses nothing; what cannot be read counts as absent.
//!
//! The refresh token that was sent is spent by now, so a new one counts for more than the answer's
//! correctness: an odd lifetime, a wrong type, a wrapper around it or a body that breaks off must not cost it. Each field
//! is read by itself, and of a broken body every field that was read to its end. A field cut short is
//! none: half a token is worse than no token.

mod fields;
mod wrapping;

use std::mem;
use std::time::Duration;

use url::form_urlencoded;
use zeroize::Zeroizing;

use self::fields::{Fields, until};
use crate::endpoint::Issued;
use crate::endpoint::json::Members;
use crate::token::Scope;

/// What was read.
#[derive(Default)]
pub(super) struct Answer {
    fields: Fields,
    /// Error codes beside `error`, in the order in which they count. They may be anything: only a code that is known means
    /// something there.
    codes: Vec<Zeroizing<String>>,
    /// Likewise, of the objects in which servers put their errors.
    inner_codes: Vec<Zeroizing<String>>,
    /// Whether more may have followed where the answer ends.
    is_cut: bool,
}

impl Answer {
    /// Reads what there is. `is_whole` says that `body` is known to be all that the server meant to send.
    pub(super) fn read(body: &[u8], is_whole: bool) -> Self {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        if let Some(members) = Members::of(body) {
            return Self {
                is_cut: !members.is_closed(),
                ..wrapping::object(members)
            };
        }
        // White space at its end says that the last field is whole.
        let is_whole = is_whole || body.last().is_some_and(u8::is_ascii_whitespace);
        let trimmed = body.trim_ascii();
        match form(trimmed, is_whole) {
            Some(form) => Self::of_form(form, form.len() < trimmed.len()),
            None => wrapping::behind_a_notice(body),
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

    pub(super) fn access_token(&self) -> Option<&str> {
        self.fields.access_token.as_ref().map(|it| it.as_str())
    }

    pub(super) fn refresh_token(&self) -> Option<&str> {
        self.fields.refresh_token.as_ref().map(|it| it.as_str())
    }

    pub(super) fn has_token(&self) -> bool {
        self.fields.has_token()
    }

    /// Whether more may have followed where the answer ends: a refresh token, say.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The `error` (RFC 6749 section 5.2).
    pub(super) fn error(&self) -> Option<&str> {
        self.fields.error.as_ref().map(|it| it.as_str())
    }

    /// What else may be an error code, beside `error`.
    pub(super) fn codes(&self) -> impl Iterator<Item = &str> {
        self.codes.iter().map(|code| code.as_str())
    }

    /// What else may be an error code, within an object or a list.
    pub(super) fn inner_codes(&self) -> impl Iterator<Item = &str> {
        self.inner_codes.iter().map(|code| code.as_str())
    }

    pub(super) fn description(&self) -> Option<&str> {
        self.fields.description()
    }

    /// What was issued. `server_time` is that of the answer, and `wall` ours when it was read.
    pub(super) fn into_issued(self, server_time: Option<Duration>, wall: Duration) -> Issued {
        let plain = |mut text: Zeroizing<String>| mem::take(&mut *text);
        let fields = self.fields;
        let until = |point| until(point, server_time, wall);
        Issued {
            access: fields.access_token.map(plain).map(Into::into),
            refresh: fields.refresh_token.map(plain).map(Into::into),
            expires_in: fields.expires_in.or_else(|| until(fields.expires_at)),
            refresh_expires_in: fields
                .refresh_expires_in
                .or_else(|| until(fields.refresh_expires_at)),
            refresh_in: fields.refresh_in,
            token_type: fields.token_type.map(plain),
            scope: fields.scope.map(|text| Scope::parse(&text)),
            server_time,
            ..Issued::default()
        }
    }
}

/// `body`, if it is a form and not a page that something put in its place. What follows the last `&` of a form of which
/// nothing says where it ends is dropped, since nothing says either whether its value is whole.
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

#[cfg(test)]
mod tests;
