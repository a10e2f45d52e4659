//! A strict server, a store that several managers share, and points at which a test intervenes.

use evertoken::testing::{AccessCheck, AuthorizationServerBuilder};
use evertoken::{Builder, EndReason, Error, OnRequest, RefreshToken, TokenManager, TokenPair};

use crate::probe::{Probe, ProbedEndpoint, ProbedStore};
use crate::support::{self, SECOND, World};

pub(crate) struct Site {
    pub(crate) world: World,
    pub(crate) probe: Probe,
    pub(crate) store: ProbedStore,
    pub(crate) endpoint: ProbedEndpoint,
}

impl Site {
    /// A site whose access tokens live for 600 s.
    pub(crate) fn new() -> Self {
        Self::with(|server| server)
    }

    pub(crate) fn with(
        describe: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
    ) -> Self {
        let world = World::with(describe);
        let probe = Probe::default();
        Self {
            store: ProbedStore::new(&world.clock, &probe),
            endpoint: ProbedEndpoint::new(world.server.endpoint(), &probe),
            world,
            probe,
        }
    }

    pub(crate) fn builder(&self) -> Builder {
        self.world
            .builder_at(self.endpoint.clone(), OnRequest::default())
            .store(self.store.clone())
    }

    /// A manager that has loaded the session.
    pub(crate) async fn manager(&self) -> TokenManager {
        support::loaded(self.builder()).await
    }

    /// Sleeps past the expiry of the access token.
    pub(crate) async fn expire(&self) {
        self.world.expire().await;
    }

    pub(crate) async fn record(&self) -> serde_json::Value {
        use evertoken::TokenEndpoint;
        self.store.json(&self.endpoint.key()).await
    }

    /// Asserts that the record is logged out, and holds neither a pair nor a lease.
    #[track_caller]
    pub(crate) fn assert_over(record: &serde_json::Value) {
        assert_eq!(record["state"]["is"], "logged_out");
        assert_eq!(record["pair"], serde_json::Value::Null);
        assert_eq!(record["lease"], serde_json::Value::Null);
    }

    /// Asserts that the family of the first pair is dead. For servers without families, the last issued refresh token
    /// of the family must be a revoked one.
    #[track_caller]
    pub(crate) fn assert_revoked(&self) {
        let access = self.world.first.access.as_ref().unwrap();
        let worth = self.world.server.check(access.expose());
        assert_eq!(worth, AccessCheck::Revoked);
        let issued = self.endpoint.issued();
        let last = issued
            .last()
            .map_or(refresh(&self.world.first), |last| last);
        let revoked = self.endpoint.revoked();
        assert!(
            revoked.iter().any(|token| token == last),
            "the last issued token is not revoked"
        );
        self.world.assert_unharmed();
    }
}

pub(crate) fn refresh(pair: &TokenPair) -> &str {
    pair.refresh.as_ref().map_or("", RefreshToken::expose)
}

pub(crate) fn is_logged_out(error: &Error) -> bool {
    support::reason(error) == Some(EndReason::LoggedOut)
}

/// Asserts that each way to ask for a token reports the logout.
pub(crate) async fn assert_logged_out(tokens: &TokenManager) {
    assert!(is_logged_out(&tokens.token().await.unwrap_err()));
    assert!(is_logged_out(&tokens.authorization().await.unwrap_err()));
    assert!(is_logged_out(&tokens.try_token().unwrap_err()));
    assert!(is_logged_out(&tokens.rotate().await.unwrap_err()));
    let error = tokens.token_valid_for(SECOND).await.unwrap_err();
    assert!(is_logged_out(&error));
    let status = tokens.status();
    assert_eq!(status.end, Some(EndReason::LoggedOut));
    assert_eq!(status.pair_id, None);
    assert_eq!(status.access_expires_in, None);
}
