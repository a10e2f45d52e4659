//! Calls into user code: endpoints, stores, strategies, clocks and callbacks.
//!
//! Every call into user code is made here. A call that can wait is bounded by a timeout, and a panic becomes an error
//! or the last answer, so user code cannot end a rotation, a worker or a process. The rest of the crate holds the
//! wrappers of this module only, and cannot reach the code behind them. User code is never called in a destructor,
//! or while the state is locked.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;

use crate::clock::{Clock, Coarse, Deadline, SystemClock, Timestamp};
use crate::endpoint::{EndpointError, Grant, Issued, ServerProfile, TokenEndpoint};
use crate::record::{Lease, Record};
use crate::store::{Loaded, Revision, StoreError, StoreTime, Swap, TokenStore, with_budget};
use crate::strategy::{OnRequest, Plan, RefreshStrategy};
use crate::token::{Digest, Key, Lifetime, TokenPair};

/// User code that returned no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UserCodeError {
    #[error("panicked")]
    Panicked,
    #[error("took longer than {} s", than.as_secs_f64())]
    TookLonger { than: Duration },
}

/// Calls user code that does not wait. Returns `None` if the code panicked.
pub(crate) fn caught<T>(name: &'static str, code: impl FnOnce() -> T) -> Option<T> {
    let answer = catch_unwind(AssertUnwindSafe(code)).ok();
    if answer.is_none() {
        tracing::error!("`{name}` panicked: read the panic's message, and fix that code");
    }
    answer
}

/// Awaits user code for at most `limit`, or a moment longer if the process was suspended meanwhile.
pub(crate) async fn guarded<T>(
    limit: Duration,
    code: impl Future<Output = T>,
) -> Result<T, UserCodeError> {
    let mut code = Dropped(Some(Box::pin(AssertUnwindSafe(code).catch_unwind())));
    let mut deadline = Deadline::new(limit);
    loop {
        let Some(running) = &mut code.0 else {
            return Err(UserCodeError::Panicked);
        };
        match deadline.wait_for(running).await {
            Some(Ok(value)) => return Ok(value),
            Some(Err(_)) => return Err(UserCodeError::Panicked),
            None if deadline.renew() => {}
            None => return Err(UserCodeError::TookLonger { than: limit }),
        }
    }
}

/// A future of user code. Its destructor may panic too, and a panic that unwinds through a rotation would lose the
/// rotation's pair.
struct Dropped<F>(Option<F>);

impl<F> Drop for Dropped<F> {
    fn drop(&mut self) {
        if let Some(code) = self.0.take() {
            caught("the destructor of a future", || drop(code));
        }
    }
}

/// The wrapper of an endpoint.
#[derive(Debug)]
pub(crate) struct UserEndpoint {
    code: Arc<dyn TokenEndpoint>,
    /// The last answer, which stands in for an answer that a panic took.
    can_sign_in: AtomicBool,
}

impl UserEndpoint {
    pub(crate) fn new(code: Arc<dyn TokenEndpoint>) -> Self {
        Self {
            code,
            can_sign_in: AtomicBool::new(false),
        }
    }

    pub(crate) async fn exchange(
        &self,
        grant: Grant<'_>,
        limit: Duration,
    ) -> Result<Issued, EndpointError> {
        answered(limit, async { self.code.exchange(grant).await }).await
    }

    pub(crate) async fn revoke(
        &self,
        pair: &TokenPair,
        limit: Duration,
    ) -> Result<(), EndpointError> {
        answered(limit, async { self.code.revoke(pair).await }).await
    }

    /// Whether the endpoint can sign in now; after a panic, its last answer.
    pub(crate) fn can_sign_in(&self) -> bool {
        let answer = caught("TokenEndpoint::can_sign_in", || self.code.can_sign_in());
        if let Some(answer) = answer {
            self.can_sign_in.store(answer, Ordering::Relaxed);
        }
        answer.unwrap_or_else(|| self.can_sign_in.load(Ordering::Relaxed))
    }

