//! The keys of the server, their expiry, and the messages on channels.

use std::time::Duration;

use evertoken::store::{Revision, StoreTime};
use evertoken::{Key, RedisStore, TokenStore};
use futures_util::StreamExt as _;
use redis::Client;
use tokio::task::JoinHandle;

use crate::scene::{
    Other, access_digest, entry, key, lasting, leased, name, open, put, record, server, told, with,
};
use crate::seal::FakeSealer;
use crate::services::Redis;

const DAY: u64 = 24 * 3_600 * 1_000;

pub(crate) async fn keys(server: &Redis) -> Vec<String> {
    let mut keys: Vec<String> = Other::at(server).await.does(&["KEYS", "*"]).await;
    keys.sort();
    keys
}

/// The expiry in milliseconds from now; negative: none.
async fn expires_in(server: &Redis, name: &str) -> i64 {
    Other::at(server).await.does(&["PTTL", name]).await
}

/// Checks that the key expires in about this number of milliseconds.
pub(crate) async fn assert_expires(server: &Redis, name: &str, expected: u64) {
    let left = expires_in(server, name).await;
    let left = u64::try_from(left).expect("it expires");
    let is_about = expected - 60_000..=expected + 1_000;
    assert!(is_about.contains(&left), "{name}: {left}");
}

/// All commands that the server receives from now on.
pub(crate) async fn monitored(server: &Redis) -> JoinHandle<String> {
    let client = Client::open(server.url()).unwrap();
    let monitor = client.get_async_monitor().await.unwrap();
    let mut lines = monitor.into_on_message::<String>();
    tokio::spawn(async move {
        let mut told = String::new();
        while let Some(line) = lines.next().await {
            told.push_str(&line);
            told.push('\n');
            if line.contains("the-end") {
                break;
            }
        }
        told
    })
}

/// The commands that the monitor has seen.
pub(crate) async fn told_until_now(server: &Redis, monitor: JoinHandle<String>) -> String {
    Other::at(server).await.tell("PUBLISH end the-end").await;
    monitor.await.unwrap()
}

/// All messages that are published from now on, with their channels.
async fn published(server: &Redis) -> JoinHandle<String> {
    let client = Client::open(server.url()).unwrap();
    let mut listener = client.get_async_pubsub().await.unwrap();
    listener.psubscribe("*").await.unwrap();
    tokio::spawn(async move {
        let mut told = String::new();
        let mut messages = listener.on_message();
        while let Some(message) = messages.next().await {
            let payload: String = message.get_payload().unwrap();
            told.push_str(&format!("{} {payload}\n", message.get_channel_name()));
            if payload == "the-end" {
                break;
            }
        }
        told
    })
}

/// The life of a record, with every call of a store.
async fn lives(store: &RedisStore, key: &Key) {
    let mut seen: Option<Revision> = None;
    for number in 1..5 {
        let next = record(key, number);
        seen = Some(put(store, seen, &next).await);
        store.swap(key, None, &next).await.unwrap();
        entry(store, key).await.unwrap();
        store.find(&next.digest()).await.unwrap();
        store.find_by_access(&access_digest(number)).await.unwrap();
        store.changed(key, None).await;
        let waiting = store.changed(key, seen);
        let _ = tokio::time::timeout(Duration::from_millis(20), waiting).await;
    }
}

async fn seen_by_the_server(store: &RedisStore, server: &Redis) -> [String; 3] {
    let (monitored, published) = (monitored(server).await, published(server).await);
    lives(store, &key()).await;
    let keys = keys(server).await.join("\n");
    let monitored = told_until_now(server, monitored).await;
    [keys, published.await.unwrap(), monitored]
}

