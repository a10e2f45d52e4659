//! Decides what an answer means for the token of the request. This module does no I/O and reads no clock, except that
//! [`Codes::judge`] reads an answer first.
//!
//! Only an explicit statement of the server counts: a pair that it issued, or an error code. Everything else - the error
//! page of a proxy, a redirect, a success that cannot be read - may come from a server that has consumed the token, or from
//! a proxy that never passed the token on.

use std::time::Duration;

use http::StatusCode;
use reqwest::Response;

use super::answer::Answer;
use super::codes::{Bare400, Codes, Meaning};
use crate::clock::Deadline;
use crate::endpoint::quote::{Quote, Secrets};
use crate::endpoint::reply::Reply;
use crate::endpoint::transport::BODY_LIMITS;
use crate::endpoint::{EndpointError, Issued};

/// The time for reading a body, in addition to the time of the request itself.
const READ_LIMIT: Duration = Duration::from_secs(30);

impl Codes {
    /// Reads up to 64 KiB of a token endpoint's answer. Returns what the server issued, or what the answer means for the
    /// refresh token of the request (see [`OAuth2`](crate::OAuth2#what-an-answer-means)). `secrets` are the token and all
    /// other parts of the request that no error may quote.
    ///
    /// # Errors
    ///
    /// The meaning of an answer that issued nothing.
    pub async fn judge(
        &self,
        response: Response,
        secrets: &[&str],
    ) -> Result<Issued, EndpointError> {
        let deadline = Deadline::new(READ_LIMIT);
        let reply = Reply::read(response, deadline, READ_LIMIT, BODY_LIMITS.0).await;
        exchange(reply, self, Secrets::of(secrets))
    }
}

impl Issued {
    /// As [`Codes::judge`], with the known codes.
    ///
    /// # Errors
    ///
    /// The meaning of an answer that issued nothing.
    pub async fn from_response(
        response: Response,
        secrets: &[&str],
    ) -> Result<Self, EndpointError> {
        Codes::default().judge(response, secrets).await
    }
}

impl EndpointError {
    /// Classes an answer that did not bring what the endpoint asked for, as [`Issued::from_response`] does. For endpoints
    /// that read their successes themselves. An answer that issued a token in the form of RFC 6749 is
    /// [`Unknown`](Self::Unknown): the refresh token is spent, and the new token is dropped.
    pub async fn from_response(response: Response, secrets: &[&str]) -> Self {
        match Issued::from_response(response, secrets).await {
            Err(error) => error,
            Ok(_) => Self::unknown(
                "the token endpoint issued a token, and the answer was handled as a failure",
            ),
        }
    }
}

/// The outcome of an exchange.
pub(in crate::endpoint) fn exchange(
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
        // If the answer broke off before a refresh token, the server may have issued none, or the old one is spent. The
        // pair must not keep the old one.
        let may_go_on = reply.broken.is_some() || answer.is_cut;
        if may_go_on && answer.refresh_token().is_none() {
            let quote = Quote::status(status.as_u16());
            return Err(reply.unclear(quote, "the answer broke off before a refresh token"));
        }
        return Ok(answer.into_issued(reply.date, reply.read_at));
    }
    let words = Words::new(&reply, &answer, codes, secrets);
    // GitHub refuses with a 200.
    let is_refusal = status.is_client_error() || status.is_success();
    Err(match words.meaning {
        Some(Meaning::Dead) if is_refusal => EndpointError::rejected("").with_quote(words.quote),
        Some(Meaning::UserNeeded) if is_refusal => {
            EndpointError::user_needed("").with_quote(words.quote)
        }
        _ => words.not_done(
            reply,
            "the answer holds neither a token nor a readable error code",
        ),
    })
}

/// Whether a token was revoked (RFC 7009 section 2.2). No answer to a revocation reports a dead refresh token.
pub(in crate::endpoint) fn revocation(
    reply: Reply,
    codes: &Codes,
    secrets: Secrets,
) -> Result<(), EndpointError> {
    if reply.status.is_success() {
        return Ok(());
    }
    let answer = Answer::read(&reply.body, reply.is_whole());
    let words = Words::new(&reply, &answer, codes, secrets);
    Err(words.not_done(
        reply,
        "the answer does not report whether the token was revoked",
    ))
}

