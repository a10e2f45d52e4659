//! Many at once, on several handles.

use std::collections::HashSet;

use super::calls::{Store, entry, expect_entry, swap, write};
use super::records::{key, record};
use crate::store::{Revision, Swap};
use crate::token::Key;

/// Who swaps at once: some against nothing, some few, and then more than any pool has connections.
const RACES: [u64; 5] = [8, 8, 8, 8, 1_000];

/// Each contender adds one so many times; together they come to a thousand.
const CONTENDERS: u64 = 4;
const INCREMENTS: u64 = 250;

pub(super) async fn one_of_many_wins(handles: &[Store]) {
    let key = key("race");
    let mut seen = None;
    let mut version = 0;
    for racers in RACES {
        let mut racing = Vec::new();
        for store in handles
            .iter()
            .cycle()
            .take(usize::try_from(racers).unwrap_or(8))
        {
            version += 1;
            let (store, key, record) = (store.clone(), key.clone(), record(&key, version));
            racing.push(tokio::spawn(async move {
                (swap(&store, &key, seen, &record).await, record)
            }));
        }
        let mut won = None;
        let mut lost = Vec::new();
        for racer in racing {
            match racer.await {
                Ok((Swap::Swapped(revision), record)) => {
                    let winner = won.replace((record, revision));
                    assert!(winner.is_none(), "two swaps of one revision won");
                }
                Ok((Swap::Lost(entry), _)) => lost.push(entry),
                Err(died) => panic!("one of {racers} swaps at once died: {died}"),
            }
        }
        let Some((record, revision)) = won else {
            panic!("no swap of the current revision won");
        };
        for entry in lost {
            assert_eq!(
                entry.as_ref(),
                Some(&(record.clone(), revision)),
                "a lost race answers what the store holds"
            );
        }
        for store in handles {
            expect_entry(store, &key, &record, revision).await;
        }
        seen = Some(revision);
    }
}

pub(super) async fn no_increment_is_lost(handles: &[Store]) {
    let key = key("increments");
    write(&handles[0], &key, None, &record(&key, 0)).await;
    let contenders = (0..CONTENDERS).zip(handles.iter().cycle());
    let counting: Vec<_> = contenders
        .map(|(_, store)| tokio::spawn(count(store.clone(), key.clone())))
        .collect();
    let mut given = HashSet::new();
    for contender in counting {
        match contender.await {
            Ok(revisions) => given.extend(revisions),
            Err(died) => panic!("a contender died: {died}"),
        }
    }
    let total = CONTENDERS * INCREMENTS;
    for store in handles {
        let counted = entry(store, &key).await.map(|(record, _)| record.version);
        assert_eq!(counted, Some(total), "an increment was lost");
    }
    assert_eq!(given.len() as u64, total, "a revision was given twice");
}

async fn count(store: Store, key: Key) -> Vec<Revision> {
    let mut given = Vec::new();
    let mut held = entry(&store, &key).await;
    while (given.len() as u64) < INCREMENTS {
        let Some((before, seen)) = held else {
            panic!("the record is gone");
        };
        let next = record(&key, before.version + 1);
        held = match swap(&store, &key, Some(seen), &next).await {
            Swap::Swapped(revision) => {
                given.push(revision);
                Some((next, revision))
            }
            Swap::Lost(Some((newer, revision))) => {
                assert!(
                    newer.version > before.version && revision != seen,
                    "a swap was lost to what it was made against, or to something older"
                );
                Some((newer, revision))
            }
            Swap::Lost(None) => None,
        };
    }
    given
}
