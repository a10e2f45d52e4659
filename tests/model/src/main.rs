//! Explores the worlds one after the other, and reports which properties hold.
//!
//!     cargo run --release                     the small worlds
//!     cargo run --release -- large            the large ones
//!     cargo run --release -- crash mixed      these
//!     cargo run --release -- large --limit 60 each for a minute at most

use std::time::{Duration, Instant};

use evertoken_model::config::{self, Config};
use evertoken_model::world::World;
use stateright::{Checker, Expectation, HasDiscoveries, Model};

fn main() {
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    let limit = names.iter().position(|name| name == "--limit").map(|at| {
        let seconds = names.drain(at..).nth(1).and_then(|it| it.parse().ok());
        Duration::from_secs(seconds.expect("--limit is followed by seconds"))
    });
    let is_named = |name: &str| names.iter().any(|it| it == name);
    let (small, large) = (config::small(), config::large());
    let small = small
        .into_iter()
        .filter(|world| names.is_empty() || is_named(&world.name));
    let large = large
        .into_iter()
        .filter(|world| is_named("large") || is_named(&world.name));
    let mut holds = true;
    for world in small.chain(large) {
        holds &= explore(world, limit);
    }
    std::process::exit(i32::from(!holds));
}

/// Explores one world, and returns whether every property holds.
#[expect(
    clippy::disallowed_methods,
    reason = "how long it took is printed, and nothing depends on it"
)]
fn explore(world: Config, limit: Option<Duration>) -> bool {
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut builder = world
        .clone()
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures);
    if let Some(limit) = limit {
        builder = builder.timeout(limit);
    }
    let checker = builder.spawn_bfs().join();
    let took = begun.elapsed();
    let is_cut_off = limit.is_some_and(|limit| took >= limit);
    println!("{}: {:?}", world.name, world.faults);
    println!(
        "  {} states, {} transitions, depth {}, {:.1} s{}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        took.as_secs_f64(),
        if is_cut_off { ", CUT OFF" } else { "" }
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
                println!("      {}", shown(&state));
                if let Some(action) = action {
                    println!("    {action:?}");
                }
            }
        }
    }
    holds
}

/// A state in one line: the record, the instances with the next call of each, and the tokens.
fn shown(world: &World) -> String {
    let record = world.store.map_or_else(
        || "no record".to_owned(),
        |row| {
            let lease = row.lease.map_or_else(String::new, |lease| {
                let is = |flag: bool, name: &'static str| if flag { name } else { "" };
                format!(
                    ", lease {} of {} for t{} (age {} of {}{}{})",
                    lease.name.number,
                    lease.name.owner,
                    lease.token,
                    lease.age,
                    lease.duration,
                    is(lease.doubtful, ", doubtful"),
                    is(lease.released, ", released"),
                )
            });
            let token = row
                .token
                .map_or_else(|| "none".to_owned(), |token| format!("t{token}"));
            format!(
                "{token} {:?}, sign-in {} ({} counted), version {}, committed {}{lease}",
                row.state, row.family, row.sign_ins, row.version, row.committed_number
            )
        },
    );
    let instances = world.instances.iter().map(|instance| {
        let tasks = instance.rotations.iter().map(|it| word(&it.phase));
        let chores = instance.chores.iter().map(word);
        let tasks: Vec<_> = tasks.chain(chores).collect();
        let held = instance
            .held
            .map_or_else(|| "nothing".to_owned(), |held| format!("t{}", held.token));
        let is_down = if instance.life.is_none() {
            ", down"
        } else {
            ""
        };
        format!(" | holds {held}{is_down} {}", tasks.join(", "))
    });
    let lives = world.truths.iter().map(|truth| word(&truth.life));
    let lives: Vec<_> = lives.collect();
    format!(
        "{record}{} | {}",
        instances.collect::<String>(),
        lives.join(" ")
    )
}

/// The first word of the `Debug` output.
fn word(of: &impl std::fmt::Debug) -> String {
    let text = format!("{of:?}");
    let end = text.find(|letter: char| !letter.is_alphanumeric());
    text[..end.unwrap_or(text.len())].to_owned()
}
