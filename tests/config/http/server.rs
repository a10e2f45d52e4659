//! A token endpoint with TLS whose certificate is of the authority in `tests/config/tls/`, and a proxy before it.
//!
//! `openssl ca` made the certificates there: they are valid until 2120, and that of the server is for 127.0.0.1. The keys are
//! for these tests alone, and that of the authority is not kept.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned, crypto};

use crate::raw_server::ok;

pub(crate) const AUTHORITY: &str = include_str!("../tls/authority.pem");
pub(crate) const CLIENT: &str = include_str!("../tls/client.pem");
pub(crate) const CLIENT_KEY: &str = include_str!("../tls/client-key.pem");
const SERVER: &str = include_str!("../tls/server.pem");
const SERVER_KEY: &str = include_str!("../tls/server-key.pem");

pub(crate) fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// A request as it arrived.
pub(crate) struct Seen {
    /// The head, in lower case.
    pub(crate) head: String,
    /// The certificates that the client presented.
    pub(crate) client: Vec<CertificateDer<'static>>,
}

/// A server that answers one request with a pair.
pub(crate) struct Server {
    pub(crate) url: String,
    served: JoinHandle<Option<Seen>>,
}

impl Server {
    /// A server that asks for no certificate, or requires one of the authority.
    pub(crate) fn start(asks_for_a_certificate: bool) -> Self {
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match asks_for_a_certificate {
            false => config.with_no_client_auth(),
            true => {
                let mut roots = RootCertStore::empty();
                roots.add(certificate(AUTHORITY)).unwrap();
                let roots = Arc::new(roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                config.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::from_pem_slice(SERVER_KEY.as_bytes()).unwrap();
        let config = config.with_single_cert(vec![certificate(SERVER)], key);
        let config = Arc::new(config.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/token", listener.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            serve(stream, config)
        });
        Self { url, served }
    }

    pub(crate) fn address(&self) -> &str {
        let address = self.url.strip_prefix("https://").unwrap();
        address.strip_suffix("/token").unwrap()
    }

    /// The request, or `None` if the connection ended without one.
    pub(crate) fn seen(self) -> Option<Seen> {
        self.served.join().unwrap()
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>) -> Option<Seen> {
    let connection = ServerConnection::new(config).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    let mut request = String::new();
    let mut byte = [0];
    while !request.contains("refresh_token=r1") {
        match stream.read(&mut byte) {
            Ok(1) => request.push(char::from(byte[0])),
            _ => return None,
        }
    }
    stream
        .write_all(&ok(r#"{"access_token":"a2","refresh_token":"r2"}"#))
        .unwrap();
    stream.flush().unwrap();
    // The connection stays open until the client has read the answer.
    let _ = stream.read(&mut byte);
    let (head, _) = request.split_once("\r\n\r\n").unwrap();
    let client = stream.conn.peer_certificates().unwrap_or_default();
    let client = client.iter().cloned().map(CertificateDer::into_owned);
    Some(Seen {
        head: head.to_lowercase(),
        client: client.collect(),
    })
}

/// A proxy that takes one connection, and opens a tunnel to a client with these credentials.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    served: JoinHandle<String>,
}

impl Proxy {
    /// `credentials` is the value of `Proxy-Authorization` that the proxy requires.
    pub(crate) fn start(credentials: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut head = String::new();
            let mut byte = [0];
            while !head.ends_with("\r\n\r\n") && client.read(&mut byte).is_ok_and(|read| read == 1)
            {
                head.push(char::from(byte[0]));
            }
            let mut lines = head.lines();
            let target = lines.next().and_then(|line| line.strip_prefix("CONNECT "));
            let target = target.and_then(|line| line.strip_suffix(" HTTP/1.1"));
            let given = lines.find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("proxy-authorization")
                    .then_some(value)
            });
            match target {
                Some(target) if credentials.is_none_or(|it| given == Some(it)) => {
                    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                    tunnel(client, TcpStream::connect(target).unwrap());
                }
                _ => {
                    let refused =
                        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
                    client.write_all(refused).unwrap();
                }
            }
            head
        });
        Self { address, served }
    }

    /// The head of the request that arrived. Ends a proxy that nothing was sent to.
    pub(crate) fn seen(self) -> String {
        if !self.served.is_finished() {
            drop(TcpStream::connect(self.address));
        }
        self.served.join().unwrap()
    }
}

/// Carries bytes both ways until both ends are closed.
fn tunnel(client: TcpStream, server: TcpStream) {
    let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let carry = |(mut from, mut to): (TcpStream, TcpStream)| {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    };
    let back = std::thread::spawn(move || carry(back));
    carry((client, server));
    back.join().unwrap();
}
