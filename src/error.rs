//! Errors for callers. Every variant reports whether the caller must sign in again, try again, or fix a
//! configuration.
//!
//! An error never holds a secret. An error can be cloned, because one failed rotation answers every waiter.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::whole_millis;
use crate::endpoint::EndpointError;
pub use crate::record::{EndReason, ServerWord};
use crate::settings::PENDING_PAUSE;
use crate::store::StoreError;

/// The reason why a call returned neither a token nor an answer from the API.
///
/// ```
/// use std::time::Duration;
///
/// use evertoken::Error;
///
/// /// What a worker does after an error.
/// enum Next {
///     SignIn,
///     Wait(Duration),
///     Stop,
/// }
///
/// fn next(error: &Error) -> Next {
///     match error.retry_after() {
///         _ if error.needs_sign_in() => Next::SignIn,
///         Some(pause) if error.is_retryable() => Next::Wait(pause),
///         _ => Next::Stop,
///     }
/// }
/// # assert!(matches!(next(&Error::NoSession), Next::SignIn));
/// # assert!(matches!(next(&Error::Pending), Next::Wait(_)));
/// # assert!(matches!(next(&Error::ShutDown), Next::Stop));
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The session has ended. The user has to sign in again.
    #[error("the session has ended: {reason}")]
    #[non_exhaustive]
    Ended {
        /// The reason of the end.
        reason: EndReason,
        /// The last failure, if the session expired or the outcome of its last rotation is unknown.
        source: Option<Arc<Error>>,
    },
    /// There is no pair: the manager has no seed, the store has no pair, and the endpoint cannot sign in.
    #[error("there is no session: seed a first pair, or configure a sign-in")]
    NoSession,
    /// The session has an access token only, and the endpoint cannot sign in.
    #[error("cannot refresh: there is no refresh token, and the endpoint cannot sign in")]
    NotRotatable,
    /// The token endpoint returned no pair.
    #[error("{}", if *is_sign_in { "the sign-in failed" } else { "the token could not be refreshed" })]
    #[non_exhaustive]
    Endpoint {
        /// The error of the endpoint; see also [`Error::endpoint`].
        source: Arc<EndpointError>,
        /// Whether the request was a sign-in, and not the exchange of a refresh token.
        is_sign_in: bool,
        /// The time until the next attempt.
        retry_after: Duration,
    },
    /// The token endpoint refused a sign-in. The manager does not repeat the sign-in without a caller, because servers
    /// lock accounts after several failures.
    #[error(
        "the token endpoint refused the sign-in: check the credentials of the user and of the client"
    )]
    #[non_exhaustive]
    SignInRefused {
        /// The answer of the endpoint; see also [`Error::endpoint`].
        source: Arc<EndpointError>,
        /// The time until a caller may start another attempt.
        retry_after: Duration,
    },
    /// The token endpoint issued a pair without an access token. The manager keeps the pair's refresh token.
    #[error("the token endpoint issued a pair without an access token")]
    #[non_exhaustive]
    NoAccessToken {
        /// The time until the next attempt.
        retry_after: Duration,
    },
    /// A call of the store failed. The session is unchanged.
    #[error("the token store failed")]
    #[non_exhaustive]
    Store {
        /// The error of the store.
        source: StoreError,
        /// The time until the next attempt.
        retry_after: Duration,
    },
    /// Several instances without coordination signed in at the same time, repeatedly. Each time, another instance
    /// stored its pair first, and that pair had ended already. The pair of this instance is revoked.
    #[error(
        "other instances signed in at the same time, repeatedly: try again, or set `coordination` to \"lease\""
    )]
    #[non_exhaustive]
    Collision {
        /// The time until the next attempt.
        retry_after: Duration,
    },
    /// The caller's deadline passed before the call was finished.
    #[error("the call was not finished within the deadline of {} s", seconds(*after))]
    #[non_exhaustive]
    TimedOut {
        /// The deadline.
        after: Duration,
        /// The last failure, if there was one.
        source: Option<Arc<Error>>,
    },
    /// [`try_token`](crate::TokenManager::try_token) found no valid token; a rotation for a new one is under way.
    #[error("the token is not available yet: try again shortly")]
    Pending,
    /// Tokens of this session do not live as long as the caller requires.
    #[error("a token of this session is valid for at most {} s: require less", seconds(*valid_for))]
    #[non_exhaustive]
    ShortLived {
        /// The remaining lifetime of the current token.
        valid_for: Duration,
    },
    /// The supplied pair holds a refresh token that was used before. Sending such a token again could end the
    /// session.
    #[error("the refresh token was used before: supply a pair from a new sign-in")]
    AlreadyUsed,
    /// A [presented](crate::Sessions::present) pair is refused, and nothing of it is sent.
    #[error("the presented pair is refused: {reason}")]
    #[non_exhaustive]
    PairRefused {
        /// Why it is refused.
        reason: PairRefusal,
    },
    /// Too many pairs that no session knows were [presented](crate::Sessions::present) from this address. Each of them may cost a
    /// call of the token endpoint.
    #[error("too many unknown pairs were presented from this address: try again in {} s", seconds(*retry_after))]
    #[non_exhaustive]
    TooManyUnknownPairs {
        /// The time until another one is accepted.
        retry_after: Duration,
    },
    /// A sign-in or a presented pair names a [policy](crate::SessionPolicy) that the builder of the sessions does not have.
    #[error(
        "there is no policy of this name: add it to the builder of the sessions, or correct the name"
    )]
    UnknownPolicy,
    /// The policy of the session does not permit to [pin](crate::Presentation::pin) a pair.
    #[error("the policy of this session does not permit pinned pairs: set `pinned` on its policy")]
    PinNotPermitted,
    /// The store holds another active session under this key, and does not know the seed. The seed may be mistyped,
    /// or belong to another user. The manager uses neither. See [`OnSeedConflict`](crate::OnSeedConflict).
    #[error(
        "another session is stored under this key: give the key a subject or a label, remove the seed, or set `on_conflict` to \"keep\" or \"replace\""
    )]
    SeedConflict,
    /// `blocking_token` was called inside a runtime, and would block the runtime's thread.
    #[error("this call would block a thread of the runtime: await `token()` instead")]
    InsideRuntime,
    /// The access token holds characters that are not allowed in a header.
    #[error("the access token holds characters that are not allowed in a header: check the server")]
    InvalidHeader,
    /// An endpoint, a store or a strategy requested a token from its own manager during a rotation.
    #[error(
        "a rotation waits for itself: an endpoint or store must not request a token from its own manager"
    )]
    Reentrant,
    /// The manager was shut down.
    #[error("the token manager was shut down")]
    ShutDown,
    /// A rotation panicked, which is a bug in this crate. The session is unchanged.
    #[error("the rotation panicked: this is a bug in evertoken, please report it")]
    #[non_exhaustive]
    TaskDied {
        /// The time until the next attempt.
        retry_after: Duration,
    },
    /// The tokio runtime in which the manager was built has shut down. The manager's rotations ran in that runtime.
    #[error(
        "the tokio runtime of this token manager has shut down: build the manager in a runtime that outlives its use"
    )]
    RuntimeGone,
    /// The caller's own request to an API could not be built or sent, or got no answer.
    #[error("the caller's request could not be built or sent, or got no answer")]
    #[non_exhaustive]
    Request {
        /// The error of the HTTP client.
        source: Arc<reqwest::Error>,
    },
    /// A foreign HTTP client would send a token in a custom header to other origins, along with a redirect. Send
    /// through [`TokenManager::client`](crate::TokenManager::client).
    #[error("a token in a custom header requires a client from `TokenManager::client`")]
    ForeignClient,
    /// reqwest was built without TLS, and would send the token to a proxy in the clear. Enable evertoken's feature
    /// `rustls`, or a TLS feature of reqwest.
    #[error(
        "an `https` URL needs TLS, and reqwest was built without it: enable evertoken's feature `rustls`, or a TLS feature \
         of reqwest"
    )]
    NoTls,
}

