//! The base of the acceptance tests: a strict server, a clock, a store, and managers between them.
//!
//! ```ignore
//! let world = World::new(600 * SECOND);
//! let tokens = world.manager(OnRequest::default()).await;
//! world.expire().await;
//! assert!(world.is_live(&tokens.token().await.unwrap()));
//! world.assert_exchanges(1);
//! ```
#![allow(dead_code, unreachable_pub)]

pub mod reasons;

use std::sync::Arc;
use std::time::Duration;

use evertoken::testing::{
    AccessCheck, AuthorizationServer, AuthorizationServerBuilder, Fault, Hold, InProcessEndpoint,
    TestClock,
};
use evertoken::{
    Builder, EndReason, Error, Event, Events, Key, Lifetime, MemoryStore, Plan, RefreshStrategy,
    ServerProfile, Token, TokenEndpoint, TokenManager, TokenPair, TokenStore,
};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3_600);

/// The default lifetime of an access token.
pub const TTL: Duration = Duration::from_secs(600);

/// A user's strategy that rotates as early and as often as the manager permits.
#[derive(Debug, Clone, Copy)]
pub struct Greedy;

impl RefreshStrategy for Greedy {
    fn plan(&self, life: &Lifetime) -> Plan {
        Plan::on_request(life).wake_at(Duration::ZERO)
    }
}

/// A user's strategy that rotates from half of the lifetime on.
#[derive(Debug, Clone, Copy)]
pub struct HalfLife;

impl RefreshStrategy for HalfLife {
    fn plan(&self, life: &Lifetime) -> Plan {
        Plan::on_request(life).advisory_from(life.at_fraction(0.5))
    }
}

/// What the server counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub exchanges: u64,
    pub replays: u64,
    pub families_revoked: u64,
}

impl Counts {
    /// Checks for this number of exchanges, none of a token that was used before.
    pub fn exchanges(exchanges: u64) -> Self {
        Self {
            exchanges,
            replays: 0,
            families_revoked: 0,
        }
    }

    pub fn replays(self, replays: u64) -> Self {
        Self { replays, ..self }
    }

    pub fn families_revoked(self, families_revoked: u64) -> Self {
        Self {
            families_revoked,
            ..self
        }
    }
}

/// One server, one clock and one store. The world issues the first pair when it is made.
#[derive(Debug)]
pub struct World<S = MemoryStore> {
    pub clock: TestClock,
    pub server: AuthorizationServer,
    pub first: TokenPair,
    /// The store that the managers of a session share.
    pub store: S,
    /// The profile of the server that managers get.
    pub profile: ServerProfile,
}

impl World {
    /// A strict server whose access tokens live this long. Its refresh tokens live for a week.
    pub fn new(access_ttl: Duration) -> Self {
        Self::with(|server| server.access_ttl(access_ttl))
    }

    pub fn with(
        describe: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
    ) -> Self {
        Self::of(describe(AuthorizationServer::builder().access_ttl(TTL)))
    }

    /// A world with another kind of server.
    pub fn of(server: AuthorizationServerBuilder) -> Self {
        let clock = TestClock::new();
        let server = server.clock(clock.clone()).build();
        Self {
            store: MemoryStore::with_clock(clock.clone()),
            first: server.issue(),
            clock,
            server,
            profile: ServerProfile::strict(),
        }
    }

    /// A world whose memory store is wrapped in another store.
    pub fn with_store<S>(self, wrap: impl FnOnce(MemoryStore) -> S) -> World<S> {
        World {
            store: wrap(self.store),
            clock: self.clock,
            server: self.server,
            first: self.first,
            profile: self.profile,
        }
    }
}

impl<S: TokenStore + Clone> World<S> {
    pub fn endpoint(&self) -> InProcessEndpoint {
        self.server.endpoint().with_profile(self.profile)
    }

    pub fn key(&self) -> Key {
        self.endpoint().key()
    }

