//! Connecting, and refusals that do not repeat the URL.

use std::fs;
use std::path::{Path, PathBuf};

use evertoken::{PostgresStore, TokenStore};
use tempfile::TempDir;

use crate::scene::{Database, LISTENING, entry, key, put, record, refusal, told, waiting};
use crate::services::{self, Postgres};

/// A directory whose files the server may read.
fn readable() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    services::give_to_postgres(directory.path(), 0o700);
    directory
}

fn given(directory: &Path, name: &str, content: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, content).unwrap();
    services::give_to_postgres(&path, 0o600);
    path
}

#[tokio::test]
async fn a_refused_user_gets_the_reason_without_the_password() {
    let directory = readable();
    let rules =
        "host all importer 127.0.0.1/32 scram-sha-256\nhost all postgres 127.0.0.1/32 trust\n";
    let rules = given(directory.path(), "rules", rules);
    let rules = format!("hba_file={}", rules.display());
    let server = Postgres::start_with(&["fsync=off", &rules]).unwrap();
    server.sql("CREATE USER importer PASSWORD 'open-sesame'");
    server.sql("CREATE DATABASE tokens OWNER importer");
    let port = server.port();
    let at = |place: &str| {
        let (credentials, database) = place.split_once('/').unwrap();
        format!("postgres://{credentials}@127.0.0.1:{port}/{database}")
    };

    let store = PostgresStore::connect(&at("importer:open-sesame/tokens"))
        .await
        .unwrap();
    put(&store, None, &record(&key(), 1)).await;
    let shown = format!("{store:?} {store:#?}");
    for secret in ["sesame", "importer"] {
        assert!(!shown.contains(secret), "{shown}");
    }

    for (place, reason) in [
        ("importer:sesame/tokens", "password authentication failed"),
        ("importer/tokens", "password authentication failed"),
        ("importer:open-sesame/nowhere", "does not exist"),
        ("stranger:sesame/tokens", "no pg_hba.conf entry"),
    ] {
        let error = refusal(&at(place)).await;
        let beginning = "cannot connect to PostgreSQL: ";
        assert!(error.starts_with(beginning), "{error}");
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

#[tokio::test]
async fn a_missing_server_is_an_error_at_once() {
    let mut server = Postgres::start().unwrap();
    server.kill();
    let url = server.url().replace("postgres@", "importer:sesame@");
    let error = refusal(&url).await;
    assert!(error.contains("onnection refused"), "{error}");
    let error = refusal("postgres://importer:sesame@nowhere.invalid/tokens").await;
    assert!(error.contains("lookup"), "{error}");
}

#[tokio::test]
async fn a_wrong_url_is_refused_and_not_repeated() {
    let (no_url, cache) = (
        "is not a URL; write postgres://",
        "or `statement-cache-capacity`",
    );
    for (url, reason) in [
        ("sesame", no_url),
        ("", no_url),
        ("postgres://importer:sesame@host:sesame/tokens", no_url),
        ("redis://:sesame@127.0.0.1/", "must begin with postgres://"),
        (
            "postgres://importer:sesame%FF@127.0.0.1/tokens",
            "that are not UTF-8",
        ),
    ] {
        let error = refusal(url).await;
        assert!(error.contains(reason), "{url}: {error}");
    }
    let unknown = "has an unknown parameter; the parameters are sslmode, ";
    for (parameter, reason) in [
        ("pasword", unknown),
        ("statement-cache-capacity", cache),
        ("statement_cache_capacity", cache),
        ("sslmode", "has a wrong `sslmode`"),
        ("port", "has a wrong `sslmode`, `port`"),
    ] {
        let url = format!("postgres://127.0.0.1/tokens?{parameter}=sesame");
        let error = refusal(&url).await;
        assert!(error.contains(reason), "{parameter}: {error}");
    }
}

#[tokio::test]
async fn tls_is_used_and_certificates_are_verified() {
    let directory = readable();
    let [key_file, certificate] = services::certificate(directory.path(), "IP:127.0.0.1");
    for file in [&key_file, &certificate] {
        services::give_to_postgres(file, 0o600);
    }
    let key_file = format!("ssl_key_file={}", key_file.display());
    let file = format!("ssl_cert_file={}", certificate.display());
    let server = Postgres::start_with(&["fsync=off", "ssl=on", &key_file, &file]).unwrap();
    let url = |parameters: &str| format!("{}?{parameters}", server.url());
    let trusted = format!("sslrootcert={}", certificate.display());
    for mode in [
        "prefer",
        "require",
        &format!("verify-ca&{trusted}"),
        &format!("verify-full&{trusted}"),
    ] {
        let url = url(&format!("sslmode={mode}"));
        let store = PostgresStore::connect(&url).await.unwrap();
        let label = key().label(mode);
        let seen = put(&store, None, &record(&label, 1)).await;
        // The connection that listens has the same options.
        let waiting = waiting(&store, label.clone(), seen);
        while server.sql(LISTENING) == "0" {
            tokio::task::yield_now().await;
        }
        let plain = "SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) \
                     WHERE application_name = 'evertoken' AND NOT ssl";
        assert_eq!(server.sql(plain), "0", "{mode}");
        put(&store, Some(seen), &record(&label, 2)).await;
        waiting.await.unwrap();
        drop(store);
        while server.sql(LISTENING) != "0" {
            tokio::task::yield_now().await;
        }
    }
    let error = refusal(&url("sslmode=verify-full")).await;
    assert!(error.contains("certificate"), "{error}");
    let elsewhere = url(&format!("sslmode=verify-full&{trusted}"));
    let elsewhere = elsewhere.replace("127.0.0.1:", "localhost:");
    let error = refusal(&elsewhere).await;
    assert!(error.contains("certificate"), "{error}");

    let server = Postgres::start().unwrap();
    let error = refusal(&format!("{}?sslmode=require", server.url())).await;
    assert!(error.contains("does not support TLS"), "{error}");
}

#[tokio::test]
async fn a_given_pool_is_used_as_it_is() {
    let database = Database::new();
    database.sql("CREATE SCHEMA tenant");
    // A setting of the pool's connections holds for the store, too.
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(1)
        .after_connect(|connection, _| {
            Box::pin(async move {
                let set = sqlx::query("SET search_path = tenant");
                set.execute(connection).await.map(|_| ())
            })
        })
        .connect_lazy(&database.url)
        .unwrap();
    let store = PostgresStore::from_pool(pool.clone()).await.unwrap();
    let seen = put(&store, None, &record(&key(), 1)).await;
    let count = "SELECT count(*) FROM tenant.evertoken_pair";
    assert_eq!(database.sql(count), "1");
    // Later the search path may be another, where connections are shared.
    let elsewhere = sqlx::query("SET search_path = pg_catalog");
    elsewhere.execute(&pool).await.unwrap();
    let seen = put(&store, Some(seen), &record(&key(), 1)).await;
    // One connection is enough for all calls: the one that listens is not the pool's.
    let waiting = waiting(&store, key(), seen);
    put(&store, Some(seen), &record(&key(), 2)).await;
    waiting.await.unwrap();
    assert!(entry(&store, &key()).await.is_some());

    // All connections are in use.
    let taken = pool.acquire().await.unwrap();
    let error = told(&store.load(&key()).await.unwrap_err());
    let reason = "all connections of the pool are in use";
    assert!(error.contains(reason), "{error}");
    drop(taken);
    assert!(entry(&store, &key()).await.is_some());
    pool.close().await;
    let error = told(&store.load(&key()).await.unwrap_err());
    assert!(error.contains("closed pool"), "{error}");
}

/// The rows that sequential scans of the table have read. The reads of a connection count when it has ended.
async fn rows_scanned(database: &Database) -> u64 {
    database.until_alone().await;
    let read = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'evertoken_pair'";
    database.sql(read).parse().unwrap()
}

#[tokio::test]
async fn connecting_reads_no_row_of_the_table_however_many_there_are() {
    const ROWS: u64 = 5_000;
    let database = Database::new();
    drop(database.open().await);
    database.sql(&format!(
        "INSERT INTO evertoken_pair (key_digest, key, state, digest, needed_until, changed_at, revision, record, \
         past) \
         SELECT substr(sha256(number::text::bytea), 1, 16), '{{}}', 'REVOKED', \
         substr(sha256(number::text::bytea), 1, 16), clock_timestamp() + interval '1 day', clock_timestamp(), \
         number, 'record', '' \
         FROM generate_series(1, {ROWS}) AS number"
    ));
    database.sql("ANALYZE evertoken_pair");
    for parameters in ["", "?statement-cache-capacity=0"] {
        let url = format!("{}{parameters}", database.url);
        let before = rows_scanned(&database).await;
        let store = PostgresStore::connect(&url).await.unwrap();
        drop(store);
        assert_eq!(rows_scanned(&database).await, before, "{parameters}");
    }
    // A purge reads the rows, so the statistics do count.
    let before = rows_scanned(&database).await;
    assert_eq!(database.open().await.purge().await.unwrap(), 0);
    assert!(rows_scanned(&database).await >= before + ROWS);
}
