//! Scenarios that once broke a rule. Each has a file in `corpus/`, named after the violation. The comment at the top of
//! a file describes the violation in one sentence.
//!
//! The corpus stores scenarios and not seeds: the meaning of a seed depends on the code that draws from it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::scenario::Scenario;

#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) scenario: Scenario,
    /// The exact text of the file.
    pub(crate) text: String,
}

impl Stored {
    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let scenario = toml::from_str(&text);
        let scenario = scenario.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Self {
            name: name.into_owned(),
            scenario,
            text,
        }
    }

    /// The sentence that describes the violation.
    pub(crate) fn found(&self) -> String {
        let lines = self.text.lines().map_while(|line| line.strip_prefix('#'));
        let lines: Vec<_> = lines.map(str::trim).collect();
        lines.join(" ")
    }
}

/// Every scenario of the corpus, sorted by file name.
pub(crate) fn stored() -> Vec<Stored> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/corpus");
    let entries = fs::read_dir(&corpus).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    paths.iter().map(|path| Stored::read(path)).collect()
}

/// The file of a scenario. Each number, each fault and each caller has a line, so that a diff is readable.
pub(crate) fn written(found: &str, scenario: &Scenario) -> String {
    let table = toml::Table::try_from(scenario).expect("a scenario is a table");
    let (lists, plain): (Vec<_>, Vec<_>) = table.iter().partition(|(_, value)| value.is_array());
    let mut text = format!("# {found}\n");
    for (key, value) in plain {
        writeln!(text, "{key} = {value}").expect("memory");
    }
    for (key, list) in lists {
        writeln!(text, "{key} = [").expect("memory");
        for value in list.as_array().into_iter().flatten() {
            writeln!(text, "    {value},").expect("memory");
        }
        text.push_str("]\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::drawn;

    fn read(text: &str) -> Result<Scenario, toml::de::Error> {
        toml::from_str(text)
    }

    /// A field that is added later fails here if it has no default, or if it is written although it has the default.
    #[test]
    fn a_stored_scenario_is_written_as_it_was_read_and_states_what_it_found() {
        let all = stored();
        assert!(all.len() >= 27);
        for stored in all {
            assert!(!stored.found().is_empty(), "{}", stored.name);
            let text = written(&stored.found(), &stored.scenario);
            assert_eq!(text, stored.text, "{}", stored.name);
        }
    }

    #[test]
    fn a_scenario_that_was_drawn_is_read_as_it_was_written() {
        for seed in 0..1_000 {
            let text = written("a seed", &drawn(seed));
            assert_eq!(read(&text).unwrap(), drawn(seed), "seed {seed}");
        }
    }

    #[test]
    fn an_unknown_key_of_a_scenario_is_an_error() {
        let text = written("a seed", &drawn(0));
        for (known, unknown) in [
            ("lease_duration", "lease_duration_of_old"),
            ("actions", "deeds"),
            ("token", "taken"),
        ] {
            assert!(text.contains(known));
            let error = read(&text.replacen(known, unknown, 1)).unwrap_err();
            assert!(error.message().contains(unknown), "{error}");
        }
    }
}
