//! Says what an answer means for the token that was sent. It does no I/O and reads no clock.
//!
//! Only what the server says in so many words counts as its word: a pair it issued, or a refusal. All
//! else - a proxy's error page, a redirect, a success that cannot be read - may come from a server
//! that has consumed the token, or from one that never saw it.

use http::StatusCode;

use super::answer::Answer;
use crate::endpoint::scrub::Secrets;
use crate::endpoint::transport::{Broken, Reply};
use crate::endpoint::{EndpointError, Issued};

/// Error codes that say that the refresh token is dead: the one of RFC 6749 section 5.2, GitHub's, and
/// light-oauth2's.
const DEAD: [&str; 3] = ["invalid_grant", "bad_refresh_token", "ERR12029"];

/// An answer that says nothing of the token.
#[derive(Debug, thiserror::Error)]
#[error("the token endpoint answered {status}, with {missing}")]
struct Unclear {
    status: StatusCode,
    missing: &'static str,
    source: Option<Broken>,
}

/// What became of a refresh token that was exchanged.
pub(super) fn exchange(reply: Reply, mut secrets: Secrets) -> Result<Issued, EndpointError> {
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
    // GitHub refuses with a 200.
    let refused = status.is_client_error() || status.is_success() && answer.error.is_some();
    if !refused {
        return Err(not_refused(
            reply,
            "neither a token nor a refusal that can be read",
        ));
    }
    let code = answer.error.as_ref().map(|code| code.as_str());
    if let Some(code) = DEAD.into_iter().find(|dead| code == Some(*dead)) {
        add_tokens(&mut secrets, &answer);
        let message = answer.error_description.as_ref();
        let quote = message.and_then(|text| secrets.scrub(text));
        return Err(EndpointError::rejected(code).with_message(quote));
    }
    match (status, code) {
        (StatusCode::TOO_MANY_REQUESTS, _) => Err(EndpointError::retry(reply.retry_after)),
        // A broken body may have held one.
        (StatusCode::BAD_REQUEST, None) if reply.broken.is_some() => {
            Err(unclear(reply, "no error code that can be read"))
        }
        (StatusCode::BAD_REQUEST, None) => {
            Err(EndpointError::rejected("400 without an error code"))
        }
        _ => Err(refusal(status, &answer, &mut secrets)),
    }
}

/// Whether a token was revoked (RFC 7009 section 2.2).
pub(super) fn revocation(reply: Reply, mut secrets: Secrets) -> Result<(), EndpointError> {
    let status = reply.status;
    if status.is_success() {
        return Ok(());
    }
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Err(EndpointError::retry(reply.retry_after));
    }
    if status.is_client_error() {
        let answer = Answer::read(&reply.body, reply.broken.is_none());
        return Err(refusal(status, &answer, &mut secrets));
    }
    Err(not_refused(reply, "no word on the token"))
}

/// No pair, and no refusal either.
fn not_refused(reply: Reply, missing: &'static str) -> EndpointError {
    if reply.status == StatusCode::SERVICE_UNAVAILABLE && reply.retry_after.is_some() {
        return EndpointError::retry(reply.retry_after);
    }
    unclear(reply, missing)
}

fn unclear(reply: Reply, missing: &'static str) -> EndpointError {
    EndpointError::unknown(Unclear {
        status: reply.status,
        missing,
        source: reply.broken,
    })
}

/// The server will not serve this client, in its own words as far as they may be quoted.
fn refusal(status: StatusCode, answer: &Answer, secrets: &mut Secrets) -> EndpointError {
    add_tokens(secrets, answer);
    let words = [&answer.error, &answer.error_description];
    let quotes = words
        .into_iter()
        .flatten()
        .filter_map(|text| secrets.scrub(text));
    let reason = quotes.fold(status.as_str().to_owned(), |reason, quote| {
        format!("{reason}: {quote}")
    });
    EndpointError::misconfigured(reason)
}

