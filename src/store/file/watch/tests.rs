//! The cost of waiting, and which waiter polls.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tempfile::TempDir;

use super::{Counts, Hub, LIVELY, Role, Round, Waiter};
use crate::store::file::FileStore;
use crate::store::file::tests::{directory, key, leased, put, record};
use crate::store::{Revision, TokenStore};

/// Stores a record with a lease of this process.
async fn lease(store: &FileStore, label: usize) -> Revision {
    let first = record(label, 1);
    let seen = put(store, None, &first).await;
    put(store, Some(seen), &leased(&first)).await
}

struct Scene {
    _directory: TempDir,
    store: FileStore,
    hub: std::sync::Arc<Hub>,
    waiters: Vec<Waiter>,
}

/// A directory with this number of records, and this number of waiters for each.
async fn scene(records: usize, waiters: usize) -> Scene {
    let directory = directory();
    let store = FileStore::new(&directory).unwrap();
    let hub = Hub::of(directory.path(), store.group);
    let mut waiting = Vec::new();
    for label in 0..records {
        let seen = lease(&store, label).await;
        let path = store.path(&key(label));
        let join = |_| hub.join(key(label).digest(), path.clone(), Some(seen));
        waiting.extend((0..waiters).map(join));
    }
    Scene {
        _directory: directory,
        store,
        hub,
        waiters: waiting,
    }
}

impl Scene {
    /// The questions to the file system of this number of polls.
    fn polls(&self, count: u32) -> Counts {
        self.hub.seen.lock().counts = Counts::default();
        for _ in 0..count {
            self.hub.poll(Round::OfAll);
        }
        self.hub.seen.lock().counts
    }
}

#[tokio::test]
async fn a_poll_costs_as_much_for_a_thousand_waiters_as_for_one() {
    let mut asked = Vec::new();
    for waiters in [1, 1_000] {
        let scene = scene(1, waiters).await;
        let (first, later) = (scene.polls(1), scene.polls(40));
        assert_eq!(first.reads, 1);
        assert_eq!(later.directories, 40);
        // A record is read once in twenty polls.
        assert_eq!(later.reads, 2);
        assert!(
            scene
                .waiters
                .iter()
                .all(|waiter| waiter.role() != Role::Served)
        );
        asked.push((first, later));
    }
    assert_eq!(asked[0], asked[1]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_poll_of_unchanged_records_checks_the_directory_and_one_proof() {
    let scene = scene(100, 1).await;
    assert_eq!(scene.polls(1).reads, 100);
    scene.polls(LIVELY);
    let asked = scene.polls(10);
    assert_eq!((asked.directories, asked.stamps), (10, 0));
    assert_eq!(asked.proofs, 10 + asked.reads);
    assert_eq!(asked.reads, 0, "until the twentieth poll");
    // One record at each poll; the next turn begins with the 120th poll.
    assert_eq!(scene.polls(104).reads, 100);
}

#[tokio::test]
async fn a_change_serves_only_the_waiters_of_the_record_that_have_not_seen_it() {
    let scene = scene(2, 3).await;
    scene.polls(1);
    let (old, _) = scene.store.load(&key(0)).await.unwrap().entry.unwrap();
    let (_, seen) = scene.store.load(&key(0)).await.unwrap().entry.unwrap();
    let newer = put(&scene.store, Some(seen), &old).await;
    let path = scene.store.path(&key(0));
    let knows = scene.hub.join(key(0).digest(), path, Some(newer));
    scene.polls(1);
    let roles: Vec<_> = scene
        .waiters
        .iter()
        .map(|one| one.role() == Role::Served)
        .collect();
    assert_eq!(roles, [true, true, true, false, false, false]);
    assert_ne!(knows.role(), Role::Served);
}

#[tokio::test]
async fn the_next_waiter_polls_when_the_polling_one_leaves() {
    let mut scene = scene(1, 3).await;
    let roles: Vec<_> = scene.waiters.iter().map(Waiter::role).collect();
    assert_eq!(roles, [Role::Polls, Role::Waits, Role::Waits]);
    drop(scene.waiters.remove(0));
    let woken = scene.waiters[0].woken.notified();
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, woken).await.unwrap();
    assert_eq!(scene.waiters[0].role(), Role::Polls);
    assert_eq!(scene.waiters[1].role(), Role::Waits);
}

/// The first waiter runs once and never again, as on a runtime that is blocked.
#[tokio::test]
async fn a_change_is_noticed_although_the_polling_waiter_has_stopped() {
    let directory = directory();
    let store = FileStore::new(&directory).unwrap();
    let seen = lease(&store, 0).await;
    let key = key(0);
    let mut stopped = store.changed(&key, Some(seen));
    let first = std::future::poll_fn(|context| {
        std::task::Poll::Ready(stopped.as_mut().poll(context).is_pending())
    });
    assert!(first.await);
    // Until its only poll is over.
    let hub = Hub::of(directory.path(), store.group);
    while hub.rounds.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    drop(hub.seen.lock());
    let other = store.clone();
    let waits = tokio::spawn(async move { other.changed(&self::key(0), Some(seen)).await });
    tokio::task::yield_now().await;
    let (record, _) = store.load(&key).await.unwrap().entry.unwrap();
    put(&store, Some(seen), &record).await;
    let noticed = tokio::time::timeout(Duration::from_secs(30), waits).await;
    noticed.unwrap().unwrap();
}

/// A proof of life as another process holds it. Closing the file is the death of the holder.
#[cfg(target_os = "linux")]
fn other_process(record: &std::path::Path) -> std::fs::File {
    use std::io::Write as _;
    use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

    let owner = "fedcba9876543210fedcba9876543210";
    let proof = record.with_extension(format!("{owner}.alive"));
    std::fs::remove_file(&proof).unwrap();
    let mut options = std::fs::File::options();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(proof)
        .unwrap();
    file.lock().unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let metadata = file.metadata().unwrap();
    writeln!(
        file,
        "{} {} {}",
        boot.trim(),
        metadata.dev(),
        metadata.ino()
    )
    .unwrap();
    file
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_waiter_that_comes_during_the_poll_that_sees_a_death_is_served_by_the_next_poll() {
    let directory = directory();
    let store = FileStore::new(&directory).unwrap();
    let revision = lease(&store, 0).await;
    let path = store.path(&key(0));
    let holder = other_process(&path);
    let hub = Hub::of(directory.path(), store.group);
    let join = || hub.join(key(0).digest(), path.clone(), Some(revision));
    let early = join();
    // Until a poll checks only the proof.
    for _ in 0..LIVELY + 2 {
        hub.poll(Round::OfAll);
    }
    assert_ne!(early.role(), Role::Served);
    let mut seen = hub.seen.lock();
    let agenda = hub.plan(Round::OfAll, &mut seen).unwrap();
    let late = join();
    drop(holder);
    hub.carry_out(agenda, &mut seen);
    drop(seen);
    assert_eq!(early.role(), Role::Served);
    let knows = join();
    hub.poll(Round::OfFresh);
    assert_eq!(late.role(), Role::Served);
    // The death was known before this waiter came.
    hub.poll(Round::OfAll);
    assert_ne!(knows.role(), Role::Served);
}
