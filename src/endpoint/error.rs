use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::quote::{Quote, with_quote};

type Source = Arc<dyn StdError + Send + Sync>;

/// Why an exchange brought no pair, classed by what that means for the refresh token. Only what the server says in so
/// many words counts as its word: whatever stands between it and its client answers too.
///
/// What the answer said is in its [`quote`](Self::quote).
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The request was not sent: the token is unspent, and the next attempt may send it.
    #[error("the token endpoint was not reached")]
    #[non_exhaustive]
    NotSent {
        /// What went wrong on the way.
        source: Source,
        /// Whether it goes wrong until a human has mended something: a certificate that is not trusted, or that names
        /// another host.
        is_lasting: bool,
    },
    /// The server answered that it did nothing and is to be asked later: the token is unspent.
    #[error("{}", with_quote("the token endpoint asks to be called later", quote))]
    #[non_exhaustive]
    Later {
        /// What it said, and how much later, where it said so.
        quote: Box<Quote>,
    },
    /// The server does not accept this token: it is dead, as far as this copy of it knows. At a sign-in, the server does
    /// not accept the credentials.
    #[error("{}", with_quote("the token endpoint rejected the grant", quote))]
    #[non_exhaustive]
    Rejected {
        /// What it said; the code is `invalid_grant` mostly.
        quote: Box<Quote>,
    },
    /// The server wants the user: to sign in, to consent, to choose (OpenID Connect Core section 3.1.2.6). The token is
    /// unspent.
    #[error("{}", with_quote("the token endpoint asks for the user", quote))]
    #[non_exhaustive]
    UserNeeded {
        /// What it said.
        quote: Box<Quote>,
    },
    /// The server refuses this client, in its own words (RFC 6749 section 5.2). The token is unspent, and the session is
    /// not ended for other instances, whose configuration may be right.
    #[error("{}", with_quote("the token endpoint refuses this client", quote))]
    #[non_exhaustive]
    Refused {
        /// What it said.
        quote: Box<Quote>,
    },
    /// A redirect, or an error without an error code of the server's: a page of something in between, most probably, and the
    /// token is most probably unspent. Where this client has never got a pair there, the URL is probably wrong.
    #[error("{}", with_quote("the token endpoint answered with a page", quote))]
    #[non_exhaustive]
    Page {
        /// The status, and the first words.
        quote: Box<Quote>,
    },
    /// A gateway does not get at the server, or the server is not up: 502, 503, 504 or 408. The token is probably
    /// unspent.
    #[error("{}", with_quote("the token endpoint is not available", quote))]
    #[non_exhaustive]
    Unavailable {
        /// The status, when to ask again, where the answer said so, and what came with it.
        quote: Box<Quote>,
    },
    /// It is not known whether the server acted on the request: the refresh token, if one was sent, may be spent.
    #[error("it is unknown whether the token endpoint acted on the request")]
    #[non_exhaustive]
    Unknown {
        /// What was seen instead of a clear answer.
        source: Source,
        /// What an answer said, if there was one.
        quote: Box<Quote>,
    },
}

impl EndpointError {
    /// See [`NotSent`](Self::NotSent).
    pub fn not_sent(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into().into();
        Self::NotSent {
            source,
            is_lasting: false,
        }
    }

    /// See [`Later`](Self::Later).
    #[must_use]
    pub fn later(after: Option<Duration>) -> Self {
        let quote = Box::new(Quote {
            retry_after: after,
            ..Quote::default()
        });
        Self::Later { quote }
    }

    /// See [`Rejected`](Self::Rejected).
    pub fn rejected(code: impl Into<String>) -> Self {
        let quote = Box::new(Quote::code(code));
        Self::Rejected { quote }
    }

    /// See [`UserNeeded`](Self::UserNeeded).
    pub fn user_needed(code: impl Into<String>) -> Self {
        let quote = Box::new(Quote::code(code));
        Self::UserNeeded { quote }
    }

    /// See [`Refused`](Self::Refused).
    pub fn refused(code: impl Into<String>) -> Self {
        let quote = Box::new(Quote::code(code));
        Self::Refused { quote }
    }

    /// See [`Page`](Self::Page).
    #[must_use]
    pub fn page(status: u16) -> Self {
        let quote = Box::new(Quote::status(status));
        Self::Page { quote }
    }

