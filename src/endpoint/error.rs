//! Why an exchange failed.

use std::error::Error as StdError;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::quote::{Quote, with_quote};

type Source = Arc<dyn StdError + Send + Sync>;

/// The reason why an exchange brought no pair, classed by what that means for the refresh token.
///
/// Only an explicit statement of the server counts as its word, because gateways and proxies answer as well. The
/// [`quote`](Self::quote) holds what the answer said.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The request was not sent. The token is unspent, and the next attempt may send it.
    #[error("the request to the token endpoint was not sent")]
    #[non_exhaustive]
    NotSent {
        /// The reason why the request was not sent.
        source: Source,
        /// Whether the failure lasts until an operator fixes its cause: a certificate that is not trusted, or that names
        /// another host.
        is_lasting: bool,
    },
    /// The server did nothing and asks to be called later. The token is unspent.
    #[error("{}", with_quote("the token endpoint asks to be called later", quote))]
    #[non_exhaustive]
    Later {
        /// What the server said, and the wait that it asks for.
        quote: Box<Quote>,
    },
    /// The server does not accept this token: the token is dead, as far as this instance knows. At a sign-in, the server
    /// does not accept the credentials.
    #[error("{}", with_quote("the token endpoint rejected the grant", quote))]
    #[non_exhaustive]
    Rejected {
        /// What the server said; the code is mostly `invalid_grant`.
        quote: Box<Quote>,
    },
    /// The server asks for the user: to sign in, to consent, to choose (OpenID Connect Core section 3.1.2.6). The token
    /// is unspent.
    #[error(
        "{}",
        with_quote("the token endpoint requires the user to sign in or to consent", quote)
    )]
    #[non_exhaustive]
    UserNeeded {
        /// What the server said.
        quote: Box<Quote>,
    },
    /// The server explicitly refuses this client (RFC 6749 section 5.2). The token is unspent. The session goes on for
    /// other instances, whose configuration may be right.
    #[error("{}", with_quote("the token endpoint refuses this client", quote))]
    #[non_exhaustive]
    Refused {
        /// What the server said.
        quote: Box<Quote>,
    },
    /// A redirect, or an error without an error code of the server. Most probably a proxy or a gateway answered, and the
    /// token is unspent. If this client has never got a pair from this URL, the URL is probably wrong.
    #[error("{}", with_quote("the token endpoint answered with a page", quote))]
    #[non_exhaustive]
    Page {
        /// The status, and the first words of the page.
        quote: Box<Quote>,
    },
    /// A gateway does not reach the server, or the server is not up: 502, 503, 504 or 408. The token is probably unspent.
    #[error("{}", with_quote("the token endpoint is not available", quote))]
    #[non_exhaustive]
    Unavailable {
        /// The status, the wait that the answer asks for, and what else it said.
        quote: Box<Quote>,
    },
    /// The server may have acted on the request or not. The refresh token, if the request held one, may be spent.
    #[error("it is unknown whether the token endpoint acted on the request")]
    #[non_exhaustive]
    Unknown {
        /// What happened in place of a clear answer.
        source: Source,
        /// What an answer said, if there was an answer.
        quote: Box<Quote>,
    },
}

impl EndpointError {
    /// Makes a [`NotSent`](Self::NotSent).
    pub fn not_sent(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let (source, is_lasting) = (source.into().into(), false);
        Self::NotSent { source, is_lasting }
    }

    /// Makes a [`Later`](Self::Later).
    #[must_use]
    pub fn later(after: Option<Duration>) -> Self {
        let mut quote = Box::<Quote>::default();
        quote.retry_after = after;
        Self::Later { quote }
    }

    /// Makes a [`Rejected`](Self::Rejected).
    pub fn rejected(code: impl Into<String>) -> Self {
        let quote = Box::new(Quote::code(code));
        Self::Rejected { quote }
    }

    /// Makes a [`UserNeeded`](Self::UserNeeded).
    pub fn user_needed(code: impl Into<String>) -> Self {
        let quote = Box::new(Quote::code(code));
        Self::UserNeeded { quote }
    }

    /// Makes a [`Refused`](Self::Refused).
    pub fn refused(code: impl Into<String>) -> Self {
        let quote = Box::new(Quote::code(code));
        Self::Refused { quote }
    }

    /// Makes a [`Page`](Self::Page).
    #[must_use]
    pub fn page(status: u16) -> Self {
        let quote = Box::new(Quote::status(status));
        Self::Page { quote }
    }

    /// Makes a [`Unavailable`](Self::Unavailable).
    #[must_use]
    pub fn unavailable(status: u16, after: Option<Duration>) -> Self {
        let mut quote = Box::new(Quote::status(status));
        quote.retry_after = after;
        Self::Unavailable { quote }
    }

    /// Makes a [`Unknown`](Self::Unknown).
    pub fn unknown(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into().into();
        let quote = Box::default();
        Self::Unknown { source, quote }
    }

