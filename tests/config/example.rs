//! The example configuration has every key with its default.

use evertoken::Config;
use evertoken::config::Registry;

use crate::{LEAST, builder, directory, refusal};

const EXAMPLE: &str = include_str!("../../examples/evertoken.toml");

/// The settings that the example has commented out, without the comment mark.
fn commented(line: &str) -> Option<&str> {
    let setting = line.strip_prefix("# ")?;
    let (key, _) = setting.split_once(" = ")?;
    let is_key = key
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_key.then_some(setting)
}

#[tokio::test]
async fn the_example_states_the_defaults() {
    let example = builder(EXAMPLE).await.unwrap();
    let least = builder(LEAST).await.unwrap();
    assert_eq!(format!("{example:#?}"), format!("{least:#?}"));
}

#[tokio::test]
async fn each_setting_that_the_example_has_commented_out_can_be_switched_on() {
    let mut switched_on = 0;
    for line in EXAMPLE.lines() {
        let Some(setting) = commented(line) else {
            continue;
        };
        let (key, _) = setting.split_once(" = ").unwrap();
        let of = |is_on: bool, table: &'static str| if is_on { table } else { "" };
        let is_of_a_policy = ["retired_for", "idle", "absolute", "pinned"].contains(&key)
            || setting == "strategy = \"on-request\"";
        let text = EXAMPLE
            .replacen(line, setting, 1)
            .replace("# [seed]", "[seed]")
            .replace(
                "# [sessions]",
                of(
                    ["exchanges_at_once", "kept_for", "unknown_pairs"].contains(&key),
                    "[sessions]",
                ),
            )
            .replace(
                "# [sessions.policies.page]",
                of(is_of_a_policy, "[sessions.policies.page]"),
            );
        let text = match key {
            "strategy" if !is_of_a_policy => text.replacen("strategy = \"on-request\"\n", "", 1),
            "url" => text.replacen("kind = \"memory\"", "kind = \"redis\"", 1),
            "path" | "group" | "seal" => {
                let own = directory("the_example").join("session");
                let own = format!("path = {own:?}");
                let kind = match key {
                    "path" => "kind = \"file\"".to_owned(),
                    _ => format!("kind = \"file\"\n{own}"),
                };
                text.replacen("kind = \"memory\"", &kind, 1)
                    .replace("\npath = \"session\"", &format!("\n{own}"))
            }
            // Alone it is refused, by a build without the feature as well.
            "seal_accepts_plain" => {
                let own = directory("the_example").join("session");
                let own = format!(
                    "kind = \"file\"\npath = {own:?}\nseal = {{ env = \"EVERTOKEN_NONE\" }}"
                );
                text.replacen("kind = \"memory\"", &own, 1)
            }
            "retention" => {
                let url = "kind = \"postgres\"\nurl = { env = \"EVERTOKEN_NONE\" }";
                text.replacen("kind = \"memory\"", url, 1)
            }
            "prefix" | "replicas" | "replica_timeout" => {
                let url = "kind = \"redis\"\nurl = { env = \"EVERTOKEN_NONE\" }";
                text.replacen("kind = \"memory\"", url, 1)
            }
            _ => text,
        };
        let of_folio = ["mode = ", "url = \"https", "tenant = \"central"];
        let text = match of_folio.iter().any(|own| setting.starts_with(own)) {
            true => format!("[endpoint]\n{}\n{setting}", folio_without(key)),
            false => text,
        };
        let config = Config::from_toml(&text);
        assert!(config.is_ok(), "{setting}: {config:?}");
        if let Err(error) = builder(&text).await {
            let problem = error.problem();
            let is_elsewhere = problem.contains("is not set") || problem.contains("cannot be read");
            let is_lonely = [
                "access_token",
                "refresh_token",
                "private_key",
                "certificate_file",
                "response",
            ]
            .iter()
            .any(|other| problem.contains(&format!("`{other}`")));
            let is_off = problem.contains("build the program with it");
            let is_of_many = problem.contains("`Config::sessions`");
            assert!(
                is_elsewhere || is_lonely || is_off || is_of_many,
                "{setting}: {error}"
            );
        }
        switched_on += 1;
    }
    assert!(switched_on >= 37, "{switched_on}");
}

