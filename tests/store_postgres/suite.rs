//! What every store must do, this one does.

use evertoken::testing::conformance;

use crate::scene::Database;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_store_passes_the_suite() {
    let database = Database::new();
    conformance::token_store(database.open().await).await;
    conformance::searchable_token_store(database.open().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_handles_on_one_database_pass_the_suite() {
    let database = Database::new();
    conformance::shared_token_store(database.open().await, database.open().await).await;
    let store = database.open().await;
    conformance::shared_token_store(store.clone(), store).await;
}
