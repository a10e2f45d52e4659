//! Breaks the crate on purpose, one rule at a time, in a copy of the crate. The program runs the tests that must
//! notice, and prints a table of the tests that did. See the README beside it.

mod list;
mod suites;
mod tree;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::list::Mutation;
use crate::suites::{SUITES, Verdict};
use crate::tree::Tree;

#[derive(Debug, Parser)]
#[command(about = "Breaks evertoken on purpose, and reports which tests notice")]
struct Arguments {
    /// Only mutations whose name contains this text.
    #[arg(default_value = "")]
    name: String,
    /// Starts at the first mutation whose name contains this text, to continue a stopped run.
    #[arg(long, default_value = "")]
    from: String,
    /// The directory to which the crate is copied and in which it is built.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/mutations"))]
    scratch: PathBuf,
    /// Runs every suite, and does not stop at the first suite that notices.
    #[arg(long)]
    all: bool,
    /// How many seeds of the simulation each mutation must survive.
    #[arg(long, default_value_t = 4_000)]
    seeds: u64,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let tree = Tree::copied(&arguments.scratch)?;
    let mutations = list::read()?;
    let chosen: Vec<&Mutation> = mutations
        .iter()
        .skip_while(|mutation| !mutation.name.contains(&arguments.from))
        .filter(|mutation| mutation.name.contains(&arguments.name))
        .collect();
    for suite in &SUITES {
        let verdict = suite.run(&tree, arguments.seeds)?;
        anyhow::ensure!(
            verdict == Verdict::Passed,
            "without any mutation, the {} is {verdict}",
            suite.name
        );
    }
    println!(
        "| what the code does then | {} |",
        SUITES.map(|suite| suite.name).join(" | ")
    );
    println!("|---|{}", "---|".repeat(SUITES.len()));
    let mut survivors = 0;
    for mutation in chosen {
        let changed = tree.apply(mutation)?;
        let mut verdicts = Vec::new();
        for suite in &SUITES {
            let is_caught = verdicts.iter().any(Verdict::is_caught);
            verdicts.push(if is_caught && !arguments.all {
                Verdict::NotAsked
            } else {
                suite.run(&tree, arguments.seeds)?
            });
        }
        tree::restore(changed)?;
        survivors += usize::from(!verdicts.iter().any(Verdict::is_caught));
        let told: Vec<_> = verdicts.iter().map(ToString::to_string).collect();
        println!("| {} | {} |", mutation.name, told.join(" | "));
    }
    if survivors > 0 {
        eprintln!("{survivors} survived");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
