//! Calls whose future is dropped, as by a time-out. The caller does not know then whether the swap happened, but the swap
//! happened entirely or not at all.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::fixture::{Store, entry, expect_entry, key, load, nonce, record, sized, swap, write};
use crate::record::Record;
use crate::store::{Revision, StoreError, Swap};
use crate::token::Key;

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
        let left = match self {
            Self::Millis(millis) => return timeout(Duration::from_millis(millis), call).await.ok(),
            Self::Polls(0) => return None,
            Self::Polls(polls) => polls,
        };
        let mut left = left;
        let mut call = pin!(call);
        std::future::poll_fn(|context| match call.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => {
                left -= 1;
                if left == 0 {
                    Poll::Ready(None)
                } else {
                    Poll::Pending
                }
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
        expect_entry(other, &key, &held.0, held.1).await;
    }
    // A swap that is still under way was made against a revision that is long gone.
    sleep(Duration::from_millis(200)).await;
    for store in handles {
        expect_entry(store, &key, &held.0, held.1).await;
    }
}

pub(super) async fn a_creation_happens_entirely_or_not_at_all(handles: &[Store]) {
    for limit in limits().step_by(3) {
        let key = key("dropped creation");
        let held = attempt(&handles[0], &key, None, limit).await;
        expect_entry(&handles[1], &key, &held.0, held.1).await;
    }
}

/// A swap that is dropped at the limit, and then a swap that has to win.
async fn attempt(
    store: &Store,
    key: &Key,
    held: Option<(Record, Revision)>,
    limit: Limit,
) -> (Record, Revision) {
    let seen = held.as_ref().map(|(_, revision)| *revision);
    let version = held.as_ref().map_or(0, |(record, _)| record.version);
    // Long enough to be written in several steps.
    let attempted = sized(key, version + 1, 50_000);
    let answer = limit.give(store.swap(key, seen, &attempted)).await;
    let now = entry(store, key).await;
    let carried_out = match (&now, answer) {
        (Some((record, revision)), None) if *record == attempted => {
            assert!(Some(*revision) != seen, "two records have one revision");
            true
        }
        (now, None) => {
            assert!(
                *now == held,
                "a swap that was dropped was carried out in part: {now:?}"
            );
            false
        }
        (Some((record, revision)), Some(Ok(Swap::Swapped(given)))) => {
            assert!(
                *record == attempted && *revision == given,
                "a swap was answered, but did not happen"
            );
            true
        }
        (_, Some(answer)) => panic!("a swap without a rival was answered {answer:?}"),
    };
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
        expect_entry(store, &short, &short_record, revision).await;
        let absent = load(store, &short.clone().label(nonce())).await.entry;
        assert!(absent.is_none(), "a key without a record has no entry");
    }
}
