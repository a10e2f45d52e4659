//! A store finds the key of a present or past token, and never another key.

use super::fixture::{
    self, Store, access_digest, entry, found, found_by_access, key, nonce, record, swap, write,
};
use crate::store::Swap;
use crate::token::Digest;

/// Checked for stores without a search of their own as well.
pub(super) async fn a_search_finds_no_other_key(handles: &[Store]) {
    let key = key("find");
    let record = record(&key, 1);
    let access = access_digest(&record);
    let absent = found(&handles[0], &record.digest()).await;
    assert_eq!(absent, None, "find by a digest that was never written");
    let absent = found_by_access(&handles[0], &access).await;
    assert_eq!(
        absent, None,
        "find by an access token that was never written"
    );
    write(&handles[0], &key, None, &record).await;
    let current = found(&handles[1], &record.digest()).await;
    assert!(
        current.is_none_or(|found| found == key),
        "find by a digest answers its own key or none"
    );
    let current = found_by_access(&handles[1], &access).await;
    assert!(
        current.is_none_or(|found| found == key),
        "find by an access token answers its own key or none"
    );
    // A search for an access token does not find a refresh token.
    let mixed = found_by_access(&handles[1], &record.digest()).await;
    assert_eq!(
        mixed, None,
        "find by an access token that was never written"
    );
}

pub(super) async fn a_digest_leads_to_its_key(handles: &[Store]) {
    let keys = [key("found"), key("found too")];
    let past = |name: &str, key| Digest::of(format!("{name} {key:?}"));
    for key in &keys {
        let first = write(&handles[0], key, None, &record(key, 1)).await;
        let mut next = record(key, 2);
        next.past = fixture::past(["one", "two"].map(|name| past(name, key)));
        write(&handles[1], key, Some(first), &next).await;
    }
    for key in &keys {
        let digests = [
            (record(key, 2).digest(), "current"),
            (past("one", key), "retired"),
            (past("two", key), "retired"),
        ];
        for store in handles {
            for (digest, what) in &digests {
                let found = found(store, digest).await;
                assert_eq!(found.as_ref(), Some(key), "find by the {what} digest");
            }
            let foreign = found(store, &Digest::of(nonce())).await;
            assert_eq!(foreign, None, "find by a digest that was never written");
        }
    }
}

pub(super) async fn a_token_that_has_left_its_record_is_found_under_its_key_or_not_at_all(
    handles: &[Store],
) {
    let key = key("left");
    let past = Digest::of(nonce());
    let mut first = record(&key, 1);
    first.past = fixture::past([past]);
    let revision = write(&handles[0], &key, None, &first).await;
    // A first search, for stores that cache answers.
    for store in handles {
        assert_eq!(
            found(store, &past).await.as_ref(),
            Some(&key),
            "find by the retired digest"
        );
    }
    let next = record(&key, 2);
    write(&handles[0], &key, Some(revision), &next).await;
    for store in handles {
        for digest in [first.digest(), past] {
            let found = found(store, &digest).await;
            assert!(
                found.is_none_or(|found| found == key),
                "find by a digest that has left its record answers its own key or none"
            );
        }
        let current = found(store, &next.digest()).await;
        assert_eq!(current.as_ref(), Some(&key), "find by the current digest");
        assert!(
            entry(store, &key)
                .await
                .is_some_and(|(record, _)| record == next)
        );
    }
}

/// Checked for stores without a search of their own as well.
pub(super) async fn a_lost_swap_enters_no_token(handles: &[Store]) {
    let key = key("lost");
    let revision = write(&handles[0], &key, None, &record(&key, 1)).await;
    write(&handles[0], &key, Some(revision), &record(&key, 2)).await;
    let mut late = record(&key, 3);
    let past = Digest::of(nonce());
    late.past = fixture::past([past]);
    for seen in [Some(revision), None] {
        let lost = swap(&handles[1], &key, seen, &late).await;
        assert!(
            matches!(lost, Swap::Lost(_)),
            "a swap against an old revision is lost"
        );
    }
    for store in handles {
        for digest in [late.digest(), past] {
            let found = found(store, &digest).await;
            assert_eq!(found, None, "find by a digest of a swap that was lost");
        }
        let found = found_by_access(store, &access_digest(&late)).await;
        assert_eq!(
            found, None,
            "find by the access token of a swap that was lost"
        );
    }
}

pub(super) async fn an_access_token_leads_to_its_key(handles: &[Store]) {
    let keys = [key("access"), key("access too")];
    for key in &keys {
        let (first, next) = (record(key, 1), record(key, 2));
        let revision = write(&handles[0], key, None, &first).await;
        for store in handles {
            let current = found_by_access(store, &access_digest(&first)).await;
            assert_eq!(
                current.as_ref(),
                Some(key),
                "find by the current access token"
            );
        }
        write(&handles[1], key, Some(revision), &next).await;
    }
    for key in &keys {
        for store in handles {
            let current = found_by_access(store, &access_digest(&record(key, 2))).await;
            assert_eq!(
                current.as_ref(),
                Some(key),
                "find by the current access token"
            );
            let past = found_by_access(store, &access_digest(&record(key, 1))).await;
            assert!(
                past.is_none_or(|found| found == *key),
                "find by an access token answers its own key or none"
            );
            let foreign = found_by_access(store, &Digest::of(nonce())).await;
            assert_eq!(
                foreign, None,
                "find by an access token that was never written"
            );
        }
    }
}
