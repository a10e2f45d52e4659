//! What an endpoint issued, and the pair that comes of it.

use std::time::Duration;

use crate::token::{
    AccessToken, Lifetime, RefreshExpiry, RefreshToken, Scope, TokenPair, Validity, jwt,
};

/// What the token endpoint issued. Each part is optional, because a refresh token that was read is kept whatever else the
/// answer lacks.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Issued {
    /// The new access token.
    pub access: Option<AccessToken>,
    /// The new refresh token. Without one, or with an empty one, the pair keeps the old refresh token, unless the old one
    /// [is spent](Self::refresh_is_spent).
    pub refresh: Option<RefreshToken>,
    /// The lifetime of the access token, from the moment the request was sent.
    pub expires_in: Option<Duration>,
    /// The lifetime of the refresh token, from the moment the request was sent.
    pub refresh_expires_in: Option<Duration>,
    /// The age at which the server wants the pair to be rotated, from the moment the request was sent.
    pub refresh_in: Option<Duration>,
    /// Whether an access token never expires if neither [`expires_in`](Self::expires_in) nor the token itself states an
    /// expiry.
    pub never_expires: bool,
    /// Whether the exchanged refresh token is spent in any case. If so, and if none was issued, the pair has no refresh
    /// token.
    pub refresh_is_spent: bool,
    /// Whether a rotation prolongs the session.
    pub refresh_expiry: RefreshExpiry,
    /// The type of the token: mostly `Bearer`, in upper or lower case.
    pub token_type: Option<String>,
    /// The granted scope, if the server stated it.
    pub scope: Option<Scope>,
    /// The server's clock when it answered, since the Unix epoch.
    pub server_time: Option<Duration>,
}

impl Issued {
    /// Makes an answer with this access token.
    #[must_use]
    pub fn new(access: impl Into<AccessToken>) -> Self {
        Self {
            access: Some(access.into()),
            ..Self::default()
        }
    }

    /// Adds the refresh token.
    #[must_use]
    pub fn refresh_token(mut self, refresh: impl Into<RefreshToken>) -> Self {
        self.refresh = Some(refresh.into());
        self
    }

    /// Sets the access token's lifetime. Without a lifetime, the `exp` of a JWT counts; the lifetime of any other token is
    /// unknown.
    #[must_use]
    pub fn expires_in(mut self, total: Duration) -> Self {
        self.expires_in = Some(total);
        self
    }

    /// Sets the refresh token's lifetime.
    #[must_use]
    pub fn refresh_expires_in(mut self, total: Duration) -> Self {
        self.refresh_expires_in = Some(total);
        self
    }

    /// Sets the age at which the server wants the pair to be rotated.
    #[must_use]
    pub fn refresh_in(mut self, age: Duration) -> Self {
        self.refresh_in = Some(age);
        self
    }

    /// Marks the access token as one that never expires.
    #[must_use]
    pub fn never_expires(mut self) -> Self {
        self.never_expires = true;
        self
    }

    /// Marks the exchanged refresh token as spent, even if no new one was issued. For servers that always issue a new one:
    /// to send the old one again would be a replay.
    #[must_use]
    pub fn refresh_is_spent(mut self) -> Self {
        self.refresh_is_spent = true;
        self
    }

    /// Sets whether a rotation prolongs the session.
    #[must_use]
    pub fn refresh_expiry(mut self, refresh_expiry: RefreshExpiry) -> Self {
        self.refresh_expiry = refresh_expiry;
        self
    }

    /// Sets the type of the token as the server wrote it.
    #[must_use]
    pub fn token_type(mut self, token_type: impl Into<String>) -> Self {
        self.token_type = Some(token_type.into());
        self
    }

    /// Sets the granted scope.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<Scope>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Sets the server's clock when it answered, since the Unix epoch.
    #[must_use]
    pub fn server_time(mut self, since_epoch: Duration) -> Self {
        self.server_time = Some(since_epoch);
        self
    }

