//! Stores: where records are kept. A store holds one record for each key and replaces it by compare-and-swap. A store
//! never knows an endpoint, nor what tokens mean.
//!
//! Leases, versions, ends and past tokens are transitions of the [`Record`], computed by pure code. So all stores share
//! them, and a new store has two methods to implement: [`load`](TokenStore::load) and [`swap`](TokenStore::swap). Each
//! store has its own clock: all times in a record are by the clock of the store that holds it, so instances never trust
//! the clocks of each other's machines.
//!
//! - `codec`: a record as bytes and in parts, sealed or plain
//! - `notify`: waiting for changes
//! - `memory`, `file`, `postgres`, `redis`: the stores
//!
//! # Time budgets
//!
//! A store that knows its time [`budget`] gives up before its caller does, and can report what is in the way. The caller
//! can only report that the store took too long.
//!
//! The budget is a value of the task that calls. A parameter of every method was rejected: a store around another
//! store would have to pass it on. A setting of the store was rejected too: clones of one store serve managers with
//! different timeouts.

mod codec;
mod file;
mod memory;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod notify;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;

use std::error::Error as StdError;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

#[doc(no_inline)]
pub use zeroize::Zeroizing;

pub use self::codec::Codec;
#[cfg(any(test, fuzzing))]
pub(crate) use self::codec::fuzzing;
pub use self::file::GroupAccess;
pub use self::stores::*;
pub use crate::clock::StoreTime;
#[cfg(any(feature = "redis", feature = "postgres"))]
use crate::clock::whole_millis;
#[cfg(feature = "config")]
use crate::parameters::FromParameters;
use crate::record::{Lease, Record};
#[cfg(feature = "seal")]
#[doc(no_inline)]
pub use crate::seal::SealingKeys;
#[doc(no_inline)]
pub use crate::seal::{AssociatedData, SealError, Sealer};
use crate::settings::STORE_TIMEOUT;
use crate::token::{Digest, Key};

/// The stores of the crate.
pub(crate) mod stores {
    pub use super::file::FileStore;
    pub use super::memory::MemoryStore;
    #[cfg(feature = "postgres")]
    pub use super::postgres::PostgresStore;
    #[cfg(feature = "redis")]
    pub use super::redis::RedisStore;
}

/// The stores of the crate, each by its name in a configuration, except the one in memory. Such a store reads its own
/// parameters.
#[cfg(feature = "config")]
pub(crate) fn builtin<R: Stores>(registry: R) -> R {
    let registry = registry.store_type::<FileStore>("file");
    #[cfg(feature = "redis")]
    let registry = registry.store_type::<RedisStore>("redis");
    #[cfg(not(feature = "redis"))]
    let registry = registry.missing_store("redis", "redis");
    #[cfg(feature = "postgres")]
    let registry = registry.store_type::<PostgresStore>("postgres");
    #[cfg(not(feature = "postgres"))]
    let registry = registry.missing_store("postgres", "postgres");
    registry
}

/// A registry, which gets the stores of the crate.
#[cfg(feature = "config")]
pub(crate) trait Stores: Sized {
    fn store_type<S: TokenStore + FromParameters>(self, name: &str) -> Self;

    /// A store that the program was built without: a configuration that names it gets an error.
    #[cfg_attr(
        all(feature = "redis", feature = "postgres"),
        expect(dead_code, reason = "every store is there")
    )]
    fn missing_store(self, name: &'static str, feature: &'static str) -> Self;
}

/// The revision of a stored record. A store never reuses one for the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Revision(u64);

impl Revision {
    /// Makes the revision with this number, which the store chooses.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number of this revision.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// The answer to a load: the record of a key, and the store's time.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The record and its revision, if there is one.
    pub entry: Option<(Record, Revision)>,
    /// The store's time of the load.
    pub now: StoreTime,
}

/// The answer to a compare-and-swap.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is matched where it is made; a box would complicate every store"
)]
pub enum Swap {
    /// The record was replaced, and has this revision now.
    Swapped(Revision),
    /// The record no longer had the revision that was seen, and was not replaced. The store holds this record (`None`: no
    /// record).
    Lost(Option<(Record, Revision)>),
}

