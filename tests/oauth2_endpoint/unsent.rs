//! Whether a request has left: connections, certificates, timeouts and the send window.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use evertoken::{EndpointError, Grant, Issued, OAuth2, RefreshToken, TokenEndpoint};
use tokio::time::timeout;

use crate::exchanges::{chain, class, nowhere, refresh, window};
use crate::raw_server::{RawServer, Step, ok};
#[cfg(feature = "rustls")]
use crate::tls;
use crate::{SHORT, SOON, public, refresh_token};

#[tokio::test]
async fn a_missing_answer_is_unknown_after_the_timeout() {
    for silence in [
        Step::Stall("".into()),
        Step::Stall("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"refresh_token\":\"r".into()),
    ] {
        let server = RawServer::start([silence]).await;
        let endpoint = public(&server).timeout(SHORT);
        assert_eq!(TokenEndpoint::timeout(&endpoint), SHORT);
        let outcome = timeout(SOON, refresh(&endpoint, "r1")).await;
        assert_eq!(class(outcome.unwrap()), "unknown");
        assert_eq!(server.connections().await, [1]);
    }
    let salvageable = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"refresh_token\":\"r2\",";
    let server = RawServer::start([Step::Stall(salvageable.into())]).await;
    let outcome = refresh(&public(&server).timeout(SHORT), "r1").await;
    assert_eq!(refresh_token(outcome).as_deref(), Some("r2"));
}

/// The process is stopped, as by Ctrl-Z or on a busy machine: the process does not run, and time passes.
#[tokio::test]
async fn fm8_an_answer_that_arrived_while_the_process_was_stopped_is_read() {
    let answer = ok(r#"{"access_token":"a2","refresh_token":"r2"}"#);
    for before in [0, answer.len() / 2] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let (first, rest) = answer.split_at(before);
        let (first, rest) = (first.to_owned(), rest.to_owned());
        let (asked, was_asked) = tokio::sync::oneshot::channel();
        let (stopped, was_stopped) = std::sync::mpsc::channel();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"refresh_token=r1") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            stream.write_all(&first).unwrap();
            asked.send(()).unwrap();
            was_stopped.recv().unwrap();
            stream.write_all(&rest).unwrap();
            // The connection stays open until the client has read the answer.
            let _ = stream.read(&mut [0]);
        });
        let stop = async {
            was_asked.await.unwrap();
            stopped.send(()).unwrap();
            std::thread::sleep(2 * SHORT);
        };
        let endpoint = OAuth2::new(url, "importer").unwrap().timeout(SHORT);
        let (outcome, ()) = tokio::join!(refresh(&endpoint, "r1"), stop);
        assert_eq!(refresh_token(outcome).as_deref(), Some("r2"), "{before}");
        server.join().unwrap();
    }
}

#[tokio::test]
async fn without_a_connection_nothing_is_sent() {
    let endpoint = OAuth2::new(nowhere(), "importer").unwrap();
    assert_eq!(class(refresh(&endpoint, "r1").await), "not sent");
}

#[tokio::test]
async fn a_failure_that_may_end_without_an_operator_is_not_lasting() {
    let refused = OAuth2::new(nowhere(), "importer").unwrap();
    assert_eq!(is_lasting(refresh(&refused, "r1").await), Some(false));
    let unresolved = OAuth2::new("https://evertoken.invalid/token", "importer").unwrap();
    assert_eq!(is_lasting(refresh(&unresolved, "r1").await), Some(false));
}

/// Whether the failure of a request that was not sent is lasting.
fn is_lasting(outcome: Result<Issued, EndpointError>) -> Option<bool> {
    match outcome {
        Err(EndpointError::NotSent { is_lasting, .. }) => Some(is_lasting),
        _ => None,
    }
}

#[cfg(feature = "rustls")]
#[tokio::test]
async fn a_certificate_that_is_not_trusted_or_names_another_host_is_lasting() {
    let trusted = || {
        let certificate = reqwest::Certificate::from_der(&tls::certificate()).unwrap();
        reqwest::Client::builder().tls_certs_only([certificate])
    };
    let distrusted = reqwest::Client::builder;
    for (host, http, expected) in [
        ("localhost", trusted(), None),
        ("127.0.0.1", trusted(), Some(true)),
        ("localhost", distrusted(), Some(true)),
    ] {
        let (address, server) = tls::start();
        let url = format!("https://{host}:{}/token", address.port());
        let http = http.resolve("localhost", address);
        let endpoint = OAuth2::new(url, "importer").unwrap().http(http).unwrap();
        let outcome = refresh(&endpoint, "r1").await;
        let shown = format!("{outcome:?}");
        assert_eq!(outcome.is_ok(), expected.is_none(), "{host}: {shown}");
        assert_eq!(is_lasting(outcome), expected, "{host}: {shown}");
        assert_eq!(server.join().unwrap(), expected.is_none());
    }
}

#[cfg(feature = "rustls")]
#[tokio::test]
async fn a_handshake_that_does_not_end_in_time_sends_nothing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/token", listener.local_addr().unwrap());
    let endpoint = OAuth2::new(url, "importer").unwrap().timeout(SHORT);
    let (outcome, accepted) = tokio::join!(refresh(&endpoint, "r1"), listener.accept());
    accepted.unwrap();
    assert_eq!(class(outcome), "not sent");
}

#[tokio::test]
async fn no_token_is_sent_after_the_window_closed() {
    let server = RawServer::start([Step::Answer(ok(r#"{"refresh_token":"r2"}"#))]).await;
    let endpoint = public(&server);
    let token = RefreshToken::new("r1");
    let closed = window(Duration::ZERO);
    let outcome = endpoint.exchange(Grant::refresh(&token, &closed)).await;
    let said = chain(outcome.as_ref().unwrap_err());
    assert!(said.contains("the send window closed"), "{said}");
    assert_eq!(class(outcome), "not sent");
    for request in server.requests().await {
        assert_eq!(request.body(), "");
    }
}