    /// Adds the server's description of the error. The text must hold no secret.
    #[must_use]
    pub fn with_description(self, text: Option<String>) -> Self {
        let mut quote = self.quote().cloned().unwrap_or_default();
        quote.description = text;
        self.with_quote(quote)
    }

    /// Replaces the quote. A [`NotSent`](Self::NotSent) has no quote and stays unchanged.
    #[must_use]
    pub(crate) fn with_quote(mut self, new: Quote) -> Self {
        match &mut self {
            Self::NotSent { .. } => {}
            Self::Later { quote }
            | Self::Rejected { quote }
            | Self::UserNeeded { quote }
            | Self::Refused { quote }
            | Self::Page { quote }
            | Self::Unavailable { quote }
            | Self::Unknown { quote, .. } => **quote = new,
        }
        self
    }

    /// The quote from the answer; `None` if there was no answer.
    #[must_use]
    pub fn quote(&self) -> Option<&Quote> {
        let quote: &Quote = match self {
            Self::NotSent { .. } => return None,
            Self::Later { quote }
            | Self::Rejected { quote }
            | Self::UserNeeded { quote }
            | Self::Refused { quote }
            | Self::Page { quote }
            | Self::Unavailable { quote }
            | Self::Unknown { quote, .. } => quote,
        };
        (*quote != Quote::default()).then_some(quote)
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.quote()?.status
    }

    /// The server's error code.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.quote()?.code.as_deref()
    }

    /// The server's description of the error.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.quote()?.description.as_deref()
    }

    /// Whether the error leaves open if the token is spent.
    #[must_use]
    pub fn is_unclear(&self) -> bool {
        matches!(
            self,
            Self::Page { .. } | Self::Unavailable { .. } | Self::Unknown { .. }
        )
    }

    /// The wait that the server, or a gateway in front of it, asks for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.quote()?.retry_after
    }

    /// The refusal of an endpoint that sent nothing: a code and a sentence.
    pub(crate) fn refused_here(code: &str, why: &str) -> Self {
        Self::refused(code).with_description(Some(why.to_owned()))
    }

    /// The refusal of a sign-in without credentials.
    pub(crate) fn no_credentials() -> Self {
        let why = "this endpoint has no credentials to sign in with";
        Self::refused_here("unsupported", why)
    }

    /// The error of a request that is known not to have left, whatever error reqwest reports.
    pub(crate) fn unsent(error: reqwest::Error) -> Self {
        // A URL may hold credentials.
        let error = error.without_url();
        let is_lasting = error.is_builder() || is_about_a_certificate(&error);
        let source = Arc::new(error);
        Self::NotSent { source, is_lasting }
    }

    /// Classes an answer by its status alone; `None` if the status proves nothing.
    ///
    /// A 429 reports a limit of requests, and a 425 a server that does not act on a request that may be a replay (RFC
    /// 8470 section 5.2): the server did nothing, whatever else the answer says. A 502, 503 or 504 comes from a gateway
    /// that did not reach the server, or from a server that is not up; a 408 comes from a gateway that did not get the
    /// whole request, or that waited for the server in vain.
    pub(super) fn by_status(status: StatusCode) -> Option<Self> {
        match status.as_u16() {
            425 | 429 => Some(Self::later(None)),
            status @ (408 | 502..=504) => Some(Self::unavailable(status, None)),
            status @ 300..=499 => Some(Self::page(status)),
            _ => None,
        }
    }

    /// Classes an error of reqwest. A failed connection attempt, and a request that could not be built, are
    /// [`NotSent`](Self::NotSent). An error of `error_for_status` is classed by its status. Every other error is
    /// [`Unknown`](Self::Unknown), because the request may have arrived.
    #[must_use]
    pub fn from_reqwest(error: reqwest::Error) -> Self {
        // An error of `error_for_status`: the answer arrived, and its body was not read.
        if let Some(status) = error.status() {
            let known = Self::by_status(status);
            let error = known.unwrap_or_else(|| Self::unknown(error.without_url()));
            return error.with_quote(Quote::status(status.as_u16()));
        }
        if error.is_connect() || error.is_builder() {
            Self::unsent(error)
        } else {
            Self::unknown(error.without_url())
        }
    }
}

/// Whether TLS refused the certificate of the server. The user chooses the TLS library, so the type of its error is
/// unknown here; the text has to do.
fn is_about_a_certificate(error: &(dyn StdError + 'static)) -> bool {
    iter::successors(Some(error), |error| StdError::source(*error)).any(|error| {
        let text = error.to_string().to_ascii_lowercase();
        // A wrong clock or a late renewal ends without an operator.
        let passes = ["expired", "not valid yet", "not yet valid"];
        text.contains("certificate") && !passes.iter().any(|it| text.contains(it))
    })
}
