//! Events about pairs: rotated, adopted, not stored. A slow subscriber does not delay a rotation.

use std::time::Duration;

use evertoken::testing::FaultyStore;
use evertoken::{BackgroundTimer, Event, OnRequest, OnStoreFailure};

use crate::support::{SECOND, World, built, call, drain, loaded, served, settle};

#[tokio::test(start_paused = true)]
async fn a_seed_causes_no_event_and_a_stored_pair_is_adopted() {
    let world = World::new(600 * SECOND);
    let builder = || world.shared(OnRequest::default());
    let first = built(builder());
    let mut events = first.subscribe();
    first.token().await.unwrap();
    assert_eq!(drain(&mut events).len(), 0);
    let rotated = first.rotate().await.unwrap();
    first.shutdown().await.unwrap();
    let second = built(builder());
    let mut events = second.subscribe();
    assert_eq!(second.token().await.unwrap().pair_id(), rotated.pair_id());
    let events = drain(&mut events);
    let [Event::Adopted { pair_id, .. }] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(*pair_id, rotated.pair_id());
}

#[tokio::test(start_paused = true)]
async fn a_pair_of_another_instance_is_reported_as_adopted_and_not_as_rotated() {
    let world = World::new(600 * SECOND);
    let (here, there) = world.two_managers(OnRequest::default()).await;
    let (mut at_here, mut at_there) = (here.subscribe(), there.subscribe());
    world.clock.advance(600 * SECOND).await;
    let token = here.token().await.unwrap();
    there.token().await.unwrap();
    let (at_here, at_there) = (drain(&mut at_here), drain(&mut at_there));
    let ([Event::Rotated { pair_id: one, .. }], [Event::Adopted { pair_id: two, .. }]) =
        (at_here.as_slice(), at_there.as_slice())
    else {
        panic!("{at_here:?} {at_there:?}");
    };
    assert_eq!([*one, *two], [token.pair_id(); 2]);
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn an_adopted_pair_is_reported_with_how_long_the_caller_waited() {
    let world = World::new(600 * SECOND);
    let builder = || world.shared(OnRequest::default());
    let (here, there) = (loaded(builder()).await, loaded(builder()).await);
    let late = loaded(builder()).await;
    let (mut at_there, mut at_late) = (there.subscribe(), late.subscribe());
    world.clock.advance(600 * SECOND).await;
    let hold = world.server.hold();
    let callers = [call(&here), {
        world.server.arrived(1).await;
        call(&there)
    }];
    world.clock.advance(3 * SECOND).await;
    drop(hold);
    served(callers).await;
    late.token().await.unwrap();
    let waits = [&mut at_there, &mut at_late].map(|events| match drain(events).as_slice() {
        [Event::Adopted { waited, .. }] => *waited,
        events => panic!("{events:?}"),
    });
    assert_eq!(waits, [3 * SECOND, Duration::ZERO]);
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_cannot_be_stored_is_reported_once_however_often_it_is_tried() {
    for policy in [OnStoreFailure::Serve, OnStoreFailure::Fail] {
        let world = World::new(600 * SECOND).with_store(FaultyStore::new);
        let builder = world.shared(OnRequest::default());
        let tokens = loaded(builder.on_store_failure(policy)).await;
        let mut events = tokens.subscribe();
        let hold = world.server.hold();
        world.clock.advance(600 * SECOND).await;
        let caller = call(&tokens);
        world.server.arrived(1).await;
        world.store.set_down(true);
        drop(hold);
        assert_eq!(
            caller.await.unwrap().is_ok(),
            policy == OnStoreFailure::Serve
        );
        assert!(tokens.status().is_unpersisted);
        world.clock.advance(100 * SECOND).await;
        assert!(tokens.status().is_unpersisted);
        world.store.set_down(false);
        world.clock.advance(6 * SECOND).await;
        assert!(!tokens.status().is_unpersisted);
        let events = drain(&mut events);
        let count = |of: fn(&Event) -> bool| events.iter().filter(|event| of(event)).count();
        assert_eq!(count(|event| matches!(event, Event::Unpersisted { .. })), 1);
        assert_eq!(count(|event| matches!(event, Event::Rotated { .. })), 1);
        assert_eq!(events.len(), 2, "{events:?}");
        assert!(world.is_live(&tokens.token().await.unwrap()));
        world.assert_exchanges(1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_does_not_read_delays_no_rotation_and_learns_what_it_missed() {
    let (world, tokens) = World::managed(BackgroundTimer::default()).await;
    let mut silent = tokens.subscribe();
    let start = world.clock.clone();
    // 300 rotations, one every 480 s.
    start.advance(300 * 480 * SECOND).await;
    settle().await;
    world.assert_exchanges(300);
    let Some(Event::Lagged { missed, .. }) = silent.recv().await else {
        panic!("not told");
    };
    let rest = drain(&mut silent);
    assert_eq!(missed + rest.len() as u64, 300);
    assert_eq!(rest.len(), 256);
    let versions: Vec<_> = rest
        .iter()
        .map(|event| match event {
            Event::Rotated { pair_id, .. } => pair_id.version,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(versions, (46..=301).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn every_subscriber_gets_the_events_since_its_subscription() {
    let (world, tokens) = World::managed(OnRequest::default()).await;
    let mut first = tokens.subscribe();
    tokens.rotate().await.unwrap();
    let mut second = tokens.clone().subscribe();
    world.clock.advance(SECOND).await;
    tokens.rotate().await.unwrap();
    assert_eq!(drain(&mut first).len(), 2);
    assert_eq!(drain(&mut second).len(), 1);
}
