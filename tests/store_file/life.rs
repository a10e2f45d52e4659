//! What is known of the holder of a lease: its death, or nothing.

use std::fs;
use std::future::poll_fn;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::task::Poll;
use std::time::Duration;

use evertoken::testing::Reuse;
use evertoken::{FileStore, Key, TokenStore};
use rustix::process::Signal;
use tokio::time::timeout;

use crate::holder::{Shared, lease};
use crate::process::Process;
use crate::scene::{edited, entry, mode, open, put, record, set_mode};

async fn strict() -> Shared {
    Shared::new(Reuse::RevokeFamily).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_is_dead_once_its_process_is_killed_and_not_before() {
    let shared = strict().await;
    let mut holder = shared.holder("rotate", "").await;
    let store = shared.store();
    assert_eq!(shared.lives().len(), 1);
    for _ in 0..100 {
        holder.process.assert_running();
        assert!(!holder.is_dead(&store).await);
    }
    // Two simultaneous questions do not disturb each other.
    let other = shared.store();
    holder.process.kill();
    let lease = holder.lease;
    let (one, two) = tokio::join!(
        store.holder_is_dead(&holder.key, &lease),
        other.holder_is_dead(&holder.key, &lease)
    );
    assert!(one && two);
    let other = holder.key.label("another");
    assert!(!store.holder_is_dead(&other, &lease).await);
}

/// A poll is over when the work that the only thread got after it is over.
#[test]
fn a_waiter_learns_of_the_holders_death_once() {
    let serving = tokio::runtime::Runtime::new().unwrap();
    let shared = serving.block_on(strict());
    let holder = serving.block_on(shared.holder("rotate", ""));
    let (key, store) = (holder.key.clone(), shared.store());
    let mut waiting = tokio::runtime::Builder::new_current_thread();
    let waiting = waiting
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    waiting.block_on(async {
        let seen = entry(&store, &key).await.map(|(_, revision)| revision);
        let mut changed = store.changed(&key, seen);
        let first = poll_fn(|context| Poll::Ready(changed.as_mut().poll(context)));
        assert!(first.await.is_pending());
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        holder.process.kill();
        timeout(Duration::from_secs(30), changed).await.unwrap();
        let again = timeout(Duration::from_millis(300), store.changed(&key, seen)).await;
        again.unwrap_err();
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_is_stopped_is_not_dead() {
    let shared = strict().await;
    let holder = shared.holder("rotate", "").await;
    let store = shared.store();
    holder.process.signal(Signal::STOP);
    for _ in 0..1_000 {
        assert!(!holder.is_dead(&store).await);
    }
    holder.process.signal(Signal::CONT);
    drop(holder.hold);
    holder.process.succeeds();
    assert_eq!(shared.counts(), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_has_committed_leaves_no_proof_of_life() {
    let shared = strict().await;
    let holder = shared.holder("rotate", "").await;
    let store = shared.store();
    drop(holder.hold);
    holder.process.succeeds();
    assert_eq!(lease(&store, &holder.key).await, None);
    assert_eq!(shared.lives(), <[&Path; 0]>::default());
    // Nothing is known of a lease that is gone.
    assert!(!store.holder_is_dead(&holder.key, &holder.lease).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_exits_normally_with_a_lease_is_dead() {
    let shared = strict().await;
    let holder = shared.holder("leave", "").await;
    let store = shared.store();
    assert!(!holder.is_dead(&store).await);
    fs::write(shared.directory.path().join("leave"), "").unwrap();
    holder.process.succeeds();
    assert!(store.holder_is_dead(&holder.key, &holder.lease).await);
}

/// A stopped holder is alive: its request may still be answered, and its write may still finish.
#[test]
fn a_holder_lives_as_long_as_its_process_although_stores_are_dropped() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let outer = runtime();
    let shared = outer.block_on(strict());
    let inner = runtime();
    let tokens = {
        let _guard = inner.enter();
        let builder = shared.manager(shared.endpoint());
        builder.build().unwrap()
    };
    let key = tokens.key().clone();
    let hold = shared.server.hold();
    inner.spawn(async move { tokens.token().await });
    let store = shared.store();
    outer.block_on(async {
        shared.arrived(1).await;
        let lease = lease(&store, &key).await.unwrap();
        // The process asks about its own lease, too.
        assert!(!store.holder_is_dead(&key, &lease).await);
        inner.shutdown_background();
        drop(hold);
        drop(store);
        let store = shared.store();
        assert_eq!(shared.lives().len(), 1);
        for _ in 0..100 {
            assert!(!store.holder_is_dead(&key, &lease).await);
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copied_directory_proves_nothing_and_a_moved_one_proves_deaths() {
    let shared = strict().await;
    let holder = shared.holder("rotate", "").await;
    let copy = shared.directory.path().join("copy");
    let copied = open(&copy);
    for file in fs::read_dir(shared.session()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    let found = lease(&copied, &holder.key).await;
    assert_eq!(found.as_ref(), Some(&holder.lease));
    assert!(!holder.is_dead(&copied).await);
    let (key, lease) = (holder.key, holder.lease);
    holder.process.kill();
    let original = shared.store();
    assert!(original.holder_is_dead(&key, &lease).await);
    assert!(!copied.holder_is_dead(&key, &lease).await);
    let moved = shared.directory.path().join("moved");
    fs::rename(shared.session(), &moved).unwrap();
    assert!(open(&moved).holder_is_dead(&key, &lease).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_the_holder_did_not_make_proves_nothing() {
    let shared = strict().await;
    let holder = shared.holder("rotate", "").await;
    let (key, lease, store) = (holder.key, holder.lease, shared.store());
    let file = shared.lives().remove(0);
    let away = shared.directory.path().join("away");
    // The holder is alive, and its file is gone.
    fs::rename(&file, &away).unwrap();
    assert!(!store.holder_is_dead(&key, &lease).await);
    for content in ["", "1 2 3\n", &fs::read_to_string(&away).unwrap()] {
        fs::write(&file, content).unwrap();
        set_mode(&file, 0o600);
        assert!(!store.holder_is_dead(&key, &lease).await);
        fs::remove_file(&file).unwrap();
    }
    holder.process.kill();
    // Opening a pipe would block.
    let made = Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(made.success());
    assert!(!store.holder_is_dead(&key, &lease).await);
    fs::remove_file(&file).unwrap();
    symlink(&away, &file).unwrap();
    assert!(!store.holder_is_dead(&key, &lease).await);
    fs::rename(&away, &file).unwrap();
    set_mode(&file, 0o644);
    assert!(!store.holder_is_dead(&key, &lease).await);
    set_mode(&file, 0o600);
    assert!(store.holder_is_dead(&key, &lease).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fm38_a_proof_of_life_is_private_and_contains_nothing_of_the_session() {
    let shared = strict().await;
    let holder = shared.holder("rotate", "umask 0").await;
    let file = shared.lives().remove(0);
    assert_eq!(mode(&file), 0o600);
    let name = format!("{}.{}.alive", holder.key.digest(), holder.lease.owner);
    assert_eq!(file.file_name().unwrap().to_str(), Some(&*name));
    assert!(fs::metadata(&file).unwrap().len() < 100);
}

/// An instance that swaps a record with a lease does not become the holder of that lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_another_instance_writes_again_is_still_its_holders() {
    let shared = strict().await;
    let holder = shared.holder("rotate", "").await;
    let (key, lease, store) = (holder.key, holder.lease, shared.store());
    for _ in 0..3 {
        let (record, revision) = entry(&store, &key).await.unwrap();
        put(&store, Some(revision), &record).await;
        assert_eq!(shared.lives().len(), 1);
        assert!(!store.holder_is_dead(&key, &lease).await);
    }
    let elsewhere = open(shared.directory.path().join("elsewhere"));
    let (record, _) = entry(&store, &key).await.unwrap();
    let revision = put(&elsewhere, None, &record).await;
    put(&elsewhere, Some(revision), &record).await;
    holder.process.kill();
    assert!(store.holder_is_dead(&key, &lease).await);
    assert!(!elsewhere.holder_is_dead(&key, &lease).await);
}

/// The swap of another session, by a store that was opened anew, cleans up.
async fn tidy(shared: &Shared, key: &Key, number: u64) -> FileStore {
    let store = shared.store();
    let other = key.clone().label(format!("tidy {number}"));
    put(&store, None, &record(&other, 1)).await;
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fm11_a_proof_of_death_stays_as_long_as_its_lease() {
    let shared = strict().await;
    let mut holder = shared.holder("rotate", "").await;
    let key = holder.key.clone();
    let store = tidy(&shared, &key, 0).await;
    holder.process.assert_running();
    assert_eq!(shared.lives().len(), 1, "the holder lives");
    let lease = holder.lease;
    holder.process.kill();
    let dead = shared.lives().remove(0);
    tidy(&shared, &key, 1).await;
    assert!(store.holder_is_dead(&key, &lease).await, "the lease stands");

    // The instance that removes the lease from the record removes the proof.
    let (found, revision) = entry(&store, &key).await.unwrap();
    let next = edited(&found, |form| form["lease"] = ().into());
    let kept = fs::read(&dead).unwrap();
    put(&store, Some(revision), &next).await;
    assert!(!dead.exists());

    // A proof that was not removed is removed later.
    fs::write(&dead, kept).unwrap();
    set_mode(&dead, 0o600);
    tidy(&shared, &key, 2).await;
    assert!(!dead.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_without_a_proof_of_life_is_written_all_the_same() {
    let shared = strict().await;
    let holder = shared.holder("rotate", "").await;
    fs::remove_file(shared.lives().remove(0)).unwrap();
    drop(holder.hold);
    holder.process.succeeds();
    let second = Process::start("rotate", "", shared.directory.path());
    second.succeeds();
    assert_eq!(shared.counts(), (1, 0, 0));
    assert_eq!(shared.lives().len(), 0);
}