fn add_tokens(secrets: &mut Secrets, answer: &Answer) {
    let tokens = [&answer.access_token, &answer.refresh_token];
    tokens
        .into_iter()
        .flatten()
        .for_each(|token| secrets.add(token));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;
    use zeroize::Zeroizing;

    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        let body = Zeroizing::new(body.into());
        let status = StatusCode::from_u16(status).unwrap();
        Reply::new(status, HeaderMap::new(), body, None, Duration::ZERO)
    }

    fn verdict(reply: Reply) -> String {
        match exchange(reply, Secrets::default()) {
            Ok(issued) => format!("issued {}", issued.refresh.unwrap().expose()),
            Err(EndpointError::Rejected { code, .. }) => format!("rejected: {code}"),
            Err(EndpointError::Retry { after }) => format!("retry: {after:?}"),
            Err(EndpointError::Misconfigured { reason }) => format!("misconfigured: {reason}"),
            Err(EndpointError::NotSent { .. }) => "not sent".into(),
            Err(EndpointError::Unknown { .. }) => "unknown".into(),
        }
    }

    #[test]
    fn each_answer_says_one_thing_of_the_token() {
        let dead = r#"{"error":"invalid_grant","error_description":"grant request is invalid"}"#;
        let client = r#"{"error":"invalid_client","error_description":"who?"}"#;
        let table = [
            (200, r#"{"refresh_token":"r2"}"#, "issued r2"),
            (
                201,
                r#"{"refresh_token":"r2","error":"invalid_grant"}"#,
                "issued r2",
            ),
            (200, dead, "rejected: invalid_grant"),
            (
                200,
                "error=bad_refresh_token&error_description=x",
                "rejected: bad_refresh_token",
            ),
            (200, client, "misconfigured: 200: invalid_client: who?"),
            (200, "", "unknown"),
            (200, "<html>", "unknown"),
            (200, r#"{"access_token":""}"#, "unknown"),
            (204, "", "unknown"),
            (400, dead, "rejected: invalid_grant"),
            (401, dead, "rejected: invalid_grant"),
            (403, dead, "rejected: invalid_grant"),
            (400, "", "rejected: 400 without an error code"),
            (400, "<html>", "rejected: 400 without an error code"),
            (
                400,
                r#"{"error":{"code":7}}"#,
                "rejected: 400 without an error code",
            ),
            (400, client, "misconfigured: 400: invalid_client: who?"),
            (401, client, "misconfigured: 401: invalid_client: who?"),
            (401, "", "misconfigured: 401"),
            (404, "<html>", "misconfigured: 404"),
            (429, client, "retry: None"),
            (301, r#"{"refresh_token":"r2"}"#, "unknown"),
            (307, dead, "unknown"),
            (500, dead, "unknown"),
            (500, r#"{"refresh_token":"r2"}"#, "unknown"),
            (503, client, "unknown"),
            (599, "", "unknown"),
            (999, "", "unknown"),
        ];
        for (status, body, expected) in table {
            assert_eq!(verdict(reply(status, body)), expected, "{status} {body}");
        }
    }

    #[test]
    fn n16_light4j_says_it_in_its_own_form() {
        let status = |code: &str| {
            format!(r#"{{"statusCode":404,"code":"{code}","message":"M","severity":"ERROR"}}"#)
        };
        for (http, code, expected) in [
            (404, "ERR12029", "rejected: ERR12029"),
            (400, "ERR12028", "misconfigured: 400: ERR12028"),
            (401, "ERR12007", "misconfigured: 401: ERR12007"),
            (500, "ERR12029", "unknown"),
            // Not light-4j's: a 400 that says nothing.
            (400, "ERR1", "rejected: 400 without an error code"),
            (400, "invalid", "rejected: 400 without an error code"),
            (404, "invalid", "misconfigured: 404"),
        ] {
            assert_eq!(verdict(reply(http, &status(code))), expected, "{code}");
        }
        let both = r#"{"code":"ERR12029","error":"invalid_client"}"#;
        assert_eq!(
            verdict(reply(404, both)),
            "misconfigured: 404: invalid_client"
        );
    }

    #[test]
    fn where_an_answer_breaks_off_before_a_refresh_token_the_old_one_is_not_taken_for_kept() {
        let cut = |body| Reply {
            broken: Some(Broken::TooLong { limit: 65_536 }),
            ..reply(200, body)
        };
        assert_eq!(verdict(cut(r#"{"access_token":"a2","refr"#)), "unknown");
        assert_eq!(verdict(cut(r#"{"refresh_token":"r2","acc"#)), "issued r2");
    }

    #[test]
    fn a_server_that_names_a_time_asks_to_be_called_later() {
        for (status, expected) in [
            (429, "retry: Some(7s)"),
            (503, "retry: Some(7s)"),
            (500, "unknown"),
        ] {
            let mut reply = reply(status, "");
            reply.retry_after = Some(Duration::from_secs(7));
            assert_eq!(verdict(reply), expected, "{status}");
        }
    }

    #[test]
    fn a_broken_refusal_counts_for_what_was_read_of_it() {
        for (status, body, expected) in [
            (
                400,
                r#"{"error":"invalid_grant","err"#,
                "rejected: invalid_grant",
            ),
            (400, r#"{"error":"invalid_"#, "unknown"),
            (400, "error=invalid_grant", "unknown"),
            (401, r#"{"err"#, "misconfigured: 401"),
            (200, r#"{"err"#, "unknown"),
        ] {
            let mut reply = reply(status, body);
            reply.broken = Some(Broken::TooLong { limit: 65_536 });
            assert_eq!(verdict(reply), expected, "{status} {body}");
        }
    }
}
