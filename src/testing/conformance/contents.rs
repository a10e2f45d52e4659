//! What is written is what is read.

use serde_json::json;

use super::calls::{Store, entry, expect_entry, write};
use super::records::{FAR_TOO_LONG, every_kind, key, record, sized};
use crate::store::Swap;

/// Characters of a record that every store has to keep: some forty times what a long-lived session has.
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

/// Also if they are written on by somebody who does not know them.
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
        panic!("what was swapped in is gone");
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

pub(super) async fn long_records(handles: &[Store]) {
    let key = key("long");
    let long = sized(&key, 1, LONG);
    let revision = write(&handles[0], &key, None, &long).await;
    for store in handles {
        let found = entry(store, &key).await;
        assert!(
            found.is_some_and(|found| found == (long.clone(), revision)),
            "a record of {LONG} characters did not come back as it was"
        );
    }
    let far_too_long = sized(&key, 2, FAR_TOO_LONG);
    let answer = handles[0].swap(&key, Some(revision), &far_too_long).await;
    let expected = match answer {
        Ok(Swap::Swapped(revision)) => (far_too_long, revision),
        Err(_) => (long, revision),
        Ok(Swap::Lost(_)) => panic!("a swap that nobody raced with is not lost"),
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