    /// The endpoint's profile. This and the following methods are called once, while the manager is built.
    pub(crate) fn profile(&self) -> Option<ServerProfile> {
        caught("TokenEndpoint::profile", || self.code.profile())
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        caught("TokenEndpoint::timeout", || self.code.timeout())
    }

    pub(crate) fn key(&self) -> Option<Key> {
        caught("TokenEndpoint::key", || self.code.key())
    }

    pub(crate) fn first_pair(&self) -> Option<Option<TokenPair>> {
        caught("TokenEndpoint::first_pair", || self.code.first_pair())
    }
}

/// Without an answer from the endpoint the outcome is unknown: the endpoint may have spent the token.
async fn answered<T>(
    limit: Duration,
    code: impl Future<Output = Result<T, EndpointError>>,
) -> Result<T, EndpointError> {
    let answer = guarded(limit, code).await;
    answer.unwrap_or_else(|error| Err(EndpointError::unknown(error)))
}

/// The wrapper of a store. Each call takes at most `limit`.
#[derive(Debug)]
pub(crate) struct UserStore {
    code: Arc<dyn TokenStore>,
    limit: Duration,
}

impl UserStore {
    pub(crate) fn new(code: Arc<dyn TokenStore>, limit: Duration) -> Self {
        Self { code, limit }
    }

    pub(crate) async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        let loading = async { self.code.load(key).await };
        self.bounded("loading a record", loading).await
    }

    /// Swaps, and returns the store's time of the swap where the store learns that time on the way.
    pub(crate) async fn swap_timed(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<(Swap, Option<StoreTime>), StoreError> {
        let swapping = async { self.code.swap_timed(key, seen, next).await };
        self.bounded("storing a record", swapping).await
    }

    pub(crate) async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let finding = async { self.code.find(digest).await };
        self.bounded("searching for a token", finding).await
    }

    pub(crate) async fn find_by_access(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let finding = async { self.code.find_by_access(digest).await };
        self.bounded("searching for a token", finding).await
    }

    /// The sessions with this mark of a provider's logout; `None` if the store cannot search for it.
    pub(crate) async fn find_by_upstream(
        &self,
        mark: &Digest,
    ) -> Result<Option<Vec<Key>>, StoreError> {
        let finding = async { self.code.find_by_upstream(mark).await };
        self.bounded("searching for the sessions of a logout", finding)
            .await
    }

    /// Returns when the record may have changed, or after `limit`.
    pub(crate) async fn changed(&self, key: &Key, seen: Option<Revision>, limit: Duration) {
        let changed = async { self.code.changed(key, seen).await };
        if guarded(limit, changed).await == Err(UserCodeError::Panicked) {
            // Without a pause here, the caller would read the record in a busy loop.
            tokio::time::sleep(limit).await;
        }
    }

    pub(crate) async fn holder_is_dead(&self, key: &Key, lease: &Lease) -> bool {
        let asking = async { self.code.holder_is_dead(key, lease).await };
        guarded(self.limit, with_budget(self.limit, asking)).await == Ok(true)
    }

    async fn bounded<T>(
        &self,
        doing: &str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let answer = guarded(self.limit, with_budget(self.limit, call)).await;
        answer.unwrap_or_else(|error| Err(StoreError::new(format!("{doing} {error}"))))
    }
}

/// The wrapper of a strategy.
#[derive(Debug, Clone)]
pub(crate) struct UserStrategy(Arc<dyn RefreshStrategy>);

impl UserStrategy {
    pub(crate) fn new(code: Arc<dyn RefreshStrategy>) -> Self {
        Self(code)
    }

    /// The default strategy, which all managers share.
    pub(crate) fn on_request() -> Self {
        static ON_REQUEST: LazyLock<Arc<dyn RefreshStrategy>> =
            LazyLock::new(|| Arc::new(OnRequest::default()));
        Self(Arc::clone(&ON_REQUEST))
    }

    /// Returns the strategy's plan; after a panic, the plan to rotate on request.
    pub(crate) fn plan(&self, life: &Lifetime) -> Plan {
        caught("RefreshStrategy::plan", || self.0.plan(life))
            .unwrap_or_else(|| Plan::on_request(life))
    }
}

