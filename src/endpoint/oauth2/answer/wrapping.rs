//! Finds the pair of an answer in whatever it is wrapped in, and the error codes that are not where RFC 6749 has them.

use super::Answer;
use super::fields::Fields;
use crate::endpoint::json::{Members, Value};

/// How deep error codes are looked for: Apigee's are in `fault.detail`.
const DEPTH: usize = 2;

/// How many error codes are looked at.
const CODES: usize = 16;

/// How many places behind a notice are looked at.
const PLACES: usize = 4;

/// An object within the answer.
struct Inner {
    depth: usize,
    fields: Fields,
}

/// A pair in the object itself, or one level down: in `data` (Lark, TikTok), in `authed_user` (Slack).
///
/// One level down only a pair with an access token counts, and only beside no `error`: a server that repeats the request in
/// its complaint repeats the old refresh token.
pub(super) fn object(members: Members<'_>) -> Answer {
    let mut inner = Vec::new();
    let mut fields = read(members, 1, &mut inner);
    if fields.has_token() {
        return Answer {
            fields,
            ..Answer::default()
        };
    }
    if fields.error.is_none() {
        let is_pair = |it: &Inner| it.depth == 1 && it.fields.access_token.is_some();
        if let Some(at) = inner.iter().position(is_pair) {
            let mut pair = inner.swap_remove(at).fields;
            pair.add_lifetimes(&fields);
            return Answer {
                fields: pair,
                ..Answer::default()
            };
        }
    }
    let mut codes = fields.take_codes();
    for Inner { fields: within, .. } in &mut inner {
        codes.extend(within.error.take());
        codes.extend(within.take_codes());
        fields.add_description(within);
    }
    codes.truncate(CODES);
    Answer {
        fields,
        codes,
        is_cut: false,
    }
}

/// A pair in an object that something else stands before: a warning of PHP's, a guard against scripts, a bracket.
pub(super) fn behind_a_notice(body: &[u8]) -> Answer {
    let starts = body.iter().enumerate().filter(|(at, byte)| {
        let inside = body[at + 1..].trim_ascii_start();
        **byte == b'{' && inside.starts_with(b"\"")
    });
    for (at, _) in starts.take(PLACES) {
        let answer = Members::of(&body[at..]).map(object);
        // A page that quotes an answer is no answer, so an error code in it says nothing.
        if let Some(answer) = answer.filter(|answer| answer.access_token().is_some()) {
            return answer;
        }
    }
    Answer::default()
}

/// The object's own members; those within go to `inner`, as so many levels down.
fn read(members: Members<'_>, depth: usize, inner: &mut Vec<Inner>) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in members {
        match value {
            Value::Object(members) => descend(members, depth, inner),
            Value::Array(elements) if *name != "scope" => {
                for element in elements {
                    if let Value::Object(members) = element {
                        descend(members, depth, inner);
                    }
                }
            }
            value => fields.member(&name, value),
        }
    }
    fields
}

fn descend(members: Members<'_>, depth: usize, inner: &mut Vec<Inner>) {
    if depth <= DEPTH {
        let at = inner.len();
        let fields = read(members, depth + 1, inner);
        inner.insert(at, Inner { depth, fields });
    }
}
