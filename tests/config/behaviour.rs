//! A manager follows its configuration.

use evertoken::clock::Clock as _;
use evertoken::{Config, Registry, TokenManager};

use crate::support::{HOUR, SECOND, World, later, loaded};

async fn manager(world: &World, text: &str) -> TokenManager {
    let config = Config::from_toml(text).unwrap();
    let endpoint = world.server.endpoint();
    let builder = config.builder_for(endpoint, &Registry::builtin()).await;
    let builder = builder.unwrap().clock(world.clock.clone());
    loaded(builder.seed(world.first.clone())).await
}

/// `retry_after_limit` bounds how long a `Retry-After` counts.
#[tokio::test(start_paused = true)]
async fn n11_a_retry_after_counts_up_to_the_configured_limit() {
    let world = World::new(600 * SECOND);
    let text =
        "refresh = { jitter = 0, wait = \"40s\", cool_down = { retry_after_limit = \"2h\" } }";
    let tokens = manager(&world, text).await;
    world.clock.advance(600 * SECOND).await;
    world.server.fail_next(later(Some(24 * HOUR)));
    let failed_at = world.clock.now();
    // The next attempt lies after the deadline.
    assert!(tokens.token().await.is_err());
    world.clock.advance(2 * HOUR - 41 * SECOND).await;
    assert!(tokens.token().await.is_err());
    world.assert_exchanges(1);
    world.clock.advance(2 * SECOND).await;
    assert!(world.is_live(&tokens.token().await.unwrap()));
    world.assert_exchanges(2);
    // The manager polls the store every 20 ms.
    let paused = world.clock.now().since(failed_at);
    assert_eq!(paused.as_secs(), 7_200);
}

#[tokio::test(start_paused = true)]
async fn a_pause_after_a_failure_is_as_long_as_is_configured_and_doubles_to_the_longest() {
    let world = World::new(600 * SECOND);
    let text = "refresh = { jitter = 0, cool_down = { expired = \"7s\", longest = \"10s\" } }";
    let tokens = manager(&world, text).await;
    world.clock.advance(600 * SECOND).await;
    for _ in 0..3 {
        world.server.fail_next(later(None));
    }
    let begun = world.clock.now();
    assert!(world.is_live(&tokens.token().await.unwrap()));
    let paused = world.clock.now().since(begun);
    assert_eq!(paused.as_secs(), 7 + 10 + 10);
    world.assert_exchanges(4);
}

/// A machine sleeps for an hour: its timers stand still, and after the sleep the clock is polled.
#[tokio::test(start_paused = true)]
async fn the_wall_clock_is_polled_at_the_configured_interval() {
    let world = World::new(HOUR);
    let text = "refresh = { strategy = \"background-timer\", jitter = 0, poll_interval = \"20s\" }";
    let tokens = manager(&world, text).await;
    tokens.rotate().await.unwrap();
    let exchanges = world.server.exchanges();
    world.clock.suspend(HOUR);
    tokio::time::sleep(19 * SECOND).await;
    world.assert_exchanges(exchanges);
    tokio::time::sleep(2 * SECOND).await;
    world.assert_exchanges(exchanges + 1);
}
