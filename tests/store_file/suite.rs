use evertoken::testing::conformance::{searchable_token_store, shared_token_store, token_store};

use crate::scene::{directory, open};
use crate::seal::FakeSealer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_store_conforms() {
    let directory = directory();
    token_store(open(&directory)).await;
    shared_token_store(open(&directory), open(&directory)).await;
    searchable_token_store(open(&directory)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w13_the_sealed_file_store_conforms() {
    let directory = directory();
    let sealed = || open(&directory).sealed(FakeSealer::new("secret"));
    token_store(sealed()).await;
    shared_token_store(sealed(), sealed()).await;
    searchable_token_store(sealed()).await;
}
