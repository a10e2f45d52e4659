//! One run of one scenario.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::time::{sleep, sleep_until};

use crate::scenario::{Caller, Scenario, seconds};
use crate::world::World;
use crate::{callers, judge, script};

#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) violations: Vec<String>,
    pub(crate) causes: BTreeMap<&'static str, u32>,
    pub(crate) history: Vec<String>,
    pub(crate) exchanges: u64,
}

pub(crate) fn run(scenario: &Scenario, with_history: bool) -> Outcome {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(
        &scenario.seed.to_le_bytes(),
    ));
    let runtime = builder.build().expect("a runtime");
    runtime.block_on(live(scenario, with_history))
}

async fn live(scenario: &Scenario, with_history: bool) -> Outcome {
    let (world, mut struck) = World::new(scenario, with_history);
    for node in 0..scenario.nodes.len() {
        world.start(node);
    }
    let strikes = tokio::spawn({
        let world = world.clone();
        async move {
            while let Some(strike) = struck.recv().await {
                script::strike(&world, strike).await;
            }
        }
    });
    let start = |caller: &Caller| tokio::spawn(callers::run(world.clone(), caller.clone()));
    let callers: Vec<_> = scenario.callers.iter().map(start).collect();
    for (at, fault) in &scenario.faults {
        sleep_until(world.began + Duration::from_millis(*at)).await;
        script::happen(&world, *fault).await;
    }
    sleep_until(world.began + seconds(scenario.length)).await;
    for caller in callers {
        if caller.await.is_err() {
            world.violation("O7 a caller panicked".to_owned());
        }
    }
    judge::judge(&world).await;
    close(&world).await;
    strikes.abort();
    let mut log = world.observer.log();
    Outcome {
        history: log.history.take().unwrap_or_default(),
        exchanges: world.server.exchanges(),
        violations: std::mem::take(&mut log.violations),
        causes: std::mem::take(&mut log.causes),
    }
}

/// Shuts every instance down, and checks that no task is left.
async fn close(world: &Arc<World>) {
    // A store that may take ten minutes delays a shutdown.
    let may_take_long = world.scenario.store_timeout > world.scenario.wait;
    for node in world.nodes() {
        if let Err(error) = node.manager.shutdown().await
            && !may_take_long
        {
            let id = node.id;
            world.violation(format!("O7 {id} does not shut down: {error}"));
        }
    }
    world.close();
    // Every pair that was issued must be stored by now.
    judge::losses(world);
    sleep(seconds(2_000)).await;
    let left = Handle::current().metrics().num_alive_tasks();
    // The remaining task is the one that waits for strikes.
    if left > 1 {
        world.violation(format!("O7 {} tasks are left", left - 1));
    }
}
