//! A server that keeps the store is down for a while, and restarts.

use evertoken::TokenStore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::OUTAGE;
use crate::import::{STRATEGIES, World, all, through};
use crate::services::{Missing, are_required, skipped};

/// A server that a test stops and restarts.
trait Server: Sized {
    fn start() -> Result<Self, Missing>;

    async fn open(&self) -> impl TokenStore + Clone;

    fn end(&mut self);

    fn begin_again(&mut self) -> Result<(), Missing>;
}

#[cfg(feature = "redis")]
impl Server for crate::services::Redis {
    fn start() -> Result<Self, Missing> {
        Self::durable()
    }

    async fn open(&self) -> impl TokenStore + Clone {
        evertoken::RedisStore::connect(&self.url())
            .await
            .expect("the server accepts connections")
    }

    fn end(&mut self) {
        self.kill();
    }

    fn begin_again(&mut self) -> Result<(), Missing> {
        self.restart()
    }
}

#[cfg(feature = "postgres")]
impl Server for crate::services::Postgres {
    fn start() -> Result<Self, Missing> {
        Self::durable()
    }

    async fn open(&self) -> impl TokenStore + Clone {
        evertoken::PostgresStore::connect(&self.url())
            .await
            .expect("the server accepts connections")
    }

    fn end(&mut self) {
        self.stop();
    }

    fn begin_again(&mut self) -> Result<(), Missing> {
        self.restart()
    }
}

/// Runs an import with each strategy. Each import has its own session in the one store.
async fn no_call_fails<S: Server>() {
    let mut server = match S::start() {
        Ok(server) => server,
        Err(missing) if are_required() => panic!("{missing}"),
        Err(missing) => return skipped(&format!("a restart of a store's server: {missing}")),
    };
    let store = server.open().await;
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
    server.end();
    sleep_until(begin + OUTAGE).await;
    server.begin_again().expect("the server can restart");
    all(imports).await;
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_through_a_restart_of_redis() {
    no_call_fails::<crate::services::Redis>().await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_through_a_restart_of_postgresql() {
    no_call_fails::<crate::services::Postgres>().await;
}
