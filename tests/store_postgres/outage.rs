//! A server that stops, dies or hangs, while managers continue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use evertoken::testing::{AccessCheck, AuthorizationServer};
use evertoken::{BackgroundTimer, PostgresStore, TokenManager, TokenStore};
use futures_util::future::join_all;
use sqlx::postgres::PgPoolOptions;

use crate::records::told_in_two_seconds;
use crate::scene::{CONNECTIONS, Database, entry, key, put, record, told};
use crate::services::Postgres;

const INSTANCES: usize = 4;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Instances that rotate every second of a token's life of ten, and ask for tokens all the time.
async fn survives(outage: impl Fn(&mut Postgres)) {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        told(panic);
    }));
    let mut database = Postgres::durable().unwrap();
    let server = AuthorizationServer::builder()
        .access_ttl(Duration::from_secs(10))
        .build();
    let first = server.issue();
    let is_over = Arc::new(AtomicBool::new(false));
    let mut instances = Vec::new();
    let mut callers = Vec::new();
    for _ in 0..INSTANCES {
        let store = PostgresStore::connect(&database.url()).await.unwrap();
        let tokens = TokenManager::builder(server.endpoint())
            .strategy(BackgroundTimer::default().at_fraction(0.1))
            .store(store)
            .seed(first.clone())
            .build()
            .unwrap();
        let (tokens, server, is_over) = (tokens, server.clone(), is_over.clone());
        instances.push(tokens.clone());
        callers.push(tokio::spawn(async move {
            let mut served = 0_u64;
            while !is_over.load(Ordering::SeqCst) {
                let token = tokens.token().await.unwrap();
                assert_eq!(server.check(token.expose()), AccessCheck::Live);
                served += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            served
        }));
    }
    server.arrived(2).await;
    for _ in 0..3 {
        let before = server.exchanges();
        outage(&mut database);
        // Long enough for a rotation to fall into it.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        database.restart().unwrap();
        server.arrived(before + 2).await;
    }
    is_over.store(true, Ordering::SeqCst);
    for caller in callers {
        assert!(caller.await.unwrap() > 100);
    }
    for tokens in &instances {
        tokens.shutdown().await.unwrap();
    }
    assert_eq!((server.replays(), server.families_revoked()), (0, 0));
    let version = server.exchanges() + 1;
    let rows = "SELECT count(*), max(version), count(*) FILTER (WHERE state = 'ACTIVE') FROM evertoken_pair";
    let all = format!("{version}|{version}|1");
    assert_eq!(
        database.sql(rows),
        all,
        "every pair that was issued has a row"
    );
    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_server_loses_no_pair_and_valid_tokens_are_served_throughout() {
    survives(Postgres::stop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_no_pair_and_valid_tokens_are_served_throughout() {
    survives(Postgres::kill).await;
}

/// Every connection of the pool died while it was idle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_died_while_idle_are_not_an_error() {
    let database = Database::new();
    let store = database.open().await;
    put(&store, None, &record(&key(), 1)).await;
    for pause in [0, 1_200] {
        let all = key();
        let loads = join_all((0..8).map(|_| entry(&store, &all))).await;
        assert!(loads.iter().all(Option::is_some));
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let kill = CONNECTIONS.replace("count(*)", "count(pg_terminate_backend(pid))");
        let killed = database.sql(&kill);
        assert_ne!(killed, "0");
        let (_, seen) = entry(&store, &key()).await.unwrap();
        if pause > 1_000 {
            put(&store, Some(seen), &record(&key(), 2)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_does_not_answer_fails_one_call_and_is_closed() {
    let database = Database::new();
    // Otherwise the call could keep the only connection.
    let pool = PgPoolOptions::new().max_connections(1);
    let pool = pool.connect_lazy(&database.url).unwrap();
    let store = PostgresStore::from_pool(pool).await.unwrap();
    let seen = put(&store, None, &record(&key(), 1)).await;
    // A transaction that holds the row blocks every swap.
    let holder = database
        .holder("SELECT 1 FROM evertoken_pair FOR UPDATE")
        .await;
    let stuck = store.swap(&key(), Some(seen), &record(&key(), 2)).await;
    let error = told(&stuck.unwrap_err());
    assert!(
        error.contains("PostgreSQL has not answered within 4 s"),
        "{error}"
    );
    assert!(entry(&store, &key()).await.is_some(), "reading goes on");
    holder.rollback().await.unwrap();
    // The swap may have been committed, as after every failed swap.
    let (held, seen) = entry(&store, &key()).await.unwrap();
    let next = record(&key(), held.pair_id().version + 1);
    assert!(store.swap(&key(), Some(seen), &next).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_gets_the_reason_of_a_failure_however_short_its_timeout() {
    let database = Database::new();
    let store = database.open().await;
    let _holder = database
        .holder("LOCK TABLE evertoken_pair IN ACCESS EXCLUSIVE MODE")
        .await;
    let told = told_in_two_seconds(store).await;
    assert!(
        told.contains("PostgreSQL has not answered within 1.6 s"),
        "{told}"
    );
}
