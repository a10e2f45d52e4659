//! The conformance suites that the crate provides for third-party stores.

use std::sync::Arc;

use evertoken::testing::conformance;

use crate::backend::Storage;

super::cases![heavy: a_store_conforms, a_store_that_searches_conforms];

async fn a_store_conforms(storage: Arc<dyn Storage>) {
    conformance::store(async || storage.open().await).await;
}

async fn a_store_that_searches_conforms(storage: Arc<dyn Storage>) {
    conformance::searchable_store(async || storage.open().await).await;
    conformance::searchable_by_access_store(async || storage.open().await).await;
}
