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

/// Whether a refresh token is sent again after an unclear answer, one that does not say whether the server
/// consumed it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Resend {
    /// After every unclear answer, with pauses in between, for as long as the refresh token may be alive. A strict server
    /// that did consume the token revokes the session then, which was lost already.
    #[default]
    Always,
    /// After a page that is not the server's word, and after a gateway's 502, 503, 504 or 408; not after silence, where the
    /// token may well be spent. For servers on which a second use costs more than the session: Okapi revokes every
    /// session of the user.
    WhenUnavailable,
    /// Never. An unclear answer ends the session once its access token has expired, unless the endpoint can sign in.
    Never,
}

/// How soon a refresh token is sent again after silence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ResendAfterSilence {
    /// After the usual pause: servers with a grace window answer it again within that.
    #[default]
    Soon,
    /// after the lease has expired. For servers on which the last of several answers counts (Synapse): a request that the server
    /// handles late would kill the pair of the second sending.
    LeaseDuration,
}

/// What is known of an authorization server. The defaults suit the strictest one: single-use refresh tokens, and a
/// second use revokes the whole family (RFC 9700 section 4.14.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerProfile {
    /// Whether a token is sent again after an unclear answer. Default: always.
    pub resend: Resend,
    /// How soon that is done after silence, and after a 504. Default: soon.
    pub resend_after_silence: ResendAfterSilence,
    /// What becomes of the old pair when a new one is issued.
    pub old_pair: OldPair,
}

impl ServerProfile {
    /// The defaults.
    #[must_use]
    pub const fn strict() -> Self {
        Self {
            resend: Resend::Always,
            resend_after_silence: ResendAfterSilence::Soon,
            old_pair: OldPair::AccessLivesOn,
        }
    }

    /// Whether a token is sent again after an unclear answer.
    #[must_use]
    pub const fn resend(mut self, resend: Resend) -> Self {
        self.resend = resend;
        self
    }

    /// How soon a token is sent again after silence.
    #[must_use]
    pub const fn resend_after_silence(mut self, pace: ResendAfterSilence) -> Self {
        self.resend_after_silence = pace;
        self
    }

    /// What becomes of the old pair when a new one is issued.
    #[must_use]
    pub const fn old_pair(mut self, fate: OldPair) -> Self {
        self.old_pair = fate;
        self
    }
}
