//! How the tables are created, and which users may use them.

use evertoken::{PostgresStore, TokenStore};

use crate::scene::{Database, digest, entry, key, put, record, refusal, rotate};

/// The same database for another user.
fn as_user(database: &Database, user: &str) -> String {
    database.url.replace("postgres@", &format!("{user}@"))
}

/// A user for this test alone: the server, and with it the users, are shared.
fn user(database: &Database, what: &str) -> String {
    let user = format!("{what}_{}", database.url.rsplit('_').next().unwrap());
    database.sql(&format!("CREATE USER {user}"));
    user
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_instances_that_start_at_once_create_the_tables_once() {
    for _ in 0..3 {
        let database = Database::new();
        let starting = (0..10).map(|number| {
            let url = database.url.clone();
            tokio::spawn(async move {
                let store = PostgresStore::connect(&url).await.unwrap();
                put(&store, None, &record(&key().label(number.to_string()), 1)).await;
            })
        });
        for instance in starting.collect::<Vec<_>>() {
            instance.await.unwrap();
        }
        assert_eq!(database.sql("SELECT version FROM evertoken_schema"), "3");
        assert_eq!(database.sql("SELECT count(*) FROM evertoken_pair"), "10");
        database.open().await;
    }
}

#[tokio::test]
async fn a_user_without_the_right_to_create_tables_uses_existing_ones() {
    let database = Database::new();
    let user = user(&database, "poor");
    let url = as_user(&database, &user);
    // PostgreSQL 15 and later begin like this.
    database.sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let error = refusal(&url).await;
    for part in ["missing in the schema public", "PostgresStore::SCHEMA"] {
        assert!(error.contains(part), "{error}");
    }
    database.sql(PostgresStore::SCHEMA);
    let (error, reason) = (
        refusal(&url).await,
        "permission denied for table evertoken_schema",
    );
    assert!(error.contains(reason), "{error}");
    database.sql(&format!("GRANT SELECT ON evertoken_schema TO {user}"));
    let error = refusal(&url).await;
    let reason =
        "lacks rights on the table public.evertoken_pair; grant SELECT, INSERT, UPDATE, DELETE";
    assert!(error.contains(reason), "{error}");
    let some = "SELECT, INSERT, UPDATE";
    database.sql(&format!("GRANT {some} ON evertoken_pair TO {user}"));
    let error = refusal(&url).await;
    assert!(error.ends_with("; grant DELETE"), "{error}");
    database.sql(&format!("GRANT DELETE ON evertoken_pair TO {user}"));
    let store = PostgresStore::connect(&url).await.unwrap();
    rotate(&store, &key(), 3).await;
    assert_eq!(store.find(&digest(1)).await.unwrap(), Some(key()));
    assert_eq!(store.purge().await.unwrap(), 0);
}

#[tokio::test]
async fn tables_of_a_later_version_are_refused() {
    let database = Database::new();
    database.open().await;
    database.sql("UPDATE evertoken_schema SET version = 4");
    let error = refusal(&database.url).await;
    let reason = "are of version 4, and this version of evertoken knows up to 3";
    assert!(error.contains(reason), "{error}");
}

/// Makes version 2 of the tables out of those of this version.
const BACK: &str = "ALTER TABLE evertoken_pair DROP COLUMN upstream_session, DROP COLUMN upstream_subject; \
                    UPDATE evertoken_schema SET version = 2";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_instances_that_start_at_once_upgrade_the_tables_once_and_keep_the_sessions() {
    let database = Database::new();
    rotate(&database.open().await, &key(), 3).await;
    let columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'evertoken_pair'::regclass AND attname LIKE 'up%'";
    database.sql(BACK);
    assert_eq!(database.sql(columns), "0");
    let starting = (0..10).map(|number| {
        let url = database.url.clone();
        tokio::spawn(async move {
            let store = PostgresStore::connect(&url).await.unwrap();
            put(&store, None, &record(&key().label(number.to_string()), 1)).await;
        })
    });
    for instance in starting.collect::<Vec<_>>() {
        instance.await.unwrap();
    }
    assert_eq!(database.sql("SELECT version FROM evertoken_schema"), "3");
    assert_eq!(database.sql(columns), "2");
    let store = database.open().await;
    assert!(entry(&store, &key()).await.is_some());
    // The others have the first token too.
    assert_eq!(store.find(&digest(2)).await.unwrap(), Some(key()));
}

#[tokio::test]
async fn a_user_who_does_not_own_the_tables_needs_their_owner_for_the_upgrade() {
    let database = Database::new();
    let user = user(&database, "tenant");
    let url = as_user(&database, &user);
    database.sql(PostgresStore::SCHEMA);
    database.sql(BACK);
    let rights = "GRANT SELECT ON evertoken_schema TO user; GRANT ALL ON evertoken_pair TO user";
    database.sql(&rights.replace("user", &user));
    let error = refusal(&url).await;
    for part in ["are of version 2", "PostgresStore::UPGRADE"] {
        assert!(error.contains(part), "{error}");
    }
    database.sql(PostgresStore::UPGRADE);
    let store = PostgresStore::connect(&url).await.unwrap();
    rotate(&store, &key(), 2).await;
}

#[tokio::test]
async fn tables_of_the_unreleased_version_are_refused_and_left() {
    let database = Database::new();
    database.sql(
        "CREATE TABLE evertoken_schema (version integer NOT NULL); INSERT INTO evertoken_schema VALUES (1); \
         CREATE TABLE evertoken_pair (mine text); INSERT INTO evertoken_pair VALUES ('is here')",
    );
    let error = refusal(&database.url).await;
    for part in [
        "are of version 1, which was never released",
        "drop evertoken_pair",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(database.sql("SELECT mine FROM evertoken_pair"), "is here");
    // The way out that the error names.
    database.sql("DROP TABLE evertoken_pair, evertoken_schema");
    put(&database.open().await, None, &record(&key(), 1)).await;
}

#[tokio::test]
async fn a_foreign_table_of_the_same_name_is_left() {
    let database = Database::new();
    database.sql("CREATE TABLE evertoken_pair (mine text)");
    let error = refusal(&database.url).await;
    assert!(error.contains("already exists"), "{error}");
    let is_missing = "SELECT to_regclass('evertoken_schema') IS NULL";
    assert_eq!(database.sql(is_missing), "t");
}

#[tokio::test]
async fn two_schemas_are_two_stores() {
    let database = Database::new();
    database.sql("CREATE SCHEMA one; CREATE SCHEMA \"the \"\"other\"\"\"");
    let url = |schema: &str| format!("{}?options[search_path]={schema},public", database.url);
    let one = PostgresStore::connect(&url("one")).await.unwrap();
    let other = url("%22the%5C%20%22%22other%22%22%22");
    let other = PostgresStore::connect(&other).await.unwrap();
    let public = database.open().await;
    let stores = [&one, &other, &public];
    for (number, store) in (1..).zip(stores) {
        put(store, None, &record(&key(), number)).await;
    }
    for (number, store) in (1..).zip(stores) {
        let (found, revision) = entry(store, &key()).await.unwrap();
        assert_eq!(found, record(&key(), number));
        put(store, Some(revision), &record(&key(), number + 1)).await;
        // The other store has the token as a past one or not at all.
        let found = store.find(&digest(number + 1)).await.unwrap();
        assert_eq!(found, Some(key()));
        assert_eq!(store.find(&digest(9)).await.unwrap(), None);
    }
    for schema in ["one", "\"the \"\"other\"\"\""] {
        let count = format!("SELECT count(version) FROM {schema}.evertoken_pair");
        assert_eq!(database.sql(&count), "2");
    }
    let shown = format!("{other:?}");
    assert!(shown.contains("the"), "{shown}");
}

#[tokio::test]
async fn a_database_that_cannot_serve_is_refused_with_the_reason() {
    let database = Database::new();
    let nowhere = format!("{}?options[search_path]=nowhere", database.url);
    let error = refusal(&nowhere).await;
    assert!(error.contains("no schema in the search path"), "{error}");

    let name = database.sql("SELECT current_database()");
    let latin = "TEMPLATE template0 ENCODING 'LATIN1'";
    database.sql(&format!("CREATE DATABASE {name}_latin {latin}"));
    let error = refusal(&format!("{}_latin", database.url)).await;
    let reason = "the database is in LATIN1; it must be in UTF8";
    assert!(error.contains(reason), "{error}");

    let read_only = "default_transaction_read_only = on";
    database.sql(&format!("ALTER DATABASE {name} SET {read_only}"));
    let error = refusal(&database.url).await;
    assert!(error.contains("the database is read only"), "{error}");
}
