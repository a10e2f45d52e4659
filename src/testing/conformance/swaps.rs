//! A swap compares and replaces in one step, also if many instances swap at once, and a reader sees whole records only.
//! A call whose future is dropped, as by a time-out, leaves the caller without knowledge of its swap, but the swap happened
//! entirely or not at all.

use std::collections::HashSet;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::{Entry, Store, entry, expect_entry, key, load, nonce, record, sized, swap, write};
use crate::record::Record;
use crate::store::{Revision, StoreError, Swap};
use crate::token::Key;

pub(super) async fn an_absent_key_has_no_entry(handles: &[Store]) {
    let key = key("absent");
    for store in handles {
        let absent = entry(store, &key).await;
        assert!(absent.is_none(), "a key without a record has no entry");
        let answer = swap(store, &key, Some(Revision::new(1)), &record(&key, 1)).await;
        let is_lost = matches!(answer, Swap::Lost(None));
        let what = "a swap against an absent revision is lost";
        assert!(is_lost, "{what}: {answer:?}");
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
        expect_entry([other], &key, &first, created).await;

        let answer = swap(other, &key, None, &second).await;
        expect_lost(answer, &first, created, "a second creation");
        expect_entry([one], &key, &first, created).await;

        let replaced = write(other, &key, Some(created), &second).await;
        expect_entry([one], &key, &second, replaced).await;

        let answer = swap(one, &key, Some(created), &third).await;
        expect_lost(answer, &second, replaced, "a swap against an old revision");
        let later = Revision::new(replaced.number().saturating_add(1));
        let answer = swap(one, &key, Some(later), &third).await;
        expect_lost(answer, &second, replaced, "a swap against a later revision");
        expect_entry([other], &key, &second, replaced).await;
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
    expect_entry([&late], &key, &first, revision).await;
    let second = record(&key, 2);
    let revision = write(&late, &key, Some(revision), &second).await;
    drop(late);
    expect_entry(handles, &key, &second, revision).await;
}

fn expect_lost(answer: Swap, record: &Record, revision: Revision, what: &str) {
    let current = (record.clone(), revision);
    let is_current = matches!(&answer, Swap::Lost(Some(entry)) if *entry == current);
    let expected = "is lost to the current entry";
    assert!(
        is_current,
        "{what} {expected}: {answer:?}, and not {current:?}"
    );
}

/// How many swap at once: a few, and then more than any pool has connections. The first race is against an absent record.
const RACES: [usize; 5] = [8, 8, 8, 8, 1_000];

/// How often each contender adds one; all of them together a thousand times.
const CONTENDERS: usize = 4;
const INCREMENTS: u64 = 250;

pub(super) async fn one_of_many_wins(handles: &[Store]) {
    let key = key("race");
    let mut seen = None;
    let mut version = 0;
    for racers in RACES {
        let mut racing = Vec::new();
        for store in handles.iter().cycle().take(racers) {
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
        let winner = Some((record.clone(), revision));
        for entry in lost {
            let what = "a lost race is answered with the record that the store holds";
            assert_eq!(entry, winner, "{what}");
        }
        expect_entry(handles, &key, &record, revision).await;
        seen = Some(revision);
    }
}

pub(super) async fn no_increment_is_lost(handles: &[Store]) {
    let key = key("increments");
    write(&handles[0], &key, None, &record(&key, 0)).await;
    let contenders = handles.iter().cycle().take(CONTENDERS);
    let counting = contenders.map(|store| tokio::spawn(count(store.clone(), key.clone())));
    let mut given = HashSet::new();
    for contender in counting.collect::<Vec<_>>() {
        let revisions = contender.await;
        given.extend(revisions.unwrap_or_else(|died| panic!("a contender panicked: {died}")));
    }
    let total = CONTENDERS as u64 * INCREMENTS;
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
            Swap::Lost(newer) => {
                let is_newer = newer.as_ref().is_none_or(|(newer, revision)| {
                    newer.version > before.version && *revision != seen
                });
                let what =
                    "a swap was lost to the record that it was made against, or to an older one";
                assert!(is_newer, "{what}");
                newer
            }
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
    let readers = handles[1..].iter();
    let read = |store: &Store| tokio::spawn(read_on(store.clone(), key.clone(), done.clone()));
    let readers: Vec<_> = readers.map(read).collect();
    for version in 1..WRITES {
        let next = sized(&key, version, length(version));
        seen = Some(write(&handles[0], &key, seen, &next).await);
        yield_now().await;
    }
    done.store(true, Ordering::Release);
    for reader in readers {
        let read = reader.await;
        read.unwrap_or_else(|died| panic!("a reader panicked: {died}"));
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
        let is_whole = record == sized(&key, version, length(version));
        assert!(is_whole, "a reader saw a record that was never written");
        let is_in_order = latest.is_none_or(|(newest, seen)| {
            version > newest || (version == newest && revision == seen)
        });
        let what = "a reader saw an older record, or one under the revision of another";
        assert!(is_in_order, "{what}");
        latest = Some((version, revision));
        if last {
            let what = "the last record is the one that was written last";
            assert_eq!(version, WRITES - 1, "{what}");
            return;
        }
        yield_now().await;
    }
}

/// When the caller drops the future.
#[derive(Debug, Clone, Copy)]
enum Limit {
    /// After this number of polls.
    Polls(u32),
    /// After this number of milliseconds.
    Millis(u64),
}

/// A call rarely takes more than some ten polls and some milliseconds.
fn limits() -> impl Iterator<Item = Limit> {
    let polls = (0..32).map(Limit::Polls);
    polls.chain((0..16).map(Limit::Millis))
}

impl Limit {
    /// The answer, if it came before the limit.
    async fn give<T>(self, call: impl Future<Output = T>) -> Option<T> {
        let mut left = match self {
            Self::Millis(millis) => return timeout(Duration::from_millis(millis), call).await.ok(),
            Self::Polls(polls) => polls,
        };
        let mut call = pin!(call);
        poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(None);
            }
            left -= 1;
            match call.as_mut().poll(context) {
                Poll::Pending if left > 0 => Poll::Pending,
                Poll::Pending => Poll::Ready(None),
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
            }
        })
        .await
    }
}

