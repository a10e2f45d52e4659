//! The `servers` example as a process.

use std::path::Path;

use reqwest::{Client, Response};
use serde_json::{Value, json};

use super::processes::Servers;

async fn refresh(servers: &Servers, token: &str) -> Response {
    Client::new()
        .post(&servers.urls.token_url)
        .basic_auth("data-import", Some("of%20the%20embedded%20server"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("grant_type=refresh_token&refresh_token={token}"))
        .send()
        .await
        .unwrap()
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[cfg(unix)]
#[tokio::test]
async fn the_servers_program_serves_counts_signs_in_and_ends_on_request() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = "--remember-records --time-per-record 0s --latency 0s";
    let mut servers = Servers::start(directory.path(), arguments);
    let config = std::fs::read_to_string(&servers.config).unwrap();
    for needed in [&servers.urls.token_url, &servers.urls.api_url] {
        assert!(config.contains(&format!("\"{needed}\"")), "{config}");
    }
    assert!(config.contains("{ file = \""), "{config}");
    assert_eq!(mode(&servers.config), 0o600);
    assert_eq!(mode(&servers.seed_file), 0o600);

    let first = servers.seed();
    let holds = config.contains(&first);
    assert!(
        !holds,
        "the configuration holds a secret that it does not need"
    );
    let pair: Value = refresh(&servers, &first).await.json().await.unwrap();
    let access = pair["access_token"].as_str().unwrap();
    for _ in 0..2 {
        let request = Client::new().post(&servers.urls.api_url);
        let request = request.bearer_auth(access).body("a\x1Db\x1D");
        let request = request.header("idempotency-key", "\"1\"");
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    assert_eq!(refresh(&servers, &first).await.status(), 400, "strict");
    let expected = json!({
        "exchanges": 2, "rotations": 1, "replays": 1, "families_revoked": 1, "sign_ins": 0,
        "revocations": 0, "calls": 2, "records": 2, "distinct_records": 2, "duplicates": 1,
        "conflicts": 0, "unauthorized": 0, "anonymous": 0,
    });
    assert_eq!(servers.counters().await, expected);

    servers.ask("/sign-in").await;
    let second = servers.seed();
    assert_ne!(first, second);
    assert_eq!(refresh(&servers, &second).await.status(), 200);
    servers.ask("/sign-in").await;
    servers.ask("/revoke-all").await;
    assert_eq!(refresh(&servers, &servers.seed()).await.status(), 400);
    assert!(servers.process.terminate().success());
}

#[tokio::test]
async fn a_lenient_server_answers_a_token_again() {
    let directory = tempfile::tempdir().unwrap();
    let servers = Servers::start(directory.path(), "--reuse grace --grace 20s");
    let seed = servers.seed();
    for _ in 0..2 {
        assert_eq!(refresh(&servers, &seed).await.status(), 200);
    }
    let counters = servers.counters().await;
    assert_eq!(counters["replays"], 1);
    assert_eq!(counters["families_revoked"], 0);
}
