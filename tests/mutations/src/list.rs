//! The list of mutations, `mutations.toml`.

use std::collections::HashSet;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutation: Vec<Mutation>,
}

/// One mutation: a rule that the edits break.
#[derive(Debug, Deserialize)]
pub struct Mutation {
    /// What the broken code does.
    pub name: String,
    #[serde(flatten)]
    edit: Edit,
    #[serde(default)]
    also: Vec<Edit>,
}

/// An edit: `new` replaces the only `old` in a file.
#[derive(Debug, Deserialize)]
pub struct Edit {
    pub file: String,
    pub old: String,
    pub new: String,
}

impl Mutation {
    pub fn edits(&self) -> impl Iterator<Item = &Edit> {
        [&self.edit].into_iter().chain(&self.also)
    }
}

impl Edit {
    pub fn apply(&self, text: &str) -> Result<String> {
        let count = text.matches(&self.old).count();
        ensure!(
            count == 1,
            "{} contains the text to replace {count} times, not once: {:?}",
            self.file,
            self.old
        );
        ensure!(self.old != self.new, "{}: `new` equals `old`", self.file);
        Ok(text.replacen(&self.old, &self.new, 1))
    }
}

pub fn read() -> Result<Vec<Mutation>> {
    let list: List = toml::from_str(include_str!("../mutations.toml")).context("mutations.toml")?;
    let names: HashSet<_> = list.mutation.iter().map(|it| &it.name).collect();
    ensure!(
        names.len() == list.mutation.len(),
        "two mutations share a name"
    );
    Ok(list.mutation)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_mutation_applies_to_the_code_as_it_is() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mutations = read().unwrap();
        assert!(mutations.len() >= 25);
        for mutation in mutations {
            for edit in mutation.edits() {
                let text = fs::read_to_string(root.join(&edit.file)).unwrap();
                if let Err(error) = edit.apply(&text) {
                    panic!("{}: {error}", mutation.name);
                }
            }
        }
    }
}