#[tokio::test]
async fn n3_keys_channels_and_messages_contain_no_token() {
    let server = server();
    let [keys, published, monitored] = seen_by_the_server(&open(&server).await, &server).await;
    assert!(keys.contains(&name(&key())), "{keys}");
    assert!(published.contains(&name(&key())), "{published}");
    assert!(!keys.contains("sesame") && !published.contains("sesame"));
    // The value of a plain record contains the tokens.
    for line in monitored.lines().filter(|line| line.contains("sesame")) {
        let writes = line.contains(r#""EVAL"#) || line.contains(r#""HSET""#);
        assert!(writes, "{line}");
    }
}

#[tokio::test]
async fn n3_with_a_sealer_the_server_receives_no_token() {
    let server = server();
    let store = open(&server).await.sealed(FakeSealer::new("secret"));
    let [keys, published, monitored] = seen_by_the_server(&store, &server).await;
    assert!(monitored.contains("EVALSHA") && monitored.contains("access_digest"));
    for seen in [keys, published, monitored] {
        assert!(!seen.contains("sesame"), "{seen}");
    }
}

/// Each key begins with the prefix, and the keys of a session have its digest in braces.
#[tokio::test]
async fn two_prefixes_are_two_stores() {
    let server = server();
    let plain = open(&server).await;
    let [one, other] = ["one", "other"].map(|prefix| plain.clone().prefix(prefix));
    put(&one, None, &record(&key(), 1)).await;
    assert_eq!(entry(&other, &key()).await, None);
    assert_eq!(entry(&plain, &key()).await, None);
    let digest = record(&key(), 1).digest();
    assert_eq!(other.find(&digest).await.unwrap(), None);
    assert_eq!(one.find(&digest).await.unwrap(), Some(key()));
    let expected = [
        format!("one:access:{}", access_digest(1)),
        format!("one:digest:{digest}"),
        format!("one:{{{}}}", key().digest()),
    ];
    assert_eq!(keys(&server).await, expected);
    put(&other, None, &record(&key(), 2)).await;
    assert_eq!(entry(&one, &key()).await.unwrap().0, record(&key(), 1));
}

#[tokio::test]
async fn a_record_expires_a_week_after_its_tokens_or_never_if_that_is_unknown() {
    let server = server();
    let store = open(&server).await;
    let now = store.load(&key()).await.unwrap().now;
    let in_an_hour = now.after(Duration::from_secs(3_600));
    let name = name(&key());
    let is_for = async |expected| assert_expires(&server, &name, expected).await;

    let mut seen = put(&store, None, &lasting(&key(), 1, in_an_hour)).await;
    is_for(7 * DAY + 3_600_000).await;
    seen = put(&store, Some(seen), &record(&key(), 2)).await;
    assert_eq!(expires_in(&server, &name).await, -1);
    seen = put(&store, Some(seen), &lasting(&key(), 3, in_an_hour)).await;
    is_for(7 * DAY + 3_600_000).await;
    // An instance writes the record, so the record is in use, whatever its expiry.
    let long_ago = StoreTime::from_millis(1_600_000_000_000);
    seen = put(&store, Some(seen), &lasting(&key(), 4, long_ago)).await;
    is_for(7 * DAY).await;
    // A lease leaves the expiry as it is, and restores it where it was lost.
    let left = expires_in(&server, &name).await;
    let lease = leased(&lasting(&key(), 4, in_an_hour));
    seen = put(&store, Some(seen), &lease).await;
    is_for(7 * DAY + 3_600_000).await;
    assert!(left < expires_in(&server, &name).await);
    Other::at(&server)
        .await
        .tell(&format!("PERSIST {name}"))
        .await;
    seen = put(&store, Some(seen), &lasting(&key(), 4, in_an_hour)).await;
    is_for(7 * DAY + 3_600_000).await;
    assert_eq!(entry(&store, &key()).await.unwrap().1, seen);
}

/// An instance with a revision from before the deletion must not win against a later record.
#[tokio::test]
async fn a_revision_does_not_repeat_after_a_deletion() {
    let server = server();
    let store = open(&server).await;
    let mut last = 0;
    for number in 1..20 {
        let revision = put(&store, None, &record(&key(), number)).await.number();
        assert!(revision > last, "{revision} after {last}");
        last = revision;
        Other::at(&server).await.tell("FLUSHALL").await;
    }
}

/// A promoted replica may be behind, and its clock too.
#[tokio::test]
async fn a_revision_follows_one_that_is_ahead_of_the_clock() {
    let server = server();
    let store = open(&server).await;
    put(&store, None, &record(&key(), 1)).await;
    let ahead = 8_999_999_999_999_998_u64;
    let mut other = Other::at(&server).await;
    let () = other
        .does(&["HSET", &name(&key()), "revision", &ahead.to_string()])
        .await;
    let (_, seen) = entry(&store, &key()).await.unwrap();
    assert_eq!(seen.number(), ahead);
    let next = put(&store, Some(seen), &record(&key(), 2)).await;
    assert_eq!(next.number(), ahead + 1);
    let held: String = other.does(&["HGET", &name(&key()), "revision"]).await;
    assert_eq!(held, "8999999999999999", "an integer, with all its digits");
}

#[tokio::test]
async fn a_cluster_of_one_node_runs_everything() {
    let server = with("--cluster-enabled yes");
    let mut other = Other::at(&server).await;
    other.tell("CLUSTER ADDSLOTSRANGE 0 16383").await;
    let state = async |other: &mut Other| other.does::<String>(&["CLUSTER", "INFO"]).await;
    while !state(&mut other).await.contains("cluster_state:ok") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    lives(&open(&server).await, &key()).await;
    lives(&open(&server).await.prefix("{other}:app"), &key()).await;
}

#[tokio::test]
async fn a_node_of_a_cluster_without_the_session_is_reported() {
    let server = with("--cluster-enabled yes --cluster-require-full-coverage no");
    let store = open(&server).await;
    let error = told(&store.load(&key()).await.unwrap_err());
    assert!(error.contains("its cluster does not serve"), "{error}");
}
