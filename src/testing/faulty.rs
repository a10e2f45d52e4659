//! Wrappers that fail on request: [`FaultyStore`] around any store, [`FaultyEndpoint`] around any token endpoint. A test
//! scripts which calls fail and how, and reads afterwards how often each kind of call was made.
//!
//! A wrapper never changes an argument, a record or an answer on its way: where that is needed, a test writes a store or
//! an endpoint of its own. [`AuthorizationServer::fail_next`](super::AuthorizationServer::fail_next) is the counterpart
//! on the server's side.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::clock::until;
use super::fault::{Call, CallFault, Script};
use crate::endpoint::{EndpointError, Grant, Issued, ServerProfile, TokenEndpoint};
use crate::record::{Lease, Record};
use crate::store::{Loaded, Revision, StoreError, StoreTime, Swap, TokenStore};
use crate::token::{Digest, Key, TokenPair};

/// A kind of call of a [`TokenStore`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreCall {
    /// [`TokenStore::load`].
    Load,
    /// [`TokenStore::swap`] and [`TokenStore::swap_timed`].
    Swap,
    /// [`TokenStore::changed`]. It has no error: a call that fails returns at once, without a change.
    Changed,
    /// [`TokenStore::find`].
    Find,
    /// [`TokenStore::find_by_access`].
    FindByAccess,
    /// [`TokenStore::find_by_upstream`].
    FindByUpstream,
    /// [`TokenStore::holder_is_dead`]. It has no error: a call that fails answers "no".
    HolderIsDead,
}

/// A kind of call of a [`TokenEndpoint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndpointCall {
    /// [`TokenEndpoint::exchange`] of a refresh token.
    Refresh,
    /// [`TokenEndpoint::exchange`] of the endpoint's own credentials.
    SignIn,
    /// [`TokenEndpoint::revoke`].
    Revoke,
    /// [`TokenEndpoint::first_pair`]. This call and those below wait for nothing and have no error: a
    /// [`CallFault::PanicBefore`] is the only fault that they meet.
    FirstPair,
    /// [`TokenEndpoint::can_sign_in`].
    CanSignIn,
    /// [`TokenEndpoint::profile`].
    Profile,
    /// [`TokenEndpoint::timeout`].
    Timeout,
    /// [`TokenEndpoint::key`].
    Key,
}

impl Call for StoreCall {
    type Error = StoreError;

    fn failed() -> StoreError {
        StoreError::new("the store is down")
    }

    fn unanswered() -> StoreError {
        StoreError::new("the answer was lost")
    }

    /// A manager that waits for a change would call again at once, without end.
    fn fails_while_down(self) -> bool {
        self != Self::Changed
    }
}

impl Call for EndpointCall {
    type Error = EndpointError;

    fn failed() -> EndpointError {
        EndpointError::not_sent("connection refused")
    }

    fn unanswered() -> EndpointError {
        EndpointError::unknown("the answer was lost")
    }
}

/// The methods by which a test scripts a wrapper and reads its counters: the same for both.
macro_rules! scripted {
    ($wrapper:ident, $call:ident, $error:ident) => {
        impl $wrapper {
            /// The next `times` calls of this kind meet this fault, after those scripted before.
            pub fn fail_next(&self, call: $call, times: usize, fault: CallFault<$error>) {
                self.script
                    .edit(call, |plan| plan.next.extend(vec![Some(fault); times]));
            }

            /// The next `times` calls of this kind work: a fault scripted after this one meets a later call.
            pub fn work_next(&self, call: $call, times: usize) {
                self.script
                    .edit(call, |plan| plan.next.extend(vec![None; times]));
            }

            /// Every call of this kind meets this fault, once those of [`fail_next`](Self::fail_next) are used up; `None`
            /// ends it.
            pub fn fail_always(&self, call: $call, fault: Option<CallFault<$error>>) {
                self.script.edit(call, |plan| plan.always = fault);
            }

            /// Whether every call that has an error fails, before any scripted fault. A call that hangs or is delayed before
            /// the inner call fails too, if the wrapper is down by then.
            pub fn set_down(&self, down: bool) {
                self.script.is_down.store(down, Ordering::SeqCst);
            }

            /// Releases the calls that hang now. A later call hangs until the next release.
            pub fn release(&self) {
                self.script.releases.send_modify(|releases| *releases += 1);
            }

            /// The number of calls of this kind that arrived at the wrapper, including those that failed.
            #[must_use]
            pub fn calls(&self, call: $call) -> u64 {
                let calls = self.script.calls.borrow();
                calls.get(&call).copied().unwrap_or_default()
            }

            /// Waits until [`calls`](Self::calls) is at least `count`.
            pub async fn called(&self, call: $call, count: u64) {
                let is_reached = |calls: &HashMap<$call, u64>| {
                    calls.get(&call).copied().unwrap_or_default() >= count
                };
                until(&self.script.calls, is_reached).await;
            }
        }

        impl fmt::Debug for $wrapper {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($wrapper))
                    .field(&self.inner)
                    .finish()
            }
        }
    };
}

