//! Odd values that are stored, and rows that are refused.

use evertoken::{Key, TokenStore};
use serde_json::json;

use crate::scene::{Database, HOUR, digest, entry, form, key, leased, made_of, put, record};

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
    assert!(
        given.is_sorted_by(|before, after| before.number() < after.number()),
        "{given:?}"
    );
    // The clock was stepped back: the revision is still one more than before.
    put(&store, None, &record(&key(), 1)).await;
    database.sql(&format!(
        "UPDATE evertoken_pair SET revision = {}",
        i64::MAX - 5
    ));
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
    for (sql, reason) in [
        ("record = substr(record, 1, 200)", "not a whole record"),
        ("record = ''", "not a whole record"),
        (
            "record = (SELECT record FROM evertoken_pair WHERE version = 2)",
            "the record of another session",
        ),
        (
            "record = convert_to(replace(convert_from(record, 'UTF8'), '\"format\":3', '\"format\":9'), 'UTF8')",
            "format 9",
        ),
        (
            "record = convert_to(replace(convert_from(record, 'UTF8'), '\"format\":3', '\"format\":1'), 'UTF8')",
            "the layout of an unreleased version",
        ),
        ("pair = NULL", "not of one record"),
        ("pair = substr(pair, 1, 50)", "not a whole record"),
        (
            "pair = (SELECT pair FROM evertoken_pair WHERE version = 2)",
            "not of one record",
        ),
        ("past = sha256('x')", "not of one record"),
    ] {
        database.sql(&format!(
            "UPDATE evertoken_pair SET {sql} WHERE version = 1"
        ));
        let before = database.rows("*");
        let error = crate::scene::told(&store.load(&key()).await.unwrap_err());
        assert!(error.contains(reason), "{sql}: {error}");
        let lost = store
            .swap(&key(), None, &record(&key(), 3))
            .await
            .unwrap_err();
        assert!(crate::scene::told(&lost).contains(reason), "{sql}");
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
    assert_eq!(
        store.find(&digest(1)).await.unwrap(),
        Some(other),
        "retired there"
    );
    assert!(entry(&store, &key()).await.is_none());
    let foreign = store
        .swap(&key(), Some(revision), &record(&key().label("x"), 1))
        .await;
    crate::scene::told(&foreign.unwrap_err());
}
