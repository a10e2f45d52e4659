//! A TLS server with its own certificate, for `localhost` and until 2120.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto};

use crate::raw_server::ok;

const CERTIFICATE: &str = "\
    MIIBaDCCAQ6gAwIBAgIBATAKBggqhkjOPQQDAjAZMRcwFQYDVQQDDA5ldmVydG9rZW4gdGVzdDAgFw0yMDAxMDEwMDAwMDBaGA8y\
    MTIwMDEwMTAwMDAwMFowGTEXMBUGA1UEAwwOZXZlcnRva2VuIHRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAT53dp9IYZC\
    g4pR2BmjGjichQb6kY6oiBRtAN9wcZIFprfQos0IyjAaPl2OLKNAlKk+WWVA5ZIEL6JBznV5k80Qo0UwQzAUBgNVHREEDTALggls\
    b2NhbGhvc3QwDAYDVR0TAQH/BAIwADAdBgNVHQ4EFgQUF5FDN/CqGGhDwaBrtaPTS0wuvGMwCgYIKoZIzj0EAwIDSAAwRQIhANKF\
    2sfnQ+hwi1og+d5sTVtc7wUQTJI/gSZRjVYjXdnhAiBQmVfs0ty4H8i8m+GjwFvpMvnQfCTurigXfXEnvo69vA==";

/// A key that only this test uses.
const KEY: &str = "\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg2XTgRQR8/RcAn4XIYOI1w+Px3vFMlfl6A0cOFHtOcCShRANCAAT5\
    3dp9IYZCg4pR2BmjGjichQb6kY6oiBRtAN9wcZIFprfQos0IyjAaPl2OLKNAlKk+WWVA5ZIEL6JBznV5k80Q";

pub(crate) fn certificate() -> Vec<u8> {
    BASE64_STANDARD.decode(CERTIFICATE).unwrap()
}

/// Answers one request with a pair. Returns whether a request arrived.
pub(crate) fn start() -> (SocketAddr, JoinHandle<bool>) {
    let key = BASE64_STANDARD.decode(KEY).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
    let chain = vec![CertificateDer::from(certificate())];
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.windows(16).any(|end| end == b"refresh_token=r1") {
            match stream.read(&mut byte) {
                Ok(1) => request.extend(byte),
                _ => return false,
            }
        }
        let answer = ok(r#"{"access_token":"a2","refresh_token":"r2"}"#);
        stream.write_all(&answer).unwrap();
        stream.flush().unwrap();
        // The connection stays open until the client has read the answer.
        let _ = stream.read(&mut byte);
        true
    });
    (address, server)
}
