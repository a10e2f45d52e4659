use serde::Deserialize;

/// The fate of the old pair when the server issues a new pair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OldPair {
    /// The old access token stays valid until its own expiry.
    #[default]
    AccessLivesOn,
    /// The old access token dies at the rotation (django-oauth-toolkit, Canaille). So callers wait for a rotation under
    /// way instead of using the old token.
    AccessDiesAtRotation,
    /// The old pair dies at the first *use* of the new pair (Doorkeeper, Synapse). So the new pair is stored before any
    /// caller gets it.
    DiesAtFirstUse,
}

/// Whether the manager sends a refresh token again after an unclear answer: an answer that leaves open whether the server
/// consumed the token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Resend {
    /// The manager sends the token again after every unclear answer, with pauses in between, as long as the refresh token
    /// may be alive. A strict server that did consume the token revokes the session then; that session was lost already.
    #[default]
    Always,
    /// The manager sends the token again after a page that is not the server's word, and after a 502, 503, 504 or 408 of
    /// a gateway. After silence the manager does not, because the token may well be spent. This value is for servers on
    /// which a second use costs more than the session: Okapi revokes every session of the user.
    WhenUnavailable,
    /// The manager never sends a token again. An unclear answer ends the session when the access token expires, unless
    /// the endpoint can sign in.
    Never,
}

/// How soon the manager sends a refresh token again after silence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ResendAfterSilence {
    /// The manager sends the token again after the usual pause: a server with a grace window accepts the token again
    /// within that window.
    #[default]
    Soon,
    /// The manager sends the token again after the lease has expired. This value is for servers on which the last of
    /// several answers counts (Synapse): a first request that the server handles late would kill the pair of the second
    /// request.
    LeaseDuration,
}

/// What the server does with a refresh token that was exchanged before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TokenReuse {
    /// The server revokes the whole token family, the newest pair included (RFC 9700 section 4.14.2).
    #[default]
    Revokes,
    /// The server refuses the token, and the family lives on (light-oauth2).
    Refused,
    /// The server answers with the pair that replaced the token, or with another new one, for some time after the first exchange.
    Answered,
}

/// The behaviour of an authorization server. The defaults suit the strictest server: refresh tokens are single-use, and a
/// second use revokes the whole token family (RFC 9700 section 4.14.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerProfile {
    /// Whether the manager sends a token again after an unclear answer. Default: always.
    pub resend: Resend,
    /// How soon the manager sends a token again after silence, and after a 504. Default: soon.
    pub resend_after_silence: ResendAfterSilence,
    /// The fate of the old pair when the server issues a new pair.
    pub old_pair: OldPair,
    /// What the server does with a token that was exchanged before. Default: it revokes the family.
    pub reuse: TokenReuse,
}

impl ServerProfile {
    /// The profile of the strictest server.
    #[must_use]
    pub const fn strict() -> Self {
        Self {
            resend: Resend::Always,
            resend_after_silence: ResendAfterSilence::Soon,
            old_pair: OldPair::AccessLivesOn,
            reuse: TokenReuse::Revokes,
        }
    }

    /// Sets whether the manager sends a token again after an unclear answer.
    #[must_use]
    pub const fn resend(mut self, resend: Resend) -> Self {
        self.resend = resend;
        self
    }

    /// Sets how soon the manager sends a token again after silence.
    #[must_use]
    pub const fn resend_after_silence(mut self, pace: ResendAfterSilence) -> Self {
        self.resend_after_silence = pace;
        self
    }

    /// Sets the fate of the old pair when the server issues a new pair.
    #[must_use]
    pub const fn old_pair(mut self, fate: OldPair) -> Self {
        self.old_pair = fate;
        self
    }

    /// Sets what the server does with a token that was exchanged before. A manager never sends such a token on purpose, whatever
    /// this says. Instances without a shared store may: a gateway in which they share nothing needs a server that spares the
    /// session for it.
    #[must_use]
    pub const fn reuse(mut self, reuse: TokenReuse) -> Self {
        self.reuse = reuse;
        self
    }
}
