//! A strict server with a session for each tenant, and `Sessions` at it. A token names its tenant, so a token in the wrong hands
//! is seen.

use std::collections::HashMap;
use std::sync::Arc;

use evertoken::testing::{FaultyStore, TestClock};
use evertoken::{
    Builder, EndpointError, Grant, Issued, Key, MemoryStore, OnRequest, Sessions, TokenEndpoint,
    TokenManager, TokenPair, async_trait,
};
use parking_lot::Mutex;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};

use crate::support::TTL;

#[derive(Debug, Clone, Default)]
pub(crate) struct Tenants {
    seen: Arc<Mutex<Seen>>,
    gate: Arc<RwLock<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    by_name: HashMap<String, Tenant>,
    replays: u64,
    overlaps: u64,
}

#[derive(Debug, Default)]
struct Tenant {
    /// The number of the refresh token that is good.
    current: u64,
    exchanges: u64,
    answer: Option<EndpointError>,
    /// Whether the refresh tokens that the server issues end with their access tokens.
    ends_with_access: bool,
    is_exchanging: bool,
}

impl Tenants {
    /// The first pair of a new session of this tenant.
    pub(crate) fn pair(&self, tenant: &str) -> TokenPair {
        let mut seen = self.seen.lock();
        let known = seen.by_name.entry(tenant.to_owned()).or_default();
        known.current += 1;
        let number = known.current;
        TokenPair::new(format!("a {tenant} {number}"))
            .refresh_token(format!("r {tenant} {number}"))
            .expires_in(TTL)
    }

    /// The server answers this tenant with an error from now on, and does not spend its token.
    pub(crate) fn answer(&self, tenant: &str, error: Option<EndpointError>) {
        let mut seen = self.seen.lock();
        seen.by_name.entry(tenant.to_owned()).or_default().answer = error;
    }

    /// From here on the refresh tokens of this tenant end with their access tokens.
    pub(crate) fn end_with_access(&self, tenant: &str) {
        let mut seen = self.seen.lock();
        let known = seen.by_name.entry(tenant.to_owned()).or_default();
        known.ends_with_access = true;
    }

    /// The server answers once the guard is dropped.
    pub(crate) async fn hold(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.gate).write_owned().await
    }

    pub(crate) fn exchanges_of(&self, tenant: &str) -> u64 {
        let seen = self.seen.lock();
        seen.by_name.get(tenant).map_or(0, |known| known.exchanges)
    }

    pub(crate) fn exchanges(&self) -> u64 {
        let seen = self.seen.lock();
        seen.by_name.values().map(|known| known.exchanges).sum()
    }

    /// Checks that no token was sent twice, and that no tenant had two exchanges at a time.
    #[track_caller]
    pub(crate) fn assert_unharmed(&self) {
        let seen = self.seen.lock();
        assert_eq!((seen.replays, seen.overlaps), (0, 0));
    }
}

#[async_trait]
impl TokenEndpoint for Tenants {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        let Grant::Refresh { token, .. } = grant else {
            panic!("nothing signs in here");
        };
        let text = token.expose().strip_prefix("r ").unwrap();
        let (tenant, number) = text.rsplit_once(' ').unwrap();
        {
            let mut seen = self.seen.lock();
            let known = seen.by_name.get_mut(tenant).unwrap();
            known.exchanges += 1;
            let overlaps = std::mem::replace(&mut known.is_exchanging, true);
            seen.overlaps += u64::from(overlaps);
        }
        tokio::task::yield_now().await;
        let _open = self.gate.read().await;
        let mut seen = self.seen.lock();
        let known = seen.by_name.get_mut(tenant).unwrap();
        known.is_exchanging = false;
        if let Some(error) = known.answer.clone() {
            return Err(error);
        }
        if number != known.current.to_string() {
            seen.replays += 1;
            return Err(EndpointError::rejected("used before"));
        }
        known.current += 1;
        let number = known.current;
        let issued = Issued::new(format!("a {tenant} {number}"))
            .refresh_token(format!("r {tenant} {number}"))
            .expires_in(TTL);
        Ok(match known.ends_with_access {
            true => issued.refresh_expires_in(TTL),
            false => issued,
        })
    }

    fn key(&self) -> Key {
        Key::new("https://id.example.org/token", "service")
    }
}

/// `Sessions` at the tenants' server, on one clock.
pub(crate) struct Service {
    pub(crate) clock: TestClock,
    pub(crate) tenants: Tenants,
    pub(crate) sessions: Sessions,
}

impl Service {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(describe: impl FnOnce(Builder<Sessions>) -> Builder<Sessions>) -> Self {
        let (clock, tenants) = (TestClock::new(), Tenants::default());
        let builder = Sessions::builder(tenants.clone()).clock(clock.clone());
        let builder = builder.strategy(OnRequest::default()).jitter(0.0);
        let sessions = describe(builder).build().unwrap();
        Self {
            clock,
            tenants,
            sessions,
        }
    }

    pub(crate) fn key(&self, tenant: &str) -> Key {
        self.sessions.key().tenant(tenant)
    }

    pub(crate) fn manager(&self, tenant: &str) -> TokenManager {
        self.sessions.manager(self.key(tenant))
    }

    /// A store that is down, with the session of `diku`. Its logout could not be stored, and it has no manager any more.
    pub(crate) async fn with_a_logout_that_is_not_stored() -> (Self, FaultyStore) {
        let store = FaultyStore::new(MemoryStore::with_clock(TestClock::new()));
        let shared = store.clone();
        let service = Self::with(|builder| builder.store(shared));
        let tokens = service.signed_in("diku").await;
        store.set_down(true);
        assert!(tokens.logout().await.stored.is_err());
        (service, store)
    }

    /// A tenant that has signed in.
    pub(crate) async fn signed_in(&self, tenant: &str) -> TokenManager {
        let tokens = self.manager(tenant);
        tokens.replace(self.tenants.pair(tenant)).await.unwrap();
        tokens
    }

    /// The text of the token that a request of this tenant gets. The manager is made for the request.
    pub(crate) async fn request(&self, tenant: &str) -> String {
        let token = self.manager(tenant).token().await.unwrap();
        token.expose().to_owned()
    }
}
