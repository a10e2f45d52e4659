//! The examples as programs.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Stores that a test may have been built with, and an example of its own would not know of.
const FEATURES: [(&str, bool); 2] = [
    ("postgres", cfg!(feature = "postgres")),
    ("redis", cfg!(feature = "redis")),
];

/// An example, built as this test is: the harness builds some of them as tests only.
pub fn example(name: &'static str) -> PathBuf {
    static BUILT: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    let test = std::env::current_exe().unwrap();
    // target/debug/deps/kill-...
    let profile = test.ancestors().nth(2).unwrap();
    let mut built = BUILT.lock().unwrap();
    if built.insert(name) {
        build(name, profile);
    }
    let program = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    profile.join("examples").join(program)
}

fn build(name: &str, profile: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--example", name, "--target-dir"])
        .arg(profile.parent().unwrap());
    for (feature, _) in FEATURES.iter().filter(|(_, is_on)| *is_on) {
        cargo.args(["--features", feature]);
    }
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success(), "{name} does not build");
}
