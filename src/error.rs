//! What a caller is told. Every variant says whether to sign in anew, to try again, or to mend
//! something; none of them holds a secret, and all can be cloned, because one failed rotation
//! answers everybody who waited for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::endpoint::EndpointError;
pub use crate::record::{EndReason, ServerWord};
use crate::settings::PENDING_PAUSE;
use crate::store::StoreError;

/// Why there is no token, or no answer from the API.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The session is over; the user has to sign in anew.
    #[error("the session has ended: {reason}")]
    #[non_exhaustive]
    Ended {
        /// Why.
        reason: EndReason,
        /// Where it expired, or its outcome is unknown: what failed last, if anything has.
        source: Option<Arc<Error>>,
    },
    /// There is no pair: none was seeded, the store has none, and the endpoint cannot sign in.
    #[error("there is no session: seed a first pair")]
    NoSession,
    /// There is no refresh token and the endpoint cannot sign in, so the access token is all there is.
    #[error("there is nothing to rotate with")]
    NotRotatable,
    /// The token endpoint brought no pair.
    #[error("{}", if *is_sign_in { "the sign-in failed" } else { "the token could not be refreshed" })]
    #[non_exhaustive]
    Endpoint {
        /// Why; see also [`Error::endpoint`].
        source: Arc<EndpointError>,
        /// Whether it was asked to sign in, and not to exchange a refresh token.
        is_sign_in: bool,
        /// How long until another attempt is made.
        retry_after: Duration,
    },
    /// The token endpoint refused to sign in, or to sign in anew. It is not asked again by itself: accounts get locked.
    #[error("the sign-in was refused")]
    #[non_exhaustive]
    SignInRefused {
        /// What it said; see also [`Error::endpoint`].
        source: Arc<EndpointError>,
        /// How long until a caller may make another attempt.
        retry_after: Duration,
    },
    /// The token endpoint issued a pair without an access token. Its refresh token is kept.
    #[error("the token endpoint issued no access token")]
    #[non_exhaustive]
    NoAccessToken {
        /// How long until another attempt is made.
        retry_after: Duration,
    },
    /// The store could not be asked. The session is as it was.
    #[error("the token store failed")]
    #[non_exhaustive]
    Store {
        /// Why.
        source: StoreError,
        /// How long until another attempt is made.
        retry_after: Duration,
    },
    /// Instances that do not coordinate signed in again and again, and each time another's pair got into the
    /// store before ours, and was over. Ours is revoked.
    #[error("other instances signed in at the same time, again and again")]
    #[non_exhaustive]
    Collision {
        /// How long until another attempt is made.
        retry_after: Duration,
    },
    /// The caller's deadline passed before a token was there.
    #[error("no token within {}", Millis(*after))]
    #[non_exhaustive]
    TimedOut {
        /// The deadline.
        after: Duration,
        /// What failed last, if anything has.
        source: Option<Arc<Error>>,
    },
    /// Only from `try_token`: a token is being fetched.
    #[error("a token is not there yet")]
    Pending,
    /// Tokens of this session do not live as long as was asked for.
    #[error("a token is good for {} at most", Millis(*valid_for))]
    #[non_exhaustive]
    ShortLived {
        /// What the current token has left.
        valid_for: Duration,
    },
    /// The pair that was to be the new one holds a refresh token that was used before; to send it once more
    /// could cost the session.
    #[error("the refresh token was used before")]
    AlreadyUsed,
    /// The store holds another session under this key that goes on, and does not know the seed: the seed may be
    /// mistyped, or be another user's. Neither is used. See [`OnSeedConflict`](crate::OnSeedConflict).
    #[error(
        "another session is stored under this key: give the key a subject or a label, remove the seed, or set `on_conflict` to \"keep\" or \"replace\""
    )]
    SeedConflict,
    /// `blocking_token` was called inside a runtime, which would stand still meanwhile.
    #[error("a runtime's thread must not be blocked: await `token()` here")]
    InsideRuntime,
    /// The access token holds characters that no header may carry.
    #[error("the access token cannot be sent in a header")]
    InvalidHeader,
    /// An endpoint, a store or a strategy asked its own manager for a token while that was rotating.
    #[error("a rotation waits for itself: an endpoint or store asked its own manager for a token")]
    Reentrant,
    /// The manager was shut down.
    #[error("the token manager was shut down")]
    ShutDown,
    /// A rotation panicked, which is a bug in this crate. The session is as it was.
    #[error("the rotation panicked: this is a bug in evertoken")]
    #[non_exhaustive]
    TaskDied {
        /// How long until another attempt is made.
        retry_after: Duration,
    },
    /// The tokio runtime that the manager was built in has shut down, and its rotations ran there.
    #[error(
        "the tokio runtime of this token manager has shut down: build the manager in a runtime that outlives its use"
    )]
    RuntimeGone,
    /// Building or sending the user's own request failed.
    #[error("the request failed")]
    #[non_exhaustive]
    Request {
        /// Why.
        source: Arc<reqwest::Error>,
    },
    /// A token in a header of its own would follow redirects to other origins on this client. Send
    /// through [`TokenManager::client`](crate::TokenManager::client).
    #[error("a token in a custom header is only sent by a client from `TokenManager::client`")]
    ForeignClient,
}

