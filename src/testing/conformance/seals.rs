//! What a store with a sealer believes.

use super::calls::{Store, entry, expect_entry, write};
use super::records::{every_kind, key, record};
use crate::record::Record;
use crate::store::StoreError;
use crate::token::Key;

/// Three ways to one storage.
pub(super) struct Handles {
    pub(super) plain: Store,
    pub(super) sealed: Store,
    pub(super) accepting: Store,
}

pub(super) async fn hide_and_come_back(handles: &Handles) {
    let key = key("sealed");
    let mut seen = None;
    for record in every_kind(&key) {
        let revision = write(&handles.sealed, &key, seen, &record).await;
        for store in [&handles.sealed, &handles.accepting] {
            expect_entry(store, &key, &record, revision).await;
        }
        refusal(&handles.plain, &key, "a sealed record needs its sealer").await;
        seen = Some(revision);
    }
}

/// With a pair or without: in place of a sealed record, it would be a session of tokens that others chose, or one
/// that is over.
pub(super) async fn cannot_be_taken_off(handles: &Handles) {
    for (number, record) in every_kind(&key("plain")).into_iter().enumerate() {
        let key = key(&format!("plain {number}"));
        let record = Record {
            key: key.clone(),
            ..record
        };
        let revision = write(&handles.plain, &key, None, &record).await;
        let what = "a store with a sealer refuses a plain record";
        let error = refusal(&handles.sealed, &key, what).await;
        assert!(
            error.to_string().contains("accept_plain"),
            "the error names the setting that permits plain records, and not only: {error}"
        );
        let lost = handles.sealed.swap(&key, None, &record).await;
        assert!(lost.is_err(), "{what}, also as the winner of a race");
        expect_entry(&handles.plain, &key, &record, revision).await;
    }
}

pub(super) async fn are_put_on_a_store_that_is_in_use(handles: &Handles) {
    let key = key("in use");
    let revision = write(&handles.plain, &key, None, &record(&key, 1)).await;
    expect_entry(&handles.accepting, &key, &record(&key, 1), revision).await;
    let next = record(&key, 2);
    let revision = write(&handles.accepting, &key, Some(revision), &next).await;
    expect_entry(&handles.sealed, &key, &next, revision).await;
    refusal(&handles.plain, &key, "what was plain is sealed").await;
    assert!(entry(&handles.accepting, &key).await.is_some());
}

async fn refusal(store: &Store, key: &Key, what: &str) -> StoreError {
    match store.load(key).await {
        Err(error) => error,
        Ok(loaded) => panic!("{what}: loading gave {:?}", loaded.entry),
    }
}
