//! Runs the script of a scenario: each action and each fault at its time.

use std::sync::Arc;
use std::time::Duration;

use evertoken::Error;
use tokio::time::sleep;

use crate::gate::Strike;
use crate::scenario::{Ambush, Fault, seconds};
use crate::world::World;

pub(crate) async fn strike(world: &Arc<World>, strike: Strike) {
    let node = strike.node;
    match strike.what {
        Ambush::Hang(_) => {}
        Ambush::Pause(span) => world.pause(node, span),
        Ambush::Crash(span) => world.crash(node, span),
        Ambush::Logout => log_out(world, node),
        Ambush::Replace | Ambush::Overtake(_) => replace(world, node),
    }
}

pub(crate) async fn happen(world: &Arc<World>, fault: Fault) {
    world.note(|| format!("{fault:?}"));
    match fault {
        Fault::Answer(answer) => world.line.answers.lock().push_back(answer),
        Fault::Write(node, write) => world.spoil(node, write),
        Fault::Commit { node, write, then } => world.spoil_commit(node, write, then),
        Fault::At(node, point, ambush) => world.ambush(node, point, ambush),
        Fault::Panic(node) => {
            if let Some(node) = world.node(node) {
                node.gate.set_panics(true);
            }
        }
        Fault::StoreDown(span) => {
            *world.storage.is_down.lock() = true;
            later(world, span, |world| *world.storage.is_down.lock() = false);
        }
        Fault::StoreSlow { ms, seconds } => {
            *world.storage.latency.lock() = Duration::from_millis(ms);
            later(world, seconds, |world| {
                *world.storage.latency.lock() =
                    Duration::from_millis(world.scenario.store_latency_ms);
            });
        }
        Fault::Partition(node, span) => {
            world.storage.cut_off.send_modify(|nodes| nodes.push(node));
            later(world, span, move |world| {
                let without = |nodes: &mut Vec<usize>| nodes.retain(|it| *it != node);
                world.storage.cut_off.send_modify(without);
            });
        }
        Fault::Failover(writes) => world.storage.fail_over(&world.key, writes).await,
        Fault::Unreachable(span) => {
            *world.line.is_down.lock() = true;
            later(world, span, |world| *world.line.is_down.lock() = false);
        }
        Fault::Outage(answer, span) => {
            *world.line.outage.lock() = Some(answer);
            later(world, span, |world| *world.line.outage.lock() = None);
        }
        Fault::Crash(node, span) => world.crash(node, span),
        Fault::Pause(node, span) => world.pause(node, span),
        Fault::Suspend(span) => world.suspend(seconds(span)),
        Fault::StepWall(node, span) if span < 0 => {
            world
                .clock(node)
                .step_wall_back(seconds(span.unsigned_abs()));
        }
        Fault::StepWall(node, span) => world.clock(node).step_wall(seconds(span.unsigned_abs())),
        Fault::RevokeAll => {
            world.server.revoke_all();
            world.observer.cause("the server ended the session");
        }
        Fault::Logout(node) => log_out(world, node),
        Fault::Replace(node) => replace(world, node),
        Fault::SignIn(node) => sign_in(world, node),
        Fault::Restart(node, span) => {
            let world = world.clone();
            tokio::spawn(async move { world.restart(node, span).await });
        }
    }
}

fn later(world: &Arc<World>, span: u64, what: impl FnOnce(&World) + Send + 'static) {
    let world = world.clone();
    tokio::spawn(async move {
        sleep(seconds(span)).await;
        what(&world);
    });
}

fn log_out(world: &Arc<World>, node: usize) {
    let (world, Some(node)) = (world.clone(), world.node(node)) else {
        return;
    };
    tokio::spawn(async move {
        world.note(|| format!("{} logs out", node.id));
        // The first poll requests the logout, so the count is taken here.
        *node.left.lock() = Some(world.observer.log().begins);
        world.observer.leaves(node.id);
        let logout = node.manager.logout().await;
        world.note(|| format!("{} is logged out: {}", node.id, logout.is_complete()));
    });
}

fn replace(world: &Arc<World>, node: usize) {
    let (world, Some(node)) = (world.clone(), world.node(node)) else {
        return;
    };
    tokio::spawn(async move {
        let pair = world.server.issue();
        world.observer.issued(&pair);
        world.note(|| format!("{} replaces", node.id));
        begin(&world);
        *node.left.lock() = None;
        let replaced = node.manager.replace(pair).await;
        begun(&world, &replaced);
        world.note(|| format!("{} has replaced: {replaced:?}", node.id));
    });
}

fn sign_in(world: &Arc<World>, node: usize) {
    let (world, Some(node)) = (world.clone(), world.node(node)) else {
        return;
    };
    tokio::spawn(async move {
        world.note(|| format!("{} signs in anew", node.id));
        begin(&world);
        world.observer.asked(node.id.node);
        *node.left.lock() = None;
        let signed_in = node.manager.sign_in().await.map(drop);
        begun(&world, &signed_in);
        world.note(|| format!("{} has signed in: {signed_in:?}", node.id));
    });
}

fn begin(world: &World) {
    world.observer.log().begins += 1;
}

fn begun(world: &World, result: &Result<(), Error>) {
    let mut log = world.observer.log();
    log.begins += 1;
    // The suspension goes on for an unknown time.
    log.is_stray |= matches!(result, Err(Error::TimedOut { .. }));
}