/// Why a presented pair is refused. The session itself may go on with another pair, also in the same browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PairRefusal {
    /// Another pair replaced it, and its time to be presented is over.
    Retired,
    /// It belongs to another session than the one that it was presented for.
    OfAnotherSession,
}

impl fmt::Display for PairRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Retired => "another pair has replaced it",
            Self::OfAnotherSession => "it belongs to another session",
        })
    }
}

impl Error {
    /// Whether only a new sign-in can help.
    #[must_use]
    pub fn needs_sign_in(&self) -> bool {
        match self {
            Self::Ended { .. }
            | Self::NoSession
            | Self::SignInRefused { .. }
            | Self::PairRefused { .. } => true,
            Self::Endpoint { source, .. } => matches!(**source, EndpointError::UserNeeded { .. }),
            _ => false,
        }
    }

    /// Whether an operator has to change the configuration before any attempt can succeed: the client's credentials,
    /// the token URL, a certificate, the key of the session. A page in place of an answer does not count, although a
    /// wrong URL may return one: a page that [`token`](crate::TokenManager::token) reports at its first call points to
    /// a wrong URL.
    #[must_use]
    pub fn needs_configuration(&self) -> bool {
        match self {
            Self::Endpoint { source, .. } => is_lasting(source),
            Self::TimedOut { source, .. } => {
                source.as_ref().is_some_and(|it| it.needs_configuration())
            }
            Self::SeedConflict
            | Self::InvalidHeader
            | Self::ForeignClient
            | Self::NoTls
            | Self::PinNotPermitted
            | Self::UnknownPolicy => true,
            _ => false,
        }
    }

