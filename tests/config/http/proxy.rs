//! A request goes through the configured proxy, and through no other.

use super::server::{AUTHORITY, Proxy, Server};
use super::{connect, impatient, oauth2, run_alone};
use crate::{directory, file, told};

/// ada:open sesame
const CREDENTIALS: &str = "Basic YWRhOm9wZW4gc2VzYW1l";

fn trusting(test: &str, server: &Server, keys: &str) -> String {
    let ca = file(&directory(test), "ca.pem", AUTHORITY, 0o644);
    oauth2(&server.url, &format!("ca_file = {ca:?}\n{keys}"))
}

#[tokio::test]
async fn a_request_goes_through_the_configured_proxy_which_alone_gets_the_credentials() {
    let test = "a_request_goes_through_the_configured_proxy";
    let password = file(&directory("password"), "password", "open sesame\n", 0o600);
    for (credentials, keys) in [
        (None, "proxy = \"http://PROXY\"".to_owned()),
        (
            Some(CREDENTIALS),
            format!(
                "proxy = {{ url = \"http://PROXY\", username = \"ada\", password = {{ file = {password:?} }} }}"
            ),
        ),
    ] {
        let (server, proxy) = (Server::start(false), Proxy::start(credentials));
        let target = server.address().to_owned();
        let keys =
            format!("headers = {{ X-Gateway-Key = \"g1\" }}\nuser_agent = \"importer/7\"\n{keys}");
        let keys = keys.replace("PROXY", &proxy.address.to_string());
        let tokens = connect(&trusting(test, &server, &keys)).await.unwrap();
        assert_eq!(tokens.token().await.unwrap().expose(), "a2");
        let head = proxy.seen();
        assert!(head.starts_with(&format!("CONNECT {target} HTTP/1.1\r\n")));
        assert_eq!(head.contains(CREDENTIALS), credentials.is_some(), "{head}");
        assert!(!head.to_lowercase().contains("x-gateway-key"), "{head}");
        let seen = server.seen().unwrap();
        assert!(seen.head.contains("x-gateway-key: g1"), "{}", seen.head);
        assert!(!seen.head.contains("proxy-"), "{}", seen.head);
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_the_password_gets_no_token_and_its_error_has_no_password() {
    let test = "a_proxy_that_refuses_the_password";
    let (server, proxy) = (Server::start(false), Proxy::start(Some(CREDENTIALS)));
    let address = proxy.address;
    let keys = format!(
        "proxy = {{ url = \"http://{address}\", username = \"ada\", password = \"S3same-0pen\" }}"
    );
    let text = trusting(test, &server, &keys);
    let tokens = impatient(&text).await;
    let error = tokens.token().await.unwrap_err();
    let shown = format!("{error} {error:?} {tokens:?}");
    assert!(!shown.contains("S3same"), "{shown}");
    let head = proxy.seen();
    assert!(head.starts_with("CONNECT "), "{head}");
    assert!(head.contains("Basic "), "{head}");
    drop(std::net::TcpStream::connect(server.address()));
    assert!(server.seen().is_none());
}

/// The environment names a proxy. The test runs itself as a process, because the environment is the process's.
#[test]
fn a_proxy_of_the_environment_is_used_unless_the_configuration_names_none_or_another() {
    const CHILD: &str = "EVERTOKEN_TEST_PROXY_KEYS";
    if let Ok(keys) = std::env::var(CHILD) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(async {
            let server = Server::start(false);
            let text = trusting("a_proxy_of_the_environment", &server, &keys);
            let tokens = connect(&text).await.unwrap();
            assert_eq!(tokens.token().await.unwrap().expose(), "a2");
        });
    }
    for (is_used, other_is_used, keys) in [
        (true, false, ""),
        (false, false, "proxy = \"none\""),
        (false, true, "proxy = \"http://OTHER\""),
    ] {
        let (proxy, other) = (Proxy::start(None), Proxy::start(None));
        let test = "http::proxy::a_proxy_of_the_environment_is_used_unless_the_configuration_names_none_or_another";
        let keys = keys.replace("OTHER", &other.address.to_string());
        let url = format!("http://{}", proxy.address);
        run_alone(test, &[(CHILD, &keys), ("HTTPS_PROXY", &url)]);
        assert_eq!(proxy.seen().starts_with("CONNECT "), is_used, "{keys}");
        assert_eq!(
            other.seen().starts_with("CONNECT "),
            other_is_used,
            "{keys}"
        );
    }
}

/// A program's own proxy stands in the builder that it gives.
#[tokio::test]
async fn a_configured_proxy_takes_the_place_of_the_programs() {
    let (server, proxy, other) = (Server::start(false), Proxy::start(None), Proxy::start(None));
    let keys = format!("proxy = \"http://{}\"", proxy.address);
    let text = trusting("a_configured_proxy", &server, &keys);
    let url = format!("http://{}", other.address);
    let registry = evertoken::Registry::builtin()
        .http(move || reqwest::Client::builder().proxy(reqwest::Proxy::all(&url).unwrap()));
    let config = evertoken::Config::from_toml(&text).unwrap();
    let tokens = config.connect(&registry).await;
    let tokens = tokens.map_err(|error| told(&error)).unwrap();
    tokens.token().await.unwrap();
    assert!(proxy.seen().starts_with("CONNECT "));
    assert_eq!(other.seen(), "");
}
