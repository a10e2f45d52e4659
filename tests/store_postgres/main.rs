//! Records in PostgreSQL: the rows, what a rotation leaves when anything dies, and notifications.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod atomic;
#[cfg(feature = "config")]
mod configured;
mod connecting;
mod listening;
mod manager;
mod migration;
mod odd;
mod outage;
mod pooler;
mod proxy;
mod races;
#[path = "../support/records.rs"]
mod records;
mod retention;
mod rows;
mod scene;
#[path = "../store_file/seal.rs"]
mod seal;
mod sealed;
mod search;
#[path = "../support/services.rs"]
mod services;
mod written;

use evertoken::testing::conformance;

use crate::scene::Database;
use crate::seal::FakeSealer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w13_the_sealed_postgres_store_conforms() {
    let database = Database::new();
    let plain = async || database.open().await;
    let sealed = async || database.open().await.sealed(FakeSealer::new("secret"));
    let accepting = async || sealed().await.accept_plain(true);
    conformance::searchable_store(sealed).await;
    conformance::searchable_by_access_store(sealed).await;
    conformance::searchable_by_upstream_store(sealed).await;
    conformance::sealed_store(plain, sealed, accepting).await;
}
