use std::time::Duration;

use serde::Deserialize;

/// What becomes of the old pair when a new one is issued.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OldPair {
    /// The old access token lives to its own expiry.
    #[default]
    AccessLivesOn,
    /// The old access token dies at the rotation (django-oauth-toolkit, Canaille): requests wait
    /// for a rotation that is under way instead of going on with it.
    AccessDiesAtRotation,
    /// The old pair dies at the first *use* of the new one (Doorkeeper, Synapse): the new pair is
    /// stored before anybody may use it.
    DiesAtFirstUse,
}

/// What is known of an authorization server. Safe defaults: the strictest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerProfile {
    /// For how long after its first use the server answers the same refresh token again. Zero, the
    /// default: never. A value other than zero must not be shorter than the endpoint's timeout.
    pub replay_window: Duration,
    /// How often a token may be replayed inside the window. Default: 1.
    pub replays: u32,
    /// Whether a token that may be spent is tried once more after the quarantine, when nobody has
    /// landed a newer pair and the session would otherwise be lost. Default: yes.
    pub last_resort: bool,
    /// How often that is tried, with the quarantine doubling in between. Default: 3.
    pub last_resorts: u32,
    /// What becomes of the old pair when a new one is issued.
    pub old_pair: OldPair,
}

impl ServerProfile {
    /// Single-use refresh tokens, and a replay revokes the whole family (RFC 9700 section 4.14.2).
    #[must_use]
    pub const fn strict() -> Self {
        Self {
            replay_window: Duration::ZERO,
            replays: 1,
            last_resort: true,
            last_resorts: 3,
            old_pair: OldPair::AccessLivesOn,
        }
    }

    /// For how long after its first use the server answers the same refresh token again.
    #[must_use]
    pub const fn replay_window(mut self, window: Duration) -> Self {
        self.replay_window = window;
        self
    }

    /// How often a token may be replayed inside the window.
    #[must_use]
    pub const fn replays(mut self, times: u32) -> Self {
        self.replays = times;
        self
    }

    /// Whether a token that may be spent is tried once more rather than given up.
    #[must_use]
    pub const fn last_resort(mut self, allowed: bool) -> Self {
        self.last_resort = allowed;
        self
    }

    /// How often that is tried; 1 at least.
    #[must_use]
    pub const fn last_resorts(mut self, times: u32) -> Self {
        self.last_resorts = times;
        self
    }

    /// What becomes of the old pair when a new one is issued.
    #[must_use]
    pub const fn old_pair(mut self, fate: OldPair) -> Self {
        self.old_pair = fate;
        self
    }
}

impl Default for ServerProfile {
    fn default() -> Self {
        Self::strict()
    }
}
