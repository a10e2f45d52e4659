//! A store that fails, or does not answer, for a while.

use evertoken::testing::{CallFault, FaultyStore, StoreCall};
use evertoken::{FileStore, StoreError};
use tokio::time::sleep;

use crate::OUTAGE;
use crate::import::{STRATEGIES, Strategy, World, all, through};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_through_an_outage_of_the_store() {
    let mut imports = tokio::task::JoinSet::new();
    for strategy in STRATEGIES {
        for out in [CallFault::Fail, CallFault::HangBefore] {
            imports.spawn(async move {
                let said = goes_through(strategy, out).await;
                said.map_err(|said| format!("{strategy:?}, {out:?}: {said}"))
            });
        }
    }
    all(imports).await;
}

async fn goes_through(strategy: Strategy, out: CallFault<StoreError>) -> Result<(), String> {
    let world = World::new().await;
    let directory = tempfile::tempdir().expect("a directory");
    let inner =
        FileStore::new(directory.path().join("session")).expect("the directory can be used");
    let store = FaultyStore::new(inner);
    let builder = world.builder(strategy).store(store.clone());
    let tokens = builder.build().expect("the settings are valid");
    through(&world, &tokens, OUTAGE, async {
        for fault in [Some(out), None] {
            store.fail_always(StoreCall::Load, fault);
            store.fail_always(StoreCall::Swap, fault);
            if fault.is_some() {
                sleep(OUTAGE).await;
            }
        }
    })
    .await?;
    tokens.shutdown().await.map_err(|error| error.to_string())
}
