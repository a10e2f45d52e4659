//! Shrinks a failing scenario while it fails by the same rule, and prints the result with its history.

use std::ops::Range;

use crate::run::run;
use crate::scenario::{Scenario, Strategy};

/// The largest number of runs for one scenario.
const RUNS: usize = 600;

pub(crate) fn shrink(failing: &Scenario) {
    let mut smallest = failing.clone();
    let Some(rule) = broken(&smallest) else {
        println!("seed {} does not fail a second time", failing.seed);
        return;
    };
    let mut runs = 0;
    'smaller: loop {
        for candidate in candidates(&smallest) {
            runs += 1;
            if runs > RUNS {
                break 'smaller;
            }
            if broken(&candidate).as_ref() == Some(&rule) {
                smallest = candidate;
                continue 'smaller;
            }
        }
        break;
    }
    println!("seed {}, made smaller in {runs} runs:", failing.seed);
    println!("{smallest:?}");
    for line in run(&smallest, true).history {
        println!("{line}");
    }
}

/// The rule that the scenario breaks first.
fn broken(scenario: &Scenario) -> Option<String> {
    let first = run(scenario, false).violations.into_iter().next()?;
    first.split(' ').nth(1).map(str::to_owned)
}

/// Every scenario that is a little smaller, the smallest first.
fn candidates(of: &Scenario) -> Vec<Scenario> {
    let mut all = Vec::new();
    let mut try_with = |change: &dyn Fn(&mut Scenario)| {
        let mut candidate = of.clone();
        change(&mut candidate);
        // Without any fault, more is a violation.
        if candidate != *of && candidate.is_calm() == of.is_calm() {
            all.push(candidate);
        }
    };
    for part in parts(of.faults.len()) {
        try_with(&|it| drop(it.faults.drain(part.clone())));
    }
    for (browser, it) in of.browsers.iter().enumerate() {
        for part in parts(it.tabs.len()) {
            try_with(&|it| drop(it.browsers[browser].tabs.drain(part.clone())));
        }
    }
    for (browser, it) in of.browsers.iter().enumerate() {
        for (tab, steps) in it.tabs.iter().enumerate() {
            for part in parts(steps.len()) {
                try_with(&|it| drop(it.browsers[browser].tabs[tab].drain(part.clone())));
            }
        }
    }
    try_with(&|it| it.latency_ms = 0);
    try_with(&|it| it.store_latency_ms = 0);
    try_with(&|it| it.cancels = false);
    try_with(&|it| it.strategy = Strategy::OnRequest);
    all
}

fn parts(len: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut size = len;
    while size > 0 {
        let starts = (0..len).step_by(size);
        parts.extend(starts.map(|from| from..(from + size).min(len)));
        size /= 2;
    }
    parts
}
