use std::error::Error as StdError;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

type Source = Arc<dyn StdError + Send + Sync>;

/// Why an exchange brought no pair, classed by what that means for the refresh token. Only what the server says in so
/// many words counts as its word: whatever stands between it and its client answers too.
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
    #[error("the token endpoint asks to be called later")]
    #[non_exhaustive]
    Later {
        /// How much later, where it said so.
        after: Option<Duration>,
    },
    /// The server does not accept this token: it is dead, as far as this copy of it knows.
    #[error("the refresh token was rejected: {}", said(code, description.as_deref()))]
    #[non_exhaustive]
    Rejected {
        /// The server's error code, `invalid_grant` mostly.
        code: String,
        /// What it said besides, without secrets.
        description: Option<String>,
    },
    /// The server wants the user: to sign in, to consent, to choose (OpenID Connect Core section 3.1.2.6). The token is
    /// unspent.
    #[error("the token endpoint asks for the user: {code}")]
    #[non_exhaustive]
    UserNeeded {
        /// The server's error code.
        code: String,
    },
    /// The server refuses this client, in its own words (RFC 6749 section 5.2). The token is unspent, and the session is
    /// not ended for other instances, whose configuration may be right.
    #[error("the token endpoint refuses this client: {}", said(code, description.as_deref()))]
    #[non_exhaustive]
    Refused {
        /// The server's error code, or what stands in its place.
        code: String,
        /// What it said besides, without secrets.
        description: Option<String>,
    },
    /// A redirect, or an error without an error code of the server's: a page of something in between, most probably, and the
    /// token is most probably unspent. Where this client has never got a pair there, the URL is probably wrong.
    #[error("the token endpoint answered with a page: {}", shown(*status, content_type.as_deref(), start.as_deref()))]
    #[non_exhaustive]
    Page {
        /// The HTTP status.
        status: u16,
        /// What the answer says that it is.
        content_type: Option<String>,
        /// Its first words, without secrets.
        start: Option<String>,
    },
    /// A gateway does not get at the server, or the server is not up: 502, 503, 504 or 408. The token is probably
    /// unspent.
    #[error("the token endpoint is not available: it answered {status}")]
    #[non_exhaustive]
    Unavailable {
        /// The HTTP status.
        status: u16,
        /// When to ask again, where the answer said so.
        after: Option<Duration>,
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
        Self::NotSent {
            source,
            is_lasting: false,
        }
    }

    /// See [`Later`](Self::Later).
    #[must_use]
    pub fn later(after: Option<Duration>) -> Self {
        Self::Later { after }
    }

    /// See [`Rejected`](Self::Rejected).
    pub fn rejected(code: impl Into<String>) -> Self {
        Self::Rejected {
            code: code.into(),
            description: None,
        }
    }

    /// See [`UserNeeded`](Self::UserNeeded).
    pub fn user_needed(code: impl Into<String>) -> Self {
        Self::UserNeeded { code: code.into() }
    }

    /// See [`Refused`](Self::Refused).
    pub fn refused(code: impl Into<String>) -> Self {
        Self::Refused {
            code: code.into(),
            description: None,
        }
    }

    /// See [`Page`](Self::Page). `start` holds no secret.
    #[must_use]
    pub fn page(status: u16, content_type: Option<String>, start: Option<String>) -> Self {
        Self::Page {
            status,
            content_type,
            start,
        }
    }

    /// See [`Unavailable`](Self::Unavailable).
    #[must_use]
    pub fn unavailable(status: u16, after: Option<Duration>) -> Self {
        Self::Unavailable { status, after }
    }

    /// Adds what the server said besides the code of a [`Rejected`](Self::Rejected) or [`Refused`](Self::Refused),
    /// without secrets; other errors stay as they are.
    #[must_use]
    pub fn with_description(mut self, text: Option<String>) -> Self {
        if let Self::Rejected { description, .. } | Self::Refused { description, .. } = &mut self {
            *description = text;
        }
        self
    }

    /// See [`Unknown`](Self::Unknown).
    pub fn unknown(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into().into();
        Self::Unknown { source }
    }

    /// Whether it says nothing sure of the token, which may be spent.
    #[must_use]
    pub fn is_unclear(&self) -> bool {
        matches!(
            self,
            Self::Page { .. } | Self::Unavailable { .. } | Self::Unknown { .. }
        )
    }

    /// How much later the server, or what stands before it, wants to be asked again.
    pub(crate) fn asked_pause(&self) -> Duration {
        match self {
            Self::Later { after } | Self::Unavailable { after, .. } => after.unwrap_or_default(),
            _ => Duration::ZERO,
        }
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
                425 | 429 => Self::later(None),
                status @ (408 | 502..=504) => Self::unavailable(status, None),
                status @ 300..=499 => Self::page(status, None, None),
                _ => Self::unknown(error.without_url()),
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

fn said(code: &str, description: Option<&str>) -> String {
    description.map_or_else(
        || code.to_owned(),
        |description| format!("{code}: {description}"),
    )
}

fn shown(status: u16, content_type: Option<&str>, start: Option<&str>) -> String {
    let mut shown = status.to_string();
    // Writing to a string does not fail.
    if let Some(content_type) = content_type {
        let _ = write!(shown, ", {content_type}");
    }
    if let Some(start) = start {
        let _ = write!(shown, ", \"{start}\"");
    }
    shown
}