    /// See [`Unavailable`](Self::Unavailable).
    #[must_use]
    pub fn unavailable(status: u16, after: Option<Duration>) -> Self {
        let quote = Box::new(Quote {
            retry_after: after,
            ..Quote::status(status)
        });
        Self::Unavailable { quote }
    }

    /// See [`Unknown`](Self::Unknown).
    pub fn unknown(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into().into();
        let quote = Box::default();
        Self::Unknown { source, quote }
    }

    /// Adds what the server said besides its code or the status, without secrets.
    #[must_use]
    pub fn with_description(mut self, text: Option<String>) -> Self {
        if let Some(quote) = self.quote_mut() {
            quote.description = text;
        }
        self
    }

    /// Puts all of it in the place of what is quoted; a [`NotSent`](Self::NotSent) stays as it is.
    #[must_use]
    pub(crate) fn with_quote(mut self, new: Quote) -> Self {
        if let Some(quote) = self.quote_mut() {
            *quote = new;
        }
        self
    }

    /// Adds the HTTP status to what is quoted.
    #[must_use]
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        if let Some(quote) = self.quote_mut() {
            quote.status = Some(status.as_u16());
        }
        self
    }

    fn quote_mut(&mut self) -> Option<&mut Quote> {
        match self {
            Self::NotSent { .. } => None,
            Self::Later { quote }
            | Self::Rejected { quote }
            | Self::UserNeeded { quote }
            | Self::Refused { quote }
            | Self::Page { quote }
            | Self::Unavailable { quote }
            | Self::Unknown { quote, .. } => Some(quote),
        }
    }

    /// What is quoted of the answer; `None` if there was none.
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

    /// The HTTP status of the answer, where there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.quote()?.status
    }

    /// The server's error code, where it gave one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.quote()?.code.as_deref()
    }

    /// What the server said besides.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.quote()?.description.as_deref()
    }

    /// Whether it says nothing sure of the token, which may be spent.
    #[must_use]
    pub fn is_unclear(&self) -> bool {
        matches!(
            self,
            Self::Page { .. } | Self::Unavailable { .. } | Self::Unknown { .. }
        )
    }

    /// How much later the server, or what stands before it, wants to be asked again, where it said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.quote()?.retry_after
    }

    /// What an endpoint refuses by itself, in a word and in a sentence. Nothing was sent.
    pub(crate) fn refused_here(code: &str, why: &str) -> Self {
        Self::refused(code).with_description(Some(why.to_owned()))
    }

    /// A request that is known not to have left, whatever reqwest makes of it.
    pub(crate) fn unsent(error: reqwest::Error) -> Self {
        // A URL may hold credentials.
        let error = error.without_url();
        let is_lasting = error.is_builder() || is_about_a_certificate(&error);
        let source = Arc::new(error);
        Self::NotSent { source, is_lasting }
    }

    /// Classes an error of reqwest: only a failed connection attempt, or a request that could not
    /// be built, is [`NotSent`](Self::NotSent); everything else is [`Unknown`](Self::Unknown),
    /// because the request may have arrived.
    #[must_use]
    pub fn from_reqwest(error: reqwest::Error) -> Self {
        // Of `error_for_status`: the answer came, and its body was not read.
        if let Some(status) = error.status() {
            return match status.as_u16() {
                status @ (425 | 429) => Self::later(None).with_quote(Quote::status(status)),
                status @ (408 | 502..=504) => Self::unavailable(status, None),
                status @ 300..=499 => Self::page(status),
                status => Self::unknown(error.without_url()).with_quote(Quote::status(status)),
            };
        }
        if error.is_connect() || error.is_builder() {
            Self::unsent(error)
        } else {
            Self::unknown(error.without_url())
        }
    }
}

/// Whether a server was met and its certificate refused. The TLS library is the user's choice, so its type is not
/// known here, and its words have to do.
fn is_about_a_certificate(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string().to_ascii_lowercase();
        // A clock that is set late, or a renewal that comes late, passes by itself.
        let passes = ["expired", "not valid yet", "not yet valid"];
        if text.contains("certificate") && !passes.iter().any(|it| text.contains(it)) {
            return true;
        }
        next = error.source();
    }
    false
}
