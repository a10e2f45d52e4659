//! One run of the example, and its report.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::examples::example;

/// The JSON object that the example wrote.
#[derive(Debug)]
pub(crate) struct Counts(Value);

impl Counts {
    #[track_caller]
    pub(crate) fn of(&self, name: &str) -> u64 {
        let value = &self.0[name];
        value.as_u64().unwrap_or_else(|| panic!("{name}: {value}"))
    }

    /// The reasons why requests failed.
    pub(crate) fn errors(&self) -> impl Iterator<Item = &str> {
        let errors = self.0["errors"].as_object().unwrap();
        errors.keys().map(String::as_str)
    }

    pub(crate) fn is_null(&self, name: &str) -> bool {
        self.0[name].is_null()
    }

    pub(crate) fn says(&self) -> String {
        self.0.to_string()
    }
}

pub(crate) fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a number"))
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(example("instances"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs the example to its end.
pub(crate) fn ran(arguments: &[&str]) -> Counts {
    let output = command(arguments).arg("--json").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    println!("{arguments:?}\n{complained}{said}");
    Counts(serde_json::from_str(&said).unwrap())
}