    /// A manager with its own store, which holds the first pair after the first use.
    pub fn builder(&self, strategy: impl RefreshStrategy) -> Builder {
        self.builder_at(self.endpoint(), strategy)
    }

    /// A manager with its own store and another endpoint.
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

    /// A manager on the shared store.
    pub fn shared(&self, strategy: impl RefreshStrategy) -> Builder {
        self.builder(strategy).store(self.store.clone())
    }

    /// A manager on the shared store, without a first pair.
    pub fn unseeded(&self, strategy: impl RefreshStrategy) -> Builder {
        TokenManager::builder(self.endpoint())
            .clock(self.clock.clone())
            .strategy(strategy)
            .jitter(0.0)
            .store(self.store.clone())
    }

    /// A manager with its own store, built and used once.
    pub async fn manager(&self, strategy: impl RefreshStrategy) -> TokenManager {
        loaded(self.builder(strategy)).await
    }

    /// Advances the clock past the expiry of an access token that lives for 600 s.
    pub async fn expire(&self) {
        self.clock.advance(TTL + SECOND).await;
    }

    /// A caller whose exchange has reached the server. The server answers once the guard is dropped.
    pub async fn call_in_flight(&self, tokens: &TokenManager) -> (Hold, Caller) {
        self.in_flight(|| call(tokens)).await
    }

    /// A rotation whose exchange has reached the server. The server answers once the guard is dropped.
    pub async fn rotate_in_flight(&self, tokens: &TokenManager) -> (Hold, Caller) {
        self.in_flight(|| rotate(tokens)).await
    }

    async fn in_flight(&self, begin: impl FnOnce() -> Caller) -> (Hold, Caller) {
        let hold = self.server.hold();
        let arrived = self.server.exchanges();
        let caller = begin();
        self.server.arrived(arrived + 1).await;
        (hold, caller)
    }

    pub fn is_live(&self, token: &Token) -> bool {
        self.server.check(token.expose()) == AccessCheck::Live
    }

    pub fn counts(&self) -> Counts {
        Counts {
            exchanges: self.server.exchanges(),
            replays: self.server.replays(),
            families_revoked: self.server.families_revoked(),
        }
    }

    /// Checks that no refresh token was used twice, and that no family was revoked for that.
    #[track_caller]
    pub fn assert_unharmed(&self) {
        assert_eq!(self.counts(), Counts::exchanges(self.server.exchanges()));
    }

    /// Checks that this number of refresh tokens was sent, each once.
    #[track_caller]
    pub fn assert_exchanges(&self, exchanges: u64) {
        assert_eq!(self.counts(), Counts::exchanges(exchanges));
    }
}

pub type Caller = JoinHandle<Result<Token, Error>>;

/// A task that asks for a token.
pub fn call(tokens: &TokenManager) -> Caller {
    let tokens = tokens.clone();
    tokio::spawn(async move { tokens.token().await })
}

/// This number of tasks, each of which asks for a token.
pub fn callers(tokens: &TokenManager, count: usize) -> Vec<Caller> {
    (0..count).map(|_| call(tokens)).collect()
}

/// A task that asks for a rotation.
pub fn rotate(tokens: &TokenManager) -> Caller {
    let tokens = tokens.clone();
    tokio::spawn(async move { tokens.rotate().await })
}

/// A manager after its first use: its store holds its pair, and its worker runs.
pub async fn loaded(builder: Builder) -> TokenManager {
    let tokens = built(builder);
    tokens.token().await.unwrap();
    tokens
}

/// Runs every task that is ready. No time passes.
pub async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// The events that this receiver has received so far.
pub fn drain(events: &mut Events) -> Vec<Event> {
    std::iter::from_fn(|| events.try_recv()).collect()
}

/// Collects every event from now on. No event is lost to lagging.
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

/// The text of the token, for a comparison of two tokens.
pub fn text(token: &Result<Token, Error>) -> &str {
    token.as_ref().unwrap().expose()
}

