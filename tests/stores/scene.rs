//! A session, its server, and instances that share the session in one storage, in real time. The instances and the
//! storage sleep through hours, so hours pass at once.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evertoken::protocol::{Digest, Record};
use evertoken::testing::{
    AccessCheck, AuthorizationServer, AuthorizationServerBuilder, Fault, GraceAnswer, Hold,
    InProcessEndpoint, Reuse, TestClock,
};
use evertoken::{
    Builder, CoolDown, EndReason, Error, Event, Events, Key, ServerProfile, Token, TokenEndpoint,
    TokenManager, TokenPair, TokenStore,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::backend::Storage;
use crate::line::{Ahead, Line, Shut};

pub(crate) const TTL: Duration = Duration::from_secs(600);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const LEASE_DURATION: Duration = Duration::from_secs(60);

/// The longest timeout that the lease duration permits.
const STORE_TIMEOUT: Duration = Duration::from_secs(12);

/// A pause that callers wait through. The pause does not end in the real time of a test.
pub(crate) const PAUSE: Duration = Duration::from_secs(20);

/// The limit for every wait: longer than any step takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) type Caller = JoinHandle<Result<Token, Error>>;

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) struct Scene {
    pub(crate) clock: TestClock,
    pub(crate) server: AuthorizationServer,
    pub(crate) first: TokenPair,
    pub(crate) key: Key,
    pub(crate) profile: ServerProfile,
    pub(crate) storage: Arc<dyn Storage>,
    ahead: Ahead,
}

impl Scene {
    /// A session that no other test uses, on a strict server.
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Self {
        Self::of(storage, |server| server)
    }

    /// Another session on a strict server.
    pub(crate) fn strict(&self) -> Self {
        Self::new(Arc::clone(&self.storage))
    }

    /// Another session, on a server with these rules.
    pub(crate) fn with(
        &self,
        rules: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
    ) -> Self {
        Self::of(Arc::clone(&self.storage), rules)
    }

    /// Another session, on a server that answers the second use of a token within 300 s.
    pub(crate) fn with_grace(&self, answer: GraceAnswer) -> Self {
        let window = seconds(300);
        self.with(|server| server.reuse(Reuse::Grace { window, answer }))
    }

    fn of(
        storage: Arc<dyn Storage>,
        rules: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
    ) -> Self {
        static SCENES: AtomicU64 = AtomicU64::new(1);
        let clock = TestClock::new();
        let server = AuthorizationServer::builder().clock(clock.clone());
        let server = rules(server.access_ttl(TTL)).build();
        let number = SCENES.fetch_add(1, Ordering::SeqCst);
        Self {
            first: server.issue(),
            key: Key::new("authorization-server.test", "importer").label(format!("scene {number}")),
            clock,
            server,
            profile: ServerProfile::strict(),
            storage,
            ahead: Ahead::default(),
        }
    }

    pub(crate) fn endpoint(&self) -> InProcessEndpoint {
        self.server.endpoint().with_profile(self.profile)
    }

    /// Opens a connection to the storage for another instance.
    pub(crate) async fn line(&self) -> Line {
        Line::new(self.storage.open().await, self.ahead.clone())
    }

    /// Opens a connection for an instance whose tasks run on this runtime.
    pub(crate) async fn line_on(&self, runtime: &tokio::runtime::Handle) -> Line {
        let storage = Arc::clone(&self.storage);
        let open = runtime.spawn(async move { storage.open().await });
        Line::new(open.await.expect("no panic"), self.ahead.clone())
    }

    /// A builder without a seed.
    pub(crate) fn bare(&self, endpoint: impl TokenEndpoint, line: &Line) -> Builder {
        TokenManager::builder(endpoint)
            .clock(self.clock.clone())
            .store(line.clone())
            .key(self.key.clone())
            .jitter(0.0)
            // A waiting instance loads the record again after at most this time.
            .poll_interval(millis(20))
            // An instance that the test stops keeps its lease, and does not serve a pair because of a timeout.
            .store_timeout(STORE_TIMEOUT)
    }

    pub(crate) fn builder(&self, line: &Line) -> Builder {
        self.bare(self.endpoint(), line).seed(self.first.clone())
    }

    /// An instance that has loaded the session.
    pub(crate) async fn node(&self) -> Node {
        self.node_with(|builder| builder).await
    }

    pub(crate) async fn node_with(&self, set: impl FnOnce(Builder) -> Builder) -> Node {
        let line = self.line().await;
        Node::loaded(set(self.builder(&line)), line).await
    }

    pub(crate) async fn nodes<const COUNT: usize>(&self) -> [Node; COUNT] {
        self.nodes_with(|builder| builder).await
    }

    pub(crate) async fn nodes_with<const COUNT: usize>(
        &self,
        set: impl Fn(Builder) -> Builder,
    ) -> [Node; COUNT] {
        let mut nodes = Vec::new();
        for _ in 0..COUNT {
            nodes.push(self.node_with(&set).await);
        }
        nodes.try_into().ok().expect("as many as were made")
    }

