//! The suites for stores accept a correct store, and find each kind of flaw.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod changes;
mod contents;
mod dropped;
mod flaw;
#[path = "../store_file/seal.rs"]
mod seal;
mod seals;
mod search;
mod swaps;
mod upstream;

use std::sync::Arc;

use evertoken::testing::conformance::{
    searchable_by_access_store, searchable_by_upstream_store, searchable_store, store,
};
use evertoken::{MemoryStore, TokenStore};

use crate::flaw::{Flaw, flawed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_store_conforms() {
    let memory = MemoryStore::new();
    store(async || memory.clone()).await;
    searchable_store(async || Arc::new(memory.clone()) as Arc<dyn TokenStore>).await;
    searchable_by_access_store(async || Box::new(memory.clone()) as Box<dyn TokenStore>).await;
    searchable_by_upstream_store(async || Box::new(memory.clone()) as Box<dyn TokenStore>).await;
}

#[derive(Debug)]
struct Flawless;

impl Flaw for Flawless {}

#[tokio::test(start_paused = true)]
async fn a_store_without_a_flaw_conforms() {
    let open = flawed(Flawless);
    store(&open).await;
    searchable_store(&open).await;
    searchable_by_access_store(&open).await;
    searchable_by_upstream_store(&open).await;
}
