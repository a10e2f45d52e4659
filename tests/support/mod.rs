//! A strict server, a clock and a manager between them: what the acceptance tests start from.
#![allow(dead_code, unreachable_pub)]

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evertoken::protocol::Record;
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::testing::{
    AccessCheck, AuthorizationServer, AuthorizationServerBuilder, Fault, InProcessEndpoint,
    TestClock,
};
use evertoken::{
    Builder, EndpointError, Error, Event, Events, Grant, Issued, Key, Lifetime, MemoryStore, Plan,
    RefreshStrategy, ServerProfile, StoreError, Token, TokenEndpoint, TokenManager, TokenPair,
    TokenStore, async_trait,
};
use parking_lot::Mutex;

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3_600);

/// A strategy of one's own: as early and as often as the manager lets it.
#[derive(Debug, Clone, Copy)]
pub struct Greedy;

impl RefreshStrategy for Greedy {
    fn plan(&self, life: &Lifetime) -> Plan {
        Plan::on_request(life).wake_at(Duration::ZERO)
    }
}

/// A strategy of one's own that is reasonable.
#[derive(Debug, Clone, Copy)]
pub struct HalfLife;

impl RefreshStrategy for HalfLife {
    fn plan(&self, life: &Lifetime) -> Plan {
        Plan::on_request(life).advisory_from(life.at_fraction(0.5))
    }
}

/// One server and one clock. The first pair is issued when the world is made.
#[derive(Debug)]
pub struct World {
    pub clock: TestClock,
    pub server: AuthorizationServer,
    pub first: TokenPair,
}

impl World {
    /// A strict server whose access tokens live this long, and its refresh tokens for a week.
    pub fn new(access_ttl: Duration) -> Self {
        Self::with(|server| server.access_ttl(access_ttl))
    }

    pub fn with(
        describe: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
    ) -> Self {
        let clock = TestClock::new();
        let server = describe(AuthorizationServer::builder().clock(clock.clone())).build();
        let first = server.issue();
        Self {
            clock,
            server,
            first,
        }
    }

    /// A manager that holds the first pair once it is used.
    pub fn builder(&self, strategy: impl RefreshStrategy) -> Builder {
        self.builder_at(self.server.endpoint(), strategy)
    }

    /// The same with another way to the server.
    pub fn builder_at(
        &self,
        endpoint: impl TokenEndpoint,
        strategy: impl RefreshStrategy,
    ) -> Builder {
        TokenManager::builder(endpoint)
            .clock(self.clock.clone())
            .strategy(strategy)
            .jitter(0.0)
            .seed(self.first.clone())
    }

    /// The same, built and used once.
    pub async fn manager(&self, strategy: impl RefreshStrategy) -> TokenManager {
        loaded(self.builder(strategy)).await
    }

    pub fn is_live(&self, token: &Token) -> bool {
        self.server.check(token.expose()) == AccessCheck::Live
    }

    /// Nothing was spent twice, and no family died of it.
    #[track_caller]
    pub fn assert_unharmed(&self) {
        assert_eq!(self.server.replays(), 0, "replays");
        assert_eq!(self.server.families_revoked(), 0, "families revoked");
    }

    /// So many refresh tokens were sent, each of them once.
    #[track_caller]
    pub fn assert_exchanges(&self, exchanges: u64) {
        assert_eq!(self.server.exchanges(), exchanges, "exchanges");
        self.assert_unharmed();
    }
}

/// A manager that was used once, so that its pair is in its store and its worker runs.
pub async fn loaded(builder: Builder) -> TokenManager {
    let tokens = builder.build().unwrap();
    tokens.token().await.unwrap();
    tokens
}

/// Lets every task run that can, without any time passing.
pub async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// Everything that happened so far.
pub fn drain(events: &mut Events) -> Vec<Event> {
    std::iter::from_fn(|| events.try_recv()).collect()
}

/// Notes everything that happens from now on, however much it is.
pub fn record(mut events: Events) -> Arc<Mutex<Vec<Event>>> {
    let seen = Arc::<Mutex<Vec<Event>>>::default();
    let notes = seen.clone();
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            notes.lock().push(event);
        }
    });
    seen
}

