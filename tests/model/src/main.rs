//! Explores one world after the other, and tells what holds.

use std::time::Instant;

use evertoken_model::config::Config;
use evertoken_model::worlds;
use stateright::{Checker, Expectation, HasDiscoveries, Model};

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let mut holds = true;
    for world in worlds::small() {
        if wanted.is_empty() || wanted.iter().any(|it| it == world.name) {
            holds &= explore(world);
        }
    }
    std::process::exit(i32::from(!holds));
}

/// Returns whether everything holds.
fn explore(world: Config) -> bool {
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = world
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
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