impl Error {
    /// Whether only a new sign-in helps.
    #[must_use]
    pub fn needs_sign_in(&self) -> bool {
        match self {
            Self::Ended { .. } | Self::NoSession | Self::SignInRefused { .. } => true,
            Self::Endpoint { source, .. } => matches!(**source, EndpointError::UserNeeded { .. }),
            _ => false,
        }
    }

    /// Whether something has to be changed by a human before any attempt can succeed: the client's credentials, the token URL,
    /// a certificate, the key of the session. A page is no such error, unless [`token`](crate::TokenManager::token) returns
    /// it at once: that is what a wrong URL looks like at the first call.
    #[must_use]
    pub fn needs_configuration(&self) -> bool {
        match self {
            Self::Endpoint { source, .. } => matches!(
                **source,
                EndpointError::Refused { .. }
                    | EndpointError::NotSent {
                        is_lasting: true,
                        ..
                    }
            ),
            Self::TimedOut { source, .. } => {
                source.as_ref().is_some_and(|it| it.needs_configuration())
            }
            Self::SeedConflict | Self::InvalidHeader | Self::ForeignClient => true,
            _ => false,
        }
    }

    /// Whether the same call may succeed later, see [`retry_after`](Self::retry_after).
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Endpoint { source, .. } => !matches!(
                **source,
                EndpointError::Refused { .. }
                    | EndpointError::UserNeeded { .. }
                    | EndpointError::NotSent {
                        is_lasting: true,
                        ..
                    }
            ),
            Self::NoAccessToken { .. }
            | Self::Store { .. }
            | Self::Collision { .. }
            | Self::TimedOut { .. }
            | Self::Pending
            | Self::TaskDied { .. } => true,
            _ => false,
        }
    }

    /// What the token endpoint answered, if it was that; also where a caller waited for the next answer in vain.
    #[must_use]
    pub fn endpoint(&self) -> Option<&EndpointError> {
        match self {
            Self::Endpoint { source, .. } | Self::SignInRefused { source, .. } => Some(source),
            Self::TimedOut { source, .. } => source.as_deref()?.endpoint(),
            _ => None,
        }
    }

    /// How long to wait before trying again; known for every error that is [retryable](Self::is_retryable).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Endpoint { retry_after, .. }
            | Self::SignInRefused { retry_after, .. }
            | Self::NoAccessToken { retry_after }
            | Self::Collision { retry_after }
            | Self::TaskDied { retry_after }
            | Self::Store { retry_after, .. } => Some(*retry_after),
            // The caller has waited already.
            Self::TimedOut { .. } => Some(Duration::ZERO),
            Self::Pending => Some(PENDING_PAUSE),
            _ => None,
        }
    }

    /// The same error, told later.
    pub(crate) fn with_retry_after(mut self, left: Duration) -> Self {
        match &mut self {
            Self::Endpoint { retry_after, .. }
            | Self::SignInRefused { retry_after, .. }
            | Self::NoAccessToken { retry_after }
            | Self::Collision { retry_after }
            | Self::TaskDied { retry_after }
            | Self::Store { retry_after, .. } => *retry_after = left,
            _ => {}
        }
        self
    }

    pub(crate) fn ended(reason: EndReason) -> Self {
        let source = None;
        Self::Ended { reason, source }
    }
}

