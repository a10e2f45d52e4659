//! Instances of a service at one strict server, on one store or on a store each, and browsers of its users.

use std::time::Duration;

use evertoken::testing::{AuthorizationServerBuilder, FaultyEndpoint, FaultyStore};
use evertoken::{
    BrowserPair, Builder, Error, MemoryStore, PairRefusal, Presentation, Presented, SessionId,
    SessionPolicy, Sessions, TokenEndpoint,
};
use futures_util::future::join_all;
use tokio::task::JoinHandle;

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
        let mut service = Self::at(|server| server);
        for _ in 0..instances {
            let store = service.world.store.clone();
            let builder = service.builder(policy.clone()).store(store);
            let sessions = describe(builder).build().unwrap();
            service.instances.push(sessions);
        }
        service
    }

    /// A service without an instance, at a server of another kind.
    pub(crate) fn at(
        describe: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
    ) -> Self {
        Self::in_world(World::with(describe))
    }

    pub(crate) fn in_world(world: World) -> Self {
        Self {
            world: world.with_store(FaultyStore::new),
            instances: Vec::new(),
        }
    }

    /// An instance whose connections to the common store and to the server fail apart from those of the others.
    pub(crate) fn node(&self, policy: SessionPolicy) -> Node {
        self.node_with(policy, |builder| builder)
    }

    pub(crate) fn node_with(
        &self,
        policy: SessionPolicy,
        describe: impl FnOnce(Builder<Sessions>) -> Builder<Sessions>,
    ) -> Node {
        let store = FaultyStore::new(self.world.store.clone());
        let endpoint = FaultyEndpoint::new(self.world.endpoint());
        let builder = self.builder_at(endpoint.clone(), policy);
        let sessions = describe(builder.store(store.clone())).build().unwrap();
        Node {
            sessions,
            store,
            endpoint,
        }
    }

    pub(crate) fn builder(&self, policy: SessionPolicy) -> Builder<Sessions> {
        self.builder_at(self.world.endpoint(), policy)
    }

    pub(crate) fn builder_at(
        &self,
        endpoint: impl TokenEndpoint,
        policy: SessionPolicy,
    ) -> Builder<Sessions> {
        Sessions::builder(endpoint)
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
        self.sign_in_at(&self.instances[0]).await
    }

    pub(crate) async fn sign_in_at(&self, sessions: &Sessions) -> SessionId {
        let pair = self.world.server.issue();
        sessions.sign_in(pair).policy("page").await.unwrap()
    }

    /// The cookie of a browser that has just signed in.
    pub(crate) async fn cookie(&self) -> BrowserPair {
        self.cookie_at(&self.instances[0]).await
    }

    pub(crate) async fn cookie_at(&self, sessions: &Sessions) -> BrowserPair {
        let id = self.sign_in_at(sessions).await;
        sessions.present(&id).await.unwrap().pair().unwrap()
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

/// One of several instances.
pub(crate) struct Node {
    pub(crate) sessions: Sessions,
    /// Its connection to the common store.
    pub(crate) store: FaultyStore,
    /// Its connection to the server.
    pub(crate) endpoint: FaultyEndpoint,
}

impl Node {
    /// A request in a task of its own.
    pub(crate) fn request(&self, cookie: &BrowserPair) -> Request {
        request(&self.sessions, cookie)
    }

    /// The instance neither reads nor writes nor sends anything from now on.
    pub(crate) fn die(&self) {
        self.store.set_down(true);
        self.endpoint.set_down(true);
    }
}

pub(crate) type Request = JoinHandle<Result<Presentation, Error>>;

/// A request in a task of its own.
pub(crate) fn request(sessions: &Sessions, what: impl Into<Presented>) -> Request {
    let (sessions, what) = (sessions.clone(), what.into());
    tokio::spawn(async move { sessions.present(what).await })
}

/// The answers to all requests, none of which fails.
pub(crate) async fn answers(requests: impl IntoIterator<Item = Request>) -> Vec<Presentation> {
    let answers = join_all(requests).await;
    let answers = answers.into_iter().map(Result::unwrap);
    answers.map(Result::unwrap).collect()
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
