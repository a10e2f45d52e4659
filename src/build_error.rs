//! The error of everything that is built before it is used: managers, endpoints and origins. It stands before all of them,
//! because each of them may be refused.

use std::sync::Arc;

/// The reason why a manager or an endpoint could not be built. Nothing was started.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A value is out of its range.
    #[error("`{name}`: {problem}")]
    #[non_exhaustive]
    Invalid {
        /// The setting.
        name: &'static str,
        /// The problem of the value, and what is allowed.
        problem: String,
    },
    /// `build()` was called outside a tokio runtime.
    #[error(
        "there is no tokio runtime: build the token manager inside one, which runs its rotations"
    )]
    NoRuntime,
    /// The tokio runtime has no timer: neither `enable_time` nor `enable_all` was called on its builder.
    #[error("the tokio runtime has no timer: call `enable_all` on the runtime's builder")]
    NoTimer,
    /// The tokio runtime's time is paused, as in a test with `start_paused`, but the manager uses the system's clock, on
    /// which its tokens would not expire. Give the manager a test clock.
    #[error(
        "the runtime's time is paused, but the manager uses the system's clock: give the manager a test clock with `.clock(..)`"
    )]
    PausedTime,
    /// Code of an endpoint or a clock panicked.
    #[error("`{name}` panicked: read the panic's message, and fix that method")]
    #[non_exhaustive]
    Panicked {
        /// The trait and the method.
        name: &'static str,
    },
    /// An HTTP client could not be built: the token endpoint's, or that of
    /// [`TokenManager::client`](crate::TokenManager::client).
    #[error(
        "the HTTP client could not be built: check the settings of its builder and the CA certificates of the system"
    )]
    #[non_exhaustive]
    Client {
        /// The error of the HTTP client.
        source: Arc<reqwest::Error>,
    },
    /// The URL of an endpoint, or an origin, is an `https` one, and reqwest was built without TLS. It would send the token to a proxy in the
    /// clear. evertoken's feature `rustls` (on by default) enables TLS, and so does a TLS feature of reqwest.
    #[error(
        "an `https` URL needs TLS, and reqwest was built without it: enable evertoken's feature `rustls`, or a TLS feature of \
         reqwest"
    )]
    NoTls,
    /// The operating system's random source failed.
    #[error("the operating system's random source failed: check the sandbox of this process")]
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
