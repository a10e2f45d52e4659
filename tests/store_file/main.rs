//! Records in files: what is on the disk, which users may read it, and which process may replace it.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

#[cfg(unix)]
mod access;
mod content;
mod crowd;
#[cfg(unix)]
mod holder;
#[cfg(unix)]
mod leases;
#[cfg(unix)]
mod life;
#[cfg(unix)]
mod limits;
mod past;
mod process;
mod processes;
mod purge;
#[path = "../support/records.rs"]
mod records;
mod scene;
mod seal;
mod sealed;
mod search;
#[path = "../support/mod.rs"]
mod support;

use evertoken::testing::conformance::{
    sealed_store, searchable_by_access_store, searchable_by_upstream_store, searchable_store, store,
};

use crate::scene::{directory, open};
use crate::seal::FakeSealer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w13_the_sealed_file_store_conforms() {
    let directory = directory();
    let sealed = async || open(&directory).sealed(FakeSealer::new("secret"));
    store(sealed).await;
    searchable_store(sealed).await;
    searchable_by_access_store(sealed).await;
    searchable_by_upstream_store(sealed).await;
    let accepting = async || sealed().await.accept_plain(true);
    sealed_store(async || open(&directory), sealed, accepting).await;
}
