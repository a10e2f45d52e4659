//! `[gateway]` of a configuration: the modes are chosen by it alone, and what is wrong is named.

use std::path::PathBuf;

use axum::http::StatusCode;
use evertoken::seal::SealingKeys;
use evertoken::testing::browser::Call;
use evertoken::testing::{AuthorizationServer, Browser, Reuse};
use evertoken::{Config, ConfigError, Gateway, Registry, Sessions};

use crate::world::{Instance, ORIGIN};

/// A file of keys that only its owner may read.
fn keys_file(directory: &tempfile::TempDir) -> PathBuf {
    let path = directory.path().join("cookie-keys");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path).unwrap();
    let key = SealingKeys::random_key().unwrap();
    std::io::Write::write_all(&mut file, key.as_bytes()).unwrap();
    path
}

/// A configuration of a gateway with these lines, at the server `token_url`.
fn document(token_url: &str, keys: &str, reuse: &str, refresh: &str, gateway: &str) -> String {
    format!(
        r#"
        [endpoint]
        token_url = "{token_url}"
        client_id = "app"
        server = {{ reuse = "{reuse}" }}
        [refresh]
        {refresh}
        [sessions.policy]
        retired_for = "30s"
        [gateway]
        keys = {keys}
        {gateway}
        "#
    )
}

async fn built(text: &str) -> Result<(Sessions, Gateway), ConfigError> {
    let config = Config::from_toml(text)?;
    let sessions = config.sessions(&Registry::builtin()).await?;
    let gateway = config.gateway(&sessions).await?.build().unwrap();
    Ok((sessions, gateway))
}

async fn refusal(text: &str) -> String {
    built(text).await.map(|_| ()).unwrap_err().to_string()
}

const TOKEN_URL: &str = "https://id.example.org/token";
const STATELESS: &str =
    "coordination = \"none\"\nstrategy = { kind = \"optimistic-early\", window = \"1s\" }";

#[tokio::test]
async fn each_mode_is_chosen_by_the_configuration_alone_and_serves_a_browser() {
    let directory = tempfile::tempdir().unwrap();
    let keys = format!("{{ file = {:?} }}", keys_file(&directory));
    for (mode, reuse, refresh, of_server) in [
        ("synchronised", "revokes", "", Reuse::RevokeFamily),
        ("opaque", "revokes", "", Reuse::RevokeFamily),
        ("stateless", "refused", STATELESS, Reuse::Refuse),
        (
            "grace",
            "answered",
            "coordination = \"none\"",
            Reuse::Linked {
                window: std::time::Duration::from_secs(30),
            },
        ),
    ] {
        let server = AuthorizationServer::builder()
            .client("app", "")
            .reuse(of_server)
            .build();
        let listening = server.listen().await.unwrap();
        let gateway =
            format!("mode = \"{mode}\"\ncookie = \"own\"\nlogin = \"/login?to={{return_to}}\"");
        let text = document(listening.url(), &keys, reuse, refresh, &gateway);
        let (sessions, gateway) = built(&text).await.unwrap();
        let instance = Instance::new(sessions, gateway, &server);
        let browser = Browser::new(ORIGIN).unwrap();
        instance.send(&browser, Call::navigation("/sign-in")).await;
        let name = browser.names().remove(0);
        assert!(name.starts_with("__Host-Http-own-"), "{name}");
        let is_short = browser.value(&name).unwrap().len() < 400;
        assert_eq!(is_short, mode == "opaque");
        assert_eq!(instance.status(&browser).await, StatusCode::OK, "{mode}");
        let page = instance
            .send(&Browser::new(ORIGIN).unwrap(), Call::navigation("/token"))
            .await;
        let location = page.headers()["location"].to_str().unwrap();
        assert_eq!(location, "/login?to=%2Ftoken");
    }
}

