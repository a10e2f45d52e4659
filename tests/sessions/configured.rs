//! `Sessions` from a configuration.

use evertoken::{Config, Registry};

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