/// The error of a store: the store could not be reached, the store refused, or a stored record could not be read.
///
/// After a failed [`swap`](TokenStore::swap) the record may have been replaced all the same.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct StoreError(Arc<Failure>);

#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct Failure {
    what: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl StoreError {
    /// Makes an error. `what` is the failed step and the remedy, in words without secrets.
    pub fn new(what: impl Into<String>) -> Self {
        let what = what.into();
        Self(Arc::new(Failure { what, source: None }))
    }

    /// Makes an error with its cause. `what` is the failed step and the remedy, in words without secrets.
    pub fn with_source(
        what: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self(Arc::new(Failure {
            what: what.into(),
            source: Some(source.into()),
        }))
    }
}

/// Holds one record for each key.
///
/// A manager waits for [`load`](Self::load) and [`swap`](Self::swap) as long as its
/// [`store_timeout`](crate::Builder::store_timeout). A store learns that time from [`budget`].
#[async_trait]
pub trait TokenStore: Debug + Send + Sync + 'static {
    /// Reads the record of `key`.
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError>;

    /// Replaces the record if its revision is still `seen` (`None`: if there is no record yet). A swap that is lost to
    /// another instance is an answer, not an error.
    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError>;

    /// Returns when the record no longer has the revision `seen`. Default: loads the record every 50 ms; a store with
    /// notifications does better.
    ///
    /// This may return without a change now and then, for example when a connection was lost, or when the holder of a
    /// lease has died. It does not return for changes of other keys, nor repeatedly for the same reason.
    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if let Ok(loaded) = self.load(key).await
                && loaded.entry.map(|(_, revision)| revision) != seen
            {
                return;
            }
        }
    }

    /// Returns the key of the session that has or had this refresh token, as far as the store remembers. Default: `None`.
    ///
    /// A store finds each token that a record [knows](Record::knows). A store may also find a token that has left its
    /// record, and whose digest it keeps elsewhere: then a seed that was used before is recognised. A store never finds
    /// a session for a token that the session never had, such as a token of a swap that was lost.
    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let _ = digest;
        Ok(None)
    }

    /// Returns the key of the session that has this access token. A store finds at least the
    /// [current one](Record::access_digest) of each record. Default: `None`.
    async fn find_by_access(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let _ = digest;
        Ok(None)
    }

    /// Returns the key of every session with this [mark](Record::upstream), which is the digest of a provider's session or user
    /// that the session's sign-in named. Default: `None`, for a store that cannot search for it:
    /// [`Sessions::end_where`](crate::Sessions::end_where) is an error then.
    ///
    /// A store finds each session whose record has the mark, in whatever state it is, and no other one. A session that signs in
    /// during the search may be missing.
    async fn find_by_upstream(&self, mark: &Digest) -> Result<Option<Vec<Key>>, StoreError> {
        let _ = mark;
        Ok(None)
    }

    /// Whether the holder of the lease is *proven* dead, for example by a lock that the kernel freed: the holder sends
    /// and stores nothing any more. Default: `false`.
    ///
    /// A proof permits one thing: the token counts as possibly spent at once, without waiting for the lease duration.
    async fn holder_is_dead(&self, key: &Key, lease: &Lease) -> bool {
        let _ = (key, lease);
        false
    }

    /// [`swap`](Self::swap), with the store's time of the swap if the answer contains it. With that time a manager can
    /// lease without loading first, which saves a round trip. Default: without a time.
    async fn swap_timed(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<(Swap, Option<StoreTime>), StoreError> {
        Ok((self.swap(key, seen, next).await?, None))
    }
}

/// Refuses a record that does not belong to `key`.
fn refuse_other_key(key: &Key, record: &Record) -> Result<(), StoreError> {
    let what = "the record belongs to another session; swap it under its own key";
    let is_its = record.key() == key;
    is_its.then_some(()).ok_or_else(|| StoreError::new(what))
}

