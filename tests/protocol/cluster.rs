//! Several token managers that share one store and one server. Each stands for an instance on a machine of its own.

use std::time::Duration;

use evertoken::testing::{
    AuthorizationServer, AuthorizationServerBuilder, Fault, Hold, InProcessEndpoint, TestClock,
};
use evertoken::{
    Builder, EndReason, Error, Event, Events, Key, ServerProfile, Token, TokenEndpoint,
    TokenManager, TokenPair,
};

use crate::fault_store::FaultStore;
use crate::reasons;

pub(crate) const TTL: Duration = Duration::from_secs(600);
pub(crate) const LEASE_DURATION: Duration = Duration::from_secs(60);

pub(crate) type Caller = tokio::task::JoinHandle<Result<Token, Error>>;

pub(crate) struct Cluster {
    pub(crate) clock: TestClock,
    pub(crate) server: AuthorizationServer,
    pub(crate) store: FaultStore,
    pub(crate) first: TokenPair,
    pub(crate) profile: ServerProfile,
}

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

impl Cluster {
    /// A strict server.
    pub(crate) fn strict() -> Self {
        Self::new(|server| server)
    }

    pub(crate) fn new(
        rules: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
    ) -> Self {
        let clock = TestClock::new();
        let server = rules(
            AuthorizationServer::builder()
                .clock(clock.clone())
                .access_ttl(TTL),
        )
        .build();
        Self {
            store: FaultStore::new(clock.clone()),
            first: server.issue(),
            clock,
            server,
            profile: ServerProfile::strict(),
        }
    }

    pub(crate) fn endpoint(&self) -> InProcessEndpoint {
        self.server.endpoint().with_profile(self.profile)
    }

    pub(crate) fn key(&self) -> Key {
        self.endpoint().key()
    }

    pub(crate) fn builder(&self, endpoint: impl TokenEndpoint) -> Builder {
        TokenManager::builder(endpoint)
            .clock(self.clock.clone())
            .store(self.store.connection())
            .seed(self.first.clone())
            .jitter(0.0)
    }

    /// An instance.
    pub(crate) fn node(&self) -> TokenManager {
        self.builder(self.endpoint()).build().expect("builds")
    }

    /// An instance that has loaded the session.
    pub(crate) async fn warm_node(&self) -> TokenManager {
        let node = self.node();
        node.token().await.expect("is seeded");
        node
    }

    /// An instance that has loaded the session and whose callers wait for up to 3000 s.
    pub(crate) async fn patient_node(&self) -> TokenManager {
        let node = self
            .builder(self.endpoint())
            .wait(seconds(3_000))
            .build()
            .expect("builds");
        node.token().await.expect("is seeded");
        node
    }

    /// An instance that has rotated once, so that its client is known to work at this server.
    pub(crate) async fn begun_node(&self) -> TokenManager {
        let node = self.warm_node().await;
        node.rotate().await.expect("is rotated");
        node
    }

    /// A caller that waits for a rotation whose request has arrived at the server. The server answers once the guard
    /// is dropped.
    pub(crate) async fn call_in_flight(&self, node: &TokenManager) -> (Hold, Caller) {
        let hold = self.server.hold();
        let arrived = self.server.exchanges();
        let node = node.clone();
        let caller = tokio::spawn(async move { node.token().await });
        self.server.arrived(arrived + 1).await;
        (hold, caller)
    }

    /// Advances the clock past the expiry of the access token.
    pub(crate) async fn expire(&self) {
        self.clock.advance(TTL + seconds(1)).await;
    }

    /// The counters of the server: exchanges, replays, revoked families.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        (
            self.server.exchanges(),
            self.server.replays(),
            self.server.families_revoked(),
        )
    }

    /// The store's time in milliseconds, as a record stores it.
    pub(crate) fn store_now(&self) -> u64 {
        use evertoken::clock::Clock;
        u64::try_from(self.clock.wall().as_millis()).expect("fits")
    }

    /// Writes a lease on the current token by an instance that no longer runs.
    pub(crate) async fn plant_lease(&self) {
        let now = serde_json::to_value(self.store_now()).expect("a number");
        let key = self.key();
        let digest = self
            .store
            .record(&key)
            .await
            .expect("a record")
            .digest()
            .to_string();
        self.store
            .edit(&key, |record| {
                let number = record["next_number"].clone();
                record["next_number"] = (number.as_u64().expect("a number") + 1).into();
                record["lease"] = serde_json::json!({
                    "owner": "0123456789abcdef0123456789abcdef",
                    "number": number, "digest": digest, "since": now,
                });
            })
            .await;
    }
}

/// Starts `count` callers at once.
pub(crate) fn callers(node: &TokenManager, count: usize) -> Vec<Caller> {
    (0..count)
        .map(|_| {
            let node = node.clone();
            tokio::spawn(async move { node.token().await })
        })
        .collect()
}

/// The answer of a gateway between the client and the server.
pub(crate) fn page(status: u16) -> Fault {
    Fault::Status {
        status,
        body: "<html><body>This is not the page that you are looking for</body></html>".to_owned(),
        retry_after: None,
    }
}

/// A refusal by the server itself, which has rotated nothing.
pub(crate) fn refusal(status: u16, code: &str) -> Fault {
    Fault::Status {
        status,
        body: format!(r#"{{"error":"{code}"}}"#),
        retry_after: None,
    }
}

pub(crate) fn reason(error: &Error) -> Option<EndReason> {
    match error {
        Error::Ended { reason, .. } => Some(reason.clone()),
        _ => None,
    }
}

/// The reasons of the `Ended` events so far.
pub(crate) fn ends(events: &mut Events) -> Vec<EndReason> {
    std::iter::from_fn(|| events.try_recv())
        .inspect(|event| assert_eq!(reasons::lacking_in_event(event), None))
        .filter_map(|event| match event {
            Event::Ended { reason, .. } => Some(reason),
            _ => None,
        })
        .collect()
}