/// A store that fails as a test scripts it, around any other store.
///
/// Clones are one store with one script. Two wrappers around one store are two instances' connections to it, which fail
/// apart.
///
/// ```
/// use evertoken::testing::{AuthorizationServer, CallFault, FaultyStore, StoreCall, TestClock};
/// use evertoken::{MemoryStore, TokenManager};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = AuthorizationServer::builder().build();
/// let store = FaultyStore::new(MemoryStore::new());
/// let tokens = TokenManager::builder(server.endpoint())
///     .clock(TestClock::new())
///     .store(store.clone())
///     .seed(server.issue())
///     .build()?;
/// tokens.token().await?;
///
/// // The lease is written, and the new pair as well; but its instance gets an error in place of the answer.
/// store.work_next(StoreCall::Swap, 1);
/// store.fail_next(StoreCall::Swap, 1, CallFault::LoseAnswer);
/// let rotated = tokens.rotate().await?;
/// let record = store.record(tokens.key()).await?.ok_or("a record")?;
/// assert_eq!(record.pair_id(), rotated.pair_id());
/// assert_eq!(server.exchanges(), 1);
///
/// // While the store is down, the pair that the instance holds is served.
/// store.set_down(true);
/// assert_eq!(tokens.token().await?.pair_id(), rotated.pair_id());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FaultyStore {
    inner: Arc<dyn TokenStore>,
    script: Arc<Script<StoreCall>>,
    time: Arc<Time>,
}

#[derive(Default)]
struct Time {
    /// By how many milliseconds the store's time is ahead of the inner store's.
    ahead: AtomicI64,
    swaps_are_timed: AtomicBool,
}

scripted!(FaultyStore, StoreCall, StoreError);

impl FaultyStore {
    /// A store that works, until a fault is scripted.
    #[must_use]
    pub fn new(inner: impl TokenStore) -> Self {
        Self {
            inner: Arc::new(inner),
            script: Script::new(),
            time: Arc::default(),
        }
    }

    /// The record that the inner store holds for this key. It is read past the script and not counted.
    pub async fn record(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let loaded = self.inner.load(key).await?;
        Ok(loaded.entry.map(|(record, _)| record))
    }

    /// Sets the store back: writes this record over the one of this key, as a failover that lost writes does. The
    /// record has a new revision, and waiters are notified. It is written past the script and not counted.
    pub async fn set_back(&self, key: &Key, record: &Record) -> Result<(), StoreError> {
        loop {
            let entry = self.inner.load(key).await?.entry;
            let seen = entry.map(|(_, revision)| revision);
            if let Swap::Swapped(_) = self.inner.swap(key, seen, record).await? {
                return Ok(());
            }
        }
    }

    /// Steps the store's time, and only that, forwards.
    pub fn step_time(&self, forward: Duration) {
        self.time.ahead.fetch_add(millis(forward), Ordering::SeqCst);
    }

    /// Steps the store's time, and only that, back.
    pub fn step_time_back(&self, back: Duration) {
        self.time.ahead.fetch_sub(millis(back), Ordering::SeqCst);
    }

    /// Whether [`TokenStore::swap_timed`] is answered with a time also where the inner store does not tell one.
    /// Default: no.
    pub fn set_swaps_timed(&self, timed: bool) {
        self.time.swaps_are_timed.store(timed, Ordering::SeqCst);
    }

