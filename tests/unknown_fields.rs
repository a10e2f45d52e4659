//! Fields of a later version survive at every level of a record, plain and sealed.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

#[path = "store_file/seal.rs"]
mod seal;

use evertoken::Key;
use evertoken::protocol::{Digest, Record};
use evertoken::store::Codec;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::seal::FakeSealer;

/// Where a later version may add something.
const LEVELS: [&str; 13] = [
    "",
    "/key",
    "/pair",
    "/pair/lifetime",
    "/pair/lifetime/access",
    "/pair/lifetime/access/known",
    "/pair/lifetime/refresh/known",
    "/state",
    "/lease",
    "/not_before",
    "/past",
    "/browser",
    "/upstream",
];

fn key() -> Key {
    Key::new("https://id.example.org/token", "importer")
}

/// Everything that a record can have.
fn form() -> Value {
    // Two digests of 16 bytes.
    let two = "A".repeat(43);
    let mut form = json!({
        "format": 3, "key": key(), "family": "0123456789abcdef0123456789abcdef", "version": 3,
        "pair": {
            "issued_at": 1_700_000_000_000_u64, "origin": "seed", "access_token": "access-sesame",
            "refresh_token": "refresh-sesame", "token_type": "bearer", "scope": ["read", "write"],
            "lifetime": {
                "access": { "known": { "total": 600_000 } }, "refresh": { "known": { "total": 3_600_000 } },
                "refresh_expiry": "absolute", "refresh_in": 1_000,
            },
        },
        "state": { "is": "active" },
        "lease": {
            "owner": "fedcba9876543210fedcba9876543210", "number": 7, "nonce": 9, "digest": Digest::of("refresh-sesame"),
            "since": 1, "duration": 60_000, "doubtful": 2, "released": true, "by": "silence", "before": "unavailable", "sendings": 1,
        },
        "not_before": { "until": 9, "class": "page", "code": "404", "failures": 2 }, "sign_ins": 1,
        "next_number": 8, "committed_number": 6, "past": { "refreshed": two, "seeds": two, "replaced": two, "until": 5 },
        "browser": { "began": 1, "seen_at": 3, "version": 5, "before": 4, "current": 5, "at": 2, "pins": [{ "digest": Digest::of("first"), "until": 9 }] },
        "upstream": { "session": Digest::of("sid"), "subject": Digest::of("sub") },
    });
    form["state"] = json!({
        "is": "rejected", "digest": Digest::of("refresh-sesame"), "code": "invalid_grant", "description": "used before",
    });
    form
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// With these fields at some of the levels.
fn later(added: &[(usize, String, Value)]) -> Value {
    let mut form = form();
    for (level, name, value) in added {
        let part = form.pointer_mut(LEVELS[*level]).unwrap();
        part[format!("later {name}")] = value.clone();
    }
    form
}

proptest! {
    #[test]
    fn what_a_later_version_wrote_is_written_again(
        added in prop::collection::vec((0..LEVELS.len(), any::<String>(), anything()), 0..12)
    ) {
        let form = later(&added);
        let record: Record = serde_json::from_value(form.clone()).unwrap();
        prop_assert_eq!(&serde_json::to_value(&record).unwrap(), &form);
        for codec in [Codec::plain(), Codec::sealed(FakeSealer::new("secret"))] {
            let bytes = codec.encode(&record).unwrap();
            prop_assert_eq!(bytes.capacity(), bytes.len());
            let again = codec.decode(&key(), &bytes).unwrap();
            prop_assert_eq!(&serde_json::to_value(&again).unwrap(), &form);
            prop_assert_eq!(&again, &record);
        }
    }
}

#[test]
fn a_record_without_unknown_fields_has_none_added() {
    let record: Record = serde_json::from_value(form()).unwrap();
    assert_eq!(serde_json::to_value(&record).unwrap(), form());
}

#[test]
fn what_a_later_version_wrote_is_shown_at_no_level() {
    let everywhere = 0..LEVELS.len();
    let added: Vec<_> = everywhere
        .map(|level| (level, "field".to_owned(), json!("sesame-too")))
        .collect();
    let record: Record = serde_json::from_value(later(&added)).unwrap();
    let shown = format!("{record:?} {record:#?}");
    assert!(!shown.contains("sesame"), "{shown}");
}

/// A later version may keep a secret beside the tokens.
#[test]
fn what_a_later_version_wrote_beside_the_tokens_is_neither_shown_nor_readable() {
    let pair = LEVELS.iter().position(|level| *level == "/pair").unwrap();
    let added = ["a", "b"].map(|name| (pair + 1, name.to_owned(), json!("sesame-too")));
    let mut form = later(&added);
    form["pair"]["later"] = "sesame-too".into();
    let record: Record = serde_json::from_value(form).unwrap();
    assert!(!format!("{record:?} {record:#?}").contains("sesame"));
    let codec = Codec::sealed(FakeSealer::new("secret"));
    let bytes = codec.encode(&record).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("sesame"));
}

/// Records that were written before there was such a field, or whose sign-in named nothing.
#[test]
fn a_record_without_marks_has_no_field_for_them_also_beside_fields_of_a_later_version() {
    let mut form = later(&[(10, "field".to_owned(), json!(1))]);
    form.as_object_mut().unwrap().remove("upstream");
    let record: Record = serde_json::from_value(form.clone()).unwrap();
    assert_eq!(record.upstream().count(), 0);
    assert_eq!(serde_json::to_value(&record).unwrap(), form);
}
