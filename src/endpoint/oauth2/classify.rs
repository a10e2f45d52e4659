//! Says what an answer means for the token that was sent. It does no I/O and reads no clock.
//!
//! Only what the server says in so many words counts as its word: a pair it issued, or an error code. All else - a
//! proxy's error page, a redirect, a success that cannot be read - may come from a server that has consumed the token, or
//! from something in between that never passed it on.

use http::StatusCode;

use super::answer::Answer;
use super::codes::{Codes, Meaning};
use crate::endpoint::scrub::Secrets;
use crate::endpoint::transport::{Broken, Reply};
use crate::endpoint::{EndpointError, Issued};

/// An answer that says nothing of the token.
#[derive(Debug, thiserror::Error)]
#[error("the token endpoint answered {status}, with {missing}")]
struct Unclear {
    status: StatusCode,
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
    let answer = Answer::read(&reply.body, reply.broken.is_none());
    if status.is_success() && answer.has_token() {
        // Where the answer broke off before a refresh token, none may have been meant to come, or the
        // old one is spent: it must not be taken for kept.
        if reply.broken.is_some() && !answer.has_refresh_token() {
            return Err(unclear(reply, "no refresh token before it broke off"));
        }
        return Ok(answer.into_issued(reply.date));
    }
    let words = Words::new(&answer, status, codes, secrets);
    // GitHub refuses with a 200.
    if status.is_client_error() || status.is_success() {
        match (words.code, words.meaning) {
            (Some(_), Some(Meaning::Dead)) => {
                return Err(EndpointError::rejected(words.quoted_code())
                    .with_description(words.description()));
            }
            (Some(_), Some(Meaning::UserNeeded)) => {
                return Err(EndpointError::user_needed(words.quoted_code()));
            }
            (None, _) if is_bare_400(&reply, codes) => {
                return Err(EndpointError::rejected(status.as_str()));
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
        return Err(EndpointError::refused(status.as_str()));
    }
    let answer = Answer::read(&reply.body, reply.broken.is_none());
    let words = Words::new(&answer, status, codes, secrets);
    Err(words.not_done(reply, "no word on the token"))
}

fn unclear(reply: Reply, missing: &'static str) -> EndpointError {
    EndpointError::unknown(Unclear {
        status: reply.status,
        missing,
        source: reply.broken,
    })
}

/// Whether it is the whole refusal of a server that gives no error codes. A page in its place has a body.
fn is_bare_400(reply: &Reply, codes: &Codes) -> bool {
    codes.bare_400_is_dead
        && reply.status == StatusCode::BAD_REQUEST
        && reply.broken.is_none()
        && reply.body.trim_ascii().is_empty()
}

/// An error code and what stands beside it.
struct Words<'a> {
    status: StatusCode,
    code: Option<&'a str>,
    meaning: Option<Meaning>,
    description: Option<&'a str>,
    secrets: Secrets,
}

impl<'a> Words<'a> {
    fn new(answer: &'a Answer, status: StatusCode, codes: &Codes, mut secrets: Secrets) -> Self {
        let tokens = [&answer.access_token, &answer.refresh_token];
        let tokens = tokens.into_iter().flatten();
        tokens.for_each(|token| secrets.add(token));
        let code = answer.error.as_ref().map(|code| code.as_str());
        let meaning = code.and_then(|code| codes.meaning(code));
        // Frameworks and gateways put the name of the status there, which is not an error code of OAuth2.
        let is_name = |code: &str| {
            let name = status.canonical_reason();
            name.is_some_and(|name| code.eq_ignore_ascii_case(name))
        };
        Self {
            status,
            code: code.filter(|code| meaning.is_some() || !is_name(code)),
            meaning,
            description: answer.error_description.as_ref().map(|text| text.as_str()),
            secrets,
        }
    }

    /// The code, or the status in the place of one that may not be quoted.
    fn quoted_code(&self) -> String {
        let quote = self.code.and_then(|code| self.secrets.scrub(code));
        quote.unwrap_or_else(|| self.status.as_str().to_owned())
    }

    fn description(&self) -> Option<String> {
        self.secrets.scrub(self.description?)
    }

    /// Why nothing was done, as far as that can be known, where the token is not said to be dead.
    fn not_done(self, reply: Reply, missing: &'static str) -> EndpointError {
        let status = reply.status;
        let is_later = match self.meaning {
            Some(Meaning::Later) => true,
            Some(Meaning::LaterBelow500) => status.as_u16() < 500,
            _ => reply.asks_for_later(),
        };
        if is_later {
            return EndpointError::later(reply.retry_after);
        }
        if reply.is_unavailable() {
            return reply.unavailable();
        }
        let may_be_its_word = status.is_client_error() || status.is_success();
        if self.code.is_some() && may_be_its_word {
            return EndpointError::refused(self.quoted_code()).with_description(self.description());
        }
        if status.is_client_error() || status.is_redirection() {
            return reply.page(&self.secrets);
        }
        unclear(reply, missing)
    }
}

#[cfg(test)]
mod tests;
