//! A strict server, a clock and a manager between them: what the acceptance tests start from.
#![allow(dead_code, unreachable_pub)]

use std::sync::Arc;
use std::time::Duration;

use evertoken::testing::{
    AccessCheck, AuthorizationServer, AuthorizationServerBuilder, Fault, TestClock,
};
use evertoken::{
    Builder, Error, Event, Events, Lifetime, Plan, RefreshStrategy, Token, TokenEndpoint,
    TokenManager, TokenPair,
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
