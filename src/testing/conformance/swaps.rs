//! A swap compares and replaces in one step, also if many instances swap at once, and a reader sees whole records only.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::yield_now;

use super::fixture::{Store, entry, expect_entry, key, record, sized, swap, write};
use crate::record::Record;
use crate::store::{Revision, Swap};
use crate::token::Key;

pub(super) async fn an_absent_key_has_no_entry(handles: &[Store]) {
    let key = key("absent");
    for store in handles {
        let absent = entry(store, &key).await;
        assert!(absent.is_none(), "a key without a record has no entry");
        match swap(store, &key, Some(Revision::new(1)), &record(&key, 1)).await {
            Swap::Lost(None) => {}
            answer => panic!("a swap against an absent revision is lost: {answer:?}"),
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

pub(super) async fn a_revision_is_never_reused(handles: &[Store]) {
    let key = key("revisions");
    let records = [record(&key, 1), record(&key, 2)];
    let mut given: Vec<Revision> = Vec::new();
    for (round, store) in handles.iter().cycle().take(12).enumerate() {
        // Each swap has a revision of its own, also if its record equals an earlier one.
        let revision = write(store, &key, given.last().copied(), &records[round % 2]).await;
        assert!(
            !given.contains(&revision),
            "{revision:?} was given before: a swap that was delayed since then wins"
        );
        given.push(revision);
    }
}

/// The storage outlives its handles.
pub(super) async fn a_later_handle_reads_and_writes(handles: &[Store], late: Store) {
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

/// How many swap at once: a few, and then more than any pool has connections. The first race is against an absent record.
const RACES: [u64; 5] = [8, 8, 8, 8, 1_000];

/// How often each contender adds one; all of them together a thousand times.
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
                Err(died) => panic!("one of {racers} concurrent swaps panicked: {died}"),
            }
        }
        let Some((record, revision)) = won else {
            panic!("no swap of the current revision won");
        };
        for entry in lost {
            assert_eq!(
                entry.as_ref(),
                Some(&(record.clone(), revision)),
                "a lost race is answered with the record that the store holds"
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
            Err(died) => panic!("a contender panicked: {died}"),
        }
    }
    let total = CONTENDERS * INCREMENTS;
    for store in handles {
        let counted = entry(store, &key).await.map(|(record, _)| record.version);
        assert_eq!(counted, Some(total), "an increment was lost");
    }
    assert_eq!(given.len() as u64, total, "a revision was reused");
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
                    "a swap was lost to the record that it was made against, or to an older one"
                );
                Some((newer, revision))
            }
            Swap::Lost(None) => None,
        };
    }
    given
}

/// The lengths of the records, in turn: a longer one after a shorter one and the reverse.
const LENGTHS: [usize; 7] = [0, 120_000, 10, 40_000, 39_990, 1, 4_096];
const WRITES: u64 = 70;

pub(super) async fn readers_see_whole_records_only(handles: &[Store]) {
    let key = key("torn");
    let done = Arc::new(AtomicBool::new(false));
    let mut seen = Some(write(&handles[0], &key, None, &sized(&key, 0, LENGTHS[0])).await);
    let readers: Vec<_> = handles[1..]
        .iter()
        .map(|store| tokio::spawn(read_on(store.clone(), key.clone(), done.clone())))
        .collect();
    for version in 1..WRITES {
        let next = sized(&key, version, length(version));
        seen = Some(write(&handles[0], &key, seen, &next).await);
        yield_now().await;
    }
    done.store(true, Ordering::Release);
    for reader in readers {
        if let Err(died) = reader.await {
            panic!("a reader panicked: {died}");
        }
    }
}

fn length(version: u64) -> usize {
    let turn = version % LENGTHS.len() as u64;
    usize::try_from(turn).map_or(0, |turn| LENGTHS[turn])
}

/// Reads without a pause, and once more after the last write.
async fn read_on(store: Store, key: Key, done: Arc<AtomicBool>) {
    let mut latest = None;
    loop {
        let last = done.load(Ordering::Acquire);
        let Some((record, revision)) = entry(&store, &key).await else {
            panic!("the record is gone while it is replaced");
        };
        let version = record.version;
        let whole = sized(&key, version, length(version));
        assert!(
            record == whole,
            "a reader saw a record that was never written"
        );
        if let Some((newest, seen)) = latest {
            assert!(
                version > newest || (version == newest && revision == seen),
                "a reader saw an older record, or one under the revision of another"
            );
        }
        latest = Some((version, revision));
        if last {
            assert_eq!(
                version,
                WRITES - 1,
                "the last record is the one that was written last"
            );
            return;
        }
        yield_now().await;
    }
}