#[tokio::test]
async fn what_is_wrong_is_named_by_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let keys = format!("{{ file = {:?} }}", keys_file(&directory));
    for (gateway, path, word) in [
        ("mode = \"solution-1\"", "gateway.mode", "synchronised"),
        ("mode = \"stateless\"", "gateway.mode", "coordination"),
        ("mode = \"grace\"", "gateway.mode", "reuse"),
        ("cookie = \"a b\"", "gateway.cookie", "letters"),
        ("same_site = \"none\"", "gateway.same_site", "lax"),
        (
            "origins = [\"app.example.org\"]",
            "gateway.origins",
            "https",
        ),
        ("policy = \"robot\"", "gateway.policy", "policies"),
        ("max_age = \"1h\"", "gateway", "max_age"),
    ] {
        let text = document(TOKEN_URL, &keys, "revokes", "", gateway);
        let error = refusal(&text).await;
        assert!(
            error.contains(path) && error.contains(word),
            "{gateway}: {error}"
        );
    }
    let of_keys = async |keys: &str| refusal(&document(TOKEN_URL, keys, "revokes", "", "")).await;
    let error = of_keys("\"sesame-sesame\"").await;
    assert!(
        error.contains("gateway.keys") && !error.contains("sesame"),
        "{error}"
    );
    let error = of_keys("{ env = \"NO_SUCH_VARIABLE_OF_A_GATEWAY\" }").await;
    assert!(error.contains("gateway.keys"), "{error}");
    let error = of_keys("[]").await;
    assert!(error.contains("gateway.keys"), "{error}");
    let text = document(TOKEN_URL, &keys, "forgives", "", "");
    let error = refusal(&text).await;
    assert!(
        error.contains("reuse") && error.contains("answered"),
        "{error}"
    );
}

#[tokio::test]
async fn a_manager_of_one_session_has_no_gateway_and_sessions_without_one_say_so() {
    let text = "[endpoint]\ntoken_url = \"https://id.example.org/token\"\nclient_id = \"app\"\n";
    let with = format!("{text}[gateway]\nkeys = \"x\"\n");
    let config = Config::from_toml(&with).unwrap();
    let error = config
        .builder(&Registry::builtin())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("gateway: must be removed"), "{error}");
    let config = Config::from_toml(text).unwrap();
    let sessions = config.sessions(&Registry::builtin()).await.unwrap();
    let error = config.gateway(&sessions).await.unwrap_err().to_string();
    assert!(error.contains("gateway: is missing"), "{error}");
}

#[tokio::test]
async fn several_keys_open_and_the_first_one_seals() {
    let (old, new) = (
        SealingKeys::random_key().unwrap(),
        SealingKeys::random_key().unwrap(),
    );
    let server = AuthorizationServer::builder().client("app", "").build();
    let listening = server.listen().await.unwrap();
    let with = async |keys: String| {
        let text = document(listening.url(), &keys, "revokes", "", "mode = \"opaque\"");
        built(&text).await.unwrap()
    };
    let (sessions, gateway) = with(format!("[{:?}, {:?}]", *new, *old)).await;
    let instance = Instance::new(sessions.clone(), gateway, &server);
    let browser = Browser::new(ORIGIN).unwrap();
    instance.send(&browser, Call::navigation("/sign-in")).await;
    for (keys, expected) in [
        (format!("{:?}", *new), StatusCode::OK),
        (format!("{:?}", *old), StatusCode::UNAUTHORIZED),
    ] {
        let text = document(listening.url(), &keys, "revokes", "", "mode = \"opaque\"");
        let config = Config::from_toml(&text).unwrap();
        let gateway = config.gateway(&sessions).await.unwrap().build().unwrap();
        let other = Instance::new(sessions.clone(), gateway, &server);
        assert_eq!(other.status(&browser).await, expected);
    }
}

/// The example has a key of the program, and not the file that it names.
#[tokio::test]
async fn the_example_has_every_key_of_the_table_and_starts() {
    let example = include_str!("../../examples/gateway.toml");
    let key = SealingKeys::random_key().unwrap();
    let text = example
        .replace("{ file = \"cookie-keys\" }", &format!("{:?}", *key))
        .replace("{ env = \"APP_SECRET\" }", "\"sesame\"");
    built(&text).await.unwrap();
    let strange = text.replace("\n[gateway]\n", "\n[gateway]\nno_such_key = 1\n");
    let error = refusal(&strange).await;
    let (_, allowed) = error.split_once("no_such_key").unwrap();
    let names: Vec<_> = allowed.split('`').skip(1).step_by(2).collect();
    assert!(names.len() >= 7, "{error}");
    for name in names {
        let lines = [format!("\n{name} = "), format!("\n# {name} = ")];
        let is_there = lines.iter().any(|line| example.contains(line));
        assert!(is_there, "{name}: {error}");
    }
}
