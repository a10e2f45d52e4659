//! The conformance suite on this store.

use evertoken::testing::conformance;

use crate::scene::Database;
use crate::seal::FakeSealer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_postgres_store_conforms() {
    let database = Database::new();
    conformance::store(async || database.open().await).await;
    conformance::searchable_store(async || database.open().await).await;
    conformance::searchable_by_access_store(async || database.open().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w13_the_sealed_postgres_store_conforms() {
    let database = Database::new();
    let plain = async || database.open().await;
    let sealed = async || database.open().await.sealed(FakeSealer::new("secret"));
    let accepting = async || sealed().await.accept_plain(true);
    conformance::searchable_store(sealed).await;
    conformance::searchable_by_access_store(sealed).await;
    conformance::sealed_store(plain, sealed, accepting).await;
}
