//! Configurations with a secret in its proper place, and in places where secrets do not belong.

use std::fs;
use std::path::Path;

use evertoken::{Config, OAuth2, Registry, TokenManager};

use crate::known::*;
use crate::net;
use crate::wire::{Server, answer, reached};

const LEAST: &str =
    "[endpoint]\ntoken_url = \"https://id.example.org/token\"\nclient_id = \"importer\"";

/// Builds the manager of a configuration, and catches every output on the way.
async fn look_at(text: &str) -> Option<TokenManager> {
    reached(text);
    let config = net::outcome(Config::from_toml(text))?;
    let builder = net::outcome(config.builder(&Registry::builtin()).await)?;
    net::outcome(builder.build())
}

/// Writes a file that only this user may read. The crate refuses other files before it reads them.
fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// The secret of a file reaches the server, which repeats the secret in a refusal.
async fn reads_a_file(path: &Path) {
    let refusal = format!(r#"{{"error":"invalid_client","error_description":"{FILE}?"}}"#);
    let server = Server::start([answer(401, &[], &refusal)]).await;
    let text = format!(
        "[endpoint]\ntoken_url = \"{}\"\nclient_id = \"importer\"\nclient_secret = {{ file = \"{}\" }}\n\
         [seed]\nrefresh_token = \"{INLINE}\"",
        server.url("/token"),
        path.display()
    );
    let tokens = look_at(&text).await.expect("the manager is built");
    assert!(net::outcome(tokens.token().await).is_none());
    drop(tokens);
    let requests = server.end().await;
    assert_eq!(requests.len(), 1);
}

pub(crate) async fn everything() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    private(&file, FILE);
    reads_a_file(&file).await;
    let path = file.display();
    for line in [
        format!("client_secret = {{ file = \"{path}\" }}"),
        format!("client_secret = {{ file = \"{path}\", sign_in = \"x\" }}"),
        format!("client_secret = \"{INLINE}\""),
        format!("client_secret = [\"{INLINE}\"]"),
        format!("client_secret = {{ inline = \"{INLINE}\" }}"),
        format!("client_secrets = \"{INLINE}\""),
        format!("client_secret = \"{INLINE}"),
        format!("client_secret = '{INLINE}' '{INLINE}'"),
        format!("client_secret = {INLINE}"),
        format!("timeout = \"{INLINE}\""),
        format!("body_limit = \"{INLINE}\""),
        format!("client_auth = \"{INLINE}\""),
        format!("kind = \"{INLINE}\""),
        format!("sign_in = \"{INLINE}\""),
        format!("sign_in = {{ username = \"ada\", password = \"{INLINE}\" }}"),
        format!("sign_in = {{ username = \"ada\", passwort = \"{INLINE}\" }}"),
        format!("scope = {{ x = \"{INLINE}\" }}"),
        format!("revocation_url = \"https://u:{URL_PASSWORD}@id.example.org\""),
        format!("[seed]\nrefresh_token = \"{INLINE}\""),
        format!("[seed]\nrefresh_token = [\"{INLINE}\"]"),
        format!("[seed]\ntoken = \"{INLINE}\""),
        format!(
            "[seed]\nresponse = '{{\"access_token\":\"{INLINE}\",\"refresh_token\":\"{INLINE}\"}}'"
        ),
        format!(
            "[seed]\nresponse = '{{\"error\":\"{INLINE}\",\"error_description\":\"{INLINE}\"}}'"
        ),
        format!("[seed]\nresponse = \"{INLINE}\""),
        format!("[seed]\nresponse = {{ access_token = \"{INLINE}\" }}"),
        format!("[seed]\nresponse = \"x\"\nreceived_at = \"{INLINE}\""),
        format!("[refresh]\nwait = \"{INLINE}\""),
        format!("[refresh]\nstrategy = \"{INLINE}\""),
        format!("[refresh]\nstrategy = {{ kind = \"on-request\", window = \"{INLINE}\" }}"),
        format!("[http]\norigins = [\"https://u:{URL_PASSWORD}@api.example.org\"]"),
        format!("[http]\nreject_on = \"{INLINE}\""),
        format!("[http]\nheader = \"{INLINE}\\n\""),
        format!("[store]\nkind = \"{INLINE}\""),
        format!("[store]\nkind = \"redis\"\nurl = \"redis://:{STORE_PASSWORD}@127.0.0.1:1\""),
        format!("[store]\nkind = \"redis\"\nurl = \"redis://:{STORE_PASSWORD}@127.0.0.1/x\""),
        format!("[store]\nkind = \"redis\"\nurl = \"redis//:{STORE_PASSWORD}@127.0.0.1\""),
        format!("[store]\nkind = \"redis\"\nurl = [\"redis://:{STORE_PASSWORD}@127.0.0.1\"]"),
        format!(
            "[store]\nkind = \"postgres\"\nurl = \"postgres://u:{STORE_PASSWORD}@127.0.0.1:1/x\""
        ),
        format!(
            "[store]\nkind = \"postgres\"\nurl = \"postgres://u:{STORE_PASSWORD}@127.0.0.1:x/x\""
        ),
        format!(
            "[store]\nkind = \"postgres\"\nurl = \"postgres://u@127.0.0.1:1/x?password={STORE_PASSWORD}&y=z\""
        ),
        format!(
            "[store]\nkind = \"postgres\"\nurls = \"postgres://u:{STORE_PASSWORD}@127.0.0.1:1/x\""
        ),
    ] {
        look_at(&format!("{LEAST}\n{line}")).await;
    }
    let json = format!(r#"{{"endpoint":{{"client_secret":"{INLINE}","x":"{INLINE}"}},"{{"#);
    net::outcome(Config::from_json(&json));
    net::outcome(Config::from_json(&format!("\"{INLINE}\"")));
    let url = format!("https://u:{URL_PASSWORD}@id.example.org/token");
    assert!(net::outcome(OAuth2::new(url, "importer")).is_none());
    let url = format!("http://id.example.org/{URL_PASSWORD}");
    assert!(net::outcome(OAuth2::new(url.replace('/', "\\"), "importer")).is_none());
    #[cfg(feature = "redis")]
    for url in [
        format!("redis://:{STORE_PASSWORD}@127.0.0.1:1"),
        format!("redis:://{STORE_PASSWORD}"),
    ] {
        net::outcome(evertoken::RedisStore::connect(&url).await);
    }
    #[cfg(feature = "postgres")]
    for url in [
        format!("postgres://u:{STORE_PASSWORD}@127.0.0.1:1/x"),
        format!("postgres:://{STORE_PASSWORD}"),
    ] {
        net::outcome(evertoken::PostgresStore::connect(&url).await);
    }
}
