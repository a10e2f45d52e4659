//! A rotation is one transaction: if anything dies between its two writes, the old pair and its lease remain.

use std::time::Duration;

use evertoken::protocol::Record;
use evertoken::store::Revision;
use evertoken::{PostgresStore, TokenStore};

use crate::scene::{Database, digest, entry, key, leased, put, record, swapping, told};
use crate::services::Postgres;

/// SQL that runs after the old row was retired, and before the new one is inserted.
pub(crate) fn between(what: &str) -> String {
    format!(
        "CREATE FUNCTION stumble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {what}; RETURN NEW; END $$; \
         CREATE TRIGGER stumble BEFORE INSERT ON evertoken_pair FOR EACH ROW WHEN (NEW.version = 2) \
         EXECUTE FUNCTION stumble()"
    )
}

pub(crate) const NOTHING: &str = "DROP TRIGGER stumble ON evertoken_pair; DROP FUNCTION stumble";

const SLEEPERS: &str = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'";

/// A leased pair, as it is while the next pair is fetched.
async fn leased_pair(store: &PostgresStore) -> (Record, Revision) {
    let first = record(&key(), 1);
    let revision = put(store, None, &first).await;
    let revision = put(store, Some(revision), &leased(&first)).await;
    (leased(&first), revision)
}

async fn until_a_connection_sleeps(server: &Postgres) {
    while server.sql(SLEEPERS).is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w14_a_rotation_is_one_transaction_that_a_killed_backend_undoes() {
    let database = Database::new();
    let store = database.open().await;
    let (before, revision) = leased_pair(&store).await;
    let columns = "id, state, digest, record, past, pair, revision, retired_at, changed_at";
    let rows = database.rows(columns);
    database.sql(&between("PERFORM pg_sleep(600)"));
    for kill in ["pg_cancel_backend(pid)", "pg_terminate_backend(pid)"] {
        let rotation = swapping(&store, revision, record(&key(), 2));
        until_a_connection_sleeps(&database.server).await;
        assert_eq!(database.rows(columns), rows, "nothing is seen of it yet");
        let kill = SLEEPERS.replace("pid FROM", &format!("{kill} FROM"));
        database.sql(&kill);
        told(&rotation.await.unwrap().unwrap_err());
        assert_eq!(database.rows(columns), rows);
        let held = Some((before.clone(), revision));
        assert_eq!(entry(&store, &key()).await, held);
    }
    database.sql(NOTHING);
    put(&store, Some(revision), &record(&key(), 2)).await;
    assert_eq!(database.rows("state"), ["INACTIVE", "ACTIVE"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w14_a_rotation_whose_second_write_fails_changes_nothing() {
    let database = Database::new();
    let store = database.open().await;
    let (before, revision) = leased_pair(&store).await;
    database.sql(&between("RAISE EXCEPTION 'no space left'"));
    let failed = store.swap(&key(), Some(revision), &record(&key(), 2)).await;
    let error = told(&failed.unwrap_err());
    let reason = "cannot store a session in PostgreSQL: no space left (SQLSTATE P0001)";
    assert_eq!(error, reason);
    assert_eq!(entry(&store, &key()).await, Some((before, revision)));
    assert_eq!(database.rows("state"), ["ACTIVE"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w14_a_server_that_is_killed_between_the_two_writes_has_the_old_pair_and_its_lease() {
    let mut server = Postgres::durable().unwrap();
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    let (before, revision) = leased_pair(&store).await;
    let rows =
        "SELECT id, state, digest, record, past, pair, revision, retired_at FROM evertoken_pair";
    let left = server.sql(rows);
    server.sql(&between("PERFORM pg_sleep(600)"));
    let rotation = swapping(&store, revision, record(&key(), 2));
    until_a_connection_sleeps(&server).await;
    server.kill();
    told(&rotation.await.unwrap().unwrap_err());
    server.restart().unwrap();
    assert_eq!(server.sql(rows), left);
    assert_eq!(entry(&store, &key()).await, Some((before, revision)));
    assert_eq!(store.find(&digest(1)).await.unwrap(), Some(key()));
    server.sql(NOTHING);
    put(&store, Some(revision), &record(&key(), 2)).await;
    let states = "SELECT state FROM evertoken_pair ORDER BY id";
    assert_eq!(server.sql(states), "INACTIVE\nACTIVE");
}

/// The store asks for it where it is not the default: a lost lease lets two instances spend one token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_swap_survives_a_power_cut_although_the_default_does_not_wait_for_the_disk()
{
    let settings = ["fsync=on", "synchronous_commit=off", "wal_writer_delay=10s"];
    let mut server = Postgres::start_with(&settings).unwrap();
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    server.sql("CHECKPOINT");
    let first = put(&store, None, &record(&key(), 1)).await;
    server.kill();
    server.restart().unwrap();
    let held = Some((record(&key(), 1), first));
    assert_eq!(entry(&store, &key()).await, held);
    let lease = leased(&record(&key(), 1));
    let second = put(&store, Some(first), &lease).await;
    server.kill();
    server.restart().unwrap();
    assert_eq!(entry(&store, &key()).await, Some((lease, second)));
}
