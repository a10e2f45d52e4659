//! Every key has its effect, in every format.

use std::time::Duration;

use evertoken::{
    ApiProfile, Bare400, ClientAuth, Codes, Config, CoolDown, Coordination, Key, OAuth2, OldPair,
    OnExpiry, OnStoreFailure, OptimisticEarly, Persistence, RefreshExpiry, Registry, Resend,
    ResendAfterSilence, ServerProfile, TokenManager, TokenPair, TokenReuse,
};
use http::{HeaderName, StatusCode};

use crate::builder;

/// A configuration that sets every key to a value other than its default.
const FULL: &str = r#"
[refresh]
strategy = { kind = "optimistic-early", window = "90s", on_expiry = "end" }
coordination = "none"
wait = "36s"
leeway = "11s"
jitter = 0.1
lease_duration = "1m 1s"
shortest_interval = "900ms"
poll_interval = "4s"
expiring_before = "50s"
ended_before = "300ms"
on_store_failure = "fail"
[refresh.persistence]
workers = 0
queue = 512
retries = 7
[refresh.cool_down]
early = "5s"
expired = "3s"
longest = "70s"
retry_after_limit = "2h"
[http]
origins = ["https://api.example.org", "http://127.0.0.1:8080"]
reject_on = [401, 403]
header = "X-Okapi-Token"
gateway_unavailable = true
[store]
kind = "memory"
timeout = "6s"
[endpoint]
kind = "oauth2"
token_url = "https://id.example.org/token"
client_id = "importer"
client_secret = "sesame"
client_auth = "post"
scope = "records.write records.read"
revocation_url = "https://id.example.org/revoke"
timeout = "31s"
body_limit = 131072
sign_in = { username = "ada", password = "sesame" }
[endpoint.codes]
dead = ["invalid_request"]
later = ["quota"]
user = ["mfa_required"]
client = ["server_error"]
bare_400 = "dead"
[endpoint.http]
proxy = "none"
headers = { X-Gateway-Key = "sesame" }
user_agent = "import/7"
[endpoint.server]
resend = "when-unavailable"
resend_after_silence = "lease-duration"
old_pair = "dies-at-first-use"
reuse = "answered"
[session]
issuer = "https://id.example.org"
client_id = "importers"
tenant = "diku"
subject = "grace"
scope = ["records.read"]
audience = "records"
label = "nightly"
[seed]
refresh_token = "first-refresh"
access_token = "first-access"
expires_in = "5m"
refresh_expires_in = "7days"
refresh_expiry = "absolute"
"#;

/// [`FULL`], with the keys that need a feature.
fn full() -> String {
    if !cfg!(feature = "rustls") {
        return FULL.to_owned();
    }
    let key = include_str!("tls/client-key.pem");
    let tls = format!(
        "[endpoint.http]\nca_file = \"tests/config/tls/authority.pem\"\n\
         certificate_file = \"tests/config/tls/client.pem\"\nprivate_key = {key:?}"
    );
    FULL.replacen("[endpoint.http]", &tls, 1)
}

async fn shown(text: &str) -> String {
    format!("{:#?}", builder(text).await.expect(text))
}

