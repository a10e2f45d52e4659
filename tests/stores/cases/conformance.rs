//! The suites that are shipped for stores of one's own.

use std::sync::Arc;

use evertoken::testing::conformance;

use crate::backend::Storage;

super::cases![
    a_store_conforms,
    two_machines_stores_conform,
    a_store_that_searches_conforms,
];

async fn a_store_conforms(storage: Arc<dyn Storage>) {
    conformance::token_store(storage.open().await).await;
}

async fn two_machines_stores_conform(storage: Arc<dyn Storage>) {
    conformance::shared_token_store(storage.open().await, storage.open().await).await;
}

async fn a_store_that_searches_conforms(storage: Arc<dyn Storage>) {
    conformance::searchable_token_store(storage.open().await).await;
}
