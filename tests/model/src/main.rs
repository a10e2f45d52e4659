//! Explores one world after the other, and tells what holds.

use std::time::Instant;

use evertoken_model::config::{Config, worlds};
use stateright::{Checker, Expectation, Model};

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let mut failed = false;
    for (is_large, world) in worlds() {
        let is_wanted = if wanted.is_empty() {
            !is_large
        } else {
            wanted.iter().any(|it| it == "all" || it == world.name)
        };
        if is_wanted {
            failed |= !explore(world);
        }
    }
    std::process::exit(failed.into());
}

/// Returns whether everything holds.
fn explore(world: Config) -> bool {
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = world.checker().threads(threads).spawn_bfs().join();
    let took = begun.elapsed().as_secs_f64();
    println!("{}: {:?}", world.name, world.faults);
    println!(
        "  {} states, {} transitions, depth {}, {took:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth()
    );
    let mut holds = true;
    for property in world.properties() {
        let found = checker.discovery(property.name);
        let (is_good, verdict) = match (&property.expectation, &found) {
            (Expectation::Sometimes, Some(_)) => (true, "reached"),
            (Expectation::Sometimes, None) => (false, "NOT REACHED"),
            (_, None) => (true, "holds"),
            (_, Some(_)) => (false, "BROKEN"),
        };
        println!("  {verdict:>11}  {}", property.name);
        holds &= is_good;
        if let Some(path) = found.filter(|_| !is_good) {
            for (state, action) in path.into_vec() {
                println!("      store {:?}", state.store);
                println!("      {action:?}");
            }
        }
    }
    holds
}
