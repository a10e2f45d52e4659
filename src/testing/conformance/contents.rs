//! A record comes back equal, under its own key alone, and to a store with a sealer only if the record is sealed. Neither a
//! store nor its errors show a token.

use std::error::Error;

use serde_json::json;

use super::fixture::{
    FAR_TOO_LONG, Store, entry, every_kind, expect_entry, found, key, record, sized, write,
};
use crate::record::Record;
use crate::store::{StoreError, Swap};
use crate::token::Key;

/// Characters of a record that every store has to keep: some forty times the record of a long-lived session.
const LONG: usize = 200_000;

pub(super) async fn records_come_back_equal(handles: &[Store]) {
    let key = key("equal")
        .tenant("dikü")
        .subject("o'Brien \"the\" \\ ?%_*;--")
        .scope("write read")
        .audience("https://api.example.org/a?b=c&d=%20");
    let mut seen = None;
    for (record, writer) in every_kind(&key).iter().zip(handles.iter().cycle()) {
        let revision = write(writer, &key, seen, record).await;
        for reader in handles {
            expect_entry(reader, &key, record, revision).await;
        }
        seen = Some(revision);
    }
}

/// Also through a swap by an instance that does not know these fields.
pub(super) async fn fields_of_a_later_version_survive(handles: &[Store]) {
    let key = key("later");
    let mut first = record(&key, 1);
    let fields = [
        ("", json!(null)),
        ("nested", json!({ "a": [1, [2, { "b": {} }]], "": "" })),
        (
            "numbers",
            json!([u64::MAX, i64::MIN, 0.1, -2.5e-7, 9_007_199_254_740_993_u64]),
        ),
        (
            "text",
            json!("\0 \u{1} \n \" \\ é e\u{301} \u{1F511} \u{202E} {} ' $1 ?"),
        ),
        ("odd name \0 \u{1F511} '\"\\", json!(true)),
    ];
    first
        .unknown
        .extend(fields.map(|(name, value)| (name.to_owned(), value)));
    let revision = write(&handles[0], &key, None, &first).await;
    let Some((mut next, seen)) = entry(&handles[1], &key).await else {
        panic!("the record that was swapped in is gone");
    };
    assert_eq!(
        (&next.unknown, seen),
        (&first.unknown, revision),
        "fields of a later version survive"
    );
    next.version = 2;
    let revision = write(&handles[1], &key, Some(seen), &next).await;
    next.unknown = first.unknown;
    expect_entry(&handles[0], &key, &next, revision).await;
}

pub(super) async fn long_records_are_kept_or_refused_whole(handles: &[Store]) {
    let key = key("long");
    let long = sized(&key, 1, LONG);
    let revision = write(&handles[0], &key, None, &long).await;
    for store in handles {
        let found = entry(store, &key).await;
        assert!(
            found.is_some_and(|found| found == (long.clone(), revision)),
            "a record of {LONG} characters comes back equal"
        );
    }
    let far_too_long = sized(&key, 2, FAR_TOO_LONG);
    let answer = handles[0].swap(&key, Some(revision), &far_too_long).await;
    let expected = match answer {
        Ok(Swap::Swapped(revision)) => (far_too_long, revision),
        Err(_) => (long, revision),
        Ok(Swap::Lost(_)) => panic!("a swap without a rival is not lost"),
    };
    for store in handles {
        let found = entry(store, &key).await;
        assert!(
            found.as_ref() == Some(&expected),
            "a record of {FAR_TOO_LONG} characters is stored whole or refused with an error"
        );
    }
    let short = record(&key, 3);
    let revision = write(&handles[0], &key, Some(expected.1), &short).await;
    expect_entry(&handles[1], &key, &short, revision).await;
}

/// Endings that stores have mishandled: paths, patterns, quotes, key spaces, case, normal forms, ends of text.
const ENDINGS: [&str; 27] = [
    "",
    " ",
    "x",
    "X",
    "/x",
    "_x",
    "\\x",
    "\n",
    "é",
    "e\u{301}",
    "%",
    "/../x",
    "\0",
    "\0x",
    ":x",
    "{x}",
    "*",
    "[x]",
    "?",
    "'",
    "\"",
    "''; --",
    "$1",
    "\u{1F511}",
    "\u{202E}x",
    "\u{FEFF}",
    "\r\n",
];

