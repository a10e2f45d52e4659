//! What the rows show of a session, and what they do not show.

use std::process::Command;

use evertoken::TokenStore;
use serde_json::json;

use crate::scene::{
    Database, ISSUED, access_token, digest, edited, ended, entry, form, key, leased, made_of,
    names, put, record, refresh_token, rotate,
};

const SECONDS: u64 = 1_000;

fn hex(text: impl AsRef<[u8]>) -> String {
    let bytes = text.as_ref().iter();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn w3_inactive_rows_keep_digest_jti_and_times_and_not_the_token() {
    let database = Database::new();
    let store = database.open().await;
    rotate(&store, &key(), 3).await;
    let expected = |number: u64, state: &str| {
        let issued = ISSUED / SECONDS;
        format!("{state}|{}|jti-{number}|{issued}|t|t", digest(number))
    };
    let columns = "state, encode(digest, 'hex'), jti, extract(epoch FROM issued_at)::bigint, \
                   access_expires_at > now(), refresh_expires_at > now()";
    let states = [(1, "INACTIVE"), (2, "INACTIVE"), (3, "ACTIVE")];
    let expected = states.map(|(number, state)| expected(number, state));
    assert_eq!(database.rows(columns), expected);
    let kept = "num_nulls(record, past, pair), retired_at IS NULL, family, version, key->>'tenant'";
    let family = "0123456789abcdef0123456789abcdef";
    let expected = [("3|f", 1), ("3|f", 2), ("0|t", 3)]
        .map(|(kept, version)| format!("{kept}|{family}|{version}|diku"));
    assert_eq!(database.rows(kept), expected);

    let all = database.sql("SELECT string_agg(rows::text, ' ') FROM evertoken_pair AS rows");
    let dump = dumped(&database);
    for number in 1..=3 {
        for token in [access_token(number), refresh_token(number)] {
            let is_there = number == 3;
            for text in [&all, &dump] {
                assert!(!text.contains(&token), "it would be a column");
                assert_eq!(text.contains(&hex(&token)), is_there, "{token}");
            }
        }
    }
}

/// The whole database, as a backup has it.
fn dumped(database: &Database) -> String {
    let dump = Command::new(database.server.program("pg_dump"));
    let dump = { dump }.args(["-d", &database.url]).output().unwrap();
    assert!(dump.status.success(), "{dump:?}");
    String::from_utf8(dump.stdout).unwrap()
}

#[tokio::test]
async fn a_lease_and_its_release_change_nothing_but_the_record() {
    let database = Database::new();
    let store = database.open().await;
    let first = record(&key(), 1);
    let revision = put(&store, None, &first).await;
    let columns =
        "id, state, digest, jti, issued_at, access_expires_at, refresh_expires_at, version";
    let before = database.rows(columns);
    let revision = put(&store, Some(revision), &leased(&first)).await;
    let held = Some((leased(&first), revision));
    assert_eq!(entry(&store, &key()).await, held);
    put(&store, Some(revision), &first).await;
    assert_eq!(database.rows(columns), before);
    assert_eq!(before.len(), 1);
}

#[tokio::test]
async fn w7_a_replaced_pair_that_had_expired_by_the_databases_clock_is_marked_expired() {
    let database = Database::new();
    let store = database.open().await;
    let revision = put(&store, None, &made_of(&form(&key(), 1))).await;
    let revision = put(&store, Some(revision), &record(&key(), 2)).await;
    put(&store, Some(revision), &record(&key(), 3)).await;
    assert_eq!(database.rows("state"), ["EXPIRED", "INACTIVE", "ACTIVE"]);
}

#[tokio::test]
async fn the_state_of_a_row_shows_how_its_session_ended() {
    let database = Database::new();
    let store = database.open().await;
    let condemned = digest(1);
    let unknown = json!({ "is": "outcome_unknown", "digest": condemned });
    for (state, column) in [
        (json!({ "is": "rejected", "digest": condemned }), "REVOKED"),
        (json!({ "is": "logged_out" }), "REVOKED"),
        (unknown, "EXPIRED"),
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
        // The user signs in again: the ended rows stay ended.
        let mut anew = form(&key, 2);
        anew["family"] = "11111111111111111111111111111111".into();
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
    let cleared = edited(&over, |form| {
        form["pair"] = json!(null);
        form["past"] = json!({ "refreshed": names([digest(1)]) });
    });
    let revision = put(&store, Some(revision), &cleared).await;
    assert_eq!(entry(&store, &key()).await, Some((cleared, revision)));
    let columns = "state, encode(digest, 'hex'), jti, issued_at IS NULL, pair IS NULL";
    assert_eq!(
        database.rows(columns),
        [format!("REVOKED|{}|jti-1|f|t", digest(1))]
    );
    assert_eq!(store.find(&digest(1)).await.unwrap(), Some(key()));
}

#[tokio::test]
async fn a_leased_sign_in_has_a_row_without_a_pair_and_that_row_gets_the_pair() {
    let database = Database::new();
    let store = database.open().await;
    let mut vacant = form(&key(), 1);
    vacant["pair"] = json!(null);
    vacant["version"] = 0.into();
    vacant["family"] = "11111111111111111111111111111111".into();
    let vacant = made_of(&vacant);
    let revision = put(&store, None, &vacant).await;
    let columns = "state, encode(digest, 'hex'), version";
    assert_eq!(database.rows(columns), ["ACTIVE||0"]);
    let revision = put(&store, Some(revision), &leased(&vacant)).await;
    put(&store, Some(revision), &record(&key(), 1)).await;
    assert_eq!(database.rows(columns), [format!("ACTIVE|{}|1", digest(1))]);
}

#[tokio::test]
async fn w9_one_row_of_a_session_is_active() {
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
    let found = entry(&store, &turned).await;
    assert!(found.is_some(), "the order of scopes does not matter");

    // SQL that bypasses the store cannot make a second row active.
    let copy = |what: &str| {
        format!(
            "INSERT INTO evertoken_pair (key_digest, key, state, changed_at, revision, record, past) \
             SELECT key_digest, key, {what}, now(), 1, 'x', '' FROM evertoken_pair WHERE state = 'ACTIVE'"
        )
    };
    let revive =
        "UPDATE evertoken_pair SET state = 'ACTIVE', record = 'x', past = '', retired_at = NULL";
    for sql in [&copy("'ACTIVE'"), &copy("'EXPIRED'"), revive] {
        let refused = database.refused(sql);
        assert!(refused.contains("23505"), "{sql}: {refused}");
    }
    for sql in [
        "UPDATE evertoken_pair SET state = 'ACTIVE' WHERE retired_at IS NOT NULL",
        "UPDATE evertoken_pair SET record = 'x', past = '' WHERE retired_at IS NOT NULL",
        "UPDATE evertoken_pair SET pair = 'x' WHERE retired_at IS NOT NULL",
        "UPDATE evertoken_pair SET past = NULL WHERE retired_at IS NULL",
        "UPDATE evertoken_pair SET digest = sha256(digest)",
        "UPDATE evertoken_pair SET access_digest = sha256(digest)",
        "UPDATE evertoken_pair SET key_digest = sha256(key_digest)",
        "UPDATE evertoken_pair SET state = 'PENDING'",
    ] {
        let refused = database.refused(sql);
        assert!(refused.contains("23514"), "{sql}: {refused}");
    }
}
