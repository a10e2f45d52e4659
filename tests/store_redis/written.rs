//! What a swap writes: to the server's files and replicas, and to its memory.

use evertoken::{RedisStore, TokenStore};
use serde_json::{Value, json};

use crate::keys::{monitored, told_until_now};
use crate::proxy::Proxy;
use crate::records::ordinary::{leased, other, record, rotate_to};
use crate::records::{assert_swaps_are_timed, edited};
use crate::scene::{Other, entry, key, name, open, put, server, with};
use crate::services::Redis;

/// The most bytes that a rotation, a lease and a commit, may add to the server's file.
const MOST: u64 = 4 * 1_024;

/// The most memory that a session may take in the server.
const MOST_KEPT: u64 = 4 * 1_024;

async fn file_length(server: &Redis) -> u64 {
    let info: String = Other::at(server).await.does(&["INFO", "persistence"]).await;
    let mut lines = info.lines();
    let length = lines.find_map(|line| line.strip_prefix("aof_current_size:"));
    length.expect("it keeps a file").parse().unwrap()
}

async fn memory_of(server: &Redis, name: &str) -> u64 {
    let mut other = Other::at(server).await;
    other.does(&["MEMORY", "USAGE", name]).await
}

#[tokio::test]
async fn each_rotation_adds_at_most_four_kibibytes_to_the_file() {
    let server = with("--appendonly yes --auto-aof-rewrite-percentage 0");
    let store = open(&server).await;
    let mut seen = put(&store, None, &record(1)).await;
    let mut measured = Vec::new();
    let mut number = 1;
    for from in [10, 1_000] {
        seen = rotate_to(&store, seen, number, from).await;
        let before = file_length(&server).await;
        number = from + 100;
        seen = rotate_to(&store, seen, from, number).await;
        let written = (file_length(&server).await - before) / 100;
        measured.push((written, memory_of(&server, &name(&key())).await));
    }
    let is_small = |(written, kept): &(u64, u64)| *written <= MOST && *kept <= MOST_KEPT;
    assert!(measured.iter().all(is_small), "{measured:?}");
    let [(at_10, _), (at_1000, _)] = [measured[0], measured[1]];
    assert!(at_1000 * 10 <= at_10 * 11, "it grows: {measured:?}");
    assert_eq!(entry(&store, &key()).await, Some((record(number), seen)));
}

#[tokio::test]
async fn a_lease_writes_only_its_part_and_a_commit_writes_the_pair() {
    let server = server();
    let store = open(&server).await;
    let seen = put(&store, None, &record(1)).await;
    let seen = rotate_to(&store, seen, 1, 5).await;
    let monitor = monitored(&server).await;
    let lease = put(&store, Some(seen), &leased(5)).await;
    let told = told_until_now(&server, monitor).await;
    let writes = |told: &str| {
        let writes = told.lines().filter(|line| {
            ["\"HSET\"", "\"SET\"", "\"PEXPIREAT\"", "\"PERSIST\""]
                .iter()
                .any(|command| line.contains(command) && !line.contains("EVAL"))
        });
        writes.map(str::to_owned).collect::<Vec<_>>()
    };
    let written = writes(&told);
    assert_eq!(written.len(), 1, "{written:#?}");
    assert!(written[0].contains("\"lease\""), "{written:?}");
    for part in ["\"record\" ", "\"past\" ", "\"pair\" "] {
        assert!(!written[0].contains(part), "{part}: {written:?}");
    }

    let monitor = monitored(&server).await;
    let committed = put(&store, Some(lease), &record(6)).await;
    let told = told_until_now(&server, monitor).await;
    let written = writes(&told);
    let hash = written.iter().find(|line| line.contains("\"HSET\""));
    for part in ["\"record\" ", "\"lease\" ", "\"past\" ", "\"pair\" "] {
        assert!(hash.unwrap().contains(part), "{part}: {hash:?}");
    }
    // The digests of both tokens. Entries that are there are not written again.
    assert_eq!(entries(&written), [2, 3], "{written:#?}");

    let seen = rotate_to(&store, committed, 6, 20).await;
    let monitor = monitored(&server).await;
    put(&store, Some(seen), &record(21)).await;
    let written = writes(&told_until_now(&server, monitor).await);
    // The digests of the two tokens that leave the record next.
    assert_eq!(entries(&written), [4, 3], "{written:#?}");
}

/// The number of entries that are always written, and of those that are written only if they are missing.
fn entries(written: &[String]) -> [usize; 2] {
    let entries = written.iter().filter(|line| line.contains("\"SET\""));
    let (unless, always): (Vec<_>, Vec<_>) = entries.partition(|line| line.contains("\"NX\""));
    [always.len(), unless.len()]
}

#[tokio::test]
async fn another_pair_with_the_same_version_is_written() {
    let server = server();
    let store = open(&server).await;
    let seen = put(&store, None, &record(1)).await;
    let (other, _) = other();
    let seen = put(&store, Some(seen), &other).await;
    assert_eq!(entry(&store, &key()).await, Some((other.clone(), seen)));
    // A pair that was removed is gone from the server.
    let cleared = edited(&other, |form| {
        form["pair"] = Value::Null;
        form["past"] = json!({});
    });
    let seen = put(&store, Some(seen), &cleared).await;
    assert_eq!(entry(&store, &key()).await, Some((cleared, seen)));
    let mut client = Other::at(&server).await;
    let all: Vec<String> = client.does(&["HGETALL", &name(&key())]).await;
    assert!(!all.concat().contains("access_token"), "{all:?}");
}

#[tokio::test]
async fn a_lease_a_commit_and_a_load_are_one_round_trip_each() {
    let server = server();
    let proxy = Proxy::to(server.port()).await;
    let store = RedisStore::connect(&proxy.url()).await.unwrap();
    // The server learns the scripts.
    let seen = put(&store, None, &record(1)).await;
    entry(&store, &key()).await;
    let mut before = proxy.requests();
    let mut counted = || {
        let requests = proxy.requests();
        requests - std::mem::replace(&mut before, requests)
    };
    let seen = put(&store, Some(seen), &leased(1)).await;
    assert_eq!(counted(), 1, "a lease");
    put(&store, Some(seen), &record(2)).await;
    assert_eq!(counted(), 1, "a commit");
    entry(&store, &key()).await;
    assert_eq!(counted(), 1, "a look");
    store.swap(&key(), Some(seen), &record(3)).await.unwrap();
    assert_eq!(counted(), 1, "a swap that is lost");
}

#[tokio::test]
async fn a_swap_answers_the_servers_time_whether_it_is_won_or_lost() {
    let server = server();
    let store = open(&server).await;
    assert_swaps_are_timed(store).await;
}
