//! One run of one scenario.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle};
use tokio::time::{sleep, sleep_until};

use crate::browser;
use crate::gateway::{self, Answer};
use crate::scenario::{Scenario, millis, seconds};
use crate::world::World;

/// Longer than a lease and the pauses after it, in seconds.
const UNTIL_HEALED: u64 = 200;

#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) violations: Vec<String>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) history: Vec<String>,
}

pub(crate) fn run(scenario: &Scenario, is_told: bool) -> Outcome {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(
        &scenario.seed.to_le_bytes(),
    ));
    let runtime = builder.build().expect("a runtime");
    runtime.block_on(live(scenario, is_told))
}

async fn live(scenario: &Scenario, is_told: bool) -> Outcome {
    let (world, mut died) = World::new(scenario, is_told);
    for node in 0..scenario.nodes {
        world.start(node);
    }
    let deaths = tokio::spawn({
        let world = world.clone();
        async move {
            while let Some((node, back_after)) = died.recv().await {
                world.kill(node, back_after);
            }
        }
    });
    let mut tabs = Vec::new();
    for (browser, of) in scenario.browsers.iter().enumerate() {
        for steps in &of.tabs {
            tabs.push(tokio::spawn(browser::tab(
                world.clone(),
                browser,
                steps.clone(),
            )));
        }
    }
    for (at, fault) in &scenario.faults {
        sleep_until(world.began + millis(*at)).await;
        world.happen(*fault);
    }
    sleep_until(world.began + seconds(scenario.length)).await;
    world.heal();
    for tab in tabs {
        if tab.await.is_err() {
            world.observer.violation("a tab panicked".to_owned());
        }
    }
    world.heal();
    sleep(seconds(UNTIL_HEALED)).await;
    judge(&world).await;
    close(&world).await;
    deaths.abort();
    world.observer.count("runs");
    let mut log = world.observer.log();
    Outcome {
        history: log.history.take().unwrap_or_default(),
        violations: std::mem::take(&mut log.violations),
        counts: std::mem::take(&mut log.counts),
    }
}

/// After everything has healed, each instance serves each browser whose session lives.
async fn judge(world: &Arc<World>) {
    for browser in 0..world.browsers.len() {
        let Some(mut jar) = world.jar(browser) else {
            continue;
        };
        for node in (0..world.scenario.nodes).filter_map(|node| world.node(node)) {
            let cookie = jar;
            let answer = gateway::present(world, &node, cookie, 0).await;
            let goes_on = world.observer.goes_on(&world.observer.cookie(cookie));
            match answer {
                Answer::Served(Some(renewed)) => jar = renewed,
                // Whether a refusal is right was judged already.
                Answer::Served(None) | Answer::Refused => {}
                _ if goes_on => {
                    let what = world.observer.show(cookie);
                    let what = format!(
                        "B7 {} does not serve {what} after all has healed",
                        node.life
                    );
                    world.observer.violation(what);
                }
                _ => {}
            }
        }
    }
}

/// Shuts every instance down, and checks that no task is left.
async fn close(world: &Arc<World>) {
    for node in (0..world.scenario.nodes).filter_map(|node| world.node(node)) {
        if let Err(error) = node.sessions.shutdown().await {
            let what = format!("B7 {} does not shut down: {error}", node.life);
            world.observer.violation(what);
        }
    }
    world.close();
    sleep(seconds(2_000)).await;
    let left = Handle::current().metrics().num_alive_tasks();
    // The remaining task is the one that waits for deaths.
    if left > 1 {
        let what = format!("B7 {} tasks are left", left - 1);
        world.observer.violation(what);
    }
}
