//! What every implementation of a trait must do, as suites to call from one's own tests.
//!
//! Each suite panics at the first thing that is wrong and says what was expected. They use keys of
//! their own, drawn at random, so they can run against a store that is in use, and side by side. They
//! need real time, and a runtime with several threads if the store's faults are to show; a fast store
//! takes some seconds.
//!
//! ```
//! use evertoken::MemoryStore;
//! use evertoken::testing::conformance;
//!
//! # #[tokio::main(flavor = "multi_thread", worker_threads = 2)]
//! # async fn main() {
//! let memory = MemoryStore::new();
//! conformance::store(async || memory.clone()).await;
//! conformance::searchable_store(async || memory.clone()).await;
//! conformance::searchable_by_access_store(async || memory.clone()).await;
//! # }
//! ```
//!
//! What is looked at:
//!
//! - swaps: a swap compares, a lost race is answered with the winner, no revision comes again
//! - contention: of a thousand swaps of one revision one wins, and no increment is lost
//! - dropped: a swap that was given up is carried out entirely or not at all
//! - changes: a change of the key is noticed, and nothing else is
//! - contents: a record comes back as it was, whatever its length, and is refused or kept whole
//! - torn: a reader sees whole records only
//! - keys: keys that look alike are not
//! - time: the store's time is one, and goes on
//! - search: whose token it is, or was
//! - secrecy: no token is shown
//! - seals: a store with a sealer believes what is sealed, and nothing else

mod changes;
mod contents;
mod dropped;
mod fixture;
mod search;
mod swaps;

use std::sync::Arc;

use self::fixture::Store;
use crate::store::TokenStore;

/// Enough for three who write and one who reads.
const HANDLES: usize = 4;

/// What every [`TokenStore`] must do. Each call of `open` gives another handle on *one* storage: another
/// connection, or what another process would open. What one writes, the others read, and notice.
///
/// # Panics
///
/// At the first thing that the store does not do.
pub async fn store<S: TokenStore>(open: impl AsyncFn() -> S) {
    let handles = handles(&open).await;
    swaps::an_absent_key(&handles).await;
    swaps::a_swap_compares(&handles).await;
    swaps::a_revision_is_never_given_twice(&handles).await;
    changes::time_is_one_and_goes_on(&handles).await;
    contents::records_come_back_equal(&handles).await;
    contents::fields_of_a_later_version_survive(&handles).await;
    contents::long_records(&handles).await;
    contents::keys_are_independent(&handles).await;
    swaps::one_of_many_wins(&handles).await;
    swaps::no_increment_is_lost(&handles).await;
    swaps::readers_see_whole_records_only(&handles).await;
    dropped::a_swap(&handles).await;
    dropped::a_creation(&handles).await;
    dropped::a_load(&handles).await;
    changes::are_noticed(&handles).await;
    changes::between_two_moments_are_noticed(&handles).await;
    changes::come_to_every_waiter(&handles).await;
    changes::of_other_keys_are_none(&handles).await;
    search::nothing_is_found_that_is_not_there(&handles).await;
    search::a_swap_that_is_lost_enters_nothing(&handles).await;
    contents::no_token_is_shown(&handles).await;
    swaps::a_handle_that_is_opened_later(&handles, Arc::new(open().await)).await;
}

/// What a [`TokenStore`] with a [`find`](TokenStore::find) of its own must do besides. `open` is as for
/// [`store`].
///
/// # Panics
///
/// At the first thing that the store does not do.
pub async fn searchable_store<S: TokenStore>(open: impl AsyncFn() -> S) {
    let handles = handles(&open).await;
    search::a_digest_leads_to_its_key(&handles).await;
    search::a_token_that_has_left_its_record_is_its_or_nobodys(&handles).await;
}

/// What a [`TokenStore`] with a [`find_by_access`](TokenStore::find_by_access) of its own must do besides. `open` is as
/// for [`store`].
///
/// # Panics
///
/// At the first thing that the store does not do.
pub async fn searchable_by_access_store<S: TokenStore>(open: impl AsyncFn() -> S) {
    let handles = handles(&open).await;
    search::an_access_token_leads_to_its_key(&handles).await;
}

/// What a [`TokenStore`] that takes a [`Sealer`](crate::store::Sealer) must do besides. All three open handles on
/// one storage: without a sealer, with one, and with the same one and the permission to
/// [accept plain records](crate::store::Codec::accept_plain).
///
/// # Panics
///
/// At the first thing that the store does not do.
pub async fn sealed_store<S: TokenStore>(
    plain: impl AsyncFn() -> S,
    sealed: impl AsyncFn() -> S,
    accepting: impl AsyncFn() -> S,
) {
    let handles = contents::SealHandles {
        plain: Arc::new(plain().await),
        sealed: Arc::new(sealed().await),
        accepting: Arc::new(accepting().await),
    };
    contents::seals_hide_and_come_back(&handles).await;
    contents::seals_cannot_be_taken_off(&handles).await;
    contents::seals_are_put_on_a_store_that_is_in_use(&handles).await;
}

async fn handles<S: TokenStore>(open: &impl AsyncFn() -> S) -> Vec<Store> {
    let mut handles: Vec<Store> = Vec::with_capacity(HANDLES);
    for _ in 0..HANDLES {
        handles.push(Arc::new(open().await));
    }
    handles
}
