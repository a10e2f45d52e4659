//! A swap compares and replaces in one step.

use super::calls::{Store, entry, expect_entry, swap, write};
use super::records::{key, record};
use crate::record::Record;
use crate::store::{Revision, Swap};

pub(super) async fn an_absent_key(handles: &[Store]) {
    let key = key("absent");
    for store in handles {
        let absent = entry(store, &key).await;
        assert!(absent.is_none(), "a key that nobody wrote has no entry");
        match swap(store, &key, Some(Revision::new(1)), &record(&key, 1)).await {
            Swap::Lost(None) => {}
            answer => panic!("a swap against a revision that is not there is lost: {answer:?}"),
        }
        let absent = entry(store, &key).await;
        assert!(absent.is_none(), "a lost swap writes nothing");
    }
}

pub(super) async fn a_swap_compares(handles: &[Store]) {
    for (at, one) in handles.iter().enumerate() {
        let other = &handles[(at + 1) % handles.len()];
        let key = key("swaps");
        let (first, second, third) = (record(&key, 1), record(&key, 2), record(&key, 3));
        let created = write(one, &key, None, &first).await;
        expect_entry(other, &key, &first, created).await;

        let answer = swap(other, &key, None, &second).await;
        expect_lost(answer, &first, created, "a second creation");
        expect_entry(one, &key, &first, created).await;

        let replaced = write(other, &key, Some(created), &second).await;
        expect_entry(one, &key, &second, replaced).await;

        let answer = swap(one, &key, Some(created), &third).await;
        expect_lost(answer, &second, replaced, "a swap against an old revision");
        let later = Revision::new(replaced.number().saturating_add(1));
        let answer = swap(one, &key, Some(later), &third).await;
        expect_lost(answer, &second, replaced, "a swap against a later revision");
        expect_entry(other, &key, &second, replaced).await;
    }
}

pub(super) async fn a_revision_is_never_given_twice(handles: &[Store]) {
    let key = key("revisions");
    let records = [record(&key, 1), record(&key, 2)];
    let mut given: Vec<Revision> = Vec::new();
    for (round, store) in handles.iter().cycle().take(12).enumerate() {
        // The same two over and over: it is the writing that counts, and not what was written.
        let revision = write(store, &key, given.last().copied(), &records[round % 2]).await;
        assert!(
            !given.contains(&revision),
            "{revision:?} was given before, so a swap that slept since would win"
        );
        given.push(revision);
    }
}

/// Handles come and go, and the storage stays.
pub(super) async fn a_handle_that_is_opened_later(handles: &[Store], late: Store) {
    let key = key("late");
    let first = record(&key, 1);
    let revision = write(&handles[0], &key, None, &first).await;
    expect_entry(&late, &key, &first, revision).await;
    let second = record(&key, 2);
    let revision = write(&late, &key, Some(revision), &second).await;
    drop(late);
    for store in handles {
        expect_entry(store, &key, &second, revision).await;
    }
}

fn expect_lost(answer: Swap, record: &Record, revision: Revision, what: &str) {
    match answer {
        Swap::Lost(Some(entry)) => {
            assert_eq!(
                entry,
                (record.clone(), revision),
                "{what} is lost to the current entry"
            );
        }
        answer => panic!("{what} is lost to the current entry: {answer:?}"),
    }
}