    fn stepped(&self, now: StoreTime) -> StoreTime {
        let ahead = self.time.ahead.load(Ordering::SeqCst);
        StoreTime::from_millis(now.as_millis().saturating_add_signed(ahead))
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[async_trait]
impl TokenStore for FaultyStore {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        let call = self.inner.load(key);
        let loaded = self.script.meet(StoreCall::Load, call).await?;
        let now = self.stepped(loaded.now);
        Ok(Loaded { now, ..loaded })
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        let call = self.inner.swap(key, seen, next);
        self.script.meet(StoreCall::Swap, call).await
    }

    async fn swap_timed(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<(Swap, Option<StoreTime>), StoreError> {
        let call = async {
            let (swap, now) = self.inner.swap_timed(key, seen, next).await?;
            let is_timed = self.time.swaps_are_timed.load(Ordering::SeqCst);
            Ok(match now {
                None if is_timed => (swap, Some(self.inner.load(key).await?.now)),
                now => (swap, now),
            })
        };
        let (swap, now) = self.script.meet(StoreCall::Swap, call).await?;
        Ok((swap, now.map(|now| self.stepped(now))))
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        let call = async {
            self.inner.changed(key, seen).await;
            Ok(())
        };
        if self.script.meet(StoreCall::Changed, call).await.is_err() {
            // A caller that calls again at once lets other tasks run.
            tokio::task::yield_now().await;
        }
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let call = self.inner.find(digest);
        self.script.meet(StoreCall::Find, call).await
    }

    async fn find_by_access(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let call = self.inner.find_by_access(digest);
        self.script.meet(StoreCall::FindByAccess, call).await
    }

    async fn find_by_upstream(&self, mark: &Digest) -> Result<Option<Vec<Key>>, StoreError> {
        let call = self.inner.find_by_upstream(mark);
        self.script.meet(StoreCall::FindByUpstream, call).await
    }

    async fn holder_is_dead(&self, key: &Key, lease: &Lease) -> bool {
        let call = async { Ok(self.inner.holder_is_dead(key, lease).await) };
        let answer = self.script.meet(StoreCall::HolderIsDead, call).await;
        answer.unwrap_or(false)
    }
}

/// A token endpoint that fails as a test scripts it, around any other endpoint.
///
/// Clones are one endpoint with one script.
///
/// ```
/// use evertoken::testing::{AuthorizationServer, CallFault, EndpointCall, FaultyEndpoint, TestClock};
/// use evertoken::{TokenManager, TokenPair};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = AuthorizationServer::builder().build();
/// let seed = server.issue().refresh.ok_or("a refresh token")?;
/// let endpoint = FaultyEndpoint::new(server.endpoint());
/// let tokens = TokenManager::builder(endpoint.clone())
///     .clock(TestClock::new())
///     .seed(TokenPair::from_refresh_token(seed))
///     .build()?;
///
/// // A request that is not sent spends no refresh token: the manager tries again.
/// endpoint.fail_next(EndpointCall::Refresh, 2, CallFault::Fail);
/// tokens.token().await?;
/// assert_eq!(endpoint.calls(EndpointCall::Refresh), 3);
/// assert_eq!(server.exchanges(), 1);
///
/// // The server rotates, and its answer is lost: a strict server would take another try for theft.
/// endpoint.fail_next(EndpointCall::Refresh, 1, CallFault::LoseAnswer);
/// assert!(tokens.rotate().await.is_err());
/// assert_eq!((server.rotations(), server.replays()), (2, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FaultyEndpoint {
    inner: Arc<dyn TokenEndpoint>,
    script: Arc<Script<EndpointCall>>,
}

scripted!(FaultyEndpoint, EndpointCall, EndpointError);

impl FaultyEndpoint {
    /// An endpoint that works, until a fault is scripted.
    #[must_use]
    pub fn new(inner: impl TokenEndpoint) -> Self {
        Self {
            inner: Arc::new(inner),
            script: Script::new(),
        }
    }
}

#[async_trait]
impl TokenEndpoint for FaultyEndpoint {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        let call = match grant {
            Grant::Refresh { .. } => EndpointCall::Refresh,
            Grant::SignIn { .. } => EndpointCall::SignIn,
        };
        self.script.meet(call, self.inner.exchange(grant)).await
    }

    async fn revoke(&self, pair: &TokenPair) -> Result<(), EndpointError> {
        let call = self.inner.revoke(pair);
        self.script.meet(EndpointCall::Revoke, call).await
    }

    fn first_pair(&self) -> Option<TokenPair> {
        self.script.meet_at_once(EndpointCall::FirstPair);
        self.inner.first_pair()
    }

    fn can_sign_in(&self) -> bool {
        self.script.meet_at_once(EndpointCall::CanSignIn);
        self.inner.can_sign_in()
    }

    fn profile(&self) -> ServerProfile {
        self.script.meet_at_once(EndpointCall::Profile);
        self.inner.profile()
    }

    fn timeout(&self) -> Duration {
        self.script.meet_at_once(EndpointCall::Timeout);
        self.inner.timeout()
    }

    fn key(&self) -> Key {
        self.script.meet_at_once(EndpointCall::Key);
        self.inner.key()
    }
}