    /// Instances that have loaded the session before its access token expired.
    pub(crate) async fn due_nodes<const COUNT: usize>(&self) -> [Node; COUNT] {
        let nodes = self.nodes().await;
        self.expire().await;
        nodes
    }

    /// Returns a guard and a caller that waits for a rotation. The request has arrived at the server, which decides
    /// when the guard is dropped.
    pub(crate) async fn call_in_flight(&self, node: &Node) -> (Hold, Caller) {
        let hold = self.server.hold();
        let caller = self.arriving_call(node).await;
        (hold, caller)
    }

    /// Returns a guard and a caller that waits for a rotation. The instance has its new pair, and cannot commit the pair
    /// before the guard is dropped.
    pub(crate) async fn call_before_commit(&self, node: &Node) -> (Shut, Caller) {
        let (hold, caller) = self.call_in_flight(node).await;
        let shut = node.line.stop_swaps();
        drop(hold);
        shut.reached().await;
        (shut, caller)
    }

    /// A caller whose rotation has arrived at the server.
    pub(crate) async fn arriving_call(&self, node: &Node) -> Caller {
        let arrived = self.server.exchanges();
        let caller = node.call();
        self.server.arrived(arrived + 1).await;
        caller
    }

    /// Lets the instances and the storage sleep.
    pub(crate) async fn pass(&self, span: Duration) {
        self.ahead.pass(span, || self.clock.suspend(span)).await;
    }

    /// Sleeps past the expiry of the access token.
    pub(crate) async fn expire(&self) {
        self.pass(TTL + seconds(1)).await;
    }

    /// Sleeps until every lease that exists now is stale.
    pub(crate) async fn outlast_leases(&self) {
        self.pass(LEASE_DURATION + seconds(1)).await;
    }

    /// The counters of the server: exchanges, replays, revoked families.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        (
            self.server.exchanges(),
            self.server.replays(),
            self.server.families_revoked(),
        )
    }

    pub(crate) fn is_live(&self, token: &Token) -> bool {
        self.server.check(token.expose()) == AccessCheck::Live
    }

    pub(crate) async fn active(&self) -> Vec<Digest> {
        self.storage.active(&self.key).await
    }

    pub(crate) async fn inactive(&self) -> Vec<Digest> {
        self.storage.inactive(&self.key).await
    }

    pub(crate) async fn record(&self) -> Record {
        self.storage.record(&self.key).await.expect("a record")
    }

    /// The record in its serialized form.
    pub(crate) async fn json(&self) -> Value {
        serde_json::to_value(self.record().await).expect("serializes")
    }

    /// Writes a record as another instance does.
    pub(crate) async fn put(&self, record: &Value) {
        let record: Record = serde_json::from_value(record.clone()).expect("a record");
        let store = self.storage.open().await;
        let loaded = store.load(&self.key).await.expect("the record can be read");
        let seen = loaded.entry.map(|(_, revision)| revision);
        let swapped = store.swap(&self.key, seen, &record).await;
        let swapped = swapped.expect("the record can be written");
        assert!(
            matches!(swapped, evertoken::store::Swap::Swapped(_)),
            "another instance writes at the same time"
        );
    }

    /// Sets the store back to this record, as a failover with lost writes does.
    pub(crate) async fn fall_back_to(&self, record: &Record) {
        self.put(&serde_json::to_value(record).expect("serializes"))
            .await;
    }

    /// Adds a lease on the current token, by an instance that has died.
    pub(crate) async fn plant_lease(&self) {
        let loaded = self.line().await.load(&self.key).await.expect("readable");
        let mut record = self.json().await;
        let number = record["next_number"].as_u64().expect("a number");
        record["next_number"] = (number + 1).into();
        record["lease"] = json!({
            "owner": "0123456789abcdef0123456789abcdef",
            "number": number,
            "digest": self.record().await.digest().to_string(),
            "since": loaded.now.as_millis(),
        });
        self.put(&record).await;
    }

    /// The digest of the current pair, if the pair holds this access token.
    pub(crate) async fn digest_of(&self, token: &Token) -> Option<Digest> {
        let record = self.storage.record(&self.key).await?;
        let stored = &serde_json::to_value(&record).expect("serializes")["pair"]["access_token"];
        (stored == token.expose()).then(|| record.digest())
    }

    /// Checks that the pair of this access token is stored, and that no other pair is active.
    pub(crate) async fn assert_active(&self, token: &Token) {
        let digest = self.digest_of(token).await.expect("the pair is stored");
        assert_eq!(self.active().await, [digest]);
    }

    /// Waits until the pair of this access token is the current one.
    pub(crate) async fn until_stored(&self, token: &Token) {
        let is_stored = async || self.digest_of(token).await.is_some();
        until("the pair is stored", is_stored).await;
    }

    /// Waits until the server has got the revocation of a superseded pair.
    pub(crate) async fn until_revoked(&self) {
        let is_revoked = async || self.server.revocations() == 1;
        until("the superseded pair is revoked", is_revoked).await;
    }

    /// Whether the record has no lease.
    pub(crate) async fn is_free(&self) -> bool {
        self.json().await["lease"].is_null()
    }

    /// Returns a token after all pauses. The instances sleep through the pauses.
    pub(crate) async fn token_at_last(&self, node: &Node) -> Token {
        let mut last = None;
        for _ in 0..20 {
            match node.token().await {
                Ok(token) => return token,
                // The manager reads the record of an ended session again in the background.
                Err(Error::Ended { .. }) => {
                    self.pass(seconds(2)).await;
                    tokio::time::sleep(millis(20)).await;
                }
                Err(error) => {
                    let pause = error.retry_after().unwrap_or_default();
                    self.pass(pause).await;
                    last = Some(error);
                }
            }
        }
        panic!("no token: {last:?}");
    }
}

