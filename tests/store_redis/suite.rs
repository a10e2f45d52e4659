use evertoken::testing::conformance;

use crate::scene::{open, server};
use crate::seal::FakeSealer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_redis_store_conforms() {
    let server = server();
    conformance::store(async || open(&server).await).await;
    conformance::searchable_store(async || open(&server).await).await;
    conformance::searchable_by_access_store(async || open(&server).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w13_the_sealed_redis_store_conforms() {
    let server = server();
    let open = async || open(&server).await.sealed(FakeSealer::new("secret"));
    conformance::store(open).await;
    conformance::searchable_store(open).await;
    conformance::searchable_by_access_store(open).await;
    let plain = async || crate::scene::open(&server).await;
    let accepting = async || open().await.accept_plain(true);
    conformance::sealed_store(plain, open, accepting).await;
}
