//! The crate's examples, built as programs for tests.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// The store features with which a test may have been built, so that an example is built with them too.
const FEATURES: [(&str, bool); 3] = [
    ("gateway", cfg!(feature = "gateway")),
    ("postgres", cfg!(feature = "postgres")),
    ("redis", cfg!(feature = "redis")),
];

/// The path of an example, which is built with the profile of this test. The harness builds some examples as tests
/// only.
pub fn example(name: &'static str) -> PathBuf {
    static BUILT: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    let test = std::env::current_exe().unwrap();
    // The path of a test program is target/debug/deps/kill-...
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
