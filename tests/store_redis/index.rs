//! The index: which entries lead to a session, for how long, and which of them are believed without the record.

use std::time::Duration;

use evertoken::protocol::Record;
use evertoken::store::{Revision, StoreTime, Swap};
use evertoken::{RedisStore, TokenStore};

use crate::keys::{assert_expires, keys};
use crate::records::edited;
use crate::scene::{
    Other, access_digest, digest, entry, key, lasting, leased, name, open, put, record, server,
    told, with_past,
};

const HOUR: u64 = 3_600 * 1_000;
const DAY: u64 = 24 * HOUR;

fn index(number: u64) -> String {
    format!("evertoken:digest:{}", digest(number))
}

fn access(number: u64) -> String {
    format!("evertoken:access:{}", access_digest(number))
}

/// The record with the last eight past tokens.
fn rotated(number: u64) -> Record {
    let past = number.saturating_sub(8).max(1)..number;
    with_past(&record(&key(), number), "refreshed", past)
}

/// Each pair replaces the one before under a lease, and the record notes the old token as past.
async fn rotate(store: &RedisStore, pairs: u64) -> Revision {
    let mut seen = put(store, None, &record(&key(), 1)).await;
    for number in 2..=pairs {
        seen = put(store, Some(seen), &leased(&rotated(number - 1))).await;
        seen = put(store, Some(seen), &rotated(number)).await;
    }
    seen
}

#[tokio::test]
async fn entries_of_the_index_expire_with_their_tokens() {
    let server = server();
    let store = open(&server).await;
    let now = store.load(&key()).await.unwrap().now;
    let is_for = async |name: String, expected| assert_expires(&server, &name, expected).await;

    // The expiry of this token is unknown.
    let mut seen = put(&store, None, &record(&key(), 1)).await;
    is_for(index(1), 365 * DAY).await;
    is_for(access(1), 30 * DAY).await;
    let in_a_day = lasting(&key(), 2, now.after(Duration::from_millis(DAY)));
    seen = put(&store, Some(seen), &in_a_day).await;
    is_for(index(2), 8 * DAY).await;
    is_for(access(2), DAY + HOUR).await;

    // A token that leaves the record: at most two days, 256 lifetimes (of ten minutes: 42 hours and 40 minutes), at
    // least an hour.
    let leaves = |next: &Record, first| with_past(next, "refreshed", first..first + 8);
    let in_ten_minutes = now.after(Duration::from_secs(600));
    for (next, first, expected) in [
        (record(&key(), 3), 30, 2 * DAY),
        (lasting(&key(), 4, in_ten_minutes), 40, 256 * 600_000),
    ] {
        seen = put(&store, Some(seen), &leaves(&next, first)).await;
        is_for(index(first), expected).await;
        is_for(index(first + 1), expected).await;
    }
    let leaving = leaves(&record(&key(), 5), 50);
    let in_two_hours = now.after(Duration::from_secs(2 * 3_600));
    for (until, expected) in [(in_two_hours, 2 * HOUR), (StoreTime::from_millis(1), HOUR)] {
        let next = edited(&leaving, |form| {
            form["past"]["until"] = until.as_millis().into()
        });
        seen = put(&store, Some(seen), &next).await;
        is_for(index(50), expected).await;
    }
}

#[tokio::test]
async fn a_token_that_has_left_the_record_is_found_as_long_as_there_is_a_record() {
    let server = server();
    let store = open(&server).await;
    rotate(&store, 20).await;
    let (held, _) = entry(&store, &key()).await.unwrap();
    assert!(!held.knows(&digest(1)), "it remembers the last eight");
    for number in 1..=20 {
        let found = store.find(&digest(number)).await.unwrap();
        assert_eq!(found, Some(key()), "{number}");
    }
    let () = Other::at(&server).await.does(&["DEL", &name(&key())]).await;
    for number in [1, 20] {
        assert_eq!(store.find(&digest(number)).await.unwrap(), None);
    }
}

/// The tokens of a lost swap are not found, although the swap has entered them.
#[tokio::test]
async fn the_tokens_of_a_lost_swap_are_not_found() {
    let server = server();
    let store = open(&server).await;
    let seen = rotate(&store, 3).await;
    let current = with_past(&record(&key(), 3), "refreshed", [1, 2]);
    let lost = [
        record(&key(), 91),
        with_past(&record(&key(), 92), "seeds", [93]),
        with_past(&record(&key(), 94), "replaced", [95]),
        with_past(&record(&key(), 96), "refreshed", [97, 98, 99]),
    ];
    for next in lost {
        for seen in [None, Some(Revision::new(1))] {
            let swap = store.swap(&key(), seen, &next).await.unwrap();
            assert!(matches!(swap, Swap::Lost(Some(_))));
        }
    }
    let is_entered = keys(&server).await.contains(&index(91));
    assert!(is_entered, "it was entered before");
    for number in 91..=99 {
        assert_eq!(store.find(&digest(number)).await.unwrap(), None, "{number}");
        let found = store.find_by_access(&access_digest(number)).await.unwrap();
        assert_eq!(found, None, "{number}");
    }
    assert_eq!(entry(&store, &key()).await, Some((current, seen)));
}

