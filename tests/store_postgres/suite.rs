//! What every store must do, this one does.

use evertoken::testing::conformance;

use crate::scene::Database;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_store_passes_the_suite() {
    let database = Database::new();
    conformance::store(async || database.open().await).await;
    conformance::searchable_store(async || database.open().await).await;
}
