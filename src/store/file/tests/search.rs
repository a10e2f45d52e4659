//! What searches cost, and for what they wait.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::Notify;

use super::{directory, key, put, record};
use crate::clock::{Clock, Coarse, SystemClock, Timestamp};
use crate::store::TokenStore;
use crate::store::file::FileStore;
use crate::store::file::search::{Name, search_after};
use crate::token::{Digest, Key};

/// Its wall clock is far ahead, so that no file counts as one that has just changed.
#[derive(Debug)]
struct Ahead;

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn wall(&self) -> Duration {
        SystemClock.wall() + Duration::from_secs(3_600)
    }

    fn coarse(&self) -> Coarse {
        SystemClock.coarse()
    }
}

fn ahead(directory: &TempDir) -> FileStore {
    FileStore::new(directory).unwrap().with_clock(Ahead)
}

async fn found(store: &FileStore, digest: &Digest) -> (Option<Key>, u64) {
    let reads = || store.index.reads.load(Ordering::Relaxed);
    let before = reads();
    let key = store.find(digest).await.unwrap();
    (key, reads() - before)
}

#[tokio::test]
async fn a_search_reads_what_has_changed_and_the_session_that_it_finds() {
    let directory = directory();
    let writer = FileStore::new(&directory).unwrap();
    let mut seen = Vec::new();
    for label in 0..20 {
        seen.push(put(&writer, None, &record(label, 1)).await);
    }
    let store = ahead(&directory);
    let digest = |label, version| record(label, version).digest();
    assert_eq!(found(&store, &digest(7, 1)).await, (Some(key(7)), 20 + 1));
    assert_eq!(found(&store, &digest(8, 1)).await, (Some(key(8)), 1));
    assert_eq!(found(&store, &digest(8, 2)).await, (None, 0));
    put(&writer, Some(seen[8]), &record(8, 2)).await;
    assert_eq!(found(&store, &digest(8, 2)).await, (Some(key(8)), 1 + 1));
    // The session that had it is asked in vain.
    assert_eq!(found(&store, &digest(8, 1)).await, (None, 0));
}

#[tokio::test]
async fn what_a_store_has_written_is_found_without_reading_the_others() {
    let directory = directory();
    let store = ahead(&directory);
    let mut seen = Vec::new();
    for label in 0..20 {
        seen.push(put(&store, None, &record(label, 1)).await);
    }
    let digest = |label, version| record(label, version).digest();
    assert_eq!(found(&store, &digest(7, 1)).await, (Some(key(7)), 20 + 1));
    put(&store, Some(seen[7]), &record(7, 2)).await;
    assert_eq!(found(&store, &digest(7, 2)).await, (Some(key(7)), 1));
}

#[tokio::test]
async fn searches_that_come_at_once_list_the_directory_once() {
    let directory = directory();
    let store = ahead(&directory);
    for label in 0..20 {
        put(&store, None, &record(label, 1)).await;
    }
    let unknown = Digest::of("unknown");
    let order = store.index.order.lock().await;
    let searches = (0..20).map(|_| store.find(&unknown));
    let mut searches = futures_util::future::join_all(searches);
    let begun = std::future::poll_fn(|context| {
        Poll::Ready(Pin::new(&mut searches).poll(context).is_pending())
    });
    assert!(begun.await);
    drop(order);
    for found in searches.await {
        assert_eq!(found.unwrap(), None);
    }
    assert_eq!(store.index.reads.load(Ordering::Relaxed), 20);
    assert_eq!(store.index.begun.load(Ordering::Relaxed), 1);
}

/// The same, with a gate in it: each file that a search reads is read after the clock.
#[derive(Debug, Clone, Default)]
struct Gate {
    closed: Arc<Mutex<Option<Receiver<()>>>>,
    reached: Arc<Notify>,
}

impl Gate {
    /// For the next reader alone, until the sender is dropped.
    fn close(&self) -> Sender<()> {
        let (sender, receiver) = channel();
        *self.closed.lock().unwrap() = Some(receiver);
        sender
    }
}

impl Clock for Gate {
    fn now(&self) -> Timestamp {
        Ahead.now()
    }

    fn wall(&self) -> Duration {
        let closed = self.closed.lock().unwrap().take();
        if let Some(closed) = closed {
            self.reached.notify_one();
            closed.recv().unwrap_err();
        }
        Ahead.wall()
    }

    fn coarse(&self) -> Coarse {
        Ahead.coarse()
    }
}

fn gated(directory: &TempDir) -> (FileStore, Gate) {
    let gate = Gate::default();
    let store = FileStore::new(directory).unwrap();
    (store.with_clock(gate.clone()), gate)
}

async fn in_time<T>(answer: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, answer).await.unwrap()
}

#[tokio::test]
async fn a_known_session_is_found_while_another_search_reads_the_directory() {
    let directory = directory();
    let (store, gate) = gated(&directory);
    let seen = put(&store, None, &record(0, 1)).await;
    let digest = |label, version| record(label, version).digest();
    assert_eq!(found(&store, &digest(0, 1)).await, (Some(key(0)), 1 + 1));
    put(&store, None, &record(1, 1)).await;
    let open = gate.close();
    let reader = store.clone();
    let reading = tokio::spawn(async move { reader.find(&digest(1, 1)).await.unwrap() });
    gate.reached.notified().await;
    assert_eq!(in_time(found(&store, &digest(0, 1))).await.0, Some(key(0)));
    put(&store, Some(seen), &record(0, 2)).await;
    assert_eq!(in_time(found(&store, &digest(0, 2))).await.0, Some(key(0)));
    assert!(!reading.is_finished());
    drop(open);
    assert_eq!(reading.await.unwrap(), Some(key(1)));
    // Whether the reading has seen it or not.
    assert_eq!(found(&store, &digest(0, 2)).await.0, Some(key(0)));
}

#[tokio::test]
async fn a_reading_whose_search_was_given_up_serves_those_that_came_before_it() {
    let directory = directory();
    let (store, gate) = gated(&directory);
    put(&store, None, &record(0, 1)).await;
    let begun = store.index.begun.load(Ordering::Relaxed);
    let open = gate.close();
    let other = store.clone();
    let given_up = tokio::spawn(async move { other.find(&Digest::of("unknown")).await });
    gate.reached.notified().await;
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    let one = store.clone();
    let earlier =
        async move { search_after(begun, &one, Name::Refresh(record(0, 1).digest())).await };
    let earlier = tokio::spawn(earlier);
    // It would have read the directory by then.
    for _ in 0..100 {
        tokio::task::spawn_blocking(|| ()).await.unwrap();
    }
    assert!(!earlier.is_finished());
    drop(open);
    assert_eq!(in_time(earlier).await.unwrap().unwrap(), Some(key(0)));
    assert_eq!(store.index.begun.load(Ordering::Relaxed), begun + 1);
}
