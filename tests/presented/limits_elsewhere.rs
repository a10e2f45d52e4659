//! Limits of a session that another instance, another store or another sign-in knows more about.

use crate::support::{HOUR, MINUTE, settle};
use crate::world::{Service, page};

#[tokio::test(start_paused = true)]
async fn an_instance_without_the_store_ends_no_session_that_is_in_use() {
    let policy = || page().idle(30 * MINUTE);
    let service = Service::of(0, policy());
    let one = service.alone(policy());
    let id = one
        .sign_in(service.world.server.issue())
        .policy("page")
        .await
        .unwrap();
    let mut cookie = one.present(&id).await.unwrap().pair().unwrap();
    for _ in 0..60 {
        service.pass(MINUTE).await;
        let p = one.present(&cookie).await.unwrap();
        cookie = p.renewal().unwrap_or(cookie);
    }
    one.shutdown().await.unwrap();
    let two = service.alone(policy());
    two.present(&cookie).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_set_back_ends_no_session_that_is_in_use() {
    let policy = || page().idle(30 * MINUTE);
    let service = Service::of(1, policy());
    let mut cookie = service.cookie().await;
    let key = service
        .present(&cookie)
        .await
        .unwrap()
        .tokens()
        .key()
        .clone();
    settle().await;
    let backup = service.world.store.record(&key).await.unwrap().unwrap();
    for _ in 0..40 {
        service.pass(MINUTE).await;
        cookie = service.request(&cookie).await;
    }
    service.world.store.set_back(&key, &backup).await.unwrap();
    let again = service
        .builder(policy())
        .store(service.world.store.clone())
        .build()
        .unwrap();
    again.present(&cookie).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_presentation_that_rotates_counts_on_other_instances() {
    let service = Service::with(2, page().idle(30 * MINUTE), |builder| {
        builder.kept_for(HOUR)
    });
    let mut cookie = service.cookie().await;
    settle().await;
    service.pass(25 * MINUTE).await;
    cookie = service.request(&cookie).await;
    settle().await;
    service.pass(25 * MINUTE).await;
    service.instances[1].present(&cookie).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_use_that_was_not_noted_before_the_session_left_the_memory_is_allowed_for() {
    let service = Service::of(1, page().idle(HOUR));
    let mut cookie = service.cookie().await;
    settle().await;
    service.pass(3 * MINUTE).await;
    cookie = service.request(&cookie).await;
    service.pass(4 * MINUTE).await;
    cookie = service.request(&cookie).await;
    settle().await;
    service.pass(54 * MINUTE).await;
    service.present(&cookie).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_new_sign_in_in_the_same_session_begins_a_new_age() {
    let service = Service::with(1, page().absolute(2 * HOUR), |builder| {
        builder.kept_for(HOUR)
    });
    let mut cookie = service.cookie().await;
    for _ in 0..11 {
        service.pass(10 * MINUTE).await;
        cookie = service.request(&cookie).await;
    }
    let presented = service.present(&cookie).await.unwrap();
    presented
        .tokens()
        .replace(service.world.server.issue())
        .await
        .unwrap();
    let mut cookie = presented.renewal().unwrap();
    for _ in 0..3 {
        service.pass(5 * MINUTE).await;
        cookie = service.request(&cookie).await;
    }
}
