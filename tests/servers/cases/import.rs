//! `data_import` runs with a configuration file as its own documentation shows one.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;

use super::cases;
use crate::api::Api;
use crate::examples::example;
use crate::judge::{CLIENT, Judge, Rules};
use crate::world::World;

cases![an_import_outlives_its_tokens];

/// Records for batches of 50 ms: about ten seconds of work.
const RECORDS: u64 = 2_000;

async fn an_import_outlives_its_tokens(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::BRISK).await;
    let api = Api::start(Arc::clone(&world.server)).await;
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("import.toml");
    std::fs::write(&config, configuration(&judge, &world, &api)).unwrap();
    secret(&directory.path().join("client-secret"), CLIENT.secret);
    let first = directory.path().join("first-token");
    secret(&first, &world.first.refresh_token);

    let output = tokio::task::spawn_blocking(move || {
        let mut import = Command::new(example("data_import"));
        let arguments = "--json --workers 2 --batch 10 --records 2000 --config";
        import.args(arguments.split(' ')).arg(config);
        import.output().unwrap()
    });
    let output = output.await.unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], RECORDS, "{report}");
    assert_eq!(report["failed"], 0, "{report}");
    assert_eq!(report["session_ended"], Value::Null);
    assert_eq!(api.records(), RECORDS);
    let rotations = report["rotations"].as_u64().unwrap();
    // One rotation gets the first access token, and at least one more replaces that token when it expires.
    assert!(rotations >= 2, "{report}");
    world.assert_rotations(rotations);
}

fn configuration(judge: &Judge, world: &World, api: &Api) -> String {
    let old_pair = match judge.old_access_dies() {
        true => "access-dies-at-rotation",
        false => "access-lives-on",
    };
    format!(
        r#"
        [import]
        api_url = "{}"

        [refresh]
        strategy = "optimistic-early"

        [http]
        origins = ["{}"]

        [store]
        kind = "file"
        path = "session"

        [endpoint]
        token_url = "{}"
        client_id = "{}"
        client_secret = {{ file = "client-secret" }}

        [endpoint.server]
        old_pair = "{old_pair}"

        [seed]
        refresh_token = {{ file = "first-token" }}
        "#,
        api.url(),
        api.origin(),
        world.relay.token_url(),
        CLIENT.id,
    )
}

fn secret(path: &Path, secret: &str) {
    std::fs::write(path, secret).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}