    /// Whether the answer issued neither token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let refresh = self.refresh.as_ref().map_or("", RefreshToken::expose);
        let access = self.access.as_ref().map_or("", AccessToken::expose);
        refresh.is_empty() && access.is_empty()
    }

    /// The pair that replaces the predecessor. Without a new refresh token the pair keeps the old one. `took` is the time
    /// from sending the request to reading the answer, and `wall` the clock of this machine at the end of that time.
    pub(crate) fn into_pair(
        self,
        predecessor: Option<Predecessor<'_>>,
        took: Duration,
        wall: Duration,
    ) -> TokenPair {
        let sent_at = |received: Duration| received.saturating_sub(took);
        let access_validity = match (&self.access, self.expires_in) {
            (_, Some(total)) => total.into(),
            (Some(access), None) => {
                let (server, local) = (self.server_time.map(sent_at), sent_at(wall));
                let times = jwt::times(access.expose());
                match times.and_then(|times| times.lifetime(server, local)) {
                    Some(stated) => stated.into(),
                    None if self.never_expires => Validity::Never,
                    None => Validity::Unknown,
                }
            }
            (None, None) => Validity::Unknown,
        };
        let issued_refresh = self.refresh.filter(|token| !token.expose().is_empty());
        let kept = predecessor.filter(|old| match &issued_refresh {
            None => !self.refresh_is_spent,
            issued => *issued == old.pair.refresh,
        });
        let refresh_validity = match (self.refresh_expires_in, &kept) {
            (Some(total), _) => total.into(),
            (None, Some(old)) => old.remaining_refresh(),
            (None, None) => Validity::Unknown,
        };
        TokenPair {
            access: self.access,
            refresh: issued_refresh.or_else(|| kept.and_then(|old| old.pair.refresh.clone())),
            lifetime: Lifetime {
                access: access_validity,
                refresh: refresh_validity,
                refresh_expiry: self.refresh_expiry,
                refresh_in: self.refresh_in,
            },
            token_type: self.token_type,
            scope: self.scope,
        }
    }
}

/// The pair whose refresh token was exchanged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Predecessor<'a> {
    pub(crate) pair: &'a TokenPair,
    /// The time from the request of this pair to the request that replaces the pair.
    pub(crate) age: Duration,
}

impl Predecessor<'_> {
    /// The remaining lifetime of a kept refresh token, from the new request.
    fn remaining_refresh(&self) -> Validity {
        match self.pair.lifetime.refresh {
            Validity::Known { total } => total.saturating_sub(self.age).into(),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn old() -> TokenPair {
        TokenPair::new("a1")
            .refresh_token("r1")
            .refresh_expires_in(10 * MINUTE)
    }

    fn after(issued: Issued) -> TokenPair {
        let pair = old();
        let predecessor = Predecessor {
            pair: &pair,
            age: MINUTE,
        };
        issued.into_pair(
            Some(predecessor),
            Duration::from_secs(2),
            Duration::from_secs(1_000),
        )
    }

    #[test]
    fn a_refresh_token_omitted_empty_or_echoed_is_the_old_one_with_its_remaining_lifetime() {
        let answers = [
            Issued::new("a2"),
            Issued::new("a2").refresh_token(""),
            Issued::new("a2").refresh_token("r1"),
        ];
        for issued in answers {
            let pair = after(issued);
            assert_eq!(pair.refresh, Some("r1".into()));
            assert_eq!(pair.lifetime.refresh, (9 * MINUTE).into());
        }
    }

    #[test]
    fn a_new_refresh_token_does_not_inherit_the_old_ones_lifetime() {
        let pair = after(Issued::new("a2").refresh_token("r2"));
        assert_eq!(pair.refresh, Some("r2".into()));
        assert_eq!(pair.lifetime.refresh, Validity::Unknown);
    }

    #[test]
    fn a_refresh_token_that_is_spent_in_any_case_is_not_kept() {
        for answer in [Issued::new("a2"), Issued::new("a2").refresh_token("")] {
            let pair = after(answer.refresh_is_spent());
            assert_eq!(pair.refresh, None);
            assert_eq!(pair.lifetime.refresh, Validity::Unknown);
        }
        let pair = after(Issued::new("a2").refresh_token("r2").refresh_is_spent());
        assert_eq!(pair.refresh, Some("r2".into()));
    }

    #[test]
    fn never_expires_counts_only_for_a_token_without_another_expiry() {
        let access = |issued| after(issued).lifetime.access;
        assert_eq!(
            access(Issued::new("opaque").never_expires()),
            Validity::Never
        );
        let stated = Issued::new("e30.eyJleHAiOjEwMTB9.x").never_expires();
        assert_eq!(access(stated), Duration::from_secs(12).into());
        let said = Issued::new("opaque").expires_in(MINUTE).never_expires();
        assert_eq!(access(said), MINUTE.into());
    }

    #[test]
    fn without_expires_in_the_lifetime_is_the_exp_of_a_jwt_by_the_servers_clock() {
        // {"exp":1010} without iat. This machine's clock reads 1000 at the end of 2 s, the server's clock 990.
        let jwt = "e30.eyJleHAiOjEwMTB9.x";
        assert_eq!(
            after(Issued::new(jwt)).lifetime.access,
            Duration::from_secs(12).into()
        );
        let issued = Issued::new(jwt).server_time(Duration::from_secs(990));
        assert_eq!(
            after(issued).lifetime.access,
            Duration::from_secs(22).into()
        );
        // {"exp":990}: a server issues no expired token, so this machine's clock is wrong.
        assert_eq!(
            after(Issued::new("e30.eyJleHAiOjk5MH0.x")).lifetime.access,
            Validity::Unknown
        );
        assert_eq!(
            after(Issued::new("opaque")).lifetime.access,
            Validity::Unknown
        );
    }
}
