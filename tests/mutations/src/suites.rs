//! The test suites that must notice a mutation.

use std::fmt;
use std::process::Command;

use anyhow::{Result, bail};

use crate::tree::Tree;

pub struct Suite {
    pub name: &'static str,
    tests: &'static [&'static str],
}

/// Every suite that checks the rotation and needs no server.
pub const SUITES: [Suite; 2] = [
    Suite {
        name: "simulation",
        tests: &["--test", "simulation"],
    },
    Suite {
        name: "tests",
        tests: &[
            "--lib",
            "--test",
            "protocol",
            "--test",
            "faults",
            "--test",
            "single_flight",
            "--test",
            "sign_in",
            "--test",
            "logout",
            "--test",
            "persistence",
            "--test",
            "presented",
        ],
    },
];

/// A suite takes half a minute; after this many seconds it counts as hanging.
const PATIENCE: &str = "240";

/// The exit code of `timeout` for a command that took too long.
const TIMED_OUT: i32 = 124;

#[derive(Debug, PartialEq)]
pub enum Verdict {
    Passed,
    /// The tests that noticed.
    Caught(Vec<String>),
    Hangs,
    /// The mutation is not a program any more, so it shows nothing.
    DoesNotBuild,
    /// Not run, because an earlier suite noticed.
    NotAsked,
}

impl Verdict {
    pub fn is_caught(&self) -> bool {
        matches!(self, Self::Caught(_) | Self::Hangs)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => write!(f, "not noticed"),
            Self::NotAsked => Ok(()),
            Self::Caught(by) => {
                let (shown, more) = by.split_at(by.len().min(2));
                write!(f, "{}", shown.join(", "))?;
                match more.len() {
                    0 => Ok(()),
                    count => write!(f, " and {count} more"),
                }
            }
            Self::Hangs => write!(f, "does not end"),
            Self::DoesNotBuild => write!(f, "**does not build**"),
        }
    }
}

impl Suite {
    pub fn run(&self, tree: &Tree, seeds: u64) -> Result<Verdict> {
        let build = self.cargo("cargo", tree, seeds).arg("--no-run").output()?;
        if !build.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&build.stderr));
            return Ok(Verdict::DoesNotBuild);
        }
        let mut limited = self.cargo("timeout", tree, seeds);
        let run = limited.arg("--no-fail-fast").output()?;
        if run.status.success() {
            return Ok(Verdict::Passed);
        }
        if run.status.code() == Some(TIMED_OUT) {
            return Ok(Verdict::Hangs);
        }
        let out = String::from_utf8_lossy(&run.stdout);
        let mut by: Vec<_> = out.lines().filter_map(caught).collect();
        by.sort();
        by.dedup();
        if by.is_empty() {
            bail!("no test failed: {}", String::from_utf8_lossy(&run.stderr));
        }
        Ok(Verdict::Caught(by))
    }

    fn cargo(&self, program: &str, tree: &Tree, seeds: u64) -> Command {
        let mut command = Command::new(program);
        if program == "timeout" {
            command.args(["--kill-after=5", PATIENCE, "cargo"]);
        }
        command
            .arg("test")
            .args(self.tests)
            .current_dir(tree.root())
            // Each mutation builds the crate and links every suite: lines of a backtrace cost a third of that.
            .env("CARGO_PROFILE_DEV_DEBUG", "none")
            .env("EVERTOKEN_SEEDS", seeds.to_string())
            .env("EVERTOKEN_STOP", "1")
            .env("RUST_BACKTRACE", "0");
        command
    }
}

/// The seed, the stored scenario or the test that a line of output reports as failed.
fn caught(line: &str) -> Option<String> {
    if line.starts_with("seed ") || line.starts_with("scenario ") {
        let (which, broken) = line.split_once(": ")?;
        // The words after the colon: the time, the rule, and the details.
        let rule = broken.split(' ').nth(1)?;
        return Some(format!("{which} ({rule})"));
    }
    let name = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
    // These tests have already named the seed or the scenario.
    let has_named = ["every_seed", "every_scenario"];
    let has_named = has_named.iter().any(|it| name.starts_with(it));
    (!has_named).then(|| format!("`{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_named_by_its_seed_its_scenario_or_its_test() {
        for (line, expected) in [
            ("seed 8: 1.500 O3 0.0 wipes a doubt", Some("seed 8 (O3)")),
            (
                "scenario spare_takes_the_place: 0.000 O2 1.0 read r3, and it is nowhere",
                Some("scenario spare_takes_the_place (O2)"),
            ),
            ("test every_seed_keeps_the_rules ... FAILED", None),
            (
                "test every_scenario_that_broke_a_rule_once_keeps_the_rules ... FAILED",
                None,
            ),
            ("test behind::w12 ... FAILED", Some("`behind::w12`")),
            ("test behind::w12 ... ok", None),
        ] {
            assert_eq!(caught(line).as_deref(), expected, "{line}");
        }
    }
}
