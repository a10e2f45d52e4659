//! A strict server, a store that several managers share, and points at which a test intervenes.

use std::ops::Deref;

use evertoken::testing::{AccessCheck, AuthorizationServerBuilder};
use evertoken::{
    Builder, EndReason, Error, Logout, OnRequest, RefreshToken, TokenManager, TokenPair,
};

use tokio::task::JoinHandle;

use crate::probe::{Probe, ProbedEndpoint, ProbedStore};
use crate::support::{self, SECOND, World};

pub(crate) struct Site {
    world: World,
    pub(crate) probe: Probe,
    pub(crate) store: ProbedStore,
    pub(crate) endpoint: ProbedEndpoint,
}

impl Deref for Site {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
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

    /// A site, and a manager that has loaded the session.
    pub(crate) async fn managed() -> (Self, TokenManager) {
        let site = Self::new();
        let tokens = site.manager().await;
        (site, tokens)
    }

    /// A site, and two managers that have loaded the session.
    pub(crate) async fn shared_by_two() -> (Self, TokenManager, TokenManager) {
        let (site, here) = Self::managed().await;
        let there = site.manager().await;
        (site, here, there)
    }

    pub(crate) fn builder(&self) -> Builder {
        let endpoint = self.endpoint.clone();
        let builder = self.builder_at(endpoint, OnRequest::default());
        builder.store(self.store.clone())
    }

    /// A manager that has not loaded the session yet, as after a start of the process.
    pub(crate) fn started(&self) -> TokenManager {
        support::built(self.builder())
    }

    /// A manager that has loaded the session.
    pub(crate) async fn manager(&self) -> TokenManager {
        support::loaded(self.builder()).await
    }

    pub(crate) async fn record(&self) -> serde_json::Value {
        use evertoken::TokenEndpoint;
        self.store.json(&self.endpoint.key()).await
    }

    /// Asserts that the record is logged out, and holds neither a pair nor a lease.
    pub(crate) async fn assert_over(&self) {
        let record = self.record().await;
        assert_eq!(record["state"]["is"], "logged_out");
        assert_eq!(record["pair"], serde_json::Value::Null);
        assert_eq!(record["lease"], serde_json::Value::Null);
    }

    pub(crate) async fn assert_over_and_revoked(&self) {
        self.assert_over().await;
        self.assert_revoked();
    }

    /// Asserts that the family of the first pair is dead. For servers without families, the last issued refresh token
    /// of the family must be a revoked one.
    #[track_caller]
    pub(crate) fn assert_revoked(&self) {
        let access = self.first.access.as_ref().unwrap();
        assert_eq!(self.server.check(access.expose()), AccessCheck::Revoked);
        let issued = self.endpoint.issued();
        let last = issued.last().map_or(refresh(&self.first), |last| last);
        let is_revoked = self.endpoint.revoked().iter().any(|token| token == last);
        assert!(is_revoked, "the last issued token is not revoked");
        self.assert_unharmed();
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

/// A task that logs out.
pub(crate) fn leave(tokens: &TokenManager) -> JoinHandle<Logout> {
    let tokens = tokens.clone();
    tokio::spawn(async move { tokens.logout().await })
}
