//! Callers wait on several threads while the rotation reports its progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evertoken::protocol::Record;
use evertoken::testing::{
    AuthorizationServer, CallFault, EndpointCall, FaultyEndpoint, FaultyStore, StoreCall,
};
use evertoken::{EndpointError, MemoryStore, TokenManager, TokenPair, TokenStore};
use futures_util::future::join_all;

use crate::support::{built, callers};

/// A waiter that reads the held token while the rotation reports its progress must not
/// have either wait for the other.
#[test]
fn waiters_and_the_rotation_do_not_lock_each_other_out() {
    let done = Arc::new(AtomicBool::new(false));
    let finished = Arc::clone(&done);
    let memory = MemoryStore::new();
    let store = FaultyStore::new(memory.clone());
    let counted = store.clone();
    std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(4).enable_all().build().unwrap();
        runtime.block_on(async {
            // `changed` returns at once, whether anything changed or not.
            store.fail_always(StoreCall::Changed, Some(CallFault::Fail));
            let later = CallFault::Error(|| EndpointError::later(None));
            let endpoint = FaultyEndpoint::new(AuthorizationServer::builder().build().endpoint());
            endpoint.fail_always(EndpointCall::Refresh, Some(later));
            let seed = TokenPair::from_refresh_token("r1");
            let builder = TokenManager::builder(endpoint).store(store.clone());
            let tokens = built(builder.seed(seed).wait(Duration::from_secs(31)));
            // The first failure is in the record; then another instance leases the token.
            tokens.try_token().unwrap_err();
            let key = tokens.key().clone();
            let (record, revision) = loop {
                let entry = memory.load(&key).await.unwrap().entry;
                if let Some((record, revision)) = entry
                    && serde_json::to_value(&record).unwrap()["not_before"].is_object()
                {
                    break (record, revision);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            };
            let mut json = serde_json::to_value(&record).unwrap();
            json["lease"] = serde_json::json!({
                "owner": "2a", "number": 8, "digest": record.digest(),
                "since": memory.load(&key).await.unwrap().now,
            });
            json["next_number"] = 9.into();
            let leased: Record = serde_json::from_value(json).unwrap();
            memory.swap(&key, Some(revision), &leased).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            let waiters = join_all(callers(&tokens, 64));
            let _ = tokio::time::timeout(Duration::from_secs(4), waiters).await;
        });
        finished.store(true, Ordering::SeqCst);
        runtime.shutdown_background();
    });
    for _ in 0..150 {
        if done.load(Ordering::SeqCst) {
            let loads = counted.calls(StoreCall::Load);
            assert!(loads < 500, "{loads} loads in four seconds");
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the waiters and the rotation hold each other's locks");
}
