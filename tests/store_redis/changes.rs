//! A waiter notices a change by a message, or by polling.

use std::time::Duration;

use evertoken::store::Revision;
use evertoken::{RedisStore, TokenStore};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::proxy::Proxy;
use crate::scene::{Other, entry, key, name, open, put, record, server, told, until};
use crate::services::Redis;

fn waiter(store: &RedisStore, seen: Option<Revision>) -> JoinHandle<Instant> {
    let store = store.clone();
    tokio::spawn(async move {
        store.changed(&key(), seen).await;
        Instant::now()
    })
}

/// The number of subscribers to the session's channel.
async fn listeners(other: &mut Other) -> i64 {
    let channel = name(&key());
    let (_, count): (String, i64) = other.does(&["PUBSUB", "NUMSUB", &channel]).await;
    count
}

pub(crate) async fn until_listeners(server: &Redis, expected: i64) {
    let mut other = Other::at(server).await;
    let what = format!("{expected} who listen");
    until(&what, async || listeners(&mut other).await == expected).await;
}

/// The total time in which a waiter noticed the changes.
async fn heard_after(store: &RedisStore, server: &Redis, changes: u64, listens: bool) -> Duration {
    let writer = open(server).await;
    let mut seen = None;
    let mut took = Duration::ZERO;
    for number in 0..changes {
        let waiter = waiter(store, seen);
        if listens {
            until_listeners(server, 1).await;
        }
        // The waiter has read the record by then.
        tokio::time::sleep(Duration::from_millis(30)).await;
        seen = Some(put(&writer, seen, &record(&key(), number)).await);
        let written = Instant::now();
        took += waiter.await.unwrap().saturating_duration_since(written);
    }
    took
}

/// Changes are notified: polling once a second would take half a second on average.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_notified_at_once() {
    let server = server();
    let took = heard_after(&open(&server).await, &server, 40, true).await;
    assert!(took < Duration::from_secs(5), "{took:?} for 40 changes");
}

/// Without the right to subscribe, every change is noticed by frequent polling.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_the_right_to_subscribe_polls() {
    let server = server();
    let user = "ACL SETUSER app on >sesame ~* resetchannels +@all";
    Other::at(&server).await.tell(user).await;
    let url = format!("redis://app:sesame@127.0.0.1:{}", server.port());
    let store = RedisStore::connect(&url).await.unwrap();
    let took = heard_after(&store, &server, 20, false).await;
    assert!(took < Duration::from_secs(10), "{took:?} for 20 changes");
}

/// A waiter whose notifications end polls often: it must not wait a second for the next poll.
#[tokio::test]
async fn a_user_who_loses_the_right_to_subscribe_polls_more_often() {
    let server = server();
    let mut other = Other::at(&server).await;
    let mut permit = async |channels| {
        let user = format!("ACL SETUSER app on >sesame ~* +@all {channels}");
        other.tell(&user).await;
    };
    permit("allchannels").await;
    let url = format!("redis://app:sesame@127.0.0.1:{}", server.port());
    let store = RedisStore::connect(&url).await.unwrap();
    let mut seen = None;
    let mut took = Duration::ZERO;
    for number in 0..5 {
        let waiter = waiter(&store, seen);
        until_listeners(&server, 1).await;
        // The waiter has read the record after the subscription by then.
        tokio::time::sleep(Duration::from_millis(50)).await;
        permit("resetchannels").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        seen = Some(put(&store, seen, &record(&key(), number)).await);
        let written = Instant::now();
        took += waiter.await.unwrap().saturating_duration_since(written);
        permit("allchannels").await;
    }
    assert!(took < Duration::from_secs(2), "{took:?} for 5 changes");
}

