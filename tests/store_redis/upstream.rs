//! The sets of the sessions of a provider's session or user: what is in them, for how long, and what the record confirms.

use std::time::Duration;

use evertoken::protocol::{Digest, Record};
use evertoken::store::{Revision, Swap};
use evertoken::{Key, TokenStore};
use serde_json::json;

use crate::keys::{assert_expires, keys};
use crate::records::edited;
use crate::scene::{Other, entry, key, lasting, leased, name, open, put, record, server, told};

const DAY: u64 = 24 * 3_600 * 1_000;

fn mark(name: &str) -> Digest {
    Digest::of(name)
}

fn set(name: &str) -> String {
    format!("evertoken:upstream:{}", mark(name))
}

fn marked(record: &Record, sid: &str) -> Record {
    edited(record, |form| {
        form["upstream"] = json!({ "session": mark(sid), "subject": mark("ada") });
    })
}

async fn found(store: &impl TokenStore, name: &str) -> Vec<Key> {
    store.find_by_upstream(&mark(name)).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_set_expires_with_the_last_of_its_records_and_sheds_those_that_are_over() {
    let server = server();
    let store = open(&server).await;
    let mut other = Other::at(&server).await;
    let now = store.load(&key()).await.unwrap().now;
    let after = |days: u64| now.after(Duration::from_millis(days * DAY));
    // The expiry of this one is unknown.
    let long = key().label("long");
    put(&store, None, &marked(&record(&long, 1), "s1")).await;
    assert_expires(&server, &set("s1"), 365 * DAY).await;
    // A shorter one does not shorten the set, and is in its own set for its time and a week.
    put(&store, None, &marked(&lasting(&key(), 2, after(1)), "s2")).await;
    assert_expires(&server, &set("s2"), 8 * DAY).await;
    assert_expires(&server, &set("ada"), 365 * DAY).await;
    let both = found(&store, "ada").await;
    assert!(both.len() == 2 && both.contains(&key()) && both.contains(&long));
    // Its time passes.
    let session = key().digest().to_string();
    let () = other.does(&["ZADD", &set("ada"), "1000", &session]).await;
    let third = key().label("third");
    put(&store, None, &marked(&record(&third, 3), "s3")).await;
    let size: u64 = other.does(&["ZCARD", &set("ada")]).await;
    assert_eq!(size, 2);
}

#[tokio::test]
async fn a_lease_enters_nothing_and_a_commit_enters_what_is_missing() {
    let server = server();
    let store = open(&server).await;
    let first = marked(&record(&key(), 1), "s1");
    let mut seen = put(&store, None, &first).await;
    let () = Other::at(&server).await.does(&["DEL", &set("s1")]).await;
    seen = put(&store, Some(seen), &leased(&first)).await;
    assert!(!keys(&server).await.contains(&set("s1")));
    put(&store, Some(seen), &marked(&record(&key(), 2), "s1")).await;
    assert_eq!(found(&store, "s1").await, [key()]);
}

#[tokio::test]
async fn an_entry_needs_the_records_confirmation() {
    let server = server();
    let store = open(&server).await;
    let mut other = Other::at(&server).await;
    let seen = put(&store, None, &record(&key(), 1)).await;
    for seen in [None, Some(Revision::new(1))] {
        let late = marked(&record(&key(), 2), "s1");
        let swap = store.swap(&key(), seen, &late).await.unwrap();
        assert!(matches!(swap, Swap::Lost(Some(_))));
    }
    assert!(
        keys(&server).await.contains(&set("s1")),
        "it was entered before"
    );
    assert_eq!(found(&store, "s1").await, []);
    assert_eq!(entry(&store, &key()).await.unwrap().1, seen);
    put(&store, Some(seen), &marked(&record(&key(), 3), "s1")).await;
    assert_eq!(found(&store, "s1").await, [key()]);
    // A copy of a record under another name does not belong to a session, and a session without a record is over.
    let elsewhere = key().label("elsewhere");
    let session = elsewhere.digest().to_string();
    let () = other.does(&["ZADD", &set("s1"), "9e15", &session]).await;
    assert_eq!(found(&store, "s1").await, [key()]);
    let () = other
        .does(&["COPY", &name(&key()), &name(&elsewhere)])
        .await;
    assert_eq!(found(&store, "s1").await, [key()]);
    let () = other.does(&["ZADD", &set("s1"), "9e15", "foreign"]).await;
    let error = store.find_by_upstream(&mark("s1")).await.unwrap_err();
    assert!(told(&error).contains("left as it is"), "{}", told(&error));
}

#[tokio::test]
async fn a_set_that_is_no_set_is_an_error_and_hinders_no_swap() {
    let server = server();
    let store = open(&server).await;
    Other::at(&server)
        .await
        .tell(&format!("SET {} mine", set("s1")))
        .await;
    put(&store, None, &marked(&record(&key(), 1), "s1")).await;
    store.find_by_upstream(&mark("s1")).await.unwrap_err();
    assert_eq!(found(&store, "ada").await, [key()]);
}