/// A late instance overwrites the entry of the token that it holds, and that token was used before.
#[tokio::test]
async fn a_late_swap_does_not_unmark_a_past_token() {
    let server = server();
    let store = open(&server).await;
    rotate(&store, 4).await;
    let late = record(&key(), 2);
    let swap = store.swap(&key(), None, &late).await.unwrap();
    assert!(matches!(swap, Swap::Lost(Some(_))));
    let (_, mut seen) = entry(&store, &key()).await.unwrap();
    for number in 5..=20 {
        assert_eq!(store.find(&digest(2)).await.unwrap(), Some(key()));
        seen = put(&store, Some(seen), &rotated(number)).await;
    }
    assert_eq!(store.find(&digest(2)).await.unwrap(), Some(key()));
}

/// A seed and a token of a new sign-in are in the record itself, and are found as long as they are there.
#[tokio::test]
async fn seeds_and_tokens_of_new_sign_ins_are_confirmed_by_the_record() {
    let server = server();
    let store = open(&server).await;
    let mut seen = put(&store, None, &record(&key(), 1)).await;
    for (number, list) in [(2, "seeds"), (3, "replaced")] {
        let next = with_past(&record(&key(), number), list, [number - 1]);
        seen = put(&store, Some(seen), &next).await;
        assert_eq!(store.find(&digest(number - 1)).await.unwrap(), Some(key()));
    }
    let found = store.find(&digest(1)).await.unwrap();
    assert_eq!(found, None, "it was forgotten");
    // An entry that has expired is written again.
    let () = Other::at(&server).await.does(&["DEL", &index(2)]).await;
    let next = with_past(&record(&key(), 4), "replaced", [2]);
    put(&store, Some(seen), &next).await;
    assert_eq!(store.find(&digest(2)).await.unwrap(), Some(key()));
}

#[tokio::test]
async fn an_access_token_is_found_while_it_is_the_current_one() {
    let server = server();
    let store = open(&server).await;
    rotate(&store, 3).await;
    for (number, owner) in [(1, None), (2, None), (3, Some(key()))] {
        let found = store.find_by_access(&access_digest(number)).await.unwrap();
        assert_eq!(found, owner, "{number}");
    }
    assert_eq!(store.find(&access_digest(3)).await.unwrap(), None);
    assert_eq!(store.find_by_access(&digest(3)).await.unwrap(), None);
}

#[tokio::test]
async fn an_entry_of_the_index_needs_the_records_confirmation() {
    let server = server();
    let store = open(&server).await;
    let mut other = Other::at(&server).await;
    put(&store, None, &record(&key(), 1)).await;
    let elsewhere = key().label("elsewhere");
    let session = elsewhere.digest().to_string();
    let found = async |is_access| match is_access {
        false => store.find(&digest(1)).await,
        true => store.find_by_access(&access_digest(1)).await,
    };
    for (is_access, entry) in [(false, index(1)), (true, access(1))] {
        let right = key().digest().to_string();
        other.tell(&format!("SET {entry} {right}")).await;
        assert_eq!(found(is_access).await.unwrap(), Some(key()));

        // A copy under another name does not belong to a session, and an entry without a record does not lead to one.
        for mark in ["", "past:"] {
            let () = other.does(&["DEL", &name(&elsewhere)]).await;
            let () = other
                .does(&["SET", &entry, &format!("{mark}{session}")])
                .await;
            assert_eq!(found(is_access).await.unwrap(), None);
            let () = other
                .does(&["COPY", &name(&key()), &name(&elsewhere)])
                .await;
            assert_eq!(found(is_access).await.unwrap(), None);
        }

        // "Not found" would be a guess.
        for (value, what) in [(&*session, name(&elsewhere)), ("foreign", entry.clone())] {
            other.tell(&format!("SET {entry} {value}")).await;
            let () = other
                .does(&["HSET", &name(&elsewhere), "record", "foreign"])
                .await;
            let error = told(&found(is_access).await.unwrap_err());
            assert!(error.contains(&format!("`{what}`")), "{error}");
        }
        other.tell(&format!("DEL {entry}")).await;
        assert_eq!(found(is_access).await.unwrap(), None);
    }
}
