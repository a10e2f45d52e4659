//! What a swap writes: to its row, and to the write-ahead log.

use std::time::Duration;

use evertoken::protocol::{Digest, Record};
use evertoken::store::Revision;
use evertoken::{Key, PostgresStore, TokenStore};
use serde_json::{Value, json};

use crate::scene::{ISSUED, LONG, entry, key, made_of, names, put};
use crate::services::Postgres;

/// The lengths of a token that is a JWT of ordinary length, and of an opaque one.
const ACCESS: usize = 1_024;
const REFRESH: usize = 200;

/// The most bytes that a rotation, a lease and a commit, may add to the log.
const MOST: u64 = 6 * 1_024;

/// A text of digits that do not repeat.
fn token(kind: &str, number: u64, length: usize) -> String {
    let digests = (0..).map(|part| Digest::of(format!("{kind} {number} {part}")).to_string());
    let mut token = digests.take(length / 32 + 1).collect::<String>();
    token.truncate(length);
    token
}

/// A record as a manager writes it, that began with a seed.
fn form(key: &Key, number: u64) -> Value {
    let refresh = |number| Digest::of(token("refresh", number, REFRESH));
    let past = names((number.saturating_sub(8).max(2)..number).map(refresh));
    let seeds = names((number > 1).then(|| refresh(1)));
    json!({
        "format": 3, "key": key, "family": "0123456789abcdef0123456789abcdef", "version": number,
        "pair": {
            "issued_at": ISSUED, "origin": if number == 1 { "seed" } else { "endpoint" },
            "access_token": token("access", number, ACCESS),
            "refresh_token": token("refresh", number, REFRESH),
            "lifetime": {
                "access": { "known": { "total": LONG } }, "refresh": { "known": { "total": 2 * LONG } },
            },
            "token_type": "Bearer", "scope": ["read", "write"],
        },
        "state": { "is": "active" }, "lease": null, "not_before": null, "sign_ins": 1,
        "next_number": number, "committed_number": number - 1,
        "past": { "refreshed": past, "seeds": seeds, "until": ISSUED + 2 * LONG },
    })
}

fn record(number: u64) -> Record {
    made_of(&form(&key(), number))
}

fn leased(number: u64) -> Record {
    let mut form = form(&key(), number);
    form["lease"] = json!({
        "owner": "fedcba9876543210fedcba9876543210", "number": number, "nonce": u64::MAX - number,
        "digest": record(number).digest(), "since": ISSUED + number, "duration": 60_000,
        "doubtful": null, "by": null, "before": null, "sendings": 0, "released": false,
    });
    form["next_number"] = (number + 1).into();
    made_of(&form)
}

/// A lease and a commit.
async fn rotate(store: &PostgresStore, seen: Revision, number: u64) -> Revision {
    let seen = put(store, Some(seen), &leased(number)).await;
    put(store, Some(seen), &record(number + 1)).await
}

async fn rotate_to(store: &PostgresStore, mut seen: Revision, from: u64, to: u64) -> Revision {
    for number in from..to {
        seen = rotate(store, seen, number).await;
    }
    seen
}

fn log_written(server: &Postgres) -> u64 {
    let bytes = server.sql("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')");
    bytes.parse().unwrap()
}

/// The values that are stored outside of their rows.
fn outside(server: &Postgres) -> String {
    let relation = "SELECT reltoastrelid::regclass FROM pg_class WHERE relname = 'evertoken_pair'";
    let relation = server.sql(relation);
    server.sql(&format!(
        "SELECT chunk_id, chunk_seq, xmin FROM {relation} ORDER BY 1, 2"
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_rotation_adds_at_most_six_kibibytes_to_the_log() {
    let settings = ["fsync=off", "autovacuum=off", "full_page_writes=off"];
    let server = Postgres::start_with(&settings).unwrap();
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
    assert!(
        measured[1] * 10 <= measured[0] * 11,
        "it grows: {measured:?}"
    );
    assert_eq!(entry(&store, &key()).await, Some((record(number), seen)));
}

/// The number of updates, and the number of those that touched no index.
async fn updates(server: &Postgres) -> [u64; 2] {
    let connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'evertoken'";
    // A connection reports its statistics at its end at the latest.
    while server.sql(connections) != "0" {
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
    let server = Postgres::start_with(&["fsync=off", "autovacuum=off", "full_page_writes=off"]);
    let server = server.unwrap();
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    let seen = put(&store, None, &record(1)).await;
    let mut seen = rotate_to(&store, seen, 1, 20).await;
    drop(store);
    let [updates_before, hot_before] = updates(&server).await;
    let pairs = outside(&server);
    assert_eq!(
        pairs.lines().count(),
        1,
        "a pair that gave way is gone: {pairs}"
    );

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
    let database = crate::scene::Database::new();
    let store = database.open().await;
    let seen = put(&store, None, &record(1)).await;
    let mut other = form(&key(), 1);
    other["pair"]["access_token"] = token("another", 1, ACCESS).into();
    let seen = put(&store, Some(seen), &made_of(&other)).await;
    assert_eq!(entry(&store, &key()).await, Some((made_of(&other), seen)));
    let access = Digest::of(token("another", 1, ACCESS));
    assert_eq!(store.find_by_access(&access).await.unwrap(), Some(key()));
    assert_eq!(database.rows("version"), ["1"]);
}

#[tokio::test]
async fn a_swap_answers_the_databases_time_whether_it_is_won_or_lost() {
    let database = crate::scene::Database::new();
    let store = database.open().await;
    for seen in [None, None, Some(Revision::new(1))] {
        let before = store.load(&key()).await.unwrap().now;
        let (_, now) = store.swap_timed(&key(), seen, &record(1)).await.unwrap();
        let after = store.load(&key()).await.unwrap().now;
        let now = now.expect("a time");
        assert!(
            (before..=after).contains(&now),
            "{before:?} {now:?} {after:?}"
        );
    }
}
