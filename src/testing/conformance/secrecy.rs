//! What a store shows of itself.

use std::error::Error;

use super::calls::{Store, entry, found, write};
use super::records::{FAR_TOO_LONG, key, record, sized};
use crate::record::Record;

pub(super) async fn no_token_is_shown(handles: &[Store]) {
    let key = key("secrets");
    let held = record(&key, 1);
    let revision = write(&handles[0], &key, None, &held).await;
    for store in handles {
        // Whatever is kept from a call has been kept by now.
        entry(store, &key).await;
        found(store, &held.digest()).await;
        expect_hidden(
            &format!("{store:?} {store:#?}"),
            &held,
            "the store's Debug form",
        );
    }
    let refused = sized(&key, 2, FAR_TOO_LONG);
    let answer = handles[0].swap(&key, Some(revision), &refused).await;
    if let Err(error) = answer {
        let mut told = format!("{error:?}");
        let mut cause: Option<&dyn Error> = Some(&error);
        while let Some(error) = cause {
            told.push_str(&error.to_string());
            cause = error.source();
        }
        expect_hidden(&told, &refused, "an error");
    }
}

fn expect_hidden(text: &str, record: &Record, where_: &str) {
    let Some(stored) = &record.pair else { return };
    let pair = &stored.pair;
    let tokens = [
        pair.access.as_ref().map(|token| token.expose()),
        pair.refresh.as_ref().map(|token| token.expose()),
    ];
    for token in tokens.into_iter().flatten() {
        assert!(!text.contains(token), "a token is in {where_}");
    }
}
