//! Where records live. A store holds one record for a key and replaces it by compare-and-swap; it
//! knows nothing of endpoints, nor of what tokens mean.
//!
//! Leases, versions, ends and past tokens are transitions of the [`Record`], computed by pure code,
//! so every back end has them alike and a new one has two methods to write. A store brings its own
//! time: all times in a record are read against the clock of the store that holds it, so no
//! machine's clock is trusted by another.

mod budget;
mod codec;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod sealer;

use std::error::Error as StdError;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

#[doc(no_inline)]
pub use zeroize::Zeroizing;

pub use self::budget::budget;
pub(crate) use self::budget::with_budget;
pub use self::codec::Codec;
pub use self::file::{FileStore, GroupAccess};
pub use self::memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use self::postgres::PostgresStore;
#[cfg(feature = "redis")]
pub use self::redis::RedisStore;
pub use self::sealer::{SealError, Sealer};
pub use crate::clock::StoreTime;
#[cfg(any(feature = "redis", feature = "postgres"))]
use crate::clock::whole_millis;
use crate::record::{Lease, Record};
use crate::token::{Digest, Key};

/// Which writing of a record; a store never gives two writings of a key the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Revision(u64);

impl Revision {
    /// A revision a store has numbered itself.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The store's own number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// What a store holds for a key, and what time it is there.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The record, if there is one.
    pub entry: Option<(Record, Revision)>,
    /// The store's time of the reading.
    pub now: StoreTime,
}

/// The answer to a compare-and-swap.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is matched where it is made; a box would only show in every store"
)]
pub enum Swap {
    /// The record was replaced; this is its revision now.
    Swapped(Revision),
    /// Somebody else was faster. This is what the store holds.
    Lost(Option<(Record, Revision)>),
}

/// The store could not be asked, or what it holds could not be read.
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
    /// What failed, without secrets.
    pub fn new(what: impl Into<String>) -> Self {
        let what = what.into();
        Self(Arc::new(Failure { what, source: None }))
    }

    /// What failed, and why.
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

/// Holds one record for a key.
///
/// A manager waits for [`load`](Self::load) and [`swap`](Self::swap) for its
/// [`store_timeout`](crate::Builder::store_timeout), which a store learns from [`budget`].
#[async_trait]
pub trait TokenStore: Debug + Send + Sync + 'static {
    /// Reads the record of `key`.
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError>;

    /// Replaces the record if its revision is still `seen` (`None`: if there is none yet). A lost
    /// race is an answer, not an error.
    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError>;

    /// Returns when the record no longer has the revision `seen`. Default: looks every 50 ms; a
    /// store with notifications does better.
    ///
    /// It may return without a change now and then, when a connection was lost, say, or when the holder of
    /// a lease has died; not for other keys, and not over and over for the same reason.
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

    /// The key whose refresh token this is or was, as far as the store remembers. Default: none.
    ///
    /// A store finds each token that a record [knows](Record::knows). It may also find one that has left its record, of
    /// which it keeps the name elsewhere: that a seed was used before is better known than not. It never finds a
    /// session for a token that the session never had, such as one of a swap that was lost.
    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let _ = digest;
        Ok(None)
    }

    /// The key whose access token this is, at least for the [current one](Record::access_digest) of each record.
    /// Default: none.
    async fn find_by_access(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let _ = digest;
        Ok(None)
    }

    /// Whether the lease's holder is *proven* dead (a lock that the kernel freed, say): nothing that it began
    /// will be sent or stored any more. Default: no.
    ///
    /// The token counts as one that may be spent then, without waiting for the lease duration: that is all
    /// that a proof permits.
    async fn holder_is_dead(&self, key: &Key, lease: &Lease) -> bool {
        let _ = (key, lease);
        false
    }

    /// The same as [`swap`](Self::swap), with the store's time of the swap if the store learns it on the way: a store
    /// that answers it lets a manager lease without loading first, which saves a round trip. Default: without a time.
    async fn swap_timed(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<(Swap, Option<StoreTime>), StoreError> {
        Ok((self.swap(key, seen, next).await?, None))
    }
}

/// Whatever points to a store is one.
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