impl From<reqwest::Error> for Error {
    fn from(source: reqwest::Error) -> Self {
        let source = Arc::new(source);
        Self::Request { source }
    }
}

/// A configuration that cannot hold. Nothing was started.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A value is out of its range.
    #[error("`{name}`: {problem}")]
    #[non_exhaustive]
    Invalid {
        /// The setting.
        name: &'static str,
        /// What is wrong with it, and what is allowed.
        problem: String,
    },
    /// `build()` was called outside a tokio runtime.
    #[error("a token manager is built inside a tokio runtime, which runs its rotations")]
    NoRuntime,
    /// The tokio runtime has no timer: `enable_time` (or `enable_all`) was not called for it.
    #[error(
        "a token manager needs a tokio runtime with a timer: call `enable_all` on the runtime's builder"
    )]
    NoTimer,
    /// The tokio runtime's time is paused, as a test has it (`start_paused`), and the manager is on the system's clock: its
    /// tokens would not expire. Give it a clock that stands still as well.
    #[error(
        "the runtime's time is paused, and the manager is on the system's clock: give it a clock of the test with `.clock(..)`"
    )]
    PausedTime,
    /// Code of an endpoint or a clock panicked.
    #[error("`{name}` panicked: see the panic's message, and mend that method")]
    #[non_exhaustive]
    Panicked {
        /// The method of which trait.
        name: &'static str,
    },
    /// The token endpoint's HTTP client could not be built.
    #[error("the HTTP client could not be built")]
    #[non_exhaustive]
    Client {
        /// Why.
        source: Arc<reqwest::Error>,
    },
    /// The operating system gave no random numbers.
    #[error("the operating system gave no random numbers")]
    NoRandomness,
}

impl BuildError {
    pub(crate) fn invalid(name: &'static str, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self::Invalid { name, problem }
    }
}

impl From<reqwest::Error> for BuildError {
    fn from(source: reqwest::Error) -> Self {
        let source = Arc::new(source);
        Self::Client { source }
    }
}

/// An error and what it came from, in one line.
pub(crate) struct Causes<'a>(pub(crate) &'a Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = std::error::Error::source(self.0);
        while let Some(error) = next {
            write!(f, ": {error}")?;
            next = error.source();
        }
        Ok(())
    }
}

/// Prints a span as seconds with as many digits as it needs.
struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} s",
            Duration::from_millis(u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX))
                .as_secs_f64()
        )
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn every_retryable_error_has_a_pause() {
        let retry_after = Duration::ZERO;
        let errors = [
            Error::Endpoint {
                source: Arc::new(EndpointError::not_sent("refused")),
                is_sign_in: false,
                retry_after,
            },
            Error::NoAccessToken { retry_after },
            Error::Store {
                source: StoreError::new("down"),
                retry_after,
            },
            Error::Collision { retry_after },
            Error::TimedOut {
                after: retry_after,
                source: None,
            },
            Error::Pending,
            Error::TaskDied { retry_after },
        ];
        for error in errors {
            assert!(error.is_retryable(), "{error}");
            assert!(error.retry_after().is_some(), "{error}");
        }
    }

    /// The hot path returns a header or an error. With room for the error beside the header's own
    /// fields, the one is as large as the other, and is not copied to be told apart.
    #[test]
    fn an_error_takes_no_room_beside_a_header() {
        assert_eq!(
            size_of::<Result<HeaderValue, Error>>(),
            size_of::<HeaderValue>()
        );
    }
}