/// The outcome of an exchange with a server that was never reached by HTTP.
#[cfg(feature = "testing")]
pub(crate) fn judge_testing(
    status: StatusCode,
    body: String,
    retry_after: Option<Duration>,
) -> Result<Issued, EndpointError> {
    let body = zeroize::Zeroizing::new(body.into_bytes());
    let mut reply = Reply::new(status, Default::default(), body, None, Duration::ZERO);
    reply.retry_after = retry_after;
    exchange(reply, &Codes::default(), Secrets::default())
}

/// Whether the answer is the whole refusal of a server without error codes. A page in its place has a body.
fn is_bare_400(reply: &Reply, codes: &Codes) -> bool {
    codes.bare_400 == Bare400::Dead
        && reply.status == StatusCode::BAD_REQUEST
        && reply.is_whole()
        && reply.body.trim_ascii().is_empty()
}

/// The statement of an answer that holds no token.
struct Words {
    has_code: bool,
    meaning: Option<Meaning>,
    quote: Quote,
}

impl Words {
    fn new(reply: &Reply, answer: &Answer, codes: &Codes, mut secrets: Secrets) -> Self {
        for token in [answer.access_token(), answer.refresh_token()] {
            secrets.add(token.unwrap_or_default());
        }
        let (code, meaning) = match word(reply.status, answer, codes) {
            Some((code, meaning)) => (Some(code), Some(meaning)),
            None if is_bare_400(reply, codes) => (Some("400"), Some(Meaning::Dead)),
            None => (unknown_code(reply.status, answer), None),
        };
        Self {
            has_code: code.is_some(),
            meaning,
            quote: reply.quote(code, answer.description(), &secrets),
        }
    }

    /// The error of an answer that does not call the token dead.
    fn not_done(self, reply: Reply, missing: &'static str) -> EndpointError {
        let is_later = match self.meaning {
            Some(Meaning::Later) => true,
            Some(Meaning::LaterBelow500) => reply.status.as_u16() < 500,
            _ => false,
        };
        reply.not_done(is_later, self.has_code, self.quote, missing)
    }
}

/// The error code that counts, and its meaning.
///
/// Gateways write their own codes outside of `error`. At 500 and above such a code has no meaning, and it never asks for
/// the user unless the user of this crate added it. A code in an inner object counts only if there is no other `error`.
fn word<'a>(status: StatusCode, answer: &'a Answer, codes: &Codes) -> Option<(&'a str, Meaning)> {
    let error = answer.error();
    let mut said: Vec<_> = error.into_iter().collect();
    if status.as_u16() < 500 {
        said.extend(answer.codes.iter().map(|code| code.as_str()));
        if error.is_none_or(|error| is_name_of(status, error)) {
            said.extend(answer.inner_codes.iter().map(|code| code.as_str()));
        }
    }
    let (code, meaning) = codes.word(&said)?;
    let is_a_guess = meaning == Meaning::UserNeeded && error != Some(code);
    (!is_a_guess || codes.added(code).is_some()).then_some((code, meaning))
}

/// An error code that is not in the table: the `error`, or a code of light-4j, whose refusals have their own form.
fn unknown_code(status: StatusCode, answer: &Answer) -> Option<&str> {
    let error = answer.error().filter(|code| !is_name_of(status, code));
    error.or_else(|| {
        let mut codes = answer.codes.iter().map(|code| code.as_str());
        codes.find(|code| is_light4j(code))
    })
}

/// Whether the code is the name of the status, which frameworks and gateways write in place of an error code.
fn is_name_of(status: StatusCode, code: &str) -> bool {
    let name = status.canonical_reason();
    name.is_some_and(|name| code.eq_ignore_ascii_case(name))
}

/// Whether the code is an error code of light-4j: `ERR` and five digits.
fn is_light4j(code: &str) -> bool {
    let digits = code.strip_prefix("ERR").unwrap_or_default();
    digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
