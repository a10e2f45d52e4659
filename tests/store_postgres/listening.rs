//! Notifications of changes, and polling where none arrive.

use std::collections::BTreeSet;
use std::time::Duration;

use evertoken::PostgresStore;
use evertoken::protocol::Digest;
use evertoken::store::Revision;
use tokio::task::JoinHandle;

use crate::proxy::{Logs, Proxy};
use crate::scene::{CONNECTIONS, Database, LISTENING, entry, key, leased, put, record, waiting};

/// A store that hears polls every second only, so a faster answer is by a notification.
const BY_NOTIFICATION: Duration = Duration::from_millis(500);

/// How often a condition is checked.
const PATIENCE: u32 = 500;

fn wait(store: &PostgresStore, seen: Revision) -> JoinHandle<()> {
    waiting(store, key(), seen)
}

async fn until(database: &Database, sql: &str, answer: &str) {
    for _ in 0..PATIENCE {
        if database.sql(sql) == answer {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not {answer}: {sql}");
}

/// Writes changes until the waiting store is notified of three in a row.
async fn until_heard(waiting: &PostgresStore, writing: &PostgresStore) -> Revision {
    let (_, mut seen) = entry(writing, &key()).await.unwrap();
    let mut in_a_row = 0;
    for _ in 0..PATIENCE {
        if in_a_row == 3 {
            return seen;
        }
        let waiter = wait(waiting, seen);
        // Longer than the read at the start takes, and than a poll without notifications.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!waiter.is_finished());
        seen = put(writing, Some(seen), &record(&key(), 1)).await;
        let heard = tokio::time::timeout(Duration::from_millis(30), waiter).await;
        in_a_row = if heard.is_ok() { in_a_row + 1 } else { 0 };
    }
    panic!("nothing is heard");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_notified_to_other_stores_and_other_clones() {
    let database = Database::new();
    let (one, other) = (database.open().await, database.open().await);
    put(&one, None, &record(&key(), 1)).await;
    let mut seen = until_heard(&one, &other).await;
    for number in 2..22 {
        let waiters = [&one, &one.clone(), &other].map(|store| wait(store, seen));
        tokio::time::sleep(Duration::from_millis(5)).await;
        let writer = if number % 2 == 0 { &one } else { &other };
        seen = put(writer, Some(seen), &record(&key(), number)).await;
        for waiter in waiters {
            let heard = tokio::time::timeout(BY_NOTIFICATION, waiter).await;
            heard.expect("it was told").unwrap();
        }
    }
    assert_eq!(database.sql(LISTENING), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_listens_from_the_first_wait_until_the_last_clone_is_gone() {
    let database = Database::new();
    let store = database.open().await;
    let seen = put(&store, None, &record(&key(), 1)).await;
    assert_eq!(database.sql(LISTENING), "0", "no caller has waited yet");
    let waiters: Vec<_> = (0..20).map(|_| wait(&store, seen)).collect();
    until(&database, LISTENING, "1").await;
    put(&store, Some(seen), &record(&key(), 2)).await;
    for waiter in waiters {
        waiter.await.unwrap();
    }
    assert_eq!(database.sql(LISTENING), "1");
    let clone = store.clone();
    drop(store);
    assert!(entry(&clone, &key()).await.is_some());
    assert_eq!(database.sql(LISTENING), "1");
    drop(clone);
    until(&database, CONNECTIONS, "0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_polls_while_its_listener_is_cut_off_and_listens_again() {
    let database = Database::new();
    let (one, other) = (database.open().await, database.open().await);
    put(&one, None, &record(&key(), 1)).await;
    let seen = until_heard(&one, &other).await;
    let waiter = wait(&one, seen);
    database.sql(&LISTENING.replace("count(*)", "pg_terminate_backend(pid)"));
    let seen = put(&other, Some(seen), &record(&key(), 2)).await;
    waiter.await.unwrap();
    // Only a poll without a notification can find this change.
    database.sql(&LISTENING.replace("count(*)", "pg_terminate_backend(pid)"));
    let waiter = wait(&one, seen);
    database.sql("UPDATE evertoken_pair SET revision = revision + 1 WHERE record IS NOT NULL");
    waiter.await.unwrap();
    until(&database, LISTENING, "1").await;
    until_heard(&one, &other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_poll_where_notifications_do_not_arrive() {
    let database = Database::new();
    let proxy = Proxy::start(database.server.port()).await;
    let one = PostgresStore::connect(&proxy.url(&database.url))
        .await
        .unwrap();
    let other = database.open().await;
    let mut seen = put(&other, None, &record(&key(), 1)).await;
    let waiter = wait(&one, seen);
    // The store's own notification was kept back, so the store knows that none arrive.
    proxy.kept_back(1).await;
    seen = put(&other, Some(seen), &record(&key(), 2)).await;
    waiter.await.unwrap();
    for number in 3..13 {
        let waiter = wait(&one, seen);
        tokio::time::sleep(Duration::from_millis(100)).await;
        seen = put(&other, Some(seen), &record(&key(), number)).await;
        // A store that believed in notifications would poll every second.
        let found = tokio::time::timeout(BY_NOTIFICATION, waiter).await;
        found.expect("it was looked for").unwrap();
    }
}

#[tokio::test]
async fn a_store_reports_once_that_notifications_do_not_arrive() {
    let (logs, _guard) = Logs::of(tracing::Level::WARN);
    let database = Database::new();
    let proxy = Proxy::start(database.server.port()).await;
    let store = PostgresStore::connect(&proxy.url(&database.url))
        .await
        .unwrap();
    let seen = put(&store, None, &record(&key(), 1)).await;
    let waiters: Vec<_> = (0..20).map(|_| wait(&store, seen)).collect();
    // The check at the start, and the third attempt to listen: two have failed by then.
    proxy.kept_back(3).await;
    put(&store, Some(seen), &record(&key(), 2)).await;
    for waiter in waiters {
        waiter.await.unwrap();
    }
    let text = logs.text();
    let reports = text.matches("notifications do not arrive").count();
    assert_eq!(reports, 1, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n3_notifications_contain_digests_and_numbers_only() {
    let database = Database::new();
    let mut listener = sqlx::postgres::PgListener::connect(&database.url)
        .await
        .unwrap();
    listener.listen("evertoken").await.unwrap();
    let (one, other) = (database.open().await, database.open().await);
    put(&one, None, &record(&key(), 1)).await;
    until_heard(&one, &other).await;
    let (held, revision) = entry(&one, &key()).await.unwrap();
    let revision = put(&one, Some(revision), &leased(&held)).await;
    put(&one, Some(revision), &record(&key(), 2)).await;
    let mut told = BTreeSet::new();
    while let Some(notification) = listener.next_buffered() {
        told.insert(notification.payload().to_owned());
    }
    let first = listener.recv().await.unwrap();
    told.insert(first.payload().to_owned());
    while let Ok(Ok(next)) = tokio::time::timeout(Duration::from_millis(200), listener.recv()).await
    {
        told.insert(next.payload().to_owned());
    }
    for payload in &told {
        let (session, revision) = payload.split_once(' ').expect(payload);
        assert!(session.parse::<Digest>().is_ok(), "{payload}");
        assert!(revision.parse::<u64>().is_ok(), "{payload}");
    }
    let ours = key().digest().to_string();
    let is_told = told.iter().any(|payload| payload.starts_with(&ours));
    assert!(is_told, "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_is_not_woken_by_the_revision_that_it_has_seen() {
    let database = Database::new();
    let (one, other) = (database.open().await, database.open().await);
    put(&one, None, &record(&key(), 1)).await;
    let mut seen = until_heard(&one, &other).await;
    for number in 2..22 {
        // The notification of the own swap may still be on its way.
        seen = put(&one, Some(seen), &record(&key(), number)).await;
        let waiter = wait(&one, seen);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiter.is_finished());
        seen = put(&other, Some(seen), &leased(&record(&key(), number))).await;
        waiter.await.unwrap();
    }
}

/// The connections and the task belonged to the first runtime.
#[test]
fn a_store_outlives_the_runtime_it_was_made_on() {
    let database = Database::new();
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let first = runtime();
    let (one, other) = first.block_on(async {
        let (one, other) = (database.open().await, database.open().await);
        put(&one, None, &record(&key(), 1)).await;
        until_heard(&one, &other).await;
        (one, other)
    });
    drop(first);
    let second = runtime();
    second.block_on(async {
        // The idle connections end with their runtime. A read on one of them is repeated; a write is not, because it
        // may have been carried out.
        for _ in 0..10 {
            assert!(entry(&one, &key()).await.is_some());
            assert!(entry(&other, &key()).await.is_some());
        }
        until_heard(&one, &other).await;
    });
    // The stores are dropped after the runtime, so nothing can close their connections.
    drop(second);
    drop((one, other));
}