#[tokio::test]
async fn every_key_arrives_where_its_setter_would_put_it() {
    let seconds = Duration::from_secs;
    let endpoint = OAuth2::new("https://id.example.org/token", "importer")
        .unwrap()
        .client_secret("sesame")
        .client_auth(ClientAuth::Post)
        .scope("records.write records.read")
        .timeout(seconds(31))
        .body_limit(131_072)
        .codes(
            Codes::default()
                .dead(["invalid_request"])
                .later(["quota"])
                .user(["mfa_required"])
                .client(["server_error"])
                .bare_400(Bare400::Dead),
        )
        .sign_in_with_password("ada", "sesame")
        .profile(
            ServerProfile::strict()
                .resend(Resend::WhenUnavailable)
                .resend_after_silence(ResendAfterSilence::LeaseDuration)
                .old_pair(OldPair::DiesAtFirstUse)
                .reuse(TokenReuse::Answered),
        );
    let by_hand = TokenManager::builder(endpoint)
        .strategy(
            OptimisticEarly::default()
                .window(seconds(90))
                .on_expiry(OnExpiry::End),
        )
        .coordination(Coordination::None)
        .wait(seconds(36))
        .leeway(seconds(11))
        .jitter(0.1)
        .lease_duration(seconds(61))
        .shortest_interval(Duration::from_millis(900))
        .poll_interval(seconds(4))
        .expiring_before(seconds(50))
        .ended_before(Duration::from_millis(300))
        .persistence(Persistence::write_behind(0).queue(512).retries(7))
        .on_store_failure(OnStoreFailure::Fail)
        .cool_down(
            CoolDown::default()
                .early(seconds(5))
                .expired(seconds(3))
                .longest(seconds(70))
                .retry_after_limit(seconds(7_200)),
        )
        .origin("https://api.example.org")
        .origin("http://127.0.0.1:8080")
        .api(
            ApiProfile::default()
                .reject_on([StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN])
                .gateway_unavailable(true),
        )
        .header(HeaderName::from_static("x-okapi-token"))
        .store_timeout(seconds(6))
        .key(
            Key::new("https://id.example.org", "importers")
                .tenant("diku")
                .subject("grace")
                .scope("records.read")
                .audience("records")
                .label("nightly"),
        )
        .seed(
            TokenPair::new("first-access")
                .refresh_token("first-refresh")
                .expires_in(seconds(300))
                .refresh_expires_in(seconds(7 * 86_400))
                .refresh_expiry(RefreshExpiry::Absolute),
        );
    assert_eq!(shown(&full()).await, format!("{by_hand:#?}"));
}

/// Removing any key changes the builder: every key has an effect, and no value above equals its default.
#[tokio::test]
async fn every_key_changes_the_builder() {
    let text = full();
    let full = shown(&text).await;
    // Keys such as `kind` whose value is the default, and what is not shown: secrets, and what is set on the HTTP client.
    // Other tests see these arrive at the server.
    let without_trace = [
        "kind",
        "workers",
        "client_secret",
        "revocation_url",
        "ca_file",
        "proxy",
        "headers",
        "user_agent",
    ];
    let mut keys = 0;
    for line in text.lines().filter(|line| line.contains(" = ")) {
        let (key, _) = line.split_once(" = ").unwrap();
        let Ok(builder) = builder(&text.replacen(line, "", 1)).await else {
            keys += 1;
            continue;
        };
        let differs = format!("{builder:#?}") != full;
        assert_eq!(differs, !without_trace.contains(&key), "{line}");
        keys += 1;
    }
    assert!(keys >= 55, "{keys}");
}

#[tokio::test]
async fn every_format_gives_the_same_builder() {
    let text = full();
    let full = shown(&text).await;
    let table: toml::Table = toml::from_str(&text).unwrap();
    let json = serde_json::to_string_pretty(&table).unwrap();
    for config in [
        Config::from_json(&json).unwrap(),
        serde_json::from_str(&json).unwrap(),
        serde_json::from_value(serde_json::from_str(&json).unwrap()).unwrap(),
        toml::from_str(&text).unwrap(),
        table.try_into().unwrap(),
    ] {
        let builder = config.builder(&Registry::builtin()).await.unwrap();
        assert_eq!(format!("{builder:#?}"), full);
    }
}

#[tokio::test]
async fn a_null_counts_as_an_absent_key() {
    let json = r#"{
        "refresh": {
            "strategy": {"kind": "on-request", "at_fraction": null},
            "wait": null,
            "jitter": null,
            "cool_down": {"early": null, "longest": null},
            "persistence": {"workers": null, "queue": null}
        },
        "http": {"header": null},
        "store": null,
        "endpoint": {"token_url": "https://id.example.org/token", "client_id": "importer", "scope": null},
        "seed": null
    }"#;
    let config = Config::from_json(json).unwrap();
    let builder = config.builder(&Registry::builtin()).await.unwrap();
    assert_eq!(format!("{builder:#?}"), shown(crate::LEAST).await);
}
