//! A pair from the token response of another library, such as `oauth2` or `openidconnect`: that library signs the user in,
//! and this crate rotates.
//!
//! The response is serialized and judged as an answer that this crate received itself, so a pair that is handed over and the
//! pairs that follow it are read by one parser. This module never keeps a response, and its errors never quote one.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde::Serialize;
use zeroize::Zeroizing;

use super::answer::Answer;
use super::classify::exchange;
use super::codes::Codes;
use crate::clock::{Clock, SystemClock};
use crate::endpoint::EndpointError;
use crate::endpoint::quote::Secrets;
use crate::endpoint::reply::Reply;
use crate::token::{TokenPair, json};

/// Why a token response is not a pair. The error quotes nothing of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// The `Serialize` of the response failed, or gave something that JSON does not have.
    #[error(
        "the token response cannot be serialized as JSON; use the token response as its library returned it, or a \
         `serde_json::Value`"
    )]
    Unserializable,
    /// The response is a list, a text, a number or null.
    #[error(
        "the token response is not a JSON object; use the whole answer of the token endpoint, and not a part of it or its \
         text"
    )]
    NotAnObject,
    /// The response is the server's refusal (RFC 6749 section 5.2), and holds no token.
    #[error(
        "the token response is an error of the server and holds no token; complete the sign-in"
    )]
    Refused,
    /// The response holds neither an access token nor a refresh token. An empty token is not a token.
    #[error(
        "the token response holds neither an access token nor a refresh token; use the whole answer of the token endpoint, \
         under the names of RFC 6749 section 5.1"
    )]
    NoToken,
    /// The text of the response ends before the response does, and before a whole refresh token. Such a text comes from a
    /// file, and not from a type.
    #[error(
        "the token response breaks off before a refresh token; use the whole answer of the token endpoint, or sign in anew \
         where the rest is lost"
    )]
    Truncated,
}

impl TokenPair {
    /// Takes over the pair of a token response (RFC 6749 section 5.1) that another library received just now:
    /// `oauth2::StandardTokenResponse`, `openidconnect::core::CoreTokenResponse`, a `serde_json::Value`, a type of the
    /// program's own. The page [handover](crate::_guide::handover) has whole programs.
    ///
    /// The response counts as what it serializes to, and is read as [`OAuth2`](crate::OAuth2#what-an-answer-means) reads an
    /// answer: `expires_in` is a number of seconds, or a text of one; a lifetime that cannot be read, or is longer than ten
    /// years, counts as unknown; the pair may be in an object one level down. An access token with an `expires_in` of 0, or
    /// with no `expires_in` and an `expires_at` that has passed, has expired. Other members, such as an `id_token`, are not
    /// kept.
    ///
    /// The lifetimes count from the call that takes the pair, `build` or `replace`. A program that keeps a response or its
    /// pair for a while, in a cache for example, uses [`from_response_received`](Self::from_response_received) right before
    /// that call.
    ///
    /// The JSON in between is zeroized. The token response itself is the other library's.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use evertoken::TokenPair;
    /// use serde_json::json;
    ///
    /// # fn main() -> Result<(), evertoken::ResponseError> {
    /// let response = json!({ "access_token": "a1", "refresh_token": "r1", "token_type": "Bearer", "expires_in": 300 });
    /// let pair = TokenPair::new("a1")
    ///     .refresh_token("r1")
    ///     .token_type("Bearer")
    ///     .expires_in(Duration::from_secs(300));
    /// assert_eq!(TokenPair::from_response(&response)?, pair);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ResponseError`], if the response holds no token. A response that holds a token is a pair, whatever else is odd
    /// about it.
    pub fn from_response(response: &(impl Serialize + ?Sized)) -> Result<Self, ResponseError> {
        Self::from_response_received(response, Duration::ZERO)
    }

    /// As [`from_response`](Self::from_response), for a token response that was received some time `ago`: the lifetimes
    /// count from then. A token whose lifetime is over by now has expired, which is not an error here: the manager rotates a
    /// pair whose access token has expired.
    ///
    /// # Errors
    ///
    /// [`ResponseError`], as above.
    pub fn from_response_received(
        response: &(impl Serialize + ?Sized),
        ago: Duration,
    ) -> Result<Self, ResponseError> {
        // The error may quote a token.
        let body = json::zeroizing(response).map_err(|_| ResponseError::Unserializable)?;
        if !body.starts_with(b"{") {
            return Err(ResponseError::NotAnObject);
        }
        Self::from_body(body, ago)
    }

    /// The pair of an answer's body that was received some time `ago`.
    pub(crate) fn from_body(
        body: Zeroizing<Vec<u8>>,
        ago: Duration,
    ) -> Result<Self, ResponseError> {
        read(body, ago, SystemClock.wall())
    }
}

