//! Whom the endpoint trusts, and how it proves itself.

use crate::http::server::{AUTHORITY, CLIENT, CLIENT_KEY, Server, certificate};
use crate::http::{impatient, oauth2, run_alone};
use crate::{directory, file, refusal};

const OTHER: &str = include_str!("../tls/other-authority.pem");
const OTHER_KEY: &str = include_str!("../tls/other-key.pem");
const ENCRYPTED_KEY: &str = include_str!("../tls/encrypted-key.pem");

/// A token without a proxy, also where this machine has one.
async fn token(url: &str, http: &str) -> Result<String, String> {
    let keys = format!("proxy = \"none\"\n{http}");
    let token = impatient(&oauth2(url, &keys)).await.token().await;
    token
        .map(|token| token.expose().to_owned())
        .map_err(|error| format!("{error:?}"))
}

#[tokio::test]
async fn the_authorities_of_the_file_are_trusted_and_no_others() {
    let directory = directory("the_authorities_of_the_file");
    let own = file(&directory, "own.pem", AUTHORITY, 0o644);
    let other = file(&directory, "other.pem", OTHER, 0o644);
    let both = file(
        &directory,
        "both.pem",
        &format!("{OTHER}\n{AUTHORITY}"),
        0o644,
    );
    for (keys, is_trusted) in [
        (format!("ca_file = {own:?}"), true),
        (format!("ca_file = {both:?}"), true),
        (format!("ca_file = {other:?}"), false),
        (String::new(), false),
    ] {
        let server = Server::start(false);
        match token(&server.url, &keys).await {
            Ok(token) => assert_eq!((&*token, is_trusted), ("a2", true), "{keys}"),
            Err(error) => {
                assert!(!is_trusted, "{keys}: {error}");
                assert!(error.contains("UnknownIssuer"), "{keys}: {error}");
            }
        }
        assert_eq!(server.seen().is_some(), is_trusted, "{keys}");
    }
}

/// The system trusts the authority, by the variable that names the file of its certificates.
#[test]
fn an_authority_of_the_system_is_not_trusted_beside_those_of_the_file() {
    const CHILD: &str = "EVERTOKEN_TEST_TRUSTED";
    if let Ok(keys) = std::env::var(CHILD) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let server = Server::start(false);
        let outcome = runtime.block_on(token(&server.url, &keys));
        assert_eq!(outcome.is_ok(), keys.is_empty(), "{outcome:?}");
        return;
    }
    let directory = directory("an_authority_of_the_system");
    let own = file(&directory, "own.pem", AUTHORITY, 0o644);
    let other = file(&directory, "other.pem", OTHER, 0o644);
    let test = "http::tls::an_authority_of_the_system_is_not_trusted_beside_those_of_the_file";
    for keys in ["", &format!("ca_file = {other:?}")] {
        run_alone(
            test,
            &[(CHILD, keys), ("SSL_CERT_FILE", own.to_str().unwrap())],
        );
    }
}

/// The file of the certificate may hold the key too, and that of the key the certificate.
#[tokio::test]
async fn a_server_that_requires_a_certificate_gets_the_configured_one() {
    let directory = directory("a_server_that_requires_a_certificate");
    let ca = file(&directory, "ca.pem", AUTHORITY, 0o644);
    let client = file(&directory, "client.pem", CLIENT, 0o644);
    let key = file(&directory, "key.pem", CLIENT_KEY, 0o600);
    let both = format!("{CLIENT}{CLIENT_KEY}");
    let both = file(&directory, "both.pem", &both, 0o600);
    for (certificate_file, private_key) in [(&client, &key), (&both, &both)] {
        let server = Server::start(true);
        let keys = format!(
            "ca_file = {ca:?}\ncertificate_file = {certificate_file:?}\nprivate_key = {{ file = {private_key:?} }}"
        );
        assert_eq!(token(&server.url, &keys).await.unwrap(), "a2");
        assert_eq!(server.seen().unwrap().client, [certificate(CLIENT)]);
    }
    let server = Server::start(true);
    let without = token(&server.url, &format!("ca_file = {ca:?}")).await;
    assert!(without.is_err());
    assert!(server.seen().is_none());
}

