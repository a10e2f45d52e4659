//! Shrinks a failing scenario while it fails in the same way, and prints the result in the format of the corpus.

use crate::run::run;
use crate::scenario::{Fault, Scenario, Strategy, written};

/// The largest number of runs for one scenario.
const RUNS: usize = 600;

pub(crate) fn shrink(name: &str, failing: &Scenario) {
    let mut smallest = failing.clone();
    let Some(rule) = broken(&smallest) else {
        println!("{name} does not fail a second time");
        return;
    };
    let mut runs = 0;
    'smaller: loop {
        for candidate in candidates(&smallest) {
            runs += 1;
            if runs > RUNS {
                break 'smaller;
            }
            if broken(&candidate) == Some(rule.clone()) {
                smallest = candidate;
                continue 'smaller;
            }
        }
        break;
    }
    let outcome = run(&smallest, true);
    for line in outcome.history {
        println!("{line}");
    }
    println!("{name}, made smaller in {runs} runs, as a file of tests/simulation/corpus/:\n");
    println!("{}", written(&rule, &smallest));
}

/// The rule that the scenario breaks first, without the time and the instance.
fn broken(scenario: &Scenario) -> Option<String> {
    let first = run(scenario, false).violations.into_iter().next()?;
    let words = first.split(' ').skip(1);
    let is_word = |word: &&str| {
        !word.contains(|letter: char| letter.is_ascii_digit()) || word.starts_with('O')
    };
    Some(words.filter(is_word).collect::<Vec<_>>().join(" "))
}

/// Every scenario that is a little smaller, the smallest first.
fn candidates(of: &Scenario) -> Vec<Scenario> {
    let mut all = Vec::new();
    let mut try_with = |change: &dyn Fn(&mut Scenario)| {
        let mut candidate = of.clone();
        change(&mut candidate);
        if candidate != *of {
            all.push(candidate);
        }
    };
    for part in parts(of.faults.len()) {
        try_with(&|it| drop(it.faults.drain(part.clone())));
    }
    for part in parts(of.callers.len()) {
        try_with(&|it| drop(it.callers.drain(part.clone())));
    }
    if of.nodes.len() > 1 {
        for gone in 0..of.nodes.len() {
            try_with(&|it| remove(it, gone));
        }
    }
    for caller in 0..of.callers.len() {
        for part in parts(of.callers[caller].actions.len()) {
            if part.len() < of.callers[caller].actions.len() {
                try_with(&|it| drop(it.callers[caller].actions.drain(part.clone())));
            }
        }
    }
    try_with(&|it| it.length = it.length.div_ceil(2));
    try_with(&|it| it.latency_ms = 0);
    try_with(&|it| it.store_latency_ms = 0);
    try_with(&|it| it.workers = 0);
    try_with(&|it| it.store_timeout = 5);
    try_with(&|it| it.fails_unstored = false);
    try_with(&|it| it.lease_durations.clear());
    try_with(&|it| it.nodes.fill(Strategy::OnRequest));
    all
}

fn parts(len: usize) -> Vec<std::ops::Range<usize>> {
    let mut parts = Vec::new();
    let mut size = len;
    while size > 0 {
        parts.extend(
            (0..len)
                .step_by(size)
                .map(|from| from..(from + size).min(len)),
        );
        size /= 2;
    }
    parts
}

/// Removes this instance, its callers and its faults.
fn remove(it: &mut Scenario, gone: usize) {
    it.nodes.remove(gone);
    if gone < it.lease_durations.len() {
        it.lease_durations.remove(gone);
    }
    it.callers.retain(|caller| caller.node != gone);
    it.faults.retain(|(_, fault)| node(*fault) != Some(gone));
    for caller in &mut it.callers {
        caller.node -= usize::from(caller.node > gone);
    }
    for (_, fault) in &mut it.faults {
        if let Some(node) = node_mut(fault) {
            *node -= usize::from(*node > gone);
        }
    }
}

fn node(mut fault: Fault) -> Option<usize> {
    node_mut(&mut fault).copied()
}

fn node_mut(fault: &mut Fault) -> Option<&mut usize> {
    match fault {
        Fault::Write(node, _)
        | Fault::Commit { node, .. }
        | Fault::At(node, ..)
        | Fault::Panic(node)
        | Fault::Partition(node, _)
        | Fault::Crash(node, _)
        | Fault::Pause(node, _)
        | Fault::StepWall(node, _)
        | Fault::Logout(node)
        | Fault::Replace(node)
        | Fault::SignIn(node)
        | Fault::Restart(node, _) => Some(node),
        _ => None,
    }
}
