//! Stores: where records are kept. A store holds one record for each key and replaces it by compare-and-swap. A store
//! never knows an endpoint, nor what tokens mean.
//!
//! Leases, versions, ends and past tokens are transitions of the [`Record`], computed by pure code. So all stores share
//! them, and a new store has two methods to implement: [`load`](TokenStore::load) and [`swap`](TokenStore::swap). Each
//! store has its own clock: all times in a record are by the clock of the store that holds it, so instances never trust
//! the clocks of each other's machines.
//!
//! - `call`: how long a call may take, and where its work may block
//! - `codec`: a record as bytes and in parts, sealed or plain
//! - `notify`: waiting for changes
//! - `memory`, `file`, `postgres`, `redis`: the stores

mod call;
mod codec;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod memory;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod notify;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;

use std::error::Error as StdError;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

#[doc(no_inline)]
pub use zeroize::Zeroizing;

pub use self::call::budget;
pub(crate) use self::call::with_budget;
pub use self::codec::{Codec, SealError, Sealer};
pub use self::file::GroupAccess;
pub use self::stores::*;
pub use crate::clock::StoreTime;
#[cfg(any(feature = "redis", feature = "postgres"))]
use crate::clock::whole_millis;
#[cfg(feature = "config")]
use crate::parameters::FromParameters;
use crate::record::{Lease, Record};
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
#[derive(Debug, Clone)]
pub struct StoreError(Arc<Failure>);

#[derive(Debug)]
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

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.0.source.as_deref()?;
        Some(source)
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
    match record.key() == key {
        true => Ok(()),
        false => Err(StoreError::new(
            "the record belongs to another session; swap it under its own key",
        )),
    }
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