pub(super) async fn a_swap_happens_entirely_or_not_at_all(handles: &[Store]) {
    let key = key("dropped");
    let [one, other] = [&handles[0], &handles[1]];
    let first = record(&key, 1);
    let mut held = (first.clone(), write(one, &key, None, &first).await);
    for limit in limits() {
        held = attempt(one, &key, Some(held), limit).await;
        expect_entry([other], &key, &held.0, held.1).await;
    }
    // A swap that is still under way was made against a revision that is long gone.
    sleep(Duration::from_millis(200)).await;
    expect_entry(handles, &key, &held.0, held.1).await;
}

pub(super) async fn a_creation_happens_entirely_or_not_at_all(handles: &[Store]) {
    for limit in limits().step_by(3) {
        let key = key("dropped creation");
        let held = attempt(&handles[0], &key, None, limit).await;
        expect_entry([&handles[1]], &key, &held.0, held.1).await;
    }
}

/// A swap that is dropped at the limit, and then a swap that has to win.
async fn attempt(store: &Store, key: &Key, held: Option<Entry>, limit: Limit) -> Entry {
    let seen = held.as_ref().map(|(_, revision)| *revision);
    let version = held.as_ref().map_or(0, |(record, _)| record.version);
    // Long enough to be written in several steps.
    let attempted = sized(key, version + 1, 50_000);
    let answer = limit.give(store.swap(key, seen, &attempted)).await;
    let now = entry(store, key).await;
    let carried_out = now.as_ref().is_some_and(|(record, _)| *record == attempted);
    match answer {
        None if carried_out => {
            let revision = now.as_ref().map(|(_, revision)| *revision);
            assert!(revision != seen, "two records have one revision");
        }
        None => {
            let what = "a swap that was dropped was carried out in part";
            assert!(now == held, "{what}: {now:?}");
        }
        Some(Ok(Swap::Swapped(given))) => {
            let is_held = now == Some((attempted.clone(), given));
            assert!(is_held, "a swap was answered, but did not happen");
        }
        Some(answer) => panic!("a swap without a rival was answered {answer:?}"),
    }
    let seen = now.map(|(_, revision)| revision);
    let next = record(key, version + 2);
    let revision = match swap(store, key, seen, &next).await {
        Swap::Swapped(revision) => revision,
        // The dropped swap was still under way when the record was read.
        Swap::Lost(Some((record, late))) if !carried_out && record == attempted => {
            write(store, key, Some(late), &next).await
        }
        Swap::Lost(entry) => {
            panic!("after {limit:?}: a swap against the loaded revision was lost to {entry:?}")
        }
    };
    (next, revision)
}

pub(super) async fn the_answer_to_a_load_is_not_given_to_the_next_call(handles: &[Store]) {
    let store = &handles[0];
    let [long, short] = [key("dropped load"), key("the load after")];
    let long_record = sized(&long, 1, 50_000);
    let short_record = record(&short, 2);
    write(store, &long, None, &long_record).await;
    let revision = write(store, &short, None, &short_record).await;
    for limit in limits() {
        let answer: Option<Result<_, StoreError>> = limit.give(store.load(&long)).await;
        if let Some(Err(error)) = answer {
            panic!("load failed: {error:?}");
        }
        expect_entry([store], &short, &short_record, revision).await;
        let absent = load(store, &short.clone().label(nonce())).await.entry;
        assert!(absent.is_none(), "a key without a record has no entry");
    }
}
