//! What a browser gets in place of an answer: a status and a JSON body that a script can tell apart.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use super::cross_site::CrossSite;
use crate::error::Error;
use crate::manager::CallError;

/// The reason why a request of a browser gets no answer of the service or of the API.
///
/// As a response it is a status and a JSON body, such as `{"error":"signed_out","message":".."}`. The gateway's
/// [layer](super::GatewayLayer) turns a response of [`SignedOut`](Self::SignedOut) for a page into a redirect to the login.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// The user has to sign in: 401, `signed_out`.
    #[error("the user is signed out")]
    #[non_exhaustive]
    SignedOut {
        /// Why, where the browser presented a session.
        source: Option<Error>,
    },
    /// Whether the session is alive is not known now, or it has no token now: 503, `unavailable`, with `Retry-After` if there is a
    /// time. The user is not signed out.
    #[error("the session has no token at the moment")]
    #[non_exhaustive]
    Unavailable {
        /// What failed.
        source: Error,
    },
    /// A page of another origin may have made the request: 403, `cross_site`.
    #[error("{reason}")]
    #[non_exhaustive]
    CrossSite {
        /// What the request shows.
        reason: CrossSite,
    },
    /// The API could not be reached, or its answer broke off: 502, `bad_gateway`.
    #[error("the API gave no answer")]
    #[non_exhaustive]
    BadGateway {
        /// The error of the HTTP client.
        source: Error,
    },
    /// The body of the request broke off: 400, `body_broke_off`.
    #[error("the body of the request broke off")]
    BodyBrokeOff,
    /// The path leads out of what the gateway passes on, or there is nothing: 404, `not_found`.
    #[error("there is nothing under this path")]
    NotFound,
    /// The method is not one of this path: 405, `method_not_allowed`.
    #[error("this path does not take this method")]
    #[non_exhaustive]
    MethodNotAllowed {
        /// The method of the path.
        allowed: &'static str,
    },
    /// The pair of a sign-in is too long for cookies: 500, `cookie_too_long`. The session was ended again.
    #[error(
        "the pair of this sign-in is too long for cookies: set the gateway's mode to \"opaque\", in which the pair stays in the store"
    )]
    CookieTooLong,
    /// The cookies of a sign-in could not be sealed: 500, `not_sealed`.
    #[error("the cookies of a sign-in could not be sealed")]
    #[non_exhaustive]
    NotSealed {
        /// The error of the sealer.
        source: crate::seal::SealError,
    },
    /// The handler was called without the gateway's layer: 500, `no_layer`.
    #[error("the route has no session: put the gateway's layer around the router")]
    NoLayer,
}

/// Marks a response by which the user is signed out.
#[derive(Debug, Clone, Copy)]
pub(super) struct SignedOut;

impl GatewayError {
    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.describe().0
    }

    /// The status, and the word of the body.
    fn describe(&self) -> (StatusCode, &'static str) {
        match self {
            Self::SignedOut { .. } => (StatusCode::UNAUTHORIZED, "signed_out"),
            Self::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::CrossSite { .. } => (StatusCode::FORBIDDEN, "cross_site"),
            Self::BadGateway { .. } => (StatusCode::BAD_GATEWAY, "bad_gateway"),
            Self::BodyBrokeOff => (StatusCode::BAD_REQUEST, "body_broke_off"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::CookieTooLong => (StatusCode::INTERNAL_SERVER_ERROR, "cookie_too_long"),
            Self::NotSealed { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "not_sealed"),
            Self::NoLayer => (StatusCode::INTERNAL_SERVER_ERROR, "no_layer"),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { source } => source.retry_after(),
            _ => None,
        }
    }

    /// The response for the browser. No cache keeps it.
    #[must_use]
    pub fn to_response<B: From<Bytes>>(&self) -> Response<B> {
        let (status, word) = self.describe();
        let body = serde_json::json!({ "error": word, "message": self.to_string() });
        let mut response = json(status, &body);
        if let Some(pause) = self.retry_after() {
            // Rounded up: half a second is not "at once".
            let seconds = pause.as_millis().div_ceil(1_000).max(1);
            response.headers_mut().insert(RETRY_AFTER, number(seconds));
        }
        match self {
            Self::SignedOut { .. } => drop(response.extensions_mut().insert(SignedOut)),
            Self::MethodNotAllowed { allowed } => {
                let allowed = HeaderValue::from_static(allowed);
                response.headers_mut().insert(http::header::ALLOW, allowed);
            }
            _ => {}
        }
        response
    }
}

fn number(number: u128) -> HeaderValue {
    HeaderValue::from(u64::try_from(number).unwrap_or(u64::MAX))
}

/// A response with a JSON body that no cache keeps.
pub(super) fn json<B: From<Bytes>>(status: StatusCode, body: &serde_json::Value) -> Response<B> {
    let mut response = Response::new(B::from(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, NO_STORE);
    response
}

/// Neither a browser nor a shared cache keeps the response.
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store, private");

impl From<Error> for GatewayError {
    fn from(source: Error) -> Self {
        match source {
            Error::Request { .. } => Self::BadGateway { source },
            source if source.needs_sign_in() => Self::SignedOut {
                source: Some(source),
            },
            source => Self::Unavailable { source },
        }
    }
}

impl From<CallError<reqwest::Error>> for GatewayError {
    fn from(error: CallError<reqwest::Error>) -> Self {
        Error::from(error).into()
    }
}

impl From<reqwest::Error> for GatewayError {
    fn from(error: reqwest::Error) -> Self {
        Error::from(error).into()
    }
}
