//! `Sessions` from a configuration.

use std::collections::BTreeMap;
use std::convert::Infallible;

use evertoken::{Config, Registry};
use futures_util::future::join_all;

use crate::desk::{Desk, begun};
use crate::support::{TTL, rotate, served, settle};

#[tokio::test]
async fn a_configuration_builds_sessions_whose_keys_have_the_parts_that_it_names() {
    let text = r#"
        [endpoint]
        token_url = "https://id.example.org/token"
        client_id = "service"
        [session]
        label = "orders"
        [http]
        origins = ["https://api.example.org"]
    "#;
    let config = Config::from_toml(text).unwrap();
    let sessions = config.sessions(&Registry::builtin()).await.unwrap();
    let key = sessions.key();
    assert_eq!(
        (key.client_id.as_str(), key.label.as_str()),
        ("service", "orders")
    );
    let tokens = sessions.manager(key.clone().tenant("diku"));
    assert_eq!(tokens.key(), &key.tenant("diku"));
    let id = "00112233445566778899aabbccddeeff".parse().unwrap();
    let label = sessions.open(&id).key().label.clone();
    assert!(label.starts_with("orders sign-in "), "{label}");
    assert!(tokens.allows(&"https://api.example.org/orders".parse().unwrap()));
}

#[tokio::test]
async fn a_seed_in_the_configuration_of_sessions_is_refused_with_the_reason() {
    let text = "[endpoint]\ntoken_url = \"https://id.example.org/token\"\nclient_id = \"service\"\n\n[seed]\nrefresh_token = \"sesame\"";
    let config = Config::from_toml(text).unwrap();
    let error = config.sessions(&Registry::builtin()).await.unwrap_err();
    let said = "line 5, column 2: seed: must be removed, because it is the pair of one session, and there are many; \
                give a user's pair to `Sessions::sign_in`";
    assert_eq!(error.to_string(), said);
}

/// Each rotation is under way before the endpoint answers the first one.
#[tokio::test]
async fn a_configuration_sets_how_many_sessions_exchange_at_once() {
    for (keys, most) in [("[sessions]\nexchanges_at_once = 3", 3), ("", 64)] {
        let desk = Desk::closed();
        let ours = desk.clone();
        let make = move |_: BTreeMap<String, String>| Ok::<_, Infallible>(ours.clone());
        let registry = Registry::builtin().endpoint("desk", make);
        let text = format!("endpoint = \"desk\"\n{keys}");
        let config = Config::from_toml(&text).unwrap();
        let sessions = config.sessions(&registry).await.unwrap();
        let names: Vec<_> = (0..70).map(|number| number.to_string()).collect();
        let managers = join_all(names.iter().map(|name| begun(&sessions, name, TTL))).await;
        let callers: Vec<_> = managers.iter().map(rotate).collect();
        while desk.inside() < most {
            tokio::task::yield_now().await;
        }
        settle().await;
        desk.answer(managers.len());
        served(callers).await;
        assert_eq!(desk.most(), most);
    }
}

#[tokio::test]
async fn a_configuration_without_a_place_is_refused() {
    let text = "[endpoint]\ntoken_url = \"https://id.example.org/token\"\nclient_id = \"service\"\n\n[sessions]\nexchanges_at_once = 0";
    let config = Config::from_toml(text).unwrap();
    let error = config.sessions(&Registry::builtin()).await.unwrap_err();
    let said = "line 6, column 1: sessions.exchanges_at_once: must be at least 1";
    assert_eq!(error.to_string(), said);
}

#[tokio::test]
async fn g4_a_configuration_has_a_policy_for_each_kind_of_client() {
    let text = r#"
        endpoint = { token_url = "https://id.example.org/token", client_id = "service" }
        [sessions]
        kept_for = "1h"
        unknown_pairs = 3
        [sessions.policy]
        idle = "30m"
        [sessions.policies.page]
        strategy = { kind = "optimistic-early", window = "60s" }
        retired_for = "30s"
        absolute = "12h"
        pinned = "4h"
    "#;
    let config = Config::from_toml(text).unwrap();
    let builder = config.sessions_builder(&Registry::builtin()).await.unwrap();
    let shown = format!("{builder:?}");
    for part in [
        "kept_for: 3600s",
        "unknown_pairs: 3",
        "default: SessionPolicy { strategy: None, retired_for: 0ns, idle: Some(1800s), absolute: None, pinned: None }",
        "\"page\": SessionPolicy { strategy: Some(UserStrategy(OptimisticEarly",
        "retired_for: 30s, idle: None, absolute: Some(43200s), pinned: Some(14400s)",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    for (wrong, said) in [
        (
            "sessions.policies.page.idle = 5",
            "sessions.policies.page.idle: ",
        ),
        (
            "sessions.policies.page.idel = \"5s\"",
            "sessions.policies.page.idel: ",
        ),
        (
            "sessions.policies.page.strategy = \"late\"",
            "sessions.policies.page.strategy: `late` is not a known strategy",
        ),
        (
            "sessions.policies.page.strategy.window = \"5s\"",
            "sessions.policies.page.strategy.window: ",
        ),
        (
            "sessions.policies.Page.idle = \"5s\"",
            "sessions.policies: must be named by 1 to 32 letters",
        ),
        (
            "sessions.policy.idle = \"0s\"",
            "sessions.policy: `idle` must not be zero",
        ),
        ("sessions.kept_for = \"0s\"", "sessions.kept_for: "),
    ] {
        let text = format!(
            "endpoint = {{ token_url = \"https://id.example.org/token\", client_id = \"service\" }}\n{wrong}"
        );
        let config = Config::from_toml(&text);
        let error = match config {
            Ok(config) => config.sessions(&Registry::builtin()).await.unwrap_err(),
            Err(error) => error,
        };
        let error = error.to_string();
        assert!(error.contains(said), "{wrong}: {error}");
    }
}
