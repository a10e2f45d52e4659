use std::fmt;

/// Why a session cannot be prolonged any more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// Both tokens have expired.
    Expired,
    /// The server does not accept the refresh token: used before, revoked or expired.
    Rejected,
    /// An exchange was sent and its answer never read; the token may be spent, and the server's
    /// profile does not permit to send it again.
    OutcomeUnknown,
    /// The user logged out.
    LoggedOut,
    /// No request came within the access token's lifetime, and the strategy ends such sessions.
    Idle,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "it expired",
            Self::Rejected => "the server rejected its refresh token",
            Self::OutcomeUnknown => "the outcome of its last rotation is unknown",
            Self::LoggedOut => "the user logged out",
            Self::Idle => "it was idle for too long",
        })
    }
}
