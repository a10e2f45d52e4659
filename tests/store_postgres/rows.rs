//! What the rows say of a session, and what they do not.

use std::process::Command;

use evertoken::{Key, TokenStore};
use serde_json::json;

use crate::scene::{
    Database, HOUR, ISSUED, access_token, claimed, digest, ended, entry, form, key, made_of, put,
    record, refresh_token, rotate,
};

const SECONDS: u64 = 1_000;

fn hex(text: impl AsRef<[u8]>) -> String {
    text.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[tokio::test]
async fn w3_inactive_rows_keep_digest_jti_and_times_never_the_token() {
    let database = Database::new();
    let store = database.open().await;
    rotate(&store, &key(), 3).await;
    let expected = |number: u64, state: &str| {
        let issued = ISSUED / SECONDS;
        format!("{state}|{}|jti-{number}|{issued}|t|t", digest(number))
    };
    let columns = "state, encode(digest, 'hex'), jti, extract(epoch FROM issued_at)::bigint, \
                   access_expires_at > now(), refresh_expires_at > now()";
    assert_eq!(
        database.rows(columns),
        [
            expected(1, "INACTIVE"),
            expected(2, "INACTIVE"),
            expected(3, "ACTIVE"),
        ]
    );
    let kept = "record IS NULL, retired_at IS NULL, lineage, version, key->>'tenant'";
    let lineage = "0123456789abcdef0123456789abcdef";
    assert_eq!(
        database.rows(kept),
        [
            format!("t|f|{lineage}|1|diku"),
            format!("t|f|{lineage}|2|diku"),
            format!("f|t|{lineage}|3|diku"),
        ]
    );

    let all = database.sql("SELECT string_agg(pair::text, ' ') FROM evertoken_pair AS pair");
    let dump = dumped(&database);
    for number in 1..=3 {
        for token in [access_token(number), refresh_token(number)] {
            let is_there = number == 3;
            for text in [&all, &dump] {
                assert!(
                    !text.contains(&token),
                    "in plain text, it would be a column"
                );
                assert_eq!(text.contains(&hex(&token)), is_there, "{token}");
            }
        }
    }
}

/// All of it, as a backup has it.
fn dumped(database: &Database) -> String {
    let dump = Command::new(database.server.program("pg_dump"));
    let dump = { dump }.args(["-d", &database.url]).output().unwrap();
    assert!(dump.status.success(), "{dump:?}");
    String::from_utf8(dump.stdout).unwrap()
}

#[tokio::test]
async fn a_claim_and_its_release_change_nothing_but_the_record() {
    let database = Database::new();
    let store = database.open().await;
    let first = record(&key(), 1);
    let revision = put(&store, None, &first).await;
    let columns =
        "id, state, digest, jti, issued_at, access_expires_at, refresh_expires_at, version";
    let before = database.rows(columns);
    let revision = put(&store, Some(revision), &claimed(&first)).await;
    assert_eq!(
        entry(&store, &key()).await,
        Some((claimed(&first), revision))
    );
    put(&store, Some(revision), &first).await;
    assert_eq!(database.rows(columns), before);
    assert_eq!(before.len(), 1);
}

#[tokio::test]
async fn w7_a_pair_that_had_expired_by_the_databases_clock_is_marked_so() {
    let database = Database::new();
    let store = database.open().await;
    let revision = put(&store, None, &made_of(&form(&key(), 1))).await;
    let revision = put(&store, Some(revision), &record(&key(), 2)).await;
    put(&store, Some(revision), &record(&key(), 3)).await;
    assert_eq!(database.rows("state"), ["EXPIRED", "INACTIVE", "ACTIVE"]);
}

#[tokio::test]
async fn the_state_of_a_row_says_how_its_session_ended() {
    let database = Database::new();
    let store = database.open().await;
    let condemned = digest(1);
    for (state, column) in [
        (json!({ "is": "rejected", "digest": condemned }), "REVOKED"),
        (json!({ "is": "logged_out" }), "REVOKED"),
        (
            json!({ "is": "outcome_unknown", "digest": condemned }),
            "EXPIRED",
        ),
        (json!({ "is": "expired" }), "EXPIRED"),
        (json!({ "is": "idle" }), "EXPIRED"),
    ] {
        let key = key().label(state.to_string());
        let first = record(&key, 1);
        let revision = put(&store, None, &first).await;
        let over = ended(&first, &state);
        let revision = put(&store, Some(revision), &over).await;
        assert_eq!(entry(&store, &key).await, Some((over, revision)));
        assert_eq!(database.rows("state").last().unwrap(), column, "{state}");
        // The user signs in anew: what ended stays ended.
        let mut anew = form(&key, 2);
        anew["lineage"] = "11111111111111111111111111111111".into();
        put(&store, Some(revision), &made_of(&anew)).await;
        let states = database.rows("state");
        assert_eq!(states[states.len() - 2..], [column, "ACTIVE"], "{state}");
        database.sql("DELETE FROM evertoken_pair");
    }
}

#[tokio::test]
async fn a_pair_that_was_revoked_after_a_logout_is_erased_and_its_row_stays() {
    let database = Database::new();
    let store = database.open().await;
    let first = record(&key(), 1);
    let revision = put(&store, None, &first).await;
    let over = ended(&first, &json!({ "is": "logged_out" }));
    let revision = put(&store, Some(revision), &over).await;
    let mut cleared = serde_json::to_value(over).unwrap();
    cleared["pair"] = json!(null);
    cleared["retired"] = json!([{ "digest": digest(1), "until": null }]);
    let cleared = made_of(&cleared);
    let revision = put(&store, Some(revision), &cleared).await;
    assert_eq!(entry(&store, &key()).await, Some((cleared, revision)));
    assert_eq!(
        database.rows("state, encode(digest, 'hex'), jti, issued_at IS NULL"),
        [format!("REVOKED|{}|jti-1|f", digest(1))]
    );
    let all = database.sql("SELECT encode(record, 'escape') FROM evertoken_pair");
    assert!(!all.contains("sesame"), "{all}");
    assert_eq!(store.find(&digest(1)).await.unwrap(), Some(key()));
}

#[tokio::test]
async fn a_sign_in_that_is_claimed_has_a_row_without_a_pair_which_gets_the_pair() {
    let database = Database::new();
    let store = database.open().await;
    let mut vacant = form(&key(), 1);
    vacant["pair"] = json!(null);
    vacant["version"] = 0.into();
    vacant["lineage"] = "11111111111111111111111111111111".into();
    let vacant = made_of(&vacant);
    let revision = put(&store, None, &vacant).await;
    let columns = "state, encode(digest, 'hex'), version";
    assert_eq!(database.rows(columns), ["ACTIVE||0"]);
    let revision = put(&store, Some(revision), &claimed(&vacant)).await;
    put(&store, Some(revision), &record(&key(), 1)).await;
    assert_eq!(database.rows(columns), [format!("ACTIVE|{}|1", digest(1))]);
}

#[tokio::test]
async fn w9_one_row_is_active_however_many_are_not() {
    let database = Database::new();
    let store = database.open().await;
    rotate(&store, &key(), 20).await;
    let keys = [key().subject("ada"), key().scope("read")];
    for other in &keys {
        put(&store, None, &record(other, 1)).await;
    }
    let count = "SELECT count(*), count(*) FILTER (WHERE state = 'ACTIVE') FROM evertoken_pair";
    assert_eq!(database.sql(count), "22|3");
    let again = key().scope("read write");
    put(&store, None, &record(&again, 1)).await;
    let turned = key().scope("write read");
    assert!(
        entry(&store, &turned).await.is_some(),
        "the order of scopes does not matter"
    );

    // Whoever writes past the store cannot make it two.
    let copy = |what: &str| {
        format!(
            "INSERT INTO evertoken_pair (key_digest, key, state, changed_at, revision, record) \
             SELECT key_digest, key, {what}, now(), 1, 'x' FROM evertoken_pair WHERE state = 'ACTIVE'"
        )
    };
    let revive = "UPDATE evertoken_pair SET state = 'ACTIVE', record = 'x', retired_at = NULL";
    for sql in [&copy("'ACTIVE'"), &copy("'EXPIRED'"), revive] {
        let refused = database.refused(sql);
        assert!(refused.contains("23505"), "{sql}: {refused}");
    }
    for sql in [
        "UPDATE evertoken_pair SET state = 'ACTIVE' WHERE retired_at IS NOT NULL",
        "UPDATE evertoken_pair SET record = 'x' WHERE retired_at IS NOT NULL",
        "UPDATE evertoken_pair SET state = 'PENDING'",
    ] {
        let refused = database.refused(sql);
        assert!(refused.contains("23514"), "{sql}: {refused}");
    }
}

#[tokio::test]
async fn past_tokens_that_never_had_a_row_are_found_too() {
    let database = Database::new();
    let store = database.open().await;
    // Written by another store, or after the rows were lost: of its four past tokens none is here.
    put(&store, None, &record(&key(), 5)).await;
    for number in 1..=5 {
        assert_eq!(
            store.find(&digest(number)).await.unwrap(),
            Some(key()),
            "{number}"
        );
    }
    let (_, revision) = entry(&store, &key()).await.unwrap();
    let mut next = form(&key(), 6);
    let stray = json!({ "digest": digest(99), "until": null });
    next["retired"].as_array_mut().unwrap().push(stray);
    put(&store, Some(revision), &made_of(&next)).await;
    assert_eq!(store.find(&digest(99)).await.unwrap(), Some(key()));
    let columns = "encode(digest, 'hex'), state, record IS NULL";
    let named = database.rows(columns);
    assert_eq!(named.len(), 7, "each past token has one row: {named:?}");
    assert_eq!(named[6], format!("{}|INACTIVE|t", digest(99)));
}

#[tokio::test]
async fn pairs_that_were_never_stored_themselves_are_found_as_past_ones() {
    let database = Database::new();
    let store = database.open().await;
    let revision = put(&store, None, &record(&key(), 1)).await;
    // Written behind: of those in between nobody heard.
    put(&store, Some(revision), &record(&key(), 8)).await;
    for number in 1..=8 {
        let found = store.find(&digest(number)).await.unwrap();
        assert_eq!(found, Some(key()), "{number}");
    }
    let count = "SELECT count(*), count(DISTINCT digest), count(version) FROM evertoken_pair";
    assert_eq!(database.sql(count), "8|8|2");
}

/// How large the table is must not matter to a session.
#[tokio::test]
async fn no_call_reads_the_whole_table() {
    let database = Database::new();
    let store = database.open().await;
    database.sql(
        "INSERT INTO evertoken_pair (key_digest, key, state, digest, changed_at, retired_at, revision) \
         SELECT sha256((n % 100)::text::bytea), '{}', 'INACTIVE', sha256(n::text::bytea), now(), now(), 0 \
         FROM generate_series(1, 50000) AS n; \
         ANALYZE evertoken_pair",
    );
    let scans = "SELECT pg_stat_force_next_flush(); \
                 SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'evertoken_pair'";
    let before = database.sql(scans);
    // More often than a plan is made for one execution.
    rotate(&store, &key(), 20).await;
    for number in 12..=20 {
        let found = store.find(&digest(number)).await.unwrap();
        assert_eq!(found, Some(key()));
        assert!(entry(&store, &key()).await.is_some());
    }
    drop(store);
    // A connection tells what it did at its end, if not before.
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'evertoken' \
                AND datname = current_database()";
    while database.sql(ours) != "0" {
        tokio::task::yield_now().await;
    }
    assert_eq!(database.sql(scans), before);
}

#[tokio::test]
async fn a_digest_is_found_only_while_the_record_knows_it() {
    let database = Database::new();
    let store = database.open().await;
    rotate(&store, &key(), 3).await;
    let other = key().label("other");
    rotate(&store, &other, 1).await;
    // The same first token in two sessions: either may be meant.
    let found = store.find(&digest(1)).await.unwrap().unwrap();
    assert!(found == key() || found == other);
    assert_eq!(store.find(&digest(3)).await.unwrap(), Some(key()));
    let (_, revision) = entry(&store, &key()).await.unwrap();
    let mut forgetful = form(&key(), 4);
    forgetful["retired"] = json!([]);
    put(&store, Some(revision), &made_of(&forgetful)).await;
    assert_eq!(store.find(&digest(3)).await.unwrap(), None);
    assert_eq!(store.find(&digest(1)).await.unwrap(), Some(other));
}

#[tokio::test]
async fn whatever_a_server_issues_can_be_stored() {
    let database = Database::new();
    let store = database.open().await;
    let strange = Key::new(
        "https://id.example.org/\u{0}",
        "\u{1F511} \\u0000 'x' \"y\" \n",
    )
    .label("\u{FFFF}é");
    let mut next = form(&strange, 1);
    next["version"] = u64::MAX.into();
    let claims = [
        r#"{"jti":"a\u0000b"}"#.to_owned(),
        format!(r#"{{"jti":"{}"}}"#, "long".repeat(5_000)),
    ];
    let mut seen = None;
    for claims in claims {
        use base64::Engine as _;
        let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(claims);
        next["pair"]["access_token"] = format!("e30.{claims}.x").into();
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
async fn a_revision_never_comes_again_not_even_after_a_deletion() {
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
    // The clock was stepped back: still one more than before.
    put(&store, None, &record(&key(), 1)).await;
    database.sql(&format!(
        "UPDATE evertoken_pair SET revision = {}",
        i64::MAX - 5
    ));
    let (_, seen) = entry(&store, &key()).await.unwrap();
    let next = put(&store, Some(seen), &record(&key(), 2)).await;
    assert_eq!(next.number(), seen.number() + 1);
    let next = put(&store, Some(next), &claimed(&record(&key(), 2))).await;
    assert_eq!(next.number(), seen.number() + 2);
}

#[tokio::test]
async fn a_row_that_was_tampered_with_is_refused_and_left() {
    let database = Database::new();
    let store = database.open().await;
    let other = key().label("other");
    let revision = put(&store, None, &record(&key(), 1)).await;
    put(&store, None, &record(&other, 2)).await;
    let whole = database.sql("SELECT encode(record, 'hex') FROM evertoken_pair WHERE id = 1");
    for (sql, reason) in [
        ("record = substr(record, 1, 200)", "no whole record"),
        ("record = ''", "no whole record"),
        (
            "record = (SELECT record FROM evertoken_pair WHERE id = 2)",
            "the record of another session",
        ),
        (
            "record = convert_to(replace(convert_from(record, 'UTF8'), '\"format\":1', '\"format\":9'), 'UTF8')",
            "format 9",
        ),
    ] {
        database.sql(&format!("UPDATE evertoken_pair SET {sql} WHERE id = 1"));
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
            "UPDATE evertoken_pair SET record = '\\x{whole}' WHERE id = 1"
        ));
    }
    // A row under the key of another is nobody's.
    database.sql("UPDATE evertoken_pair SET key_digest = sha256('x') WHERE id = 1");
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