/// A pointer to a store is a store.
macro_rules! pointed_to {
    ($pointer:ident) => {
        #[async_trait]
        impl<S: TokenStore + ?Sized> TokenStore for $pointer<S> {
            async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
                (**self).load(key).await
            }

            async fn swap(
                &self,
                key: &Key,
                seen: Option<Revision>,
                next: &Record,
            ) -> Result<Swap, StoreError> {
                (**self).swap(key, seen, next).await
            }

            async fn changed(&self, key: &Key, seen: Option<Revision>) {
                (**self).changed(key, seen).await;
            }

            async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
                (**self).find(digest).await
            }

            async fn find_by_access(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
                (**self).find_by_access(digest).await
            }

            async fn find_by_upstream(
                &self,
                mark: &Digest,
            ) -> Result<Option<Vec<Key>>, StoreError> {
                (**self).find_by_upstream(mark).await
            }

            async fn holder_is_dead(&self, key: &Key, lease: &Lease) -> bool {
                (**self).holder_is_dead(key, lease).await
            }

            async fn swap_timed(
                &self,
                key: &Key,
                seen: Option<Revision>,
                next: &Record,
            ) -> Result<(Swap, Option<StoreTime>), StoreError> {
                (**self).swap_timed(key, seen, next).await
            }
        }
    };
}

pointed_to!(Arc);
pointed_to!(Box);

tokio::task_local! {
    static BUDGET: Duration;
}

/// How long the caller of the store's `load` or `swap` that runs in this task waits for it: the manager's
/// [`store_timeout`](crate::Builder::store_timeout). `None` outside of such a call, and in tasks that the call spawns.
///
/// A store that gives up earlier by itself can report why.
#[must_use]
pub fn budget() -> Option<Duration> {
    BUDGET.try_with(|budget| *budget).ok()
}

/// Awaits a call of a store. The caller gives the call up after `budget`.
pub(crate) async fn with_budget<T>(budget: Duration, call: impl Future<Output = T>) -> T {
    BUDGET.scope(budget, call).await
}

/// The upper limit of the reserve: more than an error needs to reach the caller on a busy machine.
const LONGEST_RESERVE: Duration = Duration::from_secs(1);

/// How a store of this crate divides the budget of a call.
#[derive(Debug, Clone, Copy)]
struct Share {
    /// The time for the work. The store gives up when this time is over.
    work: Duration,
    /// The time for what follows the work, such as the error's way to the caller.
    reserve: Duration,
}

impl Share {
    /// The share of the call that runs in this task; outside of a call, the share of the default timeout.
    fn current() -> Self {
        Self::of(budget().unwrap_or(STORE_TIMEOUT))
    }

    fn of(budget: Duration) -> Self {
        let reserve = LONGEST_RESERVE.min(budget / 5);
        Self {
            work: budget - reserve,
            reserve,
        }
    }
}

/// Runs `work` on tokio's pool of blocking threads. The work continues if the caller is dropped.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // The text of the panic is dropped: a sealer that panics may quote the tokens that it was given.
        Err(died) if died.is_panic() => Err(StoreError::new(
            "the store or its sealer panicked; read the panic's message",
        )),
        Err(_) => Err(StoreError::new("the tokio runtime is shutting down")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_gives_up_before_its_caller_does() {
        let work = |budget: u64| Share::of(Duration::from_millis(budget)).work.as_millis();
        assert_eq!([0, 100, 2_000].map(work), [0, 80, 1_600]);
        assert_eq!([5_000, 60_000].map(work), [4_000, 59_000]);
        assert_eq!((budget(), Share::current().work.as_secs()), (None, 4));
        let two = Duration::from_secs(2);
        with_budget(two, async move {
            assert_eq!(budget(), Some(two));
            assert_eq!(Share::current().work.as_millis(), 1_600);
        })
        .await;
        assert_eq!(
            Share::of(Duration::MAX).work,
            Duration::MAX - LONGEST_RESERVE
        );
    }
}