/// The smallest configuration of FOLIO, without one key.
fn folio_without(key: &str) -> String {
    let least = [
        ("kind", "folio"),
        ("mode", "eureka"),
        ("url", "https://folio.example.org"),
        ("tenant", "diku"),
    ];
    let others = least.iter().filter(|(other, _)| *other != key);
    others.fold(String::new(), |text, (key, value)| {
        format!("{text}{key} = \"{value}\"\n")
    })
}

/// Asks each table for its keys by naming a key that the table does not have.
#[tokio::test]
async fn the_example_has_every_key() {
    let mut keys = 0;
    for (table, kind) in [
        ("refresh", ""),
        ("refresh.persistence", ""),
        ("refresh.cool_down", ""),
        ("http", ""),
        ("store", ""),
        ("store", "store.kind = \"file\""),
        ("store", "store.kind = \"redis\""),
        ("store", "store.kind = \"postgres\""),
        ("endpoint", ""),
        ("endpoint", "folio"),
        ("endpoint.codes", ""),
        ("endpoint.http", ""),
        ("endpoint.server", ""),
        ("session", ""),
        ("sessions", ""),
        ("sessions.policies.page", ""),
        ("seed", ""),
    ] {
        let is_off = |name: &str, is_on: bool| kind.contains(name) && !is_on;
        if is_off("redis", cfg!(feature = "redis"))
            || is_off("postgres", cfg!(feature = "postgres"))
        {
            continue;
        }
        let endpoint =
            "endpoint.token_url = \"https://id.example.org\"\nendpoint.client_id = \"a\"";
        let refused = match kind {
            "folio" => format!("[endpoint]\n{}none = 1", folio_without("")),
            _ => format!("{endpoint}\n{kind}\n{table}.none = 1"),
        };
        let refused = refusal(&refused).await;
        let (_, allowed) = refused.split_once("allowed here: ").expect(&refused);
        let start = EXAMPLE.find(&format!("[{table}]")).expect(table);
        let lines = EXAMPLE[start..].lines().skip(1);
        let own: Vec<_> = lines
            .map(|line| line.strip_prefix("# ").unwrap_or(line))
            .take_while(|line| !line.starts_with('['))
            .collect();
        for key in allowed.split(", ").map(|key| key.trim_matches('`')) {
            let is_there = own
                .iter()
                .any(|line| line.starts_with(&format!("{key} = ")));
            let table = format!("[{table}.{key}");
            let is_table =
                EXAMPLE.contains(&format!("{table}]")) || EXAMPLE.contains(&format!("{table}."));
            assert!(is_there || is_table, "{table}");
            keys += 1;
        }
    }
    assert!(keys >= 70, "{keys}");
}

#[tokio::test]
async fn the_configuration_in_the_readme_is_accepted() {
    let readme = include_str!("../../README.md");
    let shown = readme
        .split("```toml\n")
        .find(|block| block.starts_with("[refresh]"))
        .and_then(|block| block.split("```").next())
        .unwrap();
    // The environment variables of the secrets are not set in this test.
    let text = shown
        .replacen("IMPORTER_SECRET", "CARGO_PKG_NAME", 1)
        .replacen("file = \"first-token\"", "env = \"CARGO_PKG_NAME\"", 1);
    let directory = tempfile::tempdir().unwrap();
    let config = Config::from_toml(&text)
        .unwrap()
        .relative_to(directory.path());
    let builder = config.builder(&Registry::builtin()).await.unwrap();
    assert!(format!("{builder:?}").contains("OptimisticEarly { window: 60s"));
    assert!(directory.path().join("session").is_dir());
}
