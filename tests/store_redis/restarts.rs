//! A server that is killed and comes back, while managers continue.

use std::time::Duration;

use evertoken::{Event, TokenStore};

use crate::scene::{open, server, until};
use crate::services::Redis;
use crate::world::{MILLI, World, told};

const TTL: Duration = Duration::from_secs(3);

/// Kills the server during the work, and keeps it away for a while.
async fn kills(server: &mut Redis, world: &World, times: u64) {
    for kill in 0..times {
        // At another moment of a rotation each time.
        world.rotates(1).await;
        tokio::time::sleep(u32::try_from(kill % 7).unwrap() * 97 * MILLI).await;
        server.kill();
        tokio::time::sleep(400 * MILLI).await;
        server.restart().unwrap();
    }
    world.rotates(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_durable_server_loses_nothing_and_valid_tokens_are_served_throughout() {
    let mut server = Redis::durable().unwrap_or_else(|missing| panic!("{missing}"));
    let world = World::new(TTL);
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(world.node(&open(&server).await).await);
    }
    let mut events: Vec<_> = nodes.iter().map(|node| node.subscribe()).collect();
    let callers: Vec<_> = nodes.iter().map(|node| world.caller(node)).collect();
    kills(&mut server, &world, 6).await;
    for caller in callers {
        assert!(caller.served().await > 0);
    }
    for events in &mut events {
        let (ended, _) = told(events);
        assert!(!ended, "the session goes on");
    }
    // The server has the last rotated pair, and all instances get it.
    world.assert_unharmed();
    assert_eq!(world.server.exchanges(), world.server.rotations());
    let store = open(&server).await;
    let key = nodes[0].key().clone();
    let held = async || store.load(&key).await.unwrap().entry.unwrap().0.pair_id();
    until("everybody has the pair", async || {
        let held = held().await;
        nodes.iter().all(|node| node.status().pair_id == Some(held))
    })
    .await;
}

/// The server comes back empty. The instance that holds the pair writes it there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_instance_that_holds_the_pair_restores_it_on_a_server_that_lost_everything() {
    let mut server = server();
    let world = World::new(TTL);
    let store = open(&server).await;
    let node = world.node(&store).await;
    let mut events = node.subscribe();
    let caller = world.caller(&node);
    kills(&mut server, &world, 5).await;
    assert!(caller.served().await > 0);
    assert!(!told(&mut events).0, "the session goes on");
    world.assert_unharmed();
    let (record, _) = store.load(node.key()).await.unwrap().entry.unwrap();
    assert!(record.pair_id().version >= world.server.rotations());
}

/// A manager that is built while the server is away reports that at once, and its callers wait for the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_server_is_reported_and_waited_for() {
    let mut server = server();
    let world = World::new(TTL);
    let store = open(&server).await;
    server.kill();
    let node = world.builder(&store).build().unwrap();
    let mut events = node.subscribe();
    let waiter = node.clone();
    let caller = tokio::spawn(async move { waiter.token().await });
    let Some(Event::Failed { error, .. }) = events.recv().await else {
        panic!("the store answers");
    };
    let shown = format!("{error:?}");
    assert!(error.is_retryable(), "{shown}");
    assert!(shown.contains("nothing listens at this address"), "{shown}");
    assert!(!caller.is_finished());
    server.restart().unwrap();
    caller.await.unwrap().unwrap();
    assert_eq!(world.server.replays(), 0);
}
