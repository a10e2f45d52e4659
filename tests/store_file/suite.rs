use evertoken::testing::conformance::{
    sealed_store, searchable_by_access_store, searchable_store, store,
};

use crate::scene::{directory, open};
use crate::seal::FakeSealer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_store_conforms() {
    let directory = directory();
    store(async || open(&directory)).await;
    searchable_store(async || open(&directory)).await;
    searchable_by_access_store(async || open(&directory)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w13_the_sealed_file_store_conforms() {
    let directory = directory();
    let sealed = async || open(&directory).sealed(FakeSealer::new("secret"));
    store(sealed).await;
    searchable_store(sealed).await;
    searchable_by_access_store(sealed).await;
    let accepting = async || sealed().await.accept_plain(true);
    sealed_store(async || open(&directory), sealed, accepting).await;
}
