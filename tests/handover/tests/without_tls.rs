//! What a program gets whose reqwest has no TLS. The tests of the crate itself always have TLS.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{ErrorKind, Read as _};
use std::net::TcpListener;
use std::time::Duration;

use evertoken::{BuildError, Config, Error, OAuth2, Registry, StaticToken, TokenManager};

const ID: &str = "https://id.example.org/token";

/// The problem that a configuration with these lines in `[endpoint.http]` has. Where it has none, the manager is asked for a
/// token.
async fn problem(http: &str) -> String {
    let text = format!(
        "[refresh]\nwait = \"1500ms\"\n[seed]\nrefresh_token = \"sesame\"\n[endpoint]\ntoken_url = \"{ID}\"\n\
         client_id = \"importer\"\ntimeout = \"1s\"\n[endpoint.http]\n{http}"
    );
    let config = Config::from_toml(&text).unwrap();
    match config.connect(&Registry::builtin()).await {
        Err(error) => error.to_string(),
        Ok(tokens) => format!("none: {:?}", tokens.token().await),
    }
}

/// Everything that arrived at a server which answers nothing.
fn arrived(server: &TcpListener) -> String {
    server.set_nonblocking(true).unwrap();
    let mut stream = match server.accept() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => return "no connection".to_owned(),
        accepted => accepted.unwrap().0,
    };
    stream.set_nonblocking(false).unwrap();
    let patience = Some(Duration::from_secs(1));
    stream.set_read_timeout(patience).unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Without TLS, reqwest sends a request to an `https` URL to the proxy in the clear, with the token in it.
#[tokio::test]
async fn an_https_token_url_is_refused_and_a_proxy_gets_nothing() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap();
    let problem = problem(&format!("proxy = \"http://{address}\"")).await;
    assert_eq!(arrived(&proxy), "no connection");
    let said = "an `https` URL needs TLS, and reqwest was built without it: enable evertoken's feature `rustls`, or a TLS \
                feature of reqwest";
    assert!(problem.ends_with(said), "{problem}");
    assert!(!problem.contains("sesame"), "{problem}");
}

#[test]
fn an_https_endpoint_of_a_program_is_refused_also_with_a_client_of_its_own() {
    let refused = OAuth2::new(ID, "importer").unwrap_err();
    assert!(matches!(refused, BuildError::NoTls), "{refused:?}");
    // Plain `http` to loopback needs no TLS.
    let endpoint = OAuth2::new("http://127.0.0.1:9/token", "importer").unwrap();
    assert!(endpoint.http(reqwest::Client::builder()).is_ok());
}

/// The access token would be in the clear just so.
#[tokio::test]
async fn a_request_to_an_https_api_is_refused_and_a_proxy_gets_nothing() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let through = || reqwest::Client::builder().proxy(reqwest::Proxy::all(&address).unwrap());
    let builder = TokenManager::builder(StaticToken::new("sesame"));
    let tokens = builder.origin("https://api.example.org").build().unwrap();
    let request = through()
        .build()
        .unwrap()
        .get("https://api.example.org/records");
    let refused = tokio::time::timeout(Duration::from_secs(5), tokens.send(request)).await;
    assert!(matches!(refused, Ok(Err(Error::NoTls))), "{refused:?}");
    let refused = tokens.client(through).unwrap_err();
    assert!(matches!(refused, BuildError::NoTls), "{refused:?}");
    assert_eq!(arrived(&proxy), "no connection");
}

#[tokio::test]
async fn the_keys_of_tls_are_refused_with_the_name_of_the_feature() {
    let said = "requires evertoken's feature `rustls`; build the program with it";
    for (keys, key) in [
        ("ca_file = \"ca.pem\"", "ca_file"),
        (
            "certificate_file = \"client.pem\"\nprivate_key = { file = \"key.pem\" }",
            "certificate_file",
        ),
    ] {
        let problem = problem(keys).await;
        let said = format!("endpoint.http.{key}: {said}");
        assert!(problem.ends_with(&said), "{problem}");
    }
}
