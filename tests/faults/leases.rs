//! Instances with different settings do not send one token twice.

use evertoken::OnRequest;
use evertoken::testing::{CallFault, FaultyStore, StoreCall};

use crate::support::{SECOND, World, loaded, settle};

#[tokio::test(start_paused = true)]
async fn an_instance_with_a_shorter_lease_duration_respects_the_duration_of_a_lease() {
    let world = World::new(600 * SECOND);
    let slow = FaultyStore::new(world.store.clone());
    let patient = world
        .builder(OnRequest::default())
        .store(slow.clone())
        .lease_duration(200 * SECOND)
        .store_timeout(75 * SECOND)
        .wait(300 * SECOND);
    let hasty = world
        .shared(OnRequest::default())
        .lease_duration(60 * SECOND)
        .wait(300 * SECOND);
    let (patient, hasty) = (loaded(patient).await, loaded(hasty).await);
    world.clock.advance(600 * SECOND).await;
    slow.fail_next(StoreCall::Swap, 1, CallFault::DelayAfter(70 * SECOND));
    let first = tokio::spawn(async move { patient.token().await });
    settle().await;
    let second = tokio::spawn(async move { hasty.token().await });
    let (first, second) = (
        first.await.unwrap().unwrap(),
        second.await.unwrap().unwrap(),
    );
    assert_eq!(first.expose(), second.expose());
    world.assert_exchanges(1);
}
