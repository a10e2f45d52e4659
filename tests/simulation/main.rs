//! Simulation: the real code under faults at every await point, in interleavings drawn from a seed. An observer sees
//! what the server and the store did, and reports every violation of a rule.
//!
//! `EVERTOKEN_SEEDS=n` runs `n` seeds, and `EVERTOKEN_FROM=k` starts at seed `k`. `EVERTOKEN_SEED=k` runs one seed and
//! prints its history; `EVERTOKEN_SCENARIO=path` does the same with a scenario from a file. With `EVERTOKEN_STOP=1` the
//! run stops at the first seed that fails, and does not shrink it.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod callers;
mod endpoint;
mod gate;
mod judge;
mod observer;
#[path = "../support/reasons.rs"]
mod reasons;
mod run;
mod scenario;
mod script;
mod shrink;
mod store;
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::run::run;
use crate::scenario::{Scenario, Stored, drawn, stored, written};

/// How many seeds run by default. `.ci/run` asks for ten times as many.
const SEEDS: u64 = 1_000;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

#[test]
fn every_seed_keeps_the_rules() {
    if let Some(seed) = number("EVERTOKEN_SEED") {
        report(&format!("seed {seed}"), &drawn(seed));
        return;
    }
    if let Ok(path) = std::env::var("EVERTOKEN_SCENARIO") {
        let stored = Stored::read(Path::new(&path));
        report(&format!("scenario {}", stored.name), &stored.scenario);
        return;
    }
    let seeds = number("EVERTOKEN_SEEDS").unwrap_or(SEEDS);
    let from = number("EVERTOKEN_FROM").unwrap_or(0);
    let stops = number("EVERTOKEN_STOP").is_some();
    let next = AtomicU64::new(from);
    let failed = Mutex::new(Vec::new());
    let causes = Mutex::new(BTreeMap::new());
    let exchanges = AtomicU64::new(0);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds || stops && !failed.lock().is_empty() {
                        return;
                    }
                    let outcome = run(&drawn(seed), false);
                    exchanges.fetch_add(outcome.exchanges, Ordering::Relaxed);
                    let mut causes = causes.lock();
                    for (cause, count) in outcome.causes {
                        *causes.entry(cause).or_insert(0_u64) += u64::from(count);
                    }
                    if let Some(violation) = outcome.violations.first() {
                        failed.lock().push((seed, violation.clone()));
                    }
                }
            });
        }
    });
    println!("{seeds} seeds, {} exchanges", exchanges.into_inner());
    for (cause, count) in causes.into_inner() {
        println!("{count:8} {cause}");
    }
    let mut failed = failed.into_inner();
    failed.sort();
    for (seed, violation) in &failed {
        println!("seed {seed}: {violation}");
    }
    if let Some((seed, _)) = failed.first() {
        if !stops {
            shrink::shrink(&format!("seed {seed}"), &drawn(*seed));
        }
        panic!("{} of {seeds} seeds failed", failed.len());
    }
}

/// Runs one scenario and prints everything that happens.
fn report(name: &str, scenario: &Scenario) {
    let outcome = run(scenario, true);
    println!("{}", written(name, scenario));
    for line in &outcome.history {
        println!("{line}");
    }
    println!("{:?}", outcome.causes);
    if !outcome.violations.is_empty() {
        shrink::shrink(name, scenario);
        panic!("{:#?}", outcome.violations);
    }
}

#[test]
fn every_scenario_that_broke_a_rule_once_keeps_the_rules() {
    let mut failed = Vec::new();
    for stored in stored() {
        let violations = run(&stored.scenario, false).violations;
        if let Some(violation) = violations.first() {
            println!("scenario {}: {violation}", stored.name);
            failed.push(format!("{} ({})", stored.name, stored.found()));
        }
    }
    assert_eq!(failed, Vec::<String>::new());
}

#[cfg(tokio_unstable)]
#[test]
fn a_scenario_that_runs_twice_has_the_same_history() {
    let stored = stored().into_iter().map(|it| (it.name, it.scenario));
    let seeds = (0..50).map(|seed| (format!("seed {seed}"), drawn(seed)));
    for (name, scenario) in seeds.chain(stored) {
        let (once, again) = (run(&scenario, true).history, run(&scenario, true).history);
        assert!(!once.is_empty());
        let mut lines = once.iter().zip(&again);
        if let Some(at) = lines.position(|(one, other)| one != other) {
            panic!("{name} differs at {at}: {} and {}", once[at], again[at]);
        }
        assert_eq!(once.len(), again.len(), "{name}");
    }
}
