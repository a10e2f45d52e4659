//! Configurations that are refused, and the message of each error. The cases are in `cases/*.toml`.

use std::path::Path;

use evertoken::Registry;
use serde::Deserialize;

use crate::refusal_by;

/// A file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    /// The text before each document.
    #[serde(default)]
    before: String,
    /// The text after each document.
    #[serde(default)]
    after: String,
    case: Vec<Case>,
}

/// A document, and either its `message` or the place that the message names, `at`. In a message, `…` stands for any text: a
/// list of names ends so, which grows with the crate.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    document: String,
    message: Option<String>,
    at: Option<String>,
    /// The feature that the case needs.
    needs: Option<String>,
    /// The feature that must be absent.
    without: Option<String>,
}

impl Case {
    fn applies(&self) -> bool {
        let is_on = |feature: &str| match feature {
            "postgres" => cfg!(feature = "postgres"),
            "redis" => cfg!(feature = "redis"),
            "keyring" => cfg!(feature = "keyring"),
            "seal" => cfg!(feature = "seal"),
            other => panic!("{}: unknown feature `{other}`", self.name),
        };
        self.needs.as_deref().is_none_or(is_on) && !self.without.as_deref().is_some_and(is_on)
    }
}

fn fits(found: &str, message: &str) -> bool {
    match message.split_once('…') {
        None => found == message,
        Some((start, end)) => {
            let rest = found.strip_prefix(start);
            rest.is_some_and(|rest| rest.ends_with(end))
        }
    }
}

/// Every case of `cases/{file}.toml` is refused as the case says.
pub(crate) async fn check(file: &str, registry: &Registry) {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/cases");
    let path = cases.join(format!("{file}.toml"));
    let text = std::fs::read_to_string(&path).expect(file);
    let cases: Cases = toml::from_str(&text).expect(file);
    let mut wrong = String::new();
    for case in cases.case.iter().filter(|case| case.applies()) {
        let name = format!("{file}: {}", case.name);
        let document = format!("{}{}\n{}", cases.before, case.document, cases.after);
        let found = refusal_by(&document, registry).await;
        let expected = match (&case.message, &case.at) {
            (Some(message), None) if !fits(&found, message) => message,
            (None, Some(at)) if !found.contains(&format!("{at}: ")) => at,
            (Some(_), None) | (None, Some(_)) => continue,
            _ => panic!("{name}: has neither or both of `message` and `at`"),
        };
        wrong += &format!("{name}:\n  expected: {expected}\n  found: {found}\n");
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[tokio::test]
async fn a_document_that_cannot_be_used_is_refused_with_the_place_and_the_reason() {
    for file in [
        "endpoint",
        "http",
        "oauth2",
        "out_of_range",
        "redis",
        "seal",
        "seed",
        "syntax",
        "unknown_keys",
        "unknown_names",
        "wrong_types",
    ] {
        check(file, &Registry::builtin()).await;
    }
}
