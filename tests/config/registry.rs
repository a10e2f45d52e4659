//! Strategies, endpoints and stores of the user's program, which the configuration names.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use evertoken::config::{Secret, duration, path};
use evertoken::testing::AuthorizationServer;
use evertoken::{
    BuildError, Config, ConfigError, EndpointError, Grant, Issued, Lifetime, MemoryStore, Plan,
    RefreshStrategy, Registry, ServerProfile, StoreError, TokenEndpoint, async_trait,
};
use serde::Deserialize;

use crate::raw_server::{RawServer, Step, ok};
use crate::{LEAST, cases, directory, file};

#[derive(Debug, Deserialize)]
struct Every {
    #[serde(deserialize_with = "duration")]
    age: Duration,
    #[serde(default)]
    hours: Vec<u8>,
}

impl RefreshStrategy for Every {
    fn plan(&self, life: &Lifetime) -> Plan {
        let age = Some(self.age).filter(|_| self.hours.len() < 24);
        Plan::on_request(life).wake_at(age)
    }
}

fn every(every: Every) -> Result<Every, std::num::ParseIntError> {
    if every.age.is_zero() {
        return "".parse::<u8>().map(|_| every);
    }
    Ok(every)
}

#[derive(Debug, Deserialize)]
struct Vault {
    #[serde(deserialize_with = "path")]
    socket: PathBuf,
    key: Secret,
    #[serde(default)]
    server: ServerProfile,
}

#[async_trait]
impl TokenEndpoint for Vault {
    async fn exchange(&self, _: Grant<'_>) -> Result<Issued, EndpointError> {
        Ok(Issued::new("a1"))
    }

    fn profile(&self) -> ServerProfile {
        self.server
    }
}

fn vault(vault: Vault) -> Result<Vault, ConfigError> {
    assert_eq!(*vault.key.read()?, "sesame");
    Ok(vault)
}

#[derive(Deserialize)]
struct Shelf {
    number: u8,
}

async fn shelf(shelf: Shelf) -> Result<MemoryStore, StoreError> {
    tokio::task::yield_now().await;
    match shelf.number {
        0 => Err(StoreError::new("there is no shelf 0")),
        _ => Ok(MemoryStore::new()),
    }
}

fn registry() -> Registry {
    Registry::builtin()
        .strategy("every", every)
        .endpoint("vault", vault)
        .store("shelf", shelf)
}

#[tokio::test]
async fn a_registered_type_is_built_from_its_own_table() {
    let directory = directory("what_a_user_registered");
    file(&directory, "key", "sesame\n", 0o600);
    let text = r#"
        [refresh]
        strategy = { kind = "every", age = "5m", hours = [1, 2] }
        [store]
        kind = "shelf"
        number = 1
        timeout = "6s"
        [endpoint]
        kind = "vault"
        socket = "vault.sock"
        key = { file = "key" }
        server = { resend = "never" }
    "#;
    let config = Config::from_toml(text).unwrap().relative_to(&directory);
    // The builder runs in a task of its own, as in a service.
    let building = tokio::spawn(async move { config.builder(&registry()).await });
    let shown = format!("{:?}", building.await.unwrap().unwrap());
    let socket = format!("socket: {:?}", directory.join("vault.sock"));
    for part in [
        "Every { age: 300s, hours: [1, 2] }",
        "store_timeout: 6s",
        "store: Some(MemoryStore",
        "resend: Never",
        &socket,
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(!shown.contains("sesame"));
}

#[tokio::test]
async fn a_refusal_of_a_registered_type_is_reported_with_its_path() {
    cases::check("registered", &registry()).await;
    cases::check("registered_endpoint", &registry()).await;
}

#[tokio::test]
async fn a_registered_name_takes_precedence_over_a_builtin_one() {
    let registry = Registry::builtin().strategy("on-request", |()| {
        Ok::<_, Infallible>(Every {
            age: Duration::from_secs(7),
            hours: Vec::new(),
        })
    });
    let config = Config::from_toml(LEAST).unwrap();
    // The unit type cannot be read from a table, and a registered type is read from its table.
    assert!(config.builder(&registry).await.is_err());
    let registry = Registry::builtin().strategy("on-request", every);
    let text = format!("refresh.strategy.age = \"7s\"\n{LEAST}");
    let builder = Config::from_toml(&text).unwrap().builder(&registry).await;
    assert!(format!("{builder:?}").contains("Every { age: 7s"));
}

#[tokio::test]
async fn an_endpoint_of_the_programs_own_takes_the_place_of_the_table() {
    let server = AuthorizationServer::builder().build();
    let registry = Registry::builtin();
    let config = Config::from_toml("[session]\ntenant = \"diku\"").unwrap();
    let builder = config.builder_for(server.endpoint(), &registry).await;
    let tokens = builder.unwrap().seed(server.issue()).build().unwrap();
    assert!(tokens.token().await.is_ok());
    assert_eq!(*tokens.key(), server.endpoint().key().tenant("diku"));

    let config = Config::from_toml(LEAST).unwrap();
    let refused = config.builder_for(server.endpoint(), &registry).await;
    let said =
        "line 2, column 2: endpoint: must be removed, because the program has its own endpoint";
    assert_eq!(refused.unwrap_err().to_string(), said);
}

#[tokio::test]
async fn the_http_client_is_built_from_what_the_program_gives() {
    let server = RawServer::start([Step::AnswerAndClose(ok(r#"{"access_token":"a1"}"#))]).await;
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let registry = Registry::builtin().http(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        reqwest::Client::builder().user_agent("importer/1")
    });
    let url = server.url("/token");
    let text = format!(
        "[endpoint]\ntoken_url = \"{url}\"\nclient_id = \"importer\"\n[seed]\nrefresh_token = \"r\""
    );
    let config = Config::from_toml(&text).unwrap();
    let tokens = config.connect(&registry).await.unwrap();
    tokens.token().await.unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    let requests = server.requests().await;
    assert_eq!(requests[0].header("user-agent"), Some("importer/1"));
}

#[tokio::test]
async fn a_refusal_of_the_builder_is_reported_with_its_path() {
    let registry =
        Registry::builtin().endpoint("own", |vault: Vault| match vault.socket.to_str() {
            Some("s") => Err(OAuthLess::unfit().into()),
            _ => Ok::<_, Box<dyn std::error::Error + Send + Sync>>(vault),
        });
    let text = "[endpoint]\nkind = \"own\"\nsocket = \"s\"\nkey = \"k\"";
    let error = Config::from_toml(text)
        .unwrap()
        .builder(&registry)
        .await
        .unwrap_err();
    assert_eq!(error.path(), "endpoint.token_url");
    assert_eq!(error.position(), Some((1, 2)));
}

struct OAuthLess;

impl OAuthLess {
    fn unfit() -> BuildError {
        evertoken::OAuth2::new("nowhere", "importer").unwrap_err()
    }
}