pub fn rotated(events: &[Event]) -> u64 {
    let of = |event: &&Event| matches!(event, Event::Rotated { .. });
    events.iter().filter(of).count() as u64
}

pub fn failed(events: &[Event]) -> usize {
    let of = |event: &&Event| matches!(event, Event::Failed { .. });
    events.iter().filter(of).count()
}

pub fn ended(events: &[Event]) -> usize {
    let of = |event: &&Event| matches!(event, Event::Ended { .. });
    events.iter().filter(of).count()
}

/// The text of the token, for comparing two of them.
pub fn text(token: &Result<Token, Error>) -> &str {
    token.as_ref().unwrap().expose()
}

/// Answered "later", with nothing rotated: a failure that counts as an exchange.
pub fn later(after: Option<Duration>) -> Fault {
    Fault::Status {
        status: 429,
        body: r#"{"error":"slow_down"}"#.to_owned(),
        retry_after: after,
    }
}

type Unit = Pin<Box<dyn Future<Output = ()> + Send>>;
type Pause = Arc<dyn Fn() -> Unit + Send + Sync>;

/// A memory store that takes its time, or does something else of the user's, before it answers.
#[derive(Clone)]
pub struct SlowStore {
    pub inner: MemoryStore,
    load: Pause,
    swap: Pause,
}

impl SlowStore {
    pub fn new(inner: MemoryStore) -> Self {
        let nothing: Pause = Arc::new(|| Box::pin(async {}));
        Self {
            inner,
            load: nothing.clone(),
            swap: nothing,
        }
    }

    /// What happens once a record was read, before anybody is told.
    pub fn after_load<F: Future<Output = ()> + Send + 'static>(
        mut self,
        pause: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self {
        self.load = Arc::new(move || Box::pin(pause()));
        self
    }

    /// What happens before a record is replaced.
    pub fn before_swap<F: Future<Output = ()> + Send + 'static>(
        mut self,
        pause: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self {
        self.swap = Arc::new(move || Box::pin(pause()));
        self
    }
}

impl fmt::Debug for SlowStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlowStore").finish_non_exhaustive()
    }
}

#[async_trait]
impl TokenStore for SlowStore {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        let loaded = self.inner.load(key).await;
        (self.load)().await;
        loaded
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        (self.swap)().await;
        self.inner.swap(key, seen, next).await
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        self.inner.changed(key, seen).await;
    }
}

/// The server's endpoint, with code of the user's before and after each call.
#[derive(Clone)]
pub struct Hooked {
    inner: InProcessEndpoint,
    calls: Arc<AtomicU64>,
    before: Arc<dyn Fn(u64) -> Unit + Send + Sync>,
    after: Arc<dyn Fn(u64) + Send + Sync>,
}

impl Hooked {
    pub fn new(inner: InProcessEndpoint) -> Self {
        Self {
            inner,
            calls: Arc::default(),
            before: Arc::new(|_| Box::pin(async {})),
            after: Arc::new(|_| {}),
        }
    }

    /// Runs before a call, which is told its number from 1.
    pub fn before<F: Future<Output = ()> + Send + 'static>(
        mut self,
        code: impl Fn(u64) -> F + Send + Sync + 'static,
    ) -> Self {
        self.before = Arc::new(move |call| Box::pin(code(call)));
        self
    }

    /// Runs when the answer is there.
    pub fn after(mut self, code: impl Fn(u64) + Send + Sync + 'static) -> Self {
        self.after = Arc::new(code);
        self
    }

    /// How often the manager called.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooked").finish_non_exhaustive()
    }
}

#[async_trait]
impl TokenEndpoint for Hooked {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        (self.before)(call).await;
        let answer = self.inner.exchange(grant).await;
        (self.after)(call);
        answer
    }

    fn profile(&self) -> ServerProfile {
        self.inner.profile()
    }

    fn timeout(&self) -> Duration {
        self.inner.timeout()
    }

    fn key(&self) -> Key {
        self.inner.key()
    }
}
