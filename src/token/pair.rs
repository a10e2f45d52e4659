use std::time::Duration;

use super::{AccessToken, Digest, Key, Lifetime, RefreshExpiry, RefreshToken, Scope, Validity};

/// An access token and the refresh token that is good for the next one.
///
/// Either can be missing: a first pair may be a refresh token alone, and some grants issue no
/// refresh token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenPair {
    /// What APIs accept.
    pub access: Option<AccessToken>,
    /// What the token endpoint accepts, once.
    pub refresh: Option<RefreshToken>,
    /// How long both are good for.
    pub lifetime: Lifetime,
    /// As the server wrote it, `Bearer` mostly.
    pub token_type: Option<String>,
    /// What the server granted, where it said so.
    pub scope: Option<Scope>,
}

impl TokenPair {
    /// A pair with an access token. Unless [`expires_in`](Self::expires_in) says when it expires,
    /// the manager reads that from the token if it is a JWT, and else takes it as unknown.
    #[must_use]
    pub fn new(access: impl Into<AccessToken>) -> Self {
        Self {
            access: Some(access.into()),
            ..Self::default()
        }
    }

    /// A refresh token alone: the first use of the manager rotates it.
    #[must_use]
    pub fn from_refresh_token(refresh: impl Into<RefreshToken>) -> Self {
        Self {
            refresh: Some(refresh.into()),
            ..Self::default()
        }
    }

    /// Adds the refresh token. An empty one counts as none.
    #[must_use]
    pub fn refresh_token(mut self, refresh: impl Into<RefreshToken>) -> Self {
        self.refresh = Some(refresh.into()).filter(|token| !token.expose().is_empty());
        self
    }

    /// The access token expires after this time from now.
    #[must_use]
    pub fn expires_in(mut self, total: Duration) -> Self {
        self.lifetime.access = total.into();
        self
    }

    /// The access token does not expire.
    #[must_use]
    pub fn never_expires(mut self) -> Self {
        self.lifetime.access = Validity::Never;
        self
    }

    /// The refresh token expires after this time from now.
    #[must_use]
    pub fn refresh_expires_in(mut self, total: Duration) -> Self {
        self.lifetime.refresh = total.into();
        self
    }

    /// Whether rotating prolongs the session.
    #[must_use]
    pub fn refresh_expiry(mut self, refresh_expiry: RefreshExpiry) -> Self {
        self.lifetime.refresh_expiry = refresh_expiry;
        self
    }

    /// Names the pair: the digest of its refresh token, or of its access token where it has none,
    /// or of the key where it has neither.
    #[must_use]
    pub fn digest(&self, key: &Key) -> Digest {
        match (&self.refresh, &self.access) {
            (Some(refresh), _) => Digest::of(refresh.expose()),
            (None, Some(access)) => Digest::of(access.expose()),
            (None, None) => key.digest(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_pair_holds_no_secret() {
        let pair = TokenPair::new("sesame-access").refresh_token("sesame-refresh");
        assert!(!format!("{pair:?}").contains("sesame"));
    }
}
