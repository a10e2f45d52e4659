//! The table of faults is true: each test and each mutation that it names exists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[test]
fn every_fault_names_tests_and_mutations_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect("readable");
    let table: toml::Table = read("tests/faults/table.toml").parse().unwrap();
    let mutations: toml::Table = read("tests/mutations/mutations.toml").parse().unwrap();
    let mutations: BTreeSet<_> = entries(&mutations, "mutation")
        .map(|mutation| mutation["name"].as_str().unwrap())
        .collect();
    let mut functions = BTreeSet::new();
    for folder in ["src", "tests", "examples"] {
        collect(&root.join(folder), &mut functions);
    }
    let mut count = 0;
    for fault in entries(&table, "fault") {
        let what = fault["what"].as_str().unwrap();
        let tests = fault["tests"].as_array().unwrap();
        assert!(!tests.is_empty(), "the table names no test: {what}");
        for test in tests {
            let name = test.as_str().unwrap();
            assert!(functions.contains(name), "{what}: there is no test {name}");
        }
        let named = fault.get("mutations").and_then(|names| names.as_array());
        for mutation in named.into_iter().flatten() {
            let name = mutation.as_str().unwrap();
            assert!(
                mutations.contains(name),
                "{what}: there is no mutation {name}"
            );
        }
        count += 1;
    }
    assert!(count >= 30, "only {count} faults");
}

fn entries<'a>(table: &'a toml::Table, name: &str) -> impl Iterator<Item = &'a toml::Table> {
    let entries = table[name].as_array().unwrap();
    entries.iter().map(|entry| entry.as_table().unwrap())
}

/// Collects the names of all functions in a folder.
fn collect(folder: &PathBuf, functions: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, functions);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text.split("fn ").skip(1).filter_map(|rest| {
                rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next()
            });
            functions.extend(names.map(str::to_owned));
        }
    }
}
