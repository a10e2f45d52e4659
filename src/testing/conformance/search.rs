//! Whose digest it is.

use super::calls::{Store, entry, found, swap, write};
use super::records::{self, key, nonce, record};
use crate::store::Swap;
use crate::token::Digest;

/// Holds for stores without a search of their own as well.
pub(super) async fn nothing_is_found_that_is_not_there(handles: &[Store]) {
    let key = key("find");
    let record = record(&key, 1);
    let absent = found(&handles[0], &record.digest()).await;
    assert_eq!(absent, None, "find by a digest that nobody wrote");
    write(&handles[0], &key, None, &record).await;
    let current = found(&handles[1], &record.digest()).await;
    assert!(
        current.is_none_or(|found| found == key),
        "find by a digest answers its own key or none"
    );
}

pub(super) async fn a_digest_leads_to_its_key(handles: &[Store]) {
    let keys = [key("found"), key("found too")];
    let past = |name: &str, key| Digest::of(format!("{name} {key:?}"));
    for key in &keys {
        let first = write(&handles[0], key, None, &record(key, 1)).await;
        let mut next = record(key, 2);
        next.past = records::past(["one", "two"].map(|name| past(name, key)));
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
            assert_eq!(foreign, None, "find by a digest that nobody wrote");
        }
    }
}

pub(super) async fn a_digest_that_was_forgotten_leads_nowhere(handles: &[Store]) {
    let key = key("forgotten");
    let past = Digest::of(nonce());
    let mut first = record(&key, 1);
    first.past = records::past([past]);
    let revision = write(&handles[0], &key, None, &first).await;
    // Searched once, so that whoever keeps answers has something to keep.
    for store in handles {
        assert_eq!(
            found(store, &past).await.as_ref(),
            Some(&key),
            "find by the retired digest"
        );
    }
    let next = record(&key, 2);
    write(&handles[0], &key, Some(revision), &next).await;
    let lost = swap(&handles[1], &key, Some(revision), &record(&key, 3)).await;
    assert!(
        matches!(lost, Swap::Lost(_)),
        "a swap against an old revision is lost"
    );
    for store in handles {
        for digest in [first.digest(), past, record(&key, 3).digest()] {
            let found = found(store, &digest).await;
            assert_eq!(
                found, None,
                "find by a digest that the record does not have"
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