/// The reasons of the ends so far. Checks that each failure gives its cause.
pub fn ends(events: &mut Events) -> Vec<EndReason> {
    let reason = |event: Event| {
        assert_eq!(reasons::lacking_in_event(&event), None);
        match event {
            Event::Ended { reason, .. } => Some(reason),
            _ => None,
        }
    };
    drain(events).into_iter().filter_map(reason).collect()
}

/// The reason of the end, if the error reports the end of the session.
pub fn reason(error: &Error) -> Option<EndReason> {
    match error {
        Error::Ended { reason, .. } => Some(reason.clone()),
        _ => None,
    }
}

/// The server answers with this error code, and does not rotate.
pub fn refusal(status: u16, code: &str) -> Fault {
    Fault::Status {
        status,
        body: format!(r#"{{"error":"{code}"}}"#),
        retry_after: None,
    }
}

/// A gateway between the client and the server answers with a page.
pub fn page(status: u16) -> Fault {
    Fault::Status {
        status,
        body: "<html><body>This is not the page that you are looking for</body></html>".to_owned(),
        retry_after: None,
    }
}

/// The server asks the client to come later, and does not rotate. Such a failure counts as an exchange.
pub fn later(after: Option<Duration>) -> Fault {
    Fault::Status {
        status: 429,
        body: r#"{"error":"slow_down"}"#.to_owned(),
        retry_after: after,
    }
}

impl World {
    /// A world whose access tokens live for 600 s, and a manager with its own store, used once.
    pub async fn managed(strategy: impl RefreshStrategy) -> (Self, TokenManager) {
        let world = Self::new(TTL);
        let tokens = world.manager(strategy).await;
        (world, tokens)
    }
}

impl<S: TokenStore + Clone> World<S> {
    /// Checks that each caller gets a token that is live.
    pub async fn assert_all_live(&self, callers: impl IntoIterator<Item = Caller>) {
        for token in served(callers).await {
            assert!(self.is_live(&token), "{}", token.pair_id());
        }
    }

    /// Asks for a token every second, and checks that it is live.
    pub async fn assert_live_for(&self, tokens: &TokenManager, span: Duration) {
        for _ in 0..span.as_secs() {
            assert!(self.is_live(&tokens.token().await.unwrap()));
            self.clock.advance(SECOND).await;
        }
    }
}

/// The tokens that the callers get.
pub async fn served(callers: impl IntoIterator<Item = Caller>) -> Vec<Token> {
    let answers = futures_util::future::join_all(callers).await;
    let answers = answers.into_iter().map(Result::unwrap);
    answers.map(Result::unwrap).collect()
}

/// The errors that the callers get.
pub async fn failures(callers: impl IntoIterator<Item = Caller>) -> Vec<Error> {
    let answers = futures_util::future::join_all(callers).await;
    let answers = answers.into_iter().map(Result::unwrap);
    answers.map(Result::unwrap_err).collect()
}

/// Whether this is `tests/sessions/`, which runs suites that exist for one manager for a manager of `Sessions`.
const AMONG_SESSIONS: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"sessions");

/// A manager: alone, or one of `Sessions` in `tests/sessions/`.
pub fn built(builder: Builder) -> TokenManager {
    if AMONG_SESSIONS {
        builder.build_among_sessions().unwrap()
    } else {
        builder.build().unwrap()
    }
}

/// The reason of the end that this answer reports.
#[track_caller]
pub fn end_of<T: std::fmt::Debug>(answer: Result<T, Error>) -> EndReason {
    let error = answer.unwrap_err();
    reason(&error).unwrap_or_else(|| panic!("no end: {error:?}"))
}

impl<S: TokenStore + Clone> World<S> {
    /// Two managers on the shared store, each used once.
    pub async fn two_managers(
        &self,
        strategy: impl RefreshStrategy + Clone,
    ) -> (TokenManager, TokenManager) {
        let one = loaded(self.shared(strategy.clone())).await;
        (one, loaded(self.shared(strategy)).await)
    }
}
