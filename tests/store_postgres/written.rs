//! What a swap writes: to its row, and to the write-ahead log.

use std::time::Duration;

use evertoken::{PostgresStore, TokenStore};

use crate::records::assert_swaps_are_timed;
use crate::records::ordinary::{leased, other, record, rotate_to};
use crate::scene::{CONNECTIONS, Database, entry, key, put};
use crate::services::Postgres;

/// The most bytes that a rotation, a lease and a commit, may add to the log.
const MOST: u64 = 6 * 1_024;

/// A server that writes nothing of its own accord.
fn quiet() -> Postgres {
    let settings = ["fsync=off", "autovacuum=off", "full_page_writes=off"];
    Postgres::start_with(&settings).unwrap()
}

fn log_written(server: &Postgres) -> u64 {
    let bytes = server.sql("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')");
    bytes.parse().unwrap()
}

/// The values that are stored outside of their rows.
fn outside(server: &Postgres) -> String {
    let relation = "SELECT reltoastrelid::regclass FROM pg_class WHERE relname = 'evertoken_pair'";
    let relation = server.sql(relation);
    let columns = "chunk_id, chunk_seq, xmin";
    server.sql(&format!("SELECT {columns} FROM {relation} ORDER BY 1, 2"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_rotation_adds_at_most_six_kibibytes_to_the_log() {
    let server = quiet();
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    let mut seen = put(&store, None, &record(1)).await;
    let mut measured = Vec::new();
    let mut number = 1;
    for from in [10, 1_000] {
        seen = rotate_to(&store, seen, number, from).await;
        let before = log_written(&server);
        number = from + 100;
        seen = rotate_to(&store, seen, from, number).await;
        measured.push((log_written(&server) - before) / 100);
    }
    assert!(measured.iter().all(|bytes| *bytes <= MOST), "{measured:?}");
    let is_steady = measured[1] * 10 <= measured[0] * 11;
    assert!(is_steady, "it grows: {measured:?}");
    assert_eq!(entry(&store, &key()).await, Some((record(number), seen)));
}

/// The number of updates, and the number of those that touched no index.
async fn updates(server: &Postgres) -> [u64; 2] {
    // A connection reports its statistics at its end at the latest.
    while server.sql(CONNECTIONS) != "0" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let counts =
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'evertoken_pair'";
    let counts = server.sql(counts);
    let (all, hot) = counts.split_once('|').unwrap();
    [all, hot].map(|count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_touches_no_index_and_does_not_write_the_pair_again() {
    const TIMES: u64 = 50;
    let server = quiet();
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    let seen = put(&store, None, &record(1)).await;
    let mut seen = rotate_to(&store, seen, 1, 20).await;
    drop(store);
    let [updates_before, hot_before] = updates(&server).await;
    let pairs = outside(&server);
    let count = pairs.lines().count();
    assert_eq!(count, 1, "a pair that gave way is gone: {pairs}");

    let store = PostgresStore::connect(&server.url()).await.unwrap();
    let log = log_written(&server);
    for _ in 0..TIMES {
        seen = put(&store, Some(seen), &leased(20)).await;
        seen = put(&store, Some(seen), &record(20)).await;
    }
    let lease = (log_written(&server) - log) / (2 * TIMES);
    assert!(lease < 512, "of a lease or a release: {lease}");
    seen = put(&store, Some(seen), &leased(20)).await;
    assert_eq!(outside(&server), pairs);
    assert_eq!(entry(&store, &key()).await, Some((leased(20), seen)));
    drop(store);
    let [updates_after, hot_after] = updates(&server).await;
    assert_eq!(updates_after - updates_before, 2 * TIMES + 1);
    assert_eq!(hot_after - hot_before, 2 * TIMES + 1);

    let store = PostgresStore::connect(&server.url()).await.unwrap();
    let committed = put(&store, Some(seen), &record(21)).await;
    assert_ne!(outside(&server), pairs);
    assert_eq!(entry(&store, &key()).await, Some((record(21), committed)));
}

/// A pair that differs is written, although its version is the same.
#[tokio::test]
async fn another_pair_with_the_same_version_is_written() {
    let database = Database::new();
    let store = database.open().await;
    let seen = put(&store, None, &record(1)).await;
    let (other, access) = other();
    let seen = put(&store, Some(seen), &other).await;
    assert_eq!(entry(&store, &key()).await, Some((other, seen)));
    assert_eq!(store.find_by_access(&access).await.unwrap(), Some(key()));
    assert_eq!(database.rows("version"), ["1"]);
}

#[tokio::test]
async fn a_swap_answers_the_databases_time_whether_it_is_won_or_lost() {
    let database = Database::new();
    assert_swaps_are_timed(database.open().await).await;
}
