//! Why a session ended, in words for users, and the server's own words. Neither contains a token.

use std::fmt;
use std::sync::Arc;

/// The reason why a session ended. An ended session cannot be prolonged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// Both tokens have expired.
    Expired,
    /// The server rejected the refresh token: it was used before, revoked, or has expired.
    Rejected(ServerWord),
    /// The answer to a refresh request was lost or unclear. The refresh token may be spent, and the server's profile
    /// does not permit sending the token again.
    OutcomeUnknown,
    /// The user logged out.
    LoggedOut,
    /// No request came within the lifetime of the access token, and the strategy ends such sessions.
    Idle,
}

impl EndReason {
    /// Whether the server rejected the refresh token.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        matches!(self, Self::Rejected(_))
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("both tokens have expired"),
            Self::Rejected(word) => write!(f, "the server rejected the refresh token{word}"),
            Self::OutcomeUnknown => f.write_str("the answer to the last refresh request was lost or unclear, so the refresh token may be spent"),
            Self::LoggedOut => f.write_str("the user logged out"),
            Self::Idle => f.write_str("no request came while the access token was valid"),
        }
    }
}

/// The words of the server when it rejected a token: without secrets, and each part at most 256 bytes long.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ServerWord(Option<Arc<Words>>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Words {
    code: String,
    description: Option<String>,
}

/// The longest part that is kept, in bytes.
const LIMIT: usize = 256;

impl ServerWord {
    pub(crate) fn new(code: Option<&str>, description: Option<&str>) -> Self {
        Self(code.map(|code| {
            Arc::new(Words {
                code: cut(code).to_owned(),
                description: description.map(|text| cut(text).to_owned()),
            })
        }))
    }

    /// The server's error code, mostly `invalid_grant`; `None` if an earlier version of this crate stored the end.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.0.as_ref().map(|words| words.code.as_str())
    }

    /// The server's description of the error; `None` if the answer had none.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.0.as_ref()?.description.as_deref()
    }
}

/// Shows the words as they follow a sentence: ": invalid_grant: used before".
impl fmt::Display for ServerWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.code().into_iter().chain(self.description()) {
            write!(f, ": {part}")?;
        }
        Ok(())
    }
}

/// The beginning of `text`, cut at a character boundary.
pub(crate) fn cut(text: &str) -> &str {
    let mut end = text.len().min(LIMIT);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    &text[..end]
}