pub(super) async fn keys_are_independent(handles: &[Store]) {
    let keys = keys();
    let mut revisions = Vec::new();
    for (key, store) in keys.iter().zip(handles.iter().cycle()) {
        let absent = entry(store, key).await.is_none();
        assert!(absent, "{key} does not have the entry of another key");
        revisions.push(write(store, key, None, &record(key, 1)).await);
    }
    for (key, revision) in keys.iter().zip(revisions) {
        for store in handles {
            expect_entry(store, key, &record(key, 1), revision).await;
        }
    }
}

fn keys() -> Vec<Key> {
    let base = key("keys");
    let label = &base.label;
    let mut keys = vec![
        base.clone().tenant("x"),
        base.clone().subject("x"),
        base.clone().audience("x"),
        base.clone().scope("x"),
        base.clone().scope("x y"),
        // The same text, divided at another place.
        base.clone().tenant("x").subject("yz"),
        base.clone().tenant("xy").subject("z"),
        base.clone().tenant("x:y").subject("z"),
        base.clone().tenant("x").subject("y:z"),
        Key::new("https://id.example.org/other", "conformance").label(label),
        Key::new("https://id.example.org/token", "other").label(label),
        base.clone()
            .label(format!("{label}{}", "long".repeat(1_000))),
    ];
    keys.extend(ENDINGS.map(|ending| base.clone().label(format!("{label}{ending}"))));
    keys
}

pub(super) async fn no_token_is_in_debug_forms_and_errors(handles: &[Store]) {
    let key = key("secrets");
    let held = record(&key, 1);
    let revision = write(&handles[0], &key, None, &held).await;
    for store in handles {
        // A store that caches has cached the record by now.
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
        let mut report = format!("{error:?}");
        let mut cause: Option<&dyn Error> = Some(&error);
        while let Some(error) = cause {
            report.push_str(&error.to_string());
            cause = error.source();
        }
        expect_hidden(&report, &refused, "an error");
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

/// Three handles on one storage.
pub(super) struct SealHandles {
    pub(super) plain: Store,
    pub(super) sealed: Store,
    pub(super) accepting: Store,
}

pub(super) async fn sealed_records_come_back_equal_and_are_hidden(handles: &SealHandles) {
    let key = key("sealed");
    let mut seen = None;
    for record in every_kind(&key) {
        let revision = write(&handles.sealed, &key, seen, &record).await;
        for store in [&handles.sealed, &handles.accepting] {
            expect_entry(store, &key, &record, revision).await;
        }
        refusal(&handles.plain, &key, "a sealed record needs its sealer").await;
        seen = Some(revision);
    }
}

/// With a pair or without: a plain record in place of a sealed one is a session with an attacker's tokens, or one that has
/// ended.
pub(super) async fn a_seal_cannot_be_removed(handles: &SealHandles) {
    for (number, record) in every_kind(&key("plain")).into_iter().enumerate() {
        let key = key(&format!("plain {number}"));
        let record = Record {
            key: key.clone(),
            ..record
        };
        let revision = write(&handles.plain, &key, None, &record).await;
        let what = "a store with a sealer refuses a plain record";
        let error = refusal(&handles.sealed, &key, what).await;
        assert!(
            error.to_string().contains("accept_plain"),
            "the error has to name the setting that permits plain records (accept_plain), but is: {error}"
        );
        let lost = handles.sealed.swap(&key, None, &record).await;
        assert!(lost.is_err(), "{what}, also if it won a race");
        expect_entry(&handles.plain, &key, &record, revision).await;
    }
}

pub(super) async fn plain_records_are_sealed_at_their_next_swap(handles: &SealHandles) {
    let key = key("in use");
    let revision = write(&handles.plain, &key, None, &record(&key, 1)).await;
    expect_entry(&handles.accepting, &key, &record(&key, 1), revision).await;
    let next = record(&key, 2);
    let revision = write(&handles.accepting, &key, Some(revision), &next).await;
    expect_entry(&handles.sealed, &key, &next, revision).await;
    refusal(
        &handles.plain,
        &key,
        "a plain record that is replaced is sealed",
    )
    .await;
    assert!(entry(&handles.accepting, &key).await.is_some());
}

async fn refusal(store: &Store, key: &Key, what: &str) -> StoreError {
    match store.load(key).await {
        Err(error) => error,
        Ok(loaded) => panic!("{what}: loading gave {:?}", loaded.entry),
    }
}
