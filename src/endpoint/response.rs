//! For endpoints of one's own: an answer of an HTTP server, read and judged as the built-in endpoint does it.

use std::time::Duration;

use reqwest::Response;

use super::oauth2::{Codes, judge};
use super::redact::Secrets;
use super::transport::{self, BODY_LIMIT};
use super::{EndpointError, Issued};
use crate::clock::Patience;

/// How long a body is waited for, besides what the request itself was given.
const PATIENCE: Duration = Duration::from_secs(30);

impl Codes {
    /// Reads an answer of a token endpoint, up to 64 KiB of it, and says what it issued, or what it means for the refresh
    /// token that was sent (see [`OAuth2`](crate::OAuth2#what-an-answer-means)). `secrets` are the token and all else of the
    /// request that no error may quote.
    ///
    /// # Errors
    ///
    /// What the answer says, if it issued nothing.
    pub async fn judge(
        &self,
        response: Response,
        secrets: &[&str],
    ) -> Result<Issued, EndpointError> {
        let reply = transport::read(response, Patience::new(PATIENCE), PATIENCE, BODY_LIMIT).await;
        judge(reply, self, Secrets::of(secrets))
    }
}

impl Issued {
    /// As [`Codes::judge`], with the codes that are known.
    ///
    /// # Errors
    ///
    /// What the answer says, if it issued nothing.
    pub async fn from_response(
        response: Response,
        secrets: &[&str],
    ) -> Result<Self, EndpointError> {
        Codes::default().judge(response, secrets).await
    }
}

impl EndpointError {
    /// Classes an answer that did not bring what was asked for, as [`Issued::from_response`] does it. For endpoints that
    /// read their successes themselves: an answer that issued a token in the form of RFC 6749 is [`Unknown`](Self::Unknown)
    /// here, since the refresh token is spent by it and the new one dropped.
    pub async fn from_response(response: Response, secrets: &[&str]) -> Self {
        match Issued::from_response(response, secrets).await {
            Err(error) => error,
            Ok(_) => Self::unknown(Unread),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the token endpoint issued a token, and the answer was taken for a failure")]
struct Unread;
