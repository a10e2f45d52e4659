//! Says what an answer means for the token that was sent. It does no I/O and reads no clock.
//!
//! Only what the server says in so many words counts as its word: a pair it issued, or an error code. All else - a
//! proxy's error page, a redirect, a success that cannot be read - may come from a server that has consumed the token, or
//! from something in between that never passed it on.

use http::StatusCode;

use super::answer::Answer;
use super::codes::{Codes, Meaning};
use crate::endpoint::redact::Secrets;
use crate::endpoint::transport::{Broken, Reply};
use crate::endpoint::{EndpointError, Issued, Quote};

/// An answer that says nothing of the token.
#[derive(Debug, thiserror::Error)]
#[error("the token endpoint answered {quote}, with {missing}")]
struct Unclear {
    quote: Quote,
    missing: &'static str,
    source: Option<Broken>,
}

/// What became of a refresh token that was exchanged.
pub(super) fn exchange(
    reply: Reply,
    codes: &Codes,
    secrets: Secrets,
) -> Result<Issued, EndpointError> {
    let status = reply.status;
    let answer = Answer::read(&reply.body, reply.is_whole());
    // A server that repeats the request in its complaint has issued nothing.
    let repeats = |token| secrets.holds(token);
    let is_echo = answer.access_token().is_none() && answer.refresh_token().is_some_and(repeats);
    if status.is_success() && answer.has_token() && !is_echo {
        // Where the answer broke off before a refresh token, none may have been meant to come, or the
        // old one is spent: it must not be taken for kept.
        let may_go_on = reply.broken.is_some() || answer.is_cut();
        if may_go_on && answer.refresh_token().is_none() {
            let quote = Quote::status(status.as_u16());
            return Err(unclear(
                reply,
                quote,
                "no refresh token before it broke off",
            ));
        }
        return Ok(answer.into_issued(reply.date, reply.read_at));
    }
    let words = Words::new(&reply, &answer, codes, secrets);
    // GitHub refuses with a 200.
    if status.is_client_error() || status.is_success() {
        match words.meaning {
            Some(Meaning::Dead) => {
                return Err(EndpointError::rejected("").with_quote(words.quote));
            }
            Some(Meaning::UserNeeded) => {
                return Err(EndpointError::user_needed("").with_quote(words.quote));
            }
            None if !words.has_code && is_bare_400(&reply, codes) => {
                return Err(EndpointError::rejected(status.as_str()).with_status(status));
            }
            _ => {}
        }
    }
    Err(words.not_done(reply, "neither a token nor an error code that can be read"))
}

/// Whether a token was revoked (RFC 7009 section 2.2). No answer to that says that a refresh token is dead.
pub(super) fn revocation(
    reply: Reply,
    codes: &Codes,
    secrets: Secrets,
) -> Result<(), EndpointError> {
    let status = reply.status;
    if status.is_success() {
        return Ok(());
    }
    if is_bare_400(&reply, codes) {
        return Err(EndpointError::refused(status.as_str()).with_status(status));
    }
    let answer = Answer::read(&reply.body, reply.is_whole());
    let words = Words::new(&reply, &answer, codes, secrets);
    Err(words.not_done(reply, "no word on the token"))
}

fn unclear(reply: Reply, quote: Quote, missing: &'static str) -> EndpointError {
    let unclear = Unclear {
        quote: quote.clone(),
        missing,
        source: reply.broken,
    };
    EndpointError::unknown(unclear).with_quote(quote)
}

/// Whether it is the whole refusal of a server that gives no error codes. A page in its place has a body.
fn is_bare_400(reply: &Reply, codes: &Codes) -> bool {
    codes.is_bare_400_dead()
        && reply.status == StatusCode::BAD_REQUEST
        && reply.is_whole()
        && reply.body.trim_ascii().is_empty()
}

/// What an answer says that is no token.
struct Words {
    has_code: bool,
    meaning: Option<Meaning>,
    quote: Quote,
}

impl Words {
    fn new(reply: &Reply, answer: &Answer, codes: &Codes, mut secrets: Secrets) -> Self {
        let tokens = [answer.access_token(), answer.refresh_token()];
        let tokens = tokens.into_iter().flatten();
        tokens.for_each(|token| secrets.add(token));
        let (code, meaning) = match word(reply.status, answer, codes) {
            Some((code, meaning)) => (Some(code), Some(meaning)),
            None => (unknown_code(reply.status, answer), None),
        };
        let quote = match code {
            None => reply.quote(&secrets),
            Some(code) => Quote {
                // The status stands in the place of a code that may not be quoted.
                code: Some(
                    secrets
                        .redact(code)
                        .unwrap_or_else(|| reply.status.as_str().to_owned()),
                ),
                description: answer.description().and_then(|text| secrets.redact(text)),
                retry_after: reply.retry_after,
                ..Quote::status(reply.status.as_u16())
            },
        };
        Self {
            has_code: code.is_some(),
            meaning,
            quote,
        }
    }

    /// Why nothing was done, as far as that can be known, where the token is not said to be dead.
    fn not_done(self, reply: Reply, missing: &'static str) -> EndpointError {
        let status = reply.status;
        let is_later = match self.meaning {
            Some(Meaning::Later) => true,
            Some(Meaning::LaterBelow500) => status.as_u16() < 500,
            _ => reply.asks_for_later(),
        };
        let may_be_its_word = status.is_client_error() || status.is_success();
        let error = if is_later {
            EndpointError::later(None)
        } else if reply.is_unavailable() {
            EndpointError::unavailable(status.as_u16(), None)
        } else if self.has_code && may_be_its_word {
            EndpointError::refused("")
        } else if status.is_client_error() || status.is_redirection() {
            EndpointError::page(status.as_u16())
        } else {
            return unclear(reply, self.quote, missing);
        };
        error.with_quote(self.quote)
    }
}

/// The error code that counts, and what it means.
///
/// Outside of `error`, gateways write codes of their own. At 500 and above these say nothing, and never that the user is
/// needed, unless the user of this crate says so. Within an object they count only where there is no other `error`.
fn word<'a>(status: StatusCode, answer: &'a Answer, codes: &Codes) -> Option<(&'a str, Meaning)> {
    let error = answer.error();
    let mut said: Vec<_> = error.into_iter().collect();
    if status.as_u16() < 500 {
        said.extend(answer.codes());
        if error.is_none_or(|error| is_name_of(status, error)) {
            said.extend(answer.inner_codes());
        }
    }
    let (code, meaning) = codes.word(&said)?;
    let is_a_guess = meaning == Meaning::UserNeeded && error != Some(code);
    (!is_a_guess || codes.is_added(code)).then_some((code, meaning))
}

/// An error code that is not in the table: the `error`, or one of light-4j's, which has its own form of refusal.
fn unknown_code(status: StatusCode, answer: &Answer) -> Option<&str> {
    let error = answer.error().filter(|code| !is_name_of(status, code));
    error.or_else(|| answer.codes().find(|code| is_light4j(code)))
}

/// Whether it is the name of the status, which frameworks and gateways put in the place of an error code.
fn is_name_of(status: StatusCode, code: &str) -> bool {
    let name = status.canonical_reason();
    name.is_some_and(|name| code.eq_ignore_ascii_case(name))
}

/// Whether it is an error code of light-4j's: `ERR` and five digits.
fn is_light4j(code: &str) -> bool {
    let digits = code.strip_prefix("ERR").unwrap_or_default();
    digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
