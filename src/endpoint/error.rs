use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

type Source = Arc<dyn StdError + Send + Sync>;

/// Why an exchange brought no pair, classed by what that means for the refresh token.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The request was not sent: the token is unspent, and the next attempt may send it.
    #[error("the token endpoint was not reached")]
    #[non_exhaustive]
    NotSent {
        /// What went wrong on the way.
        source: Source,
    },
    /// The server answered that it did nothing and is to be asked later: the token is unspent.
    #[error("the token endpoint asks to be called later")]
    #[non_exhaustive]
    Retry {
        /// How much later, where it said so.
        after: Option<Duration>,
    },
    /// The server refused for a reason that lies in the configuration. No pair was issued. A human
    /// has to act; the session is not ended for other instances, whose configuration may be right.
    #[error("the token endpoint refuses this client: {reason}")]
    #[non_exhaustive]
    Misconfigured {
        /// As the server or the endpoint put it, without secrets.
        reason: String,
    },
    /// The server does not accept this token: it is dead, as far as this copy of it knows.
    #[error("the refresh token was rejected: {code}{}", said(message.as_deref()))]
    #[non_exhaustive]
    Rejected {
        /// The server's error code, `invalid_grant` mostly.
        code: String,
        /// What it said besides, without secrets.
        message: Option<String>,
    },
    /// It is not known whether the server consumed the token: it may be spent.
    #[error("it is unknown whether the token endpoint consumed the refresh token")]
    #[non_exhaustive]
    Unknown {
        /// What was seen instead of an answer.
        source: Source,
    },
}

impl EndpointError {
    /// See [`NotSent`](Self::NotSent).
    pub fn not_sent(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into().into();
        Self::NotSent { source }
    }

    /// See [`Retry`](Self::Retry).
    #[must_use]
    pub fn retry(after: Option<Duration>) -> Self {
        Self::Retry { after }
    }

    /// See [`Misconfigured`](Self::Misconfigured).
    pub fn misconfigured(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Misconfigured { reason }
    }

    /// See [`Rejected`](Self::Rejected).
    pub fn rejected(code: impl Into<String>) -> Self {
        Self::Rejected {
            code: code.into(),
            message: None,
        }
    }

    /// Adds what the server said besides the code of a [`Rejected`](Self::Rejected), without secrets;
    /// other errors stay as they are.
    #[must_use]
    pub fn with_message(mut self, text: Option<String>) -> Self {
        if let Self::Rejected { message, .. } = &mut self {
            *message = text;
        }
        self
    }

    /// See [`Unknown`](Self::Unknown).
    pub fn unknown(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into().into();
        Self::Unknown { source }
    }

    /// Classes an error of reqwest: only a failed connection attempt, or a request that could not
    /// be built, is [`NotSent`](Self::NotSent); everything else is [`Unknown`](Self::Unknown),
    /// because the request may have arrived.
    #[must_use]
    pub fn from_reqwest(error: reqwest::Error) -> Self {
        // A URL may hold credentials.
        let error = error.without_url();
        if error.is_connect() || error.is_builder() {
            Self::not_sent(error)
        } else {
            Self::unknown(error)
        }
    }
}

fn said(message: Option<&str>) -> String {
    message.map_or_else(String::new, |message| format!(": {message}"))
}