#[tokio::test]
async fn a_waiter_notices_changes_although_the_connection_is_cut() {
    let server = server();
    let store = open(&server).await;
    let mut other = Other::at(&server).await;
    let mut seen = None;
    let mut took = Duration::ZERO;
    for number in 0..20 {
        let waiter = waiter(&store, seen);
        until_listeners(&server, 1).await;
        // In between, there is no subscriber.
        other.tell("CLIENT KILL TYPE pubsub").await;
        seen = Some(put(&store, seen, &record(&key(), number)).await);
        let written = Instant::now();
        took += waiter.await.unwrap().saturating_duration_since(written);
    }
    assert!(took < Duration::from_secs(5), "{took:?} for 20 changes");
    // The listener subscribes again while a caller waits.
    let waiter = waiter(&store, seen);
    until_listeners(&server, 1).await;
    put(&store, seen, &record(&key(), 99)).await;
    waiter.await.unwrap();
}

#[tokio::test]
async fn a_channel_without_waiters_is_unsubscribed_from() {
    let server = server();
    let store = open(&server).await;
    let seen = Some(put(&store, None, &record(&key(), 1)).await);
    let waiters = [(); 3].map(|()| waiter(&store, seen));
    until_listeners(&server, 1).await;
    let [first, second, third] = waiters;
    first.abort();
    second.abort();
    let seen = Some(put(&store, seen, &record(&key(), 2)).await);
    third.await.unwrap();
    until_listeners(&server, 0).await;
    let fourth = waiter(&store, seen);
    until_listeners(&server, 1).await;
    fourth.abort();
    until_listeners(&server, 0).await;
}

/// The tasks and the connections end with the last clone.
#[tokio::test]
async fn no_connection_outlives_the_store() {
    let server = server();
    let mut other = Other::at(&server).await;
    let clients = async |other: &mut Other| -> usize {
        let clients: String = other.does(&["CLIENT", "LIST"]).await;
        clients.lines().count()
    };
    let metrics = tokio::runtime::Handle::current().metrics();
    let tasks = metrics.num_alive_tasks();
    let store = open(&server).await.replicas(1, Duration::from_millis(1));
    let hasty = store.clone().replicas(0, Duration::ZERO);
    let seen = put(&hasty, None, &record(&key(), 1)).await;
    drop(hasty);
    let swap = store.swap(&key(), Some(seen), &record(&key(), 2)).await;
    swap.unwrap_err();
    let seen = entry(&store, &key()).await.map(|(_, revision)| revision);
    let waiting = waiter(&store, seen);
    until_listeners(&server, 1).await;
    assert_eq!(
        clients(&mut other).await,
        4,
        "asks, waits for replicas, listens; and we"
    );
    waiting.abort();
    let _ = waiting.await;
    let clone = store.clone();
    drop(store);
    clone.load(&key()).await.unwrap();
    drop(clone);
    let is_alone = async || clients(&mut other).await == 1;
    until("no connection but ours", is_alone).await;
    until("no task", async || metrics.num_alive_tasks() == tasks).await;
}

/// A peer that vanishes does not close its connections. The first call notices by a time-out, and the next call has
/// another connection.
#[tokio::test]
async fn a_silent_connection_is_replaced() {
    let server = server();
    let proxy = Proxy::to(server.port()).await;
    let store = RedisStore::connect(&proxy.url()).await.unwrap();
    let seen = put(&store, None, &record(&key(), 1)).await;
    proxy.silence();
    let error = told(&store.load(&key()).await.unwrap_err());
    assert!(error.contains("has not answered in time"), "{error}");
    let (_, loaded) = entry(&store, &key()).await.unwrap();
    assert_eq!(loaded, seen);
}

#[tokio::test]
async fn a_listener_on_a_silent_connection_listens_anew() {
    let server = server();
    let proxy = Proxy::to(server.port()).await;
    let store = RedisStore::connect(&proxy.url()).await.unwrap();
    let seen = Some(put(&store, None, &record(&key(), 1)).await);
    let waiter = waiter(&store, seen);
    until_listeners(&server, 1).await;
    proxy.silence();
    // The server does not notice, and has two subscribers for a while.
    until_listeners(&server, 2).await;
    put(&open(&server).await, seen, &record(&key(), 2)).await;
    waiter.await.unwrap();
}
