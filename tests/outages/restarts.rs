//! A server that keeps the store is down for a while, and restarts.

use evertoken::{StoreError, TokenStore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::OUTAGE;
use crate::import::{STRATEGIES, World, all, through};
use crate::services::{Missing, are_required, skipped};

/// Runs an import with each strategy. Each import has its own session in the one store.
async fn no_call_fails<S, T: TokenStore + Clone>(
    started: Result<S, Missing>,
    open: impl AsyncFn(&S) -> Result<T, StoreError>,
    end: fn(&mut S),
    restart: fn(&mut S) -> Result<(), Missing>,
) {
    let mut server = match started {
        Ok(server) => server,
        Err(missing) if are_required() => panic!("{missing}"),
        Err(missing) => return skipped(&format!("a restart of a store's server: {missing}")),
    };
    let store = open(&server).await.expect("the server accepts connections");
    // All imports have rotated by this time.
    let begin = Instant::now() + OUTAGE / 2;
    let mut imports = JoinSet::new();
    for strategy in STRATEGIES {
        let store = store.clone();
        imports.spawn(async move {
            let world = World::new().await;
            let builder = world.builder(strategy).store(store);
            let tokens = builder.build().expect("the settings are valid");
            let away = sleep_until(begin + OUTAGE);
            let imported = through(&world, &tokens, OUTAGE, away).await;
            let shutdown = tokens.shutdown().await.map_err(|error| error.to_string());
            let done = imported.and(shutdown);
            done.map_err(|said| format!("{strategy:?}: {said}"))
        });
    }
    sleep_until(begin).await;
    end(&mut server);
    sleep_until(begin + OUTAGE).await;
    restart(&mut server).expect("the server can restart");
    all(imports).await;
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_through_a_restart_of_redis() {
    use crate::services::Redis;

    let open = async |server: &Redis| evertoken::RedisStore::connect(&server.url()).await;
    no_call_fails(Redis::durable(), open, Redis::kill, Redis::restart).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_through_a_restart_of_postgresql() {
    use crate::services::Postgres;

    let open = async |server: &Postgres| evertoken::PostgresStore::connect(&server.url()).await;
    no_call_fails(Postgres::durable(), open, Postgres::stop, Postgres::restart).await;
}