/// An instance.
pub(crate) struct Node {
    pub(crate) tokens: TokenManager,
    pub(crate) line: Line,
}

impl Node {
    pub(crate) async fn loaded(builder: Builder, line: Line) -> Self {
        let tokens = builder.build().expect("the settings are valid");
        tokens.token().await.expect("the session has a pair");
        Self { tokens, line }
    }

    pub(crate) fn call(&self) -> Caller {
        let tokens = self.tokens.clone();
        tokio::spawn(async move { tokens.token().await })
    }

    /// Waits until no pair of the instance waits to be stored.
    pub(crate) async fn until_persisted(&self) {
        let is_persisted = async || !self.status().is_unpersisted;
        until("the pairs of the instance are stored", is_persisted).await;
    }
}

impl Deref for Node {
    type Target = TokenManager;

    fn deref(&self) -> &TokenManager {
        &self.tokens
    }
}

/// An instance whose tasks all run on a runtime of its own.
pub(crate) struct Mortal {
    runtime: Runtime,
    pub(crate) node: Node,
}

impl Mortal {
    pub(crate) async fn new(scene: &Scene) -> Self {
        Self::with(scene, |builder| builder).await
    }

    pub(crate) async fn with(scene: &Scene, set: impl FnOnce(Builder) -> Builder) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let line = scene.line_on(runtime.handle()).await;
        let builder = set(scene.builder(&line));
        let node = runtime.spawn(async move { Node::loaded(builder, line).await });
        Self {
            node: node.await.expect("the session is loaded"),
            runtime,
        }
    }

    pub(crate) fn call(&self) -> Caller {
        let tokens = self.node.tokens.clone();
        self.runtime.spawn(async move { tokens.token().await })
    }

    /// Ends all tasks of the instance at any point, and drops everything that the instance holds.
    pub(crate) async fn die(self) {
        let Self { runtime, node } = self;
        let dying = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE));
        dying.await.expect("the runtime ends");
        drop(node);
    }

    /// Leases the token, sends the request, and dies before the answer is read.
    pub(crate) async fn die_sending(self, scene: &Scene, fault: Fault) {
        scene.server.fail_next(fault);
        let arrived = scene.server.exchanges();
        self.call();
        scene.server.arrived(arrived + 1).await;
        until("the lease of the instance is stored", async || {
            !scene.is_free().await
        })
        .await;
        self.die().await;
    }
}

/// The request arrives, and the server never decides it.
pub(crate) fn never() -> Fault {
    Fault::DelayBefore(HOUR)
}

/// The token is spent, and the answer is never sent.
pub(crate) fn unanswered() -> Fault {
    Fault::Delay(HOUR)
}

pub(crate) async fn answer(caller: Caller) -> Result<Token, Error> {
    caller.await.expect("no panic")
}

/// Asserts that all callers got the same token, and returns that token.
pub(crate) async fn common_token(callers: impl IntoIterator<Item = Caller>) -> Token {
    let mut common: Option<Token> = None;
    for caller in callers {
        let token = answer(caller).await.expect("a token");
        if let Some(common) = &common {
            assert_eq!(token.pair_id(), common.pair_id());
            assert_eq!(token.expose(), common.expose());
        }
        common = Some(token);
    }
    common.expect("there is a caller")
}

pub(crate) fn reason(error: &Error) -> Option<EndReason> {
    match error {
        Error::Ended { reason, .. } => Some(reason.clone()),
        _ => None,
    }
}

/// Sets this pause after the first failure without a token.
pub(crate) fn pausing(pause: Duration) -> impl FnOnce(Builder) -> Builder {
    move |builder| builder.cool_down(CoolDown::default().expired(pause))
}

/// Counts the rotated and the adopted pairs in the events so far.
pub(crate) fn rotated_and_adopted(events: &mut Events) -> (usize, usize) {
    let (mut rotated, mut adopted) = (0, 0);
    while let Some(event) = events.try_recv() {
        match event {
            Event::Rotated { .. } => rotated += 1,
            Event::Adopted { .. } => adopted += 1,
            _ => {}
        }
    }
    (rotated, adopted)
}

/// Waits until the condition is true.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(millis(5)).await;
        }
    };
    let came = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(came.is_ok(), "not reached in time: {what}");
}
