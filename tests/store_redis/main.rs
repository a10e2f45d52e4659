//! Records in Redis: what the server stores and receives, and what happens when servers and connections fail.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod changes;
mod connections;
mod failover;
mod index;
mod keys;
mod proxy;
#[path = "../support/records.rs"]
mod records;
mod restarts;
mod scene;
#[path = "../store_file/seal.rs"]
mod seal;
mod server;
#[path = "../support/services.rs"]
mod services;
mod upstream;
mod world;
mod written;

use evertoken::testing::conformance;

use crate::scene::{open, server};
use crate::seal::FakeSealer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w13_the_sealed_redis_store_conforms() {
    let server = server();
    let open = async || open(&server).await.sealed(FakeSealer::new("secret"));
    conformance::store(open).await;
    conformance::searchable_store(open).await;
    conformance::searchable_by_access_store(open).await;
    conformance::searchable_by_upstream_store(open).await;
    let plain = async || crate::scene::open(&server).await;
    let accepting = async || open().await.accept_plain(true);
    conformance::sealed_store(plain, open, accepting).await;
}