/// The pair of a body that was received `ago` before `wall`.
fn read(
    body: Zeroizing<Vec<u8>>,
    ago: Duration,
    wall: Duration,
) -> Result<TokenPair, ResponseError> {
    let received = wall.saturating_sub(ago);
    let reply = Reply::new(StatusCode::OK, HeaderMap::new(), body, None, received);
    let answer = Answer::read(&reply.body, reply.is_whole());
    let issued = exchange(reply, &Codes::default(), Secrets::default());
    let mut issued = issued.map_err(|error| match error {
        EndpointError::Unknown { .. } if answer.is_cut => ResponseError::Truncated,
        EndpointError::Unknown { .. } => ResponseError::NoToken,
        _ => ResponseError::Refused,
    })?;
    // A server that answers right now issues no expired token. The age of this answer is the word of a program.
    let (access_is_over, refresh_is_over) = answer.is_over(wall);
    let over = |is_over: bool| is_over.then_some(Duration::ZERO);
    issued.expires_in = issued.expires_in.or(over(access_is_over));
    issued.refresh_expires_in = issued.refresh_expires_in.or(over(refresh_is_over));
    let pair = issued.into_pair(None, Duration::ZERO, received);
    let lifetime = pair.lifetime.aged(ago);
    Ok(TokenPair { lifetime, ..pair })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Validity;

    const MINUTE: Duration = Duration::from_secs(60);

    /// The wall clock of the tests, as seconds.
    const NOW: u64 = 1_700_000_000;

    fn pair(body: &str, ago: Duration) -> TokenPair {
        let body = Zeroizing::new(body.as_bytes().to_vec());
        read(body, ago, Duration::from_secs(NOW)).unwrap()
    }

    fn access(body: &str, ago: Duration) -> Validity {
        pair(body, ago).lifetime.access
    }

    #[test]
    fn a_point_in_time_is_the_same_moment_whatever_the_age_of_the_answer() {
        let body = format!(r#"{{"access_token":"a","expires_at":{}}}"#, NOW + 60);
        for ago in [Duration::ZERO, MINUTE, 10 * MINUTE] {
            assert_eq!(access(&body, ago), MINUTE.into());
        }
        let body = format!(r#"{{"access_token":"a","expires_at":{}}}"#, NOW - 60);
        assert_eq!(access(&body, 2 * MINUTE), Duration::ZERO.into());
    }

    /// A response that was kept for a while, and whose age the program does not know.
    #[test]
    fn a_token_whose_point_in_time_has_passed_has_expired_whatever_the_age_of_the_answer() {
        let read = |name: &str, end: u64, ago| {
            let body = format!(r#"{{"access_token":"a","refresh_token":"r","{name}":{end}}}"#);
            pair(&body, ago).lifetime
        };
        for ago in [Duration::ZERO, MINUTE] {
            for end in [NOW - 3_600, NOW] {
                let expired = Validity::from(Duration::ZERO);
                assert_eq!(read("expires_at", end, ago).access, expired);
                assert_eq!(read("refresh_expires_at", end, ago).refresh, expired);
            }
            // A number that is not a point in time of the last ten years states nothing.
            for end in [0, 3_600, NOW - 10 * 366 * 86_400] {
                assert_eq!(read("expires_at", end, ago).access, Validity::Unknown);
                let refresh = read("refresh_expires_at", end, ago).refresh;
                assert_eq!(refresh, Validity::Unknown);
            }
        }
        let both = format!(
            r#"{{"access_token":"a","expires_in":60,"expires_at":{}}}"#,
            NOW - 1
        );
        assert_eq!(access(&both, Duration::ZERO), MINUTE.into());
    }

    #[test]
    fn an_answer_that_breaks_off_before_a_refresh_token_is_not_a_pair() {
        let answer =
            r#"{"access_token":"sesame","expires_in":60,"refresh_token":"sesame","scope":"a"}"#;
        let end = answer.find(r#","scope""#).unwrap();
        for at in 2..end {
            let body = Zeroizing::new(answer.as_bytes()[..at].to_vec());
            let refused = read(body, Duration::ZERO, Duration::from_secs(NOW));
            assert_eq!(refused, Err(ResponseError::Truncated), "{}", &answer[..at]);
        }
        // A whole refresh token is not lost for the rest.
        assert_eq!(
            pair(&answer[..=end], Duration::ZERO).refresh,
            Some("sesame".into())
        );
    }

    #[test]
    fn the_lifetime_of_a_jwt_counts_from_the_receipt() {
        // {"exp":1700000060,"iat":1700000000}
        let body = r#"{"access_token":"e30.eyJleHAiOjE3MDAwMDAwNjAsImlhdCI6MTcwMDAwMDAwMH0.x"}"#;
        assert_eq!(access(body, Duration::ZERO), MINUTE.into());
        assert_eq!(access(body, MINUTE / 2), (MINUTE / 2).into());
        assert_eq!(access(body, MINUTE), Duration::ZERO.into());
    }

    /// A body that comes from a file, as it was sent.
    #[test]
    fn a_body_is_read_in_every_form_in_which_an_answer_comes() {
        for body in [
            r#"{"access_token":"a","refresh_token":"r","expires_in":60}"#,
            "access_token=a&refresh_token=r&expires_in=60",
            "HTTP/2 200\r\ncontent-type: application/json\r\n\r\n{\"access_token\":\"a\",\"refresh_token\":\"r\",\
             \"expires_in\":60}",
        ] {
            let read = pair(body, Duration::ZERO);
            let expected = TokenPair::new("a").refresh_token("r").expires_in(MINUTE);
            assert_eq!(read, expected, "{body}");
        }
    }
}
