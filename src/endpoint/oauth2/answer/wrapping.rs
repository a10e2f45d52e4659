//! Finds the pair of an answer in whatever it is wrapped in, and the error codes that are not where RFC 6749 has them.

use super::Answer;
use super::fields::Fields;
use crate::endpoint::json::{Members, Value};

/// Where servers put their errors: in an object under `error` (OpenAI), in a list of `errors` (Fitbit, Strava), in
/// `fault.detail` (Apigee), in `data` (TikTok). What stands elsewhere may be of another request: a gateway's own, say.
const ERRORS: [&str; 5] = ["error", "errors", "fault", "detail", "data"];

/// How deep error codes are looked for.
const DEPTH: usize = 2;

/// How many objects within an answer are looked at.
const OBJECTS: usize = 64;

/// How many error codes are looked at.
const CODES: usize = 16;

/// How many places behind a notice are looked at.
const PLACES: usize = 4;

/// What a page has, and a notice has not.
const PAGE: [&str; 3] = ["<html", "<!doctype", "<script"];

/// An object within the answer.
struct Inner {
    depth: usize,
    /// Whether it is where servers put their errors.
    is_error: bool,
    fields: Fields,
}

/// A pair in the object itself, or one level down: in `data` (Lark, TikTok), `authed_user` (Slack), `body` (Withings).
///
/// Where several objects hold tokens, the one with both counts. One level down an access token alone counts if it is said to
/// be one, and only beside no `error`.
pub(super) fn object(members: Members<'_>) -> Answer {
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

/// A pair in an object that something else stands before: a warning of PHP's, a guard against scripts, a bracket. A page that
/// holds such an object is no answer, and an error code behind a notice says nothing.
pub(super) fn behind_a_notice(body: &[u8]) -> Answer {
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

/// The object's own members; those within go to `inner`, as so many levels down.
fn read(members: Members<'_>, depth: usize, is_error: bool, inner: &mut Vec<Inner>) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in members {
        let is_error = is_error && ERRORS.contains(&name.as_str());
        match value {
            Value::Object(members) => descend(members, depth, is_error, inner),
            Value::Array(elements) if *name != "scope" => {
                for element in elements {
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
