//! A sealed store from a configuration.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use evertoken::testing::AuthorizationServer;
use evertoken::{Config, Registry, SealingKeys, TokenManager};

use crate::{directory, file};

/// A manager on a file store with these keys of `[store]`, in this directory.
async fn manager(directory: &Path, server: &AuthorizationServer, store: &str) -> TokenManager {
    let text = format!("[store]\nkind = \"file\"\npath = \"session\"\n{store}");
    let config = Config::from_toml(&text).unwrap().relative_to(directory);
    let registry = Registry::builtin();
    let builder = config.builder_for(server.endpoint(), &registry);
    builder.await.unwrap().build().unwrap()
}

/// The id of the key that seals the session, in hexadecimal digits; `None` where the session is plain.
fn sealed_with(directory: &Path, tokens: &TokenManager) -> Option<String> {
    let path = format!("session/{}.json", tokens.key().digest());
    let text = std::fs::read(directory.join(path)).unwrap();
    let form: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let sealed = form["record"]["pair"]["sealed"].as_str()?;
    let sealed = BASE64_URL_SAFE_NO_PAD.decode(sealed).unwrap();
    Some(
        sealed[1..9]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    )
}

fn id(key: &str) -> Option<String> {
    SealingKeys::from_text(key).unwrap().ids().next()
}

/// A plain store is sealed, and its key is rotated: with keys in a file beside the configuration, in a list, and inline.
#[tokio::test]
async fn w13_a_configuration_seals_a_store_and_rotates_its_key() {
    let directory = directory("a_sealed_store");
    let server = AuthorizationServer::builder().build();
    let [old, new] = [(); 2].map(|()| SealingKeys::random_key().unwrap());
    file(&directory, "old", &format!("# of 2026\n{}\n", *old), 0o600);
    file(&directory, "new", &new, 0o400);
    file(&directory, "both", &format!("{}\n{}\n", *new, *old), 0o600);

    let plain = manager(&directory, &server, "").await;
    plain.replace(server.issue()).await.unwrap();
    assert_eq!(sealed_with(&directory, &plain), None);

    for (store, key) in [
        ("seal = { file = \"old\" }\nseal_accepts_plain = true", &old),
        ("seal = { file = \"old\" }", &old),
        ("seal = [{ file = \"old\" }, { file = \"new\" }]", &old),
        ("seal = [{ file = \"new\" }, { file = \"old\" }]", &new),
        (
            "seal = { file = \"both\" }\nseal_accepts_plain = false",
            &new,
        ),
        (&format!("seal = \"{}\"", *new), &new),
        (&format!("seal = \"\"\"\n{}\n{}\"\"\"", *new, *old), &new),
    ] {
        let tokens = manager(&directory, &server, store).await;
        let token = tokens.rotate().await.expect(store);
        assert_eq!(sealed_with(&directory, &tokens), id(key), "{store}");
        assert_eq!(tokens.token().await.unwrap().expose(), token.expose());
        let shown = format!("{tokens:?}");
        assert!(!shown.contains(key.as_str()), "{shown}");
    }
}
