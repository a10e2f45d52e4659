//! A record comes back equal, under its own key alone, and to a store with a sealer only if the record is sealed. Neither a
//! store nor its errors show a token. A search finds the key of a present or past token, and never another key.

use std::error::Error;

use serde_json::json;

use super::{
    FAR_TOO_LONG, Store, access_digest, answer, entry, every_kind, expect_entry, key, nonce, past,
    record, sized, swap, write,
};
use crate::record::{Record, StoredPair};
use crate::store::{StoreError, Swap};
use crate::token::{Digest, Key};

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
        expect_entry(handles, &key, record, revision).await;
        seen = Some(revision);
    }
}

/// Also through a swap by an instance that does not know these fields.
pub(super) async fn fields_of_a_later_version_survive(handles: &[Store]) {
    let key = key("later");
    let mut first = record(&key, 1);
    let numbers = json!([u64::MAX, i64::MIN, 0.1, -2.5e-7, 9_007_199_254_740_993_u64]);
    let text = "\0 \u{1} \n \" \\ é e\u{301} \u{1F511} \u{202E} {} ' $1 ?";
    let fields = [
        ("", json!(null)),
        ("nested", json!({ "a": [1, [2, { "b": {} }]], "": "" })),
        ("numbers", numbers),
        ("text", json!(text)),
        ("odd name \0 \u{1F511} '\"\\", json!(true)),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    first.unknown.extend(fields);
    let revision = write(&handles[0], &key, None, &first).await;
    let Some((mut next, seen)) = entry(&handles[1], &key).await else {
        panic!("the record that was swapped in is gone");
    };
    let what = "fields of a later version survive";
    assert_eq!(next.unknown, first.unknown, "{what}");
    assert_eq!(seen, revision, "{what}");
    next.version = 2;
    let revision = write(&handles[1], &key, Some(seen), &next).await;
    next.unknown = first.unknown;
    expect_entry([&handles[0]], &key, &next, revision).await;
}

pub(super) async fn long_records_are_kept_or_refused_whole(handles: &[Store]) {
    let key = key("long");
    let long = sized(&key, 1, LONG);
    let revision = write(&handles[0], &key, None, &long).await;
    let held = Some((long.clone(), revision));
    for store in handles {
        let is_equal = entry(store, &key).await == held;
        assert!(is_equal, "a record of {LONG} characters comes back equal");
    }
    let far_too_long = sized(&key, 2, FAR_TOO_LONG);
    let answer = handles[0].swap(&key, Some(revision), &far_too_long).await;
    let expected = match answer {
        Ok(Swap::Swapped(revision)) => (far_too_long, revision),
        Err(_) => (long, revision),
        Ok(Swap::Lost(_)) => panic!("a swap without a rival is not lost"),
    };
    for store in handles {
        let is_whole = entry(store, &key).await.as_ref() == Some(&expected);
        let what = "characters is stored whole or refused with an error";
        assert!(is_whole, "a record of {FAR_TOO_LONG} {what}");
    }
    let short = record(&key, 3);
    let revision = write(&handles[0], &key, Some(expected.1), &short).await;
    expect_entry([&handles[1]], &key, &short, revision).await;
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
        expect_entry(handles, key, &record(key, 1), revision).await;
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
        find(store, By::Refresh, &held.digest()).await;
        let shown = format!("{store:?} {store:#?}");
        expect_hidden(&shown, &held, "the store's Debug form");
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
    let Some(StoredPair { pair, .. }) = &record.pair else {
        return;
    };
    let access = pair.access.as_ref().map(|token| token.expose());
    let refresh = pair.refresh.as_ref().map(|token| token.expose());
    for token in access.into_iter().chain(refresh) {
        assert!(!text.contains(token), "a token is in {where_}");
    }
}

/// Handles on one storage: without a sealer, with one, and with one that accepts plain records.
pub(super) type SealHandles = [Store; 3];

pub(super) async fn sealed_records_come_back_equal_and_need_their_sealer(
    [plain, sealed, accepting]: &SealHandles,
) {
    let key = key("sealed");
    let mut seen = None;
    for record in every_kind(&key) {
        let revision = write(sealed, &key, seen, &record).await;
        expect_entry([sealed, accepting], &key, &record, revision).await;
        refusal(plain, &key, "a sealed record needs its sealer").await;
        seen = Some(revision);
    }
}

/// With a pair or without: a plain record in place of a sealed one is a session with an attacker's tokens, or one that has
/// ended.
pub(super) async fn a_seal_cannot_be_removed([plain, sealed, _]: &SealHandles) {
    for (number, record) in every_kind(&key("plain")).into_iter().enumerate() {
        let key = key(&format!("plain {number}"));
        let record = Record {
            key: key.clone(),
            ..record
        };
        let revision = write(plain, &key, None, &record).await;
        let what = "a store with a sealer refuses a plain record";
        let error = refusal(sealed, &key, what).await;
        let names_setting = error.to_string().contains("accept_plain");
        let what = "the error has to name the setting that permits plain records (accept_plain)";
        assert!(names_setting, "{what}, but is: {error}");
        let lost = sealed.swap(&key, None, &record).await;
        assert!(lost.is_err(), "{what}, also if it won a race");
        expect_entry([plain], &key, &record, revision).await;
    }
}

pub(super) async fn plain_records_are_sealed_at_their_next_swap(
    [plain, sealed, accepting]: &SealHandles,
) {
    let key = key("in use");
    let revision = write(plain, &key, None, &record(&key, 1)).await;
    expect_entry([accepting], &key, &record(&key, 1), revision).await;
    let next = record(&key, 2);
    let revision = write(accepting, &key, Some(revision), &next).await;
    expect_entry([sealed], &key, &next, revision).await;
    let what = "a plain record that is replaced is sealed";
    refusal(plain, &key, what).await;
    assert!(entry(accepting, &key).await.is_some());
}

async fn refusal(store: &Store, key: &Key, what: &str) -> StoreError {
    match store.load(key).await {
        Err(error) => error,
        Ok(loaded) => panic!("{what}: loading gave {:?}", loaded.entry),
    }
}

/// The token that a search looks for.
#[derive(Clone, Copy)]
enum By {
    Refresh,
    Access,
}

async fn find(store: &Store, by: By, digest: &Digest) -> Option<Key> {
    match by {
        By::Refresh => answer("find", store.find(digest)).await,
        By::Access => answer("find_by_access", store.find_by_access(digest)).await,
    }
}

async fn expect_found(store: &Store, by: By, digest: &Digest, key: &Key, what: &str) {
    let found = find(store, by, digest).await;
    assert_eq!(found.as_ref(), Some(key), "find by {what}");
}

async fn expect_none(store: &Store, by: By, digest: &Digest, what: &str) {
    assert_eq!(find(store, by, digest).await, None, "find by {what}");
}

async fn expect_own_or_none(store: &Store, by: By, digest: &Digest, key: &Key, what: &str) {
    let found = find(store, by, digest).await;
    let is_own = found.is_none_or(|found| found == *key);
    assert!(is_own, "find by {what} answers its own key or none");
}

const NEVER_WRITTEN: &str = "a digest that was never written";
const ACCESS_NEVER_WRITTEN: &str = "an access token that was never written";

/// Checked for stores without a search of their own as well.
pub(super) async fn a_search_finds_no_other_key(handles: &[Store]) {
    let key = key("find");
    let record = record(&key, 1);
    let (refresh, access) = (record.digest(), access_digest(&record));
    let [one, other] = [&handles[0], &handles[1]];
    expect_none(one, By::Refresh, &refresh, NEVER_WRITTEN).await;
    expect_none(one, By::Access, &access, ACCESS_NEVER_WRITTEN).await;
    write(one, &key, None, &record).await;
    expect_own_or_none(other, By::Refresh, &refresh, &key, "a digest").await;
    expect_own_or_none(other, By::Access, &access, &key, "an access token").await;
    // A search for an access token does not find a refresh token.
    expect_none(other, By::Access, &refresh, ACCESS_NEVER_WRITTEN).await;
}

pub(super) async fn a_digest_leads_to_its_key(handles: &[Store]) {
    let keys = [key("found"), key("found too")];
    let retired = |key| ["one", "two"].map(|name| Digest::of(format!("{name} {key:?}")));
    for key in &keys {
        let first = write(&handles[0], key, None, &record(key, 1)).await;
        let mut next = record(key, 2);
        next.past = past(retired(key));
        write(&handles[1], key, Some(first), &next).await;
    }
    for key in &keys {
        for store in handles {
            let current = record(key, 2).digest();
            expect_found(store, By::Refresh, &current, key, "the current digest").await;
            for digest in retired(key) {
                expect_found(store, By::Refresh, &digest, key, "the retired digest").await;
            }
            expect_none(store, By::Refresh, &Digest::of(nonce()), NEVER_WRITTEN).await;
        }
    }
}

pub(super) async fn a_token_that_has_left_its_record_is_found_under_its_key_or_not_at_all(
    handles: &[Store],
) {
    let key = key("left");
    let retired = Digest::of(nonce());
    let mut first = record(&key, 1);
    first.past = past([retired]);
    let revision = write(&handles[0], &key, None, &first).await;
    // A first search, for stores that cache answers.
    for store in handles {
        expect_found(store, By::Refresh, &retired, &key, "the retired digest").await;
    }
    let next = record(&key, 2);
    write(&handles[0], &key, Some(revision), &next).await;
    for store in handles {
        for digest in [first.digest(), retired] {
            let what = "a digest that has left its record";
            expect_own_or_none(store, By::Refresh, &digest, &key, what).await;
        }
        let current = next.digest();
        expect_found(store, By::Refresh, &current, &key, "the current digest").await;
        let held = entry(store, &key).await;
        assert!(held.is_some_and(|(record, _)| record == next));
    }
}

/// Checked for stores without a search of their own as well.
pub(super) async fn a_lost_swap_enters_no_token(handles: &[Store]) {
    let key = key("lost");
    let revision = write(&handles[0], &key, None, &record(&key, 1)).await;
    write(&handles[0], &key, Some(revision), &record(&key, 2)).await;
    let mut late = record(&key, 3);
    let retired = Digest::of(nonce());
    late.past = past([retired]);
    for seen in [Some(revision), None] {
        let lost = matches!(swap(&handles[1], &key, seen, &late).await, Swap::Lost(_));
        assert!(lost, "a swap against an old revision is lost");
    }
    for store in handles {
        for digest in [late.digest(), retired] {
            let what = "a digest of a swap that was lost";
            expect_none(store, By::Refresh, &digest, what).await;
        }
        let what = "the access token of a swap that was lost";
        expect_none(store, By::Access, &access_digest(&late), what).await;
    }
}

pub(super) async fn an_access_token_leads_to_its_key(handles: &[Store]) {
    let keys = [key("access"), key("access too")];
    let access = |key, version| access_digest(&record(key, version));
    let current = "the current access token";
    for key in &keys {
        let revision = write(&handles[0], key, None, &record(key, 1)).await;
        for store in handles {
            expect_found(store, By::Access, &access(key, 1), key, current).await;
        }
        write(&handles[1], key, Some(revision), &record(key, 2)).await;
    }
    for key in &keys {
        for store in handles {
            expect_found(store, By::Access, &access(key, 2), key, current).await;
            expect_own_or_none(store, By::Access, &access(key, 1), key, "an access token").await;
            let foreign = Digest::of(nonce());
            expect_none(store, By::Access, &foreign, ACCESS_NEVER_WRITTEN).await;
        }
    }
}