/// Paths start at the directory of the configuration.
#[tokio::test]
async fn the_files_stand_beside_the_configuration() {
    let directory = directory("the_files_stand_beside");
    file(&directory, "ca.pem", AUTHORITY, 0o644);
    file(&directory, "client.pem", CLIENT, 0o644);
    file(&directory, "key.pem", CLIENT_KEY, 0o600);
    let keys = "ca_file = \"ca.pem\"\ncertificate_file = \"client.pem\"\nprivate_key = { file = \"key.pem\" }";
    let text = oauth2("https://id.example.org/token", keys);
    let path = file(&directory, "evertoken.toml", &text, 0o644);
    let config = evertoken::Config::from_file(path).unwrap();
    let built = config.builder(&evertoken::Registry::builtin()).await;
    assert!(built.is_ok(), "{built:?}");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_refused_with_its_key_and_without_its_content() {
    let directory = directory("a_file_that_cannot_be_used");
    let path = |name: &str| directory.join(name).display().to_string();
    let broken = AUTHORITY.replacen("\nMI", "\n!!", 1);
    let cut = AUTHORITY.replace("-----END CERTIFICATE-----", "");
    let forged = "-----BEGIN CERTIFICATE-----\nc2VzYW1l\n-----END CERTIFICATE-----\n";
    let forged_key = "-----BEGIN PRIVATE KEY-----\nc2VzYW1l\n-----END PRIVATE KEY-----\n";
    for (name, content, mode) in [
        ("client.pem", CLIENT, 0o644),
        ("key.pem", CLIENT_KEY, 0o600),
        ("open-key.pem", CLIENT_KEY, 0o644),
        ("group-key.pem", CLIENT_KEY, 0o660),
        ("other-key.pem", OTHER_KEY, 0o600),
        ("encrypted-key.pem", ENCRYPTED_KEY, 0o600),
        ("two-keys.pem", &format!("{CLIENT_KEY}{OTHER_KEY}"), 0o600),
        ("forged-key.pem", forged_key, 0o600),
        ("words.pem", "sesame", 0o600),
        ("broken.pem", &broken, 0o644),
        ("cut.pem", &cut, 0o644),
        ("forged.pem", &format!("{AUTHORITY}{forged}"), 0o644),
        ("forged-first.pem", forged, 0o644),
    ] {
        file(&directory, name, content, mode);
    }
    let no_key =
        "must hold one private key in PEM, which is not encrypted: PKCS #8, PKCS #1 or SEC 1";
    let missing = "cannot be read: No such file or directory (os error 2)";
    let mut cases = Vec::new();
    for (name, problem) in [
        ("missing.pem", missing),
        ("", "is not a regular file"),
        ("words.pem", "holds no certificate in PEM"),
        ("key.pem", "holds no certificate in PEM"),
        ("broken.pem", "is not PEM; convert or replace it"),
        ("cut.pem", "is not PEM; convert or replace it"),
    ] {
        let said = format!("the file `{}` {problem}", path(name));
        cases.push((
            format!("ca_file = {:?}", path(name)),
            "ca_file",
            said.clone(),
        ));
        let keys = format!(
            "certificate_file = {:?}\nprivate_key = {{ file = {:?} }}",
            path(name),
            path("key.pem")
        );
        cases.push((keys, "certificate_file", said));
    }
    let said = format!(
        "certificate 2 of the file `{}` cannot be used; replace the file",
        path("forged.pem")
    );
    cases.push((
        format!("ca_file = {:?}", path("forged.pem")),
        "ca_file",
        said,
    ));
    let keys = format!(
        "certificate_file = {:?}\nprivate_key = {{ file = {:?} }}",
        path("forged-first.pem"),
        path("key.pem")
    );
    let said = format!(
        "certificate 1 of the file `{}` cannot be used; replace the file",
        path("forged-first.pem")
    );
    cases.push((keys, "certificate_file", said));
    for (name, problem) in [
        (
            "missing.pem",
            format!("the file `{}` {missing}", path("missing.pem")),
        ),
        (
            "open-key.pem",
            format!(
                "the file `{0}` is readable by every user of this machine (mode 0644); run `chmod 600 {0}`, or set `readable_by = \"everyone\"` beside `file`",
                path("open-key.pem")
            ),
        ),
        (
            "group-key.pem",
            format!(
                "the file `{0}` is writable by users other than its owner (mode 0660); run `chmod 600 {0}`",
                path("group-key.pem")
            ),
        ),
        (
            "other-key.pem",
            "does not belong to the first certificate of `certificate_file`".to_owned(),
        ),
        ("encrypted-key.pem", no_key.to_owned()),
        ("two-keys.pem", no_key.to_owned()),
        ("words.pem", no_key.to_owned()),
        (
            "forged-key.pem",
            "is not a private key that TLS can use; take RSA, ECDSA or Ed25519".to_owned(),
        ),
    ] {
        let keys = format!(
            "certificate_file = {:?}\nprivate_key = {{ file = {:?} }}",
            path("client.pem"),
            path(name)
        );
        cases.push((keys, "private_key", problem));
    }
    for (keys, key, problem) in cases {
        let refused = refusal(&oauth2("https://id.example.org/token", &keys)).await;
        let (_, said) = refused.split_once("endpoint.http.").expect(&refused);
        assert!(
            said.starts_with(&format!("{key}: {problem}")),
            "{keys}\n{said}"
        );
        assert!(
            !said.contains("c2VzYW1l") && !said.contains("sesame"),
            "{said}"
        );
    }
}
