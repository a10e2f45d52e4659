//! Points at which a test can act: before and after every call of the store and of the endpoint. The store fails on
//! request. The endpoint records which tokens the server issued and which tokens the instance revoked.
#![allow(dead_code, unreachable_pub)]

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use evertoken::protocol::Record;
use evertoken::store::{Loaded, Revision, Swap};
use evertoken::testing::{FaultyStore, InProcessEndpoint, TestClock};
use evertoken::{
    EndpointError, Grant, Issued, Key, MemoryStore, RefreshToken, ServerProfile, StoreError,
    TokenEndpoint, TokenPair, TokenStore, async_trait,
};
use parking_lot::Mutex;

type Unit = Pin<Box<dyn Future<Output = ()> + Send>>;
type Action = Box<dyn FnOnce() -> Unit + Send>;

/// Counts the points that calls pass. Runs an action at one of the points, or waits at all of them.
#[derive(Clone, Default)]
pub struct Probe(Arc<Points>);

#[derive(Default)]
struct Points {
    passed: AtomicUsize,
    action: Mutex<Option<(usize, Action)>>,
    /// The seed of the pauses. If it is not zero, every point takes 0 to 7 ms.
    seed: AtomicU64,
}

impl Probe {
    /// Runs `action` at the `point`-th point from now on (counted from 0). The call that reaches the point waits for
    /// the action.
    pub fn at<F: Future<Output = ()> + Send + 'static>(
        &self,
        point: usize,
        action: impl FnOnce() -> F + Send + 'static,
    ) {
        let at = self.0.passed.load(Ordering::SeqCst) + point;
        *self.0.action.lock() = Some((at, Box::new(|| Box::pin(action()))));
    }

    /// Whether the action has yet to run.
    pub fn is_pending(&self) -> bool {
        self.0.action.lock().is_some()
    }

    /// From now on every point takes a time that depends on the seed.
    pub fn scramble(&self, seed: u64) {
        // Neighbouring seeds must not begin alike, and a seed of zero would stay zero.
        let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0.seed.store(mixed, Ordering::SeqCst);
    }

    /// The next pause, 0 to 7 ms.
    pub fn draw(&self) -> Duration {
        let mut bits = self.0.seed.load(Ordering::SeqCst);
        if bits == 0 {
            return Duration::ZERO;
        }
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        self.0.seed.store(bits, Ordering::SeqCst);
        Duration::from_millis((bits >> 32) % 8)
    }

    async fn pass(&self) {
        let point = self.0.passed.fetch_add(1, Ordering::SeqCst);
        let action = self.0.action.lock().take_if(|(at, _)| *at == point);
        if let Some((_, action)) = action {
            action().await;
        }
        let pause = self.draw();
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

/// A memory store with a point before and after each load and swap. The store fails as the test requests.
#[derive(Clone)]
pub struct ProbedStore {
    inner: FaultyStore,
    probe: Probe,
}

impl ProbedStore {
    pub fn new(clock: &TestClock, probe: &Probe) -> Self {
        Self {
            inner: FaultyStore::new(MemoryStore::with_clock(clock.clone())),
            probe: probe.clone(),
        }
    }

    pub fn set_down(&self, down: bool) {
        self.inner.set_down(down);
    }

    /// The record in its serialized form; null without a record.
    pub async fn json(&self, key: &Key) -> serde_json::Value {
        serde_json::to_value(self.inner.record(key).await.unwrap()).unwrap()
    }

    /// The store falls back to an old record.
    pub async fn restore(&self, key: &Key, record: &Record) {
        let loaded = self.inner.load(key).await.unwrap();
        let seen = loaded.entry.map(|(_, revision)| revision);
        self.inner.swap(key, seen, record).await.unwrap();
    }
}

impl fmt::Debug for ProbedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbedStore").finish_non_exhaustive()
    }
}

#[async_trait]
impl TokenStore for ProbedStore {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        self.probe.pass().await;
        let loaded = self.inner.load(key).await?;
        self.probe.pass().await;
        Ok(loaded)
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        self.probe.pass().await;
        let swapped = self.inner.swap(key, seen, next).await?;
        self.probe.pass().await;
        Ok(swapped)
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        self.inner.changed(key, seen).await;
    }
}

/// The endpoint of the server. Clones share their state.
#[derive(Clone)]
pub struct ProbedEndpoint {
    inner: InProcessEndpoint,
    probe: Probe,
    tokens: Arc<Tokens>,
    revocation_fails: Arc<AtomicBool>,
}

/// Refresh tokens, in the order of the calls.
#[derive(Default)]
struct Tokens {
    issued: Mutex<Vec<String>>,
    revoked: Mutex<Vec<String>>,
}

impl ProbedEndpoint {
    pub fn new(inner: InProcessEndpoint, probe: &Probe) -> Self {
        Self {
            inner,
            probe: probe.clone(),
            tokens: Arc::default(),
            revocation_fails: Arc::default(),
        }
    }

    pub fn fail_revocations(&self) {
        self.revocation_fails.store(true, Ordering::SeqCst);
    }

    /// The refresh tokens that the server issued.
    pub fn issued(&self) -> Vec<String> {
        self.tokens.issued.lock().clone()
    }

    /// The refresh tokens that the instance asked the server to revoke.
    pub fn revoked(&self) -> Vec<String> {
        self.tokens.revoked.lock().clone()
    }
}

impl fmt::Debug for ProbedEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbedEndpoint").finish_non_exhaustive()
    }
}

#[async_trait]
impl TokenEndpoint for ProbedEndpoint {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        self.probe.pass().await;
        let answer = self.inner.exchange(grant).await;
        if let Ok(Issued {
            refresh: Some(refresh),
            ..
        }) = &answer
        {
            self.tokens.issued.lock().push(refresh.expose().to_owned());
        }
        self.probe.pass().await;
        answer
    }

    async fn revoke(&self, pair: &TokenPair) -> Result<(), EndpointError> {
        self.probe.pass().await;
        let refresh = pair.refresh.as_ref().map_or("", RefreshToken::expose);
        self.tokens.revoked.lock().push(refresh.to_owned());
        if self.revocation_fails.load(Ordering::SeqCst) {
            return Err(EndpointError::rejected("unsupported_token_type"));
        }
        let revoked = self.inner.revoke(pair).await;
        self.probe.pass().await;
        revoked
    }

    fn can_sign_in(&self) -> bool {
        self.inner.can_sign_in()
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
