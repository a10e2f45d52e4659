//! Why an import stops by itself, and what a human has to do then.

use serde::Serialize;

/// Why an import stops by itself. No record failed for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Stopped {
    pub(crate) kind: Kind,
    /// In the words of the server, where they are known.
    pub(crate) reason: String,
    /// What a human has to do.
    #[serde(skip)]
    pub(crate) remedy: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Only a new sign-in helps.
    SessionEnded,
    /// A setting has to be mended, here or at the server.
    Configuration,
    /// The API was not available for as long as a batch waits.
    ApiUnavailable,
}

impl Kind {
    /// In the table.
    pub(crate) fn verdict(self) -> &'static str {
        match self {
            Self::SessionEnded => "session ended",
            Self::Configuration => "misconfigured",
            Self::ApiUnavailable => "API unavailable",
        }
    }
}