/// The readings of all clocks at one moment. They are taken before the state is locked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    pub(crate) wall: Duration,
    pub(crate) coarse: Coarse,
}

/// The wrapper of the system's clock, or of a user's clock. A reading that a panic took is replaced by the last one, so that
/// time stands still.
#[derive(Debug)]
pub(crate) struct UserClock {
    /// `None` is the system's clock, which the hot path reads directly.
    code: Option<Arc<dyn Clock>>,
    /// The last readings, which stand in for a reading that a panic took.
    last: Mutex<Moment>,
}

impl UserClock {
    /// Wraps a user's clock, or returns the system's clock, which all managers share.
    pub(crate) fn of(code: Option<Arc<dyn Clock>>) -> Arc<Self> {
        static SYSTEM: LazyLock<Arc<UserClock>> = LazyLock::new(|| Arc::new(UserClock::new(None)));
        match code {
            Some(code) => Arc::new(Self::new(Some(code))),
            None => Arc::clone(&SYSTEM),
        }
    }

    fn new(code: Option<Arc<dyn Clock>>) -> Self {
        Self {
            code,
            last: Mutex::new(Moment {
                now: Timestamp::from_nanos(0),
                wall: Duration::ZERO,
                coarse: Coarse::PAST,
            }),
        }
    }

    /// Whether this is the system's clock, on which all sessions agree.
    pub(crate) fn is_system(&self) -> bool {
        self.code.is_none()
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment {
            now: self.now(),
            wall: self.wall(),
            coarse: self.read(
                "Clock::coarse",
                |clock| clock.coarse(),
                |last| &mut last.coarse,
            ),
        }
    }

    /// Takes the first readings, which have no earlier ones to stand in for them. Returns the method's name if one
    /// panics.
    pub(crate) fn first_moment(&self) -> Result<Moment, &'static str> {
        if let Some(code) = &self.code {
            caught("Clock::now", || code.now()).ok_or("Clock::now")?;
            caught("Clock::wall", || code.wall()).ok_or("Clock::wall")?;
            caught("Clock::coarse", || code.coarse()).ok_or("Clock::coarse")?;
        }
        Ok(self.moment())
    }

    /// The last readings of a user's clock, for places where user code must not be called.
    pub(crate) fn last(&self) -> Moment {
        match &self.code {
            Some(_) => *self.last.lock(),
            None => self.moment(),
        }
    }

    fn read<T: Copy>(
        &self,
        name: &'static str,
        read: impl FnOnce(&dyn Clock) -> T,
        last: impl FnOnce(&mut Moment) -> &mut T,
    ) -> T {
        let Some(code) = &self.code else {
            return read(&SystemClock);
        };
        let reading = caught(name, || read(&**code));
        let mut kept = self.last.lock();
        let kept = last(&mut kept);
        if let Some(reading) = reading {
            *kept = reading;
        }
        *kept
    }
}

impl Clock for UserClock {
    fn now(&self) -> Timestamp {
        self.read("Clock::now", |clock| clock.now(), |last| &mut last.now)
    }

    fn wall(&self) -> Duration {
        self.read("Clock::wall", |clock| clock.wall(), |last| &mut last.wall)
    }

    #[inline]
    fn coarse(&self) -> Coarse {
        match &self.code {
            None => SystemClock.coarse(),
            // After a panic, the latest possible reading sends the caller down the slow path.
            Some(code) => caught("Clock::coarse", || code.coarse()).unwrap_or(Coarse {
                monotonic: i64::MAX,
                wall: i64::MAX,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use super::*;

    #[derive(Debug)]
    struct PanicsWhenDropped;

    impl Future for PanicsWhenDropped {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("in a destructor");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_a_futures_destructor_becomes_an_error() {
        let limit = Duration::from_secs(1);
        let error = guarded(limit, PanicsWhenDropped).await;
        assert_eq!(error, Err(UserCodeError::TookLonger { than: limit }));
    }
}
