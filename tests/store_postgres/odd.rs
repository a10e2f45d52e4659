//! Odd values that are stored, and rows that are refused.

use evertoken::{Key, TokenStore};
use serde_json::json;

use crate::scene::{Database, HOUR, digest, entry, form, key, leased, made_of, put, record, told};

#[tokio::test]
async fn odd_tokens_and_times_of_a_server_can_be_stored() {
    let database = Database::new();
    let store = database.open().await;
    let strange = Key::new(
        "https://id.example.org/\u{0}",
        "\u{1F511} \\u0000 'x' \"y\" \n",
    )
    .label("\u{FFFF}é");
    let mut next = form(&strange, 1);
    next["version"] = u64::MAX.into();
    let leases = [
        r#"{"jti":"a\u0000b"}"#.to_owned(),
        format!(r#"{{"jti":"{}"}}"#, "long".repeat(5_000)),
    ];
    let mut seen = None;
    for leases in leases {
        use base64::Engine as _;
        let leases = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(leases);
        next["pair"]["access_token"] = format!("e30.{leases}.x").into();
        for total in [u64::MAX, 0, 9_999 * 365 * 24 * HOUR] {
            next["pair"]["issued_at"] = total.into();
            for token in ["access", "refresh"] {
                next["pair"]["lifetime"][token] = json!({ "known": { "total": total } });
            }
            let record = made_of(&next);
            let revision = put(&store, seen, &record).await;
            assert_eq!(entry(&store, &strange).await, Some((record, revision)));
            seen = Some(revision);
        }
    }
    assert_eq!(database.rows("jti IS NULL"), ["t"]);
}

#[tokio::test]
async fn a_revision_never_repeats_even_after_a_deletion() {
    let database = Database::new();
    let store = database.open().await;
    let mut given = Vec::new();
    for _ in 0..5 {
        let mut revision = put(&store, None, &record(&key(), 1)).await;
        for number in 2..5 {
            given.push(revision);
            revision = put(&store, Some(revision), &record(&key(), number)).await;
        }
        given.push(revision);
        database.sql("DELETE FROM evertoken_pair");
    }
    let grows = given.is_sorted_by(|before, after| before.number() < after.number());
    assert!(grows, "{given:?}");
    // The clock was stepped back: the revision is still one more than before.
    put(&store, None, &record(&key(), 1)).await;
    let ahead = i64::MAX - 5;
    database.sql(&format!("UPDATE evertoken_pair SET revision = {ahead}"));
    let (_, seen) = entry(&store, &key()).await.unwrap();
    let next = put(&store, Some(seen), &record(&key(), 2)).await;
    assert_eq!(next.number(), seen.number() + 1);
    let next = put(&store, Some(next), &leased(&record(&key(), 2))).await;
    assert_eq!(next.number(), seen.number() + 2);
}

#[tokio::test]
async fn a_row_that_was_tampered_with_is_refused_and_left() {
    let database = Database::new();
    let store = database.open().await;
    let other = key().label("other");
    let revision = put(&store, None, &record(&key(), 1)).await;
    put(&store, None, &record(&other, 2)).await;
    let columns = "encode(record, 'hex'), encode(past, 'hex'), encode(pair, 'hex')";
    let whole = database.rows(columns);
    let whole: Vec<_> = whole[0].split('|').collect();
    let of_other =
        |column| format!("{column} = (SELECT {column} FROM evertoken_pair WHERE version = 2)");
    let of_format = |number| {
        let (old, new) = ("\"format\":3", format!("\"format\":{number}"));
        format!(
            "record = convert_to(replace(convert_from(record, 'UTF8'), '{old}', '{new}'), 'UTF8')"
        )
    };
    let same = str::to_owned;
    for (sql, reason) in [
        (
            same("record = substr(record, 1, 200)"),
            "not a whole record",
        ),
        (same("record = ''"), "not a whole record"),
        (of_other("record"), "the record of another session"),
        (of_format(9), "format 9"),
        (of_format(1), "the layout of an unreleased version"),
        (same("pair = NULL"), "not of one record"),
        (same("pair = substr(pair, 1, 50)"), "not a whole record"),
        (of_other("pair"), "not of one record"),
        (same("past = sha256('x')"), "not of one record"),
    ] {
        database.sql(&format!(
            "UPDATE evertoken_pair SET {sql} WHERE version = 1"
        ));
        let before = database.rows("*");
        let swap = store.swap(&key(), None, &record(&key(), 3)).await;
        for error in [store.load(&key()).await.unwrap_err(), swap.unwrap_err()] {
            let error = told(&error);
            assert!(error.contains(reason), "{sql}: {error}");
        }
        assert_eq!(database.rows("*"), before, "{sql}");
        assert!(entry(&store, &other).await.is_some());
        database.sql(&format!(
            "UPDATE evertoken_pair SET record = '\\x{}', past = '\\x{}', pair = '\\x{}' WHERE version = 1",
            whole[0], whole[1], whole[2]
        ));
    }
    // A row under the key of another session does not belong to a session.
    database
        .sql("UPDATE evertoken_pair SET key_digest = substr(sha256('x'), 1, 16) WHERE version = 1");
    let found = store.find(&digest(1)).await.unwrap();
    assert_eq!(found, Some(other), "retired there");
    assert!(entry(&store, &key()).await.is_none());
    let foreign = record(&key().label("x"), 1);
    let swap = store.swap(&key(), Some(revision), &foreign).await;
    told(&swap.unwrap_err());
}
