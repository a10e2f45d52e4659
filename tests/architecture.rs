//! The order of the modules: data flows one way, so no module may use one that comes after it.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

/// The modules in their order. A module may use the modules of the groups before its own group, and no other module of
/// its own group.
const GROUPS: [&[&str]; 19] = [
    &["clock", "build_error", "secret_source"],
    &["token"],
    &["strategy", "origin", "parameters"],
    &["seal"],
    &["schedule", "endpoint"],
    &["settings"],
    &["record"],
    &["store"],
    &["error"],
    &["event", "snapshot", "user_code"],
    &["api", "state", "timer"],
    &["session"],
    &["rotation"],
    &["manager"],
    &["sessions"],
    &["gateway"],
    &["config"],
    &["testing"],
    &["fuzzing"],
];

/// Uses that go against the order, each with its reason; there is none. An exception that is not used fails the test.
const EXCEPTIONS: [(&str, &str, &str); 0] = [];

#[test]
fn modules_use_only_what_comes_before_them() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut violations = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut unused: BTreeSet<_> = EXCEPTIONS.iter().map(|(a, b, _)| (*a, *b)).collect();
    for file in rust_files(&source) {
        let module = room(file.strip_prefix(&source).expect("inside"));
        // Unit tests may use every module.
        let is_test = file.file_stem().is_some_and(|stem| stem == "tests");
        if module == "lib" || is_test {
            continue;
        }
        let from = group(&module);
        seen.insert(module.clone());
        let text = std::fs::read_to_string(&file).expect("readable");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for used in uses(code) {
            if used == module || group(&used) < from {
                continue;
            }
            unused.retain(|(from, to)| (*from, *to) != (&*module, &*used));
            if !EXCEPTIONS
                .iter()
                .any(|(a, b, _)| *a == module && *b == used)
            {
                violations.insert(format!("{module} uses {used}"));
            }
        }
    }
    assert!(seen.len() >= 15, "found only {seen:?}");
    assert_eq!(violations, BTreeSet::new());
    assert_eq!(unused, BTreeSet::new(), "exceptions that nothing uses");
}

#[test]
fn nothing_waits_where_everything_is_locked_or_pure() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in rust_files(&source) {
        let module = room(file.strip_prefix(&source).expect("inside"));
        let is_test = file.file_stem().is_some_and(|stem| stem == "tests");
        if is_test || !["state", "record", "strategy", "schedule", "token"].contains(&&*module) {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("readable");
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            assert!(!line.contains(".await"), "{}: {line}", file.display());
        }
    }
}

fn group(module: &str) -> usize {
    GROUPS
        .iter()
        .position(|group| group.contains(&module))
        .unwrap_or_else(|| panic!("`{module}` has no place in the order"))
}

/// `session.rs` and `session/x.rs` are one module.
fn room(path: &Path) -> String {
    let first = path.iter().next().expect("a file").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn uses(code: &str) -> BTreeSet<String> {
    code.split("crate::")
        .skip(1)
        .filter_map(|rest| {
            rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
        })
        .filter(|name| GROUPS.iter().any(|group| group.contains(name)))
        .map(str::to_owned)
        .collect()
}

fn rust_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}
