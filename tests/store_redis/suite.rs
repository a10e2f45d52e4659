use evertoken::testing::conformance::{searchable_token_store, shared_token_store, token_store};

use crate::scene::{open, server};
use crate::seal::FakeSealer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_redis_store_conforms() {
    let server = server();
    token_store(open(&server).await).await;
    shared_token_store(open(&server).await, open(&server).await).await;
    searchable_token_store(open(&server).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w13_the_sealed_redis_store_conforms() {
    let server = server();
    let sealed = async || open(&server).await.sealed(FakeSealer::new("secret"));
    token_store(sealed().await).await;
    shared_token_store(sealed().await, sealed().await).await;
    searchable_token_store(sealed().await).await;
}
