//! Instances and stores that lag behind: what they know of a browser never signs it out, and never serves a retired pair.

use evertoken::testing::{AuthorizationServer, CallFault, FaultyStore, StoreCall};
use evertoken::{Coordination, PairRefusal, Persistence, Sessions};

use crate::support::{HOUR, MINUTE, SECOND, TTL, World, settle};
use crate::world::{GRACE, Service, assert_refused, page};

#[tokio::test(start_paused = true)]
async fn n13_an_instance_that_still_holds_a_retired_pair_refuses_it_after_a_rotation_of_its_own() {
    let service = Service::with(2, page(), |builder| builder.kept_for(HOUR));
    let first = service.cookie().await;
    service.instances[1].present(&first).await.unwrap();
    let second = service.rotate(&first).await;
    service.request(&second).await;
    settle().await;
    service.pass(GRACE + SECOND).await;
    assert_refused(service.present(&first).await, PairRefusal::Retired);
    // The access token of the second pair expires, and no instance has rotated that pair yet.
    service.world.expire().await;
    let stolen = service.instances[1].present(&first).await;
    assert_refused(stolen, PairRefusal::Retired);
}

#[tokio::test(start_paused = true)]
async fn n13_an_instance_whose_store_knows_only_an_older_pair_refuses_a_retired_one() {
    let service = Service::of(0, page());
    let (a, b) = (service.alone(page()), service.alone(page()));
    let id = a
        .sign_in(service.world.server.issue())
        .policy("page")
        .await
        .unwrap();
    let r1 = a.present(&id).await.unwrap().pair().unwrap();
    service.world.expire().await;
    let r2 = b.present(&r1).await.unwrap().renewal().unwrap();
    service.world.expire().await;
    let r3 = b.present(&r2).await.unwrap().renewal().unwrap();
    a.present(&r3).await.unwrap();
    for _ in 0..3 {
        service.pass(MINUTE).await;
        a.present(&r3).await.unwrap();
    }
    let p = a.present(&r2).await;
    assert_refused(p, PairRefusal::Retired);
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_sleeps_while_a_job_rotates_keeps_both_pairs_that_it_may_hold() {
    let service = Service::of(1, page());
    let first = service.cookie().await;
    service.request(&first).await;
    settle().await;
    let second = service.rotate(&first).await;
    let job = service.present(&first).await.unwrap().tokens().clone();
    for _ in 0..9 {
        service.world.expire().await;
        job.token().await.unwrap();
    }
    settle().await;
    service.present(&first).await.unwrap();
    service.present(&second).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_is_stored_later_does_not_count_as_presented() {
    let service = Service::with(1, page(), |builder| {
        builder
            .coordination(Coordination::None)
            .persistence(Persistence::write_behind(1))
            .kept_for(HOUR)
    });
    let first = service.cookie().await;
    settle().await;
    service
        .world
        .store
        .fail_always(StoreCall::Swap, Some(CallFault::Fail));
    service.world.expire().await;
    // Both answers are lost.
    for _ in 0..2 {
        let p = service.present(&first).await.unwrap();
        assert!(p.renewal().is_some());
        settle().await;
    }
    service.world.store.fail_always(StoreCall::Swap, None);
    service.pass(MINUTE).await;
    settle().await;
    service.world.expire().await;
    service.present(&first).await.unwrap();
    settle().await;
    service.pass(MINUTE).await;
    service.present(&first).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pair_whose_storing_fails_does_not_count_as_presented() {
    let service = Service::with(1, page(), |builder| builder.kept_for(HOUR));
    let first = service.cookie().await;
    settle().await;
    service.world.store.work_next(StoreCall::Swap, 1);
    service
        .world
        .store
        .fail_next(StoreCall::Swap, 4, CallFault::Fail);
    service.world.expire().await;
    for _ in 0..2 {
        service.present(&first).await.unwrap();
    }
    service.pass(MINUTE).await;
    settle().await;
    service.world.expire().await;
    service.present(&first).await.unwrap();
    settle().await;
    service.pass(MINUTE).await;
    service.present(&first).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_id_alone_retires_no_pair_of_the_browser() {
    let service = Service::of(1, page());
    let first = service.cookie().await;
    service.world.expire().await;
    drop(service.present(&first).await.unwrap());
    service.present(first.id()).await.unwrap();
    settle().await;
    service.pass(MINUTE).await;
    service.present(&first).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_read_shows_of_no_pair_that_it_was_presented() {
    let service = Service::of(2, page());
    let first = service.cookie().await;
    settle().await;
    service.world.expire().await;
    let cold = &service.instances[1];
    service
        .world
        .store
        .fail_next(StoreCall::Load, 1, CallFault::DelayAfter(SECOND));
    let one = {
        let (s, c) = (cold.clone(), first.clone());
        tokio::spawn(async move { s.present(c).await })
    };
    let two = {
        let (s, c) = (cold.clone(), first.clone());
        tokio::spawn(async move { s.present(c).await })
    };
    settle().await;
    service.pass(2 * SECOND).await;
    for presented in [one, two] {
        presented.await.unwrap().unwrap();
    }
    settle().await;
    service.pass(MINUTE).await;
    for s in &service.instances {
        s.present(&first).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_set_back_to_before_a_new_sign_in_signs_nobody_out() {
    let service = Service::of(1, page());
    let first = service.cookie().await;
    let p = service.present(&first).await.unwrap();
    settle().await;
    let backup = service
        .world
        .store
        .record(p.tokens().key())
        .await
        .unwrap()
        .unwrap();
    p.tokens()
        .replace(service.world.server.issue())
        .await
        .unwrap();
    let cookie = p.renewal().unwrap();
    service
        .world
        .store
        .set_back(p.tokens().key(), &backup)
        .await
        .unwrap();
    let again = service
        .builder(page())
        .store(service.world.store.clone())
        .build()
        .unwrap();
    again.present(&cookie).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_another_instance_outran_is_served_by_both() {
    use evertoken::testing::Reuse;
    let world = World::of(
        AuthorizationServer::builder()
            .access_ttl(TTL)
            .reuse(Reuse::Grace {
                window: MINUTE,
                answer: evertoken::testing::GraceAnswer::Fork,
            }),
    );
    let store = FaultyStore::new(world.store.clone());
    let make = || {
        Sessions::builder(world.endpoint())
            .clock(world.clock.clone())
            .jitter(0.0)
            .policy("page", page())
            .store(store.clone())
            .coordination(Coordination::None)
            .persistence(Persistence::write_behind(1))
            .build()
            .unwrap()
    };
    let (a, b) = (make(), make());
    let id = a
        .sign_in(world.server.issue())
        .policy("page")
        .await
        .unwrap();
    let first = a.present(&id).await.unwrap().pair().unwrap();
    b.present(&first).await.unwrap();
    settle().await;
    world.expire().await;
    store.fail_always(StoreCall::Swap, Some(CallFault::Fail));
    let pa = tokio::spawn({
        let (a, c) = (a.clone(), first.clone());
        async move { a.present(c).await.map(|p| p.renewal()) }
    });
    let pb = tokio::spawn({
        let (a, c) = (b.clone(), first.clone());
        async move { a.present(c).await.map(|p| p.renewal()) }
    });
    let (ra, rb) = (
        pa.await.unwrap().unwrap().unwrap(),
        pb.await.unwrap().unwrap().unwrap(),
    );
    settle().await;
    store.fail_always(StoreCall::Swap, None);
    world.clock.advance(10 * SECOND).await;
    settle().await;
    world.clock.advance(10 * SECOND).await;
    settle().await;
    let mut errors = Vec::new();
    for s in [&a, &b] {
        for c in [&ra, &rb] {
            errors.push(s.present(c).await.err());
        }
    }
    for e in errors {
        assert!(e.is_none());
    }
}