    /// Whether the same call may succeed later, see [`retry_after`](Self::retry_after).
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Endpoint { source, .. } => !is_lasting(source) && !self.needs_sign_in(),
            Self::NoAccessToken { .. }
            | Self::Store { .. }
            | Self::Collision { .. }
            | Self::TimedOut { .. }
            | Self::Pending
            | Self::TooManyUnknownPairs { .. }
            | Self::TaskDied { .. } => true,
            _ => false,
        }
    }

    /// The error of the token endpoint, if that is the cause; also if a caller's deadline passed after such an error.
    #[must_use]
    pub fn endpoint(&self) -> Option<&EndpointError> {
        match self {
            Self::Endpoint { source, .. } | Self::SignInRefused { source, .. } => Some(source),
            Self::TimedOut { source, .. } => source.as_deref()?.endpoint(),
            _ => None,
        }
    }

    /// The time to wait before another call. Every [retryable](Self::is_retryable) error has one.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Endpoint { retry_after, .. }
            | Self::SignInRefused { retry_after, .. }
            | Self::NoAccessToken { retry_after }
            | Self::Collision { retry_after }
            | Self::TaskDied { retry_after }
            | Self::TooManyUnknownPairs { retry_after }
            | Self::Store { retry_after, .. } => Some(*retry_after),
            // The caller has already waited.
            Self::TimedOut { .. } => Some(Duration::ZERO),
            Self::Pending => Some(PENDING_PAUSE),
            _ => None,
        }
    }

    /// The same error for a later caller, with the time that is left of the pause.
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

    pub(crate) fn refused(reason: PairRefusal) -> Self {
        Self::PairRefused { reason }
    }

    pub(crate) fn ended(reason: EndReason) -> Self {
        let source = None;
        Self::Ended { reason, source }
    }
}

/// Whether every further request would fail in the same way.
fn is_lasting(error: &EndpointError) -> bool {
    matches!(
        error,
        EndpointError::Refused { .. }
            | EndpointError::NotSent {
                is_lasting: true,
                ..
            }
    )
}

impl From<reqwest::Error> for Error {
    fn from(source: reqwest::Error) -> Self {
        let source = Arc::new(source);
        Self::Request { source }
    }
}

/// Prints an error and its causes in one line.
pub(crate) struct Causes<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut sources = std::iter::successors(self.0.source(), |error| error.source());
        sources.try_for_each(|error| write!(f, ": {error}"))
    }
}

/// A duration in seconds, of which as many digits are printed as the milliseconds need.
fn seconds(span: Duration) -> f64 {
    Duration::from_millis(whole_millis(span)).as_secs_f64()
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
            Error::TooManyUnknownPairs { retry_after },
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

    /// The hot path returns a header or an error. A result that is as large as a header is not copied to
    /// distinguish the two.
    #[test]
    fn a_result_of_a_header_is_as_large_as_a_header() {
        assert_eq!(
            size_of::<Result<HeaderValue, Error>>(),
            size_of::<HeaderValue>()
        );
    }
}
