//! A Redis store from a configuration.

use evertoken::Config;
use evertoken::config::Registry;

use crate::{LEAST, directory, file, refusal, services};

/// The error for this table of a Redis store.
async fn refused(store: &str) -> String {
    refusal(&format!("[store]\nkind = \"redis\"\n{store}\n{LEAST}")).await
}

#[tokio::test]
async fn a_url_is_a_secret_that_is_not_shown() {
    for url in [
        "sesame",
        "redis://:open-sesame@127.0.0.1:1",
        "redis://:sesame@127.0.0.1/first",
    ] {
        let error = refused(&format!("url = \"{url}\"")).await;
        assert!(error.contains("line 3, column 1: store.url: "), "{error}");
        assert!(!error.contains("sesame"), "{error}");
    }
    let error = refused("url = { env = \"EVERTOKEN_NONE\" }").await;
    assert!(error.contains("`EVERTOKEN_NONE` is not set"), "{error}");
}

#[tokio::test]
async fn every_key_of_a_redis_store_arrives() {
    let server = services::Redis::start().unwrap_or_else(|missing| panic!("{missing}"));
    let directory = directory("redis");
    file(&directory, "url", &format!("{}\n", server.url()), 0o600);
    let store = "[store]\nkind = \"redis\"\nurl = { file = \"url\" }\nprefix = \"imports\"\nreplicas = 2\n\
                 replica_timeout = \"300ms\"";
    let config = Config::from_toml(&format!("{store}\n{LEAST}")).unwrap();
    let builder = config
        .relative_to(&directory)
        .builder(&Registry::builtin())
        .await;
    let shown = format!("{:?}", builder.unwrap());
    let expected = format!(
        "RedisStore {{ server: 127.0.0.1:{}, prefix: \"imports\", codec: Codec {{ seals: false }}, \
         replicas: Some(Replicas {{ count: 2, timeout: 300ms }}) }}",
        server.port()
    );
    assert!(shown.contains(&expected), "{shown}");
}
