//! Simulation of browsers: cookie jars whose last arrival wins, tabs that overlap, answers that are lost, and gateways over
//! `Sessions::present`, in interleavings drawn from a seed. The server's own state judges each answer: no browser whose session lives
//! there is refused, no pair crosses sessions, and no spent token is sent.
//!
//! `EVERTOKEN_BROWSER_SEEDS=n` runs `n` seeds, and `EVERTOKEN_FROM=k` starts at seed `k`. `EVERTOKEN_SEED=k` runs one seed and prints its
//! history. With `EVERTOKEN_STOP=1` the run stops at the first seed that fails, and does not shrink it.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod browser;
mod drawn;
mod endpoint;
mod gate;
mod gateway;
mod observer;
mod run;
mod scenario;
mod shrink;
mod store;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::drawn::drawn;
use crate::run::run;

/// How many seeds run by default, also in `.ci/run`.
const SEEDS: u64 = 300;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

#[test]
fn no_browser_whose_session_lives_is_refused_no_pair_crosses_and_no_spent_token_is_sent() {
    if let Some(seed) = number("EVERTOKEN_SEED") {
        report(seed);
        return;
    }
    let seeds = number("EVERTOKEN_BROWSER_SEEDS").unwrap_or(SEEDS);
    let from = number("EVERTOKEN_FROM").unwrap_or(0);
    let stops = number("EVERTOKEN_STOP").is_some();
    let next = AtomicU64::new(from);
    let failed = Mutex::new(Vec::new());
    let counts = Mutex::new(BTreeMap::new());
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds || stops && !failed.lock().is_empty() {
                        return;
                    }
                    let outcome = run(&drawn(seed), false);
                    let mut counts = counts.lock();
                    for (what, count) in outcome.counts {
                        *counts.entry(what).or_insert(0_u64) += count;
                    }
                    if let Some(violation) = outcome.violations.first() {
                        failed.lock().push((seed, violation.clone()));
                    }
                }
            });
        }
    });
    println!("{seeds} seeds");
    for (what, count) in counts.into_inner() {
        println!("{count:8} {what}");
    }
    let mut failed = failed.into_inner();
    failed.sort();
    for (seed, violation) in &failed {
        println!("seed {seed}: {violation}");
    }
    if let Some((seed, _)) = failed.first() {
        if !stops {
            shrink::shrink(&drawn(*seed));
        }
        panic!("{} of {seeds} seeds failed", failed.len());
    }
}

/// Runs one seed and prints everything that happens.
fn report(seed: u64) {
    let scenario = drawn(seed);
    let outcome = run(&scenario, true);
    println!("{scenario:#?}");
    for line in &outcome.history {
        println!("{line}");
    }
    println!("{:#?}", outcome.counts);
    if !outcome.violations.is_empty() {
        shrink::shrink(&scenario);
        panic!("{:#?}", outcome.violations);
    }
}

#[cfg(tokio_unstable)]
#[test]
fn a_seed_that_runs_twice_has_the_same_history() {
    for seed in 0..40 {
        let (once, again) = (run(&drawn(seed), true), run(&drawn(seed), true));
        assert!(!once.history.is_empty());
        assert_eq!(once.history, again.history, "seed {seed}");
    }
}
