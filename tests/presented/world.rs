//! Instances of a service at one strict server, on one store or on a store each, and browsers of its users.

use std::time::Duration;

use evertoken::testing::FaultyStore;
use evertoken::{
    BrowserPair, Builder, Error, MemoryStore, PairRefusal, Presentation, Presented, SessionId,
    SessionPolicy, Sessions,
};

use crate::support::{Counts, SECOND, World};

/// How long a replaced pair is accepted.
pub(crate) const GRACE: Duration = Duration::from_secs(30);

pub(crate) struct Service {
    pub(crate) world: World<FaultyStore>,
    pub(crate) instances: Vec<Sessions>,
}

/// The policy of a gateway for browsers.
pub(crate) fn page() -> SessionPolicy {
    SessionPolicy::new().retired_for(GRACE)
}

impl Service {
    /// One instance, whose browsers may present replaced pairs.
    pub(crate) fn new() -> Self {
        Self::of(1, page())
    }

    /// Instances on one store.
    pub(crate) fn of(instances: usize, policy: SessionPolicy) -> Self {
        Self::with(instances, policy, |builder| builder)
    }

    pub(crate) fn with(
        instances: usize,
        policy: SessionPolicy,
        describe: impl Fn(Builder<Sessions>) -> Builder<Sessions>,
    ) -> Self {
        let world = World::with(|server| server).with_store(FaultyStore::new);
        let mut service = Self {
            world,
            instances: Vec::new(),
        };
        for _ in 0..instances {
            let store = service.world.store.clone();
            let builder = service.builder(policy.clone()).store(store);
            let sessions = describe(builder).build().unwrap();
            service.instances.push(sessions);
        }
        service
    }

    pub(crate) fn builder(&self, policy: SessionPolicy) -> Builder<Sessions> {
        Sessions::builder(self.world.endpoint())
            .clock(self.world.clock.clone())
            .jitter(0.0)
            .policy("page", policy)
    }

    /// An instance with a store of its own.
    pub(crate) fn alone(&self, policy: SessionPolicy) -> Sessions {
        let store = MemoryStore::with_clock(self.world.clock.clone());
        self.builder(policy).store(store).build().unwrap()
    }

    /// The id of a new session.
    pub(crate) async fn sign_in(&self) -> SessionId {
        let pair = self.world.server.issue();
        let signing_in = self.instances[0].sign_in(pair).policy("page");
        signing_in.await.unwrap()
    }

    /// The cookie of a browser that has just signed in.
    pub(crate) async fn cookie(&self) -> BrowserPair {
        let id = self.sign_in().await;
        let presented = self.instances[0].present(&id).await.unwrap();
        presented.pair().unwrap()
    }

    pub(crate) async fn present(&self, what: impl Into<Presented>) -> Result<Presentation, Error> {
        self.instances[0].present(what).await
    }

    /// The cookie after a request whose answer arrived.
    pub(crate) async fn request(&self, cookie: &BrowserPair) -> BrowserPair {
        let presented = self.present(cookie).await.unwrap();
        assert!(self.world.is_live(presented.token()));
        presented.renewal().unwrap_or_else(|| cookie.clone())
    }

    /// A request after the access token has expired, whose answer arrived.
    pub(crate) async fn rotate(&self, cookie: &BrowserPair) -> BrowserPair {
        self.world.expire().await;
        let next = self.request(cookie).await;
        assert_ne!(next.pair_id(), cookie.pair_id());
        next
    }

    pub(crate) async fn pass(&self, span: Duration) {
        self.world.clock.advance(span).await;
    }

    #[track_caller]
    pub(crate) fn assert_exchanges(&self, exchanges: u64) {
        assert_eq!(self.world.counts(), Counts::exchanges(exchanges));
    }
}

/// The pair is refused, and the session goes on with another one.
#[track_caller]
pub(crate) fn assert_refused(presented: Result<Presentation, Error>, why: PairRefusal) {
    let error = presented.unwrap_err();
    assert!(error.needs_sign_in(), "{error}");
    assert!(
        matches!(error, Error::PairRefused { reason, .. } if reason == why),
        "{error:?}"
    );
}

/// A little less than the time.
pub(crate) fn just_before(span: Duration) -> Duration {
    span - SECOND
}
