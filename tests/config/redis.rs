//! Records in Redis, from a configuration.

use crate::{LEAST, refusal};

/// What `[store]` is refused with, after its line.
async fn refused(store: &str) -> String {
    refusal(&format!("[store]\nkind = \"redis\"\n{store}\n{LEAST}")).await
}

#[tokio::test]
async fn its_keys_are_told() {
    assert_eq!(
        refused("urls = 1").await,
        "line 3, column 1: store.urls: is not a key of `redis`; allowed here: `url`, `prefix`, `replicas`, \
         `replica_timeout`, `kind`, `timeout`"
    );
    let error = refused("").await;
    assert!(error.contains("store.url: "), "{error}");
    for (wrong, place) in [
        ("url = 5", "store.url"),
        ("url = \"\"\nreplicas = -1", "store.replicas"),
        ("url = \"\"\nreplicas = \"two\"", "store.replicas"),
        (
            "url = \"\"\nreplica_timeout = \"0s\"",
            "store.replica_timeout",
        ),
        ("url = \"\"\nprefix = 5", "store.prefix"),
    ] {
        let error = refused(wrong).await;
        assert!(error.contains(&format!("{place}: ")), "{wrong}: {error}");
    }
}

#[cfg(not(feature = "redis"))]
#[tokio::test]
async fn without_the_feature_it_is_told_which_one_is_missing() {
    assert_eq!(
        refused("url = \"redis://127.0.0.1\"").await,
        "line 2, column 1: store.kind: `redis` requires evertoken's feature `redis`; build the program with it"
    );
}

#[cfg(feature = "redis")]
mod with_the_feature {
    use evertoken::Config;
    use evertoken::config::Registry;

    use super::refused;
    use crate::{LEAST, directory, file, services};

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
    async fn a_time_for_replicas_without_any_is_refused() {
        let error = refused("url = \"redis://127.0.0.1:1\"\nreplica_timeout = \"1s\"").await;
        assert!(
            error.contains("line 4, column 1: store.replica_timeout: "),
            "{error}"
        );
    }

    #[tokio::test]
    async fn all_of_it_is_what_it_says() {
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
}
