//! The store by its name in a configuration.

use std::time::Duration;

use evertoken::Config;
use evertoken::config::Registry;
use evertoken::testing::AuthorizationServer;

use crate::scene::{Database, STORED};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_names_the_database_by_a_secret() {
    let database = Database::new();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("url");
    std::fs::write(&file, format!("{}\n", database.url)).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let ttl = Duration::from_secs(600);
    let server = AuthorizationServer::builder().access_ttl(ttl).build();
    let first = server.issue();
    let refresh = first.refresh.as_ref().unwrap().expose();
    let text = format!(
        r#"
        [refresh]
        shortest_interval = "10ms"
        [store]
        kind = "postgres"
        url = {{ file = "url" }}
        retention = "1ms"
        [seed]
        refresh_token = "{refresh}"
        "#
    );
    let config = Config::from_toml(&text)
        .unwrap()
        .relative_to(directory.path());
    let builder = config
        .builder_for(server.endpoint(), &Registry::builtin())
        .await;
    let builder = builder.unwrap();
    let shown = format!("{builder:?}");
    for part in ["PostgresStore", "retention: 1ms"] {
        assert!(shown.contains(part), "{shown}");
    }
    assert!(!shown.contains("postgres://"), "{shown}");
    let tokens = builder.build().unwrap();
    let mut token = tokens.token().await.unwrap();
    for _ in 0..5 {
        token = tokens.rotate().await.unwrap();
    }
    assert_eq!(server.exchanges(), 6);
    assert_eq!(database.sql(STORED), token.expose());
}
