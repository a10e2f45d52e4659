//! Suites that check a store of your own: call them from your tests.
//!
//! Each suite panics at the first fault and reports what it expected. The suites draw keys of their own at random, so they
//! can run against a store that is in use, and side by side. They never delete a record. They need real time, and a
//! runtime with several threads to find faults of concurrency. A fast store takes some seconds.
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
//! The suites check:
//!
//! - swaps: a swap compares, a lost race is answered with the winner, and the store never reuses a revision
//! - contention: of a thousand swaps of one revision one wins, and no increment is lost
//! - torn records: a reader sees whole records only
//! - dropped calls: a swap whose future is dropped is carried out entirely or not at all
//! - changes: a waiter notices each change of its key, and no change of another key
//! - contents: a record of any length comes back equal, and a record that is too long is refused or kept whole
//! - keys: keys that look alike are different keys
//! - time: all handles have one time, which advances
//! - search: the key of a present or past token
//! - secrecy: neither the store's `Debug` form nor an error shows a token
//! - seals: a store with a sealer accepts sealed records only

mod changes;
mod contents;
mod dropped;
mod fixture;
mod search;
mod swaps;

use std::sync::Arc;

use self::fixture::Store;
use crate::store::TokenStore;

/// Enough for three writers and one reader.
const HANDLES: usize = 4;

/// Checks what every [`TokenStore`] must do. Each call of `open` gives another handle on *one* storage: another connection,
/// or the store of another process. The other handles read and notice what one handle writes.
///
/// # Panics
///
/// At the first fault of the store.
pub async fn store<S: TokenStore>(open: impl AsyncFn() -> S) {
    let handles = handles(&open).await;
    swaps::an_absent_key_has_no_entry(&handles).await;
    swaps::a_swap_compares(&handles).await;
    swaps::a_revision_is_never_reused(&handles).await;
    changes::time_is_one_and_goes_on(&handles).await;
    contents::records_come_back_equal(&handles).await;
    contents::fields_of_a_later_version_survive(&handles).await;
    contents::long_records_are_kept_or_refused_whole(&handles).await;
    contents::keys_are_independent(&handles).await;
    swaps::one_of_many_wins(&handles).await;
    swaps::no_increment_is_lost(&handles).await;
    swaps::readers_see_whole_records_only(&handles).await;
    dropped::a_swap_happens_entirely_or_not_at_all(&handles).await;
    dropped::a_creation_happens_entirely_or_not_at_all(&handles).await;
    dropped::the_answer_to_a_load_is_not_given_to_the_next_call(&handles).await;
    changes::are_noticed(&handles).await;
    changes::are_noticed_while_a_waiter_begins(&handles).await;
    changes::reach_every_waiter(&handles).await;
    changes::of_other_keys_are_not_noticed(&handles).await;
    search::a_search_finds_no_other_key(&handles).await;
    search::a_lost_swap_enters_no_token(&handles).await;
    contents::no_token_is_in_debug_forms_and_errors(&handles).await;
    swaps::a_later_handle_reads_and_writes(&handles, Arc::new(open().await)).await;
}

/// Checks what a [`TokenStore`] with a [`find`](TokenStore::find) of its own must do besides. `open` is as for [`store`].
///
/// # Panics
///
/// At the first fault of the store.
pub async fn searchable_store<S: TokenStore>(open: impl AsyncFn() -> S) {
    let handles = handles(&open).await;
    search::a_digest_leads_to_its_key(&handles).await;
    search::a_token_that_has_left_its_record_is_found_under_its_key_or_not_at_all(&handles).await;
}

/// Checks what a [`TokenStore`] with a [`find_by_access`](TokenStore::find_by_access) of its own must do besides. `open` is
/// as for [`store`].
///
/// # Panics
///
/// At the first fault of the store.
pub async fn searchable_by_access_store<S: TokenStore>(open: impl AsyncFn() -> S) {
    let handles = handles(&open).await;
    search::an_access_token_leads_to_its_key(&handles).await;
}

/// Checks what a [`TokenStore`] that takes a [`Sealer`](crate::store::Sealer) must do besides. All three closures open
/// handles on one storage: without a sealer, with a sealer, and with the same sealer and the permission to
/// [accept plain records](crate::store::Codec::accept_plain).
///
/// # Panics
///
/// At the first fault of the store.
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
    contents::sealed_records_come_back_equal_and_are_hidden(&handles).await;
    contents::a_seal_cannot_be_removed(&handles).await;
    contents::plain_records_are_sealed_at_their_next_swap(&handles).await;
}

async fn handles<S: TokenStore>(open: &impl AsyncFn() -> S) -> Vec<Store> {
    let mut handles: Vec<Store> = Vec::with_capacity(HANDLES);
    for _ in 0..HANDLES {
        handles.push(Arc::new(open().await));
    }
    handles
}
