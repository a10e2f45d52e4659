//! Whatever cannot be meant is refused, with where it is and what is allowed there.

use crate::{LEAST, refusal};

#[tokio::test]
async fn a_key_that_is_none_is_told_with_those_that_are() {
    for (text, message) in [
        (
            r#"[refersh]
wait = "35s""#,
            "line 1, column 2: refersh: is not a key; allowed here: `refresh`, `http`, `store`, `endpoint`, `session`, `seed`",
        ),
        (
            r#"[refresh]
wiat = "35s""#,
            "line 2, column 1: refresh.wiat: is not a key; allowed here: `strategy`, `coordination`, `persistence`, `wait`, `leeway`, `jitter`, `lease_duration`, `cool_down`, `shortest_interval`, `poll_interval`, `expiring_before`, `ended_before`",
        ),
        (
            r#"[refresh.cool_down]
shortest = "1s""#,
            "line 2, column 1: refresh.cool_down.shortest: is not a key; allowed here: `early`, `expired`, `longest`, `retry_after_limit`",
        ),
        (
            r#"[refresh]
strategy = { kind = "optimistic-early", windw = "60s" }"#,
            "line 2, column 41: refresh.strategy.windw: is not a key of `optimistic-early`; allowed here: `window`, `on_expiry`, `kind`",
        ),
        (
            "[refresh]\npersistence = { length = 1024 }",
            "line 2, column 17: refresh.persistence.length: is not a key; allowed here: `workers`, `queue`, `retries`, `on_store_failure`",
        ),
        (
            r#"[store]
path = "session""#,
            "line 2, column 1: store.path: is not a key of `memory`; allowed here: `kind`, `timeout`",
        ),
        (
            "[session]\nscopes = 5",
            "line 2, column 1: session.scopes: is not a key; allowed here: `issuer`, `client_id`, `tenant`, `subject`, `scope`, `audience`, `label`",
        ),
    ] {
        assert_eq!(
            refusal(&format!("{text}\n{LEAST}")).await,
            message,
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_name_that_nobody_registered_is_told_with_those_that_are_known() {
    for (text, message) in [
        (
            r#"[refresh]
strategy = "on-requst""#,
            "line 2, column 1: refresh.strategy: `on-requst` is not a known strategy; choose one of `background-timer`, `on-request`, `optimistic-early`",
        ),
        (
            r#"[refresh]
strategy = { kind = "timer" }"#,
            "line 2, column 14: refresh.strategy.kind: `timer` is not a known strategy; choose one of `background-timer`, `on-request`, `optimistic-early`",
        ),
        (
            "[refresh]\nstrategy = { kind = 3 }",
            "line 2, column 14: refresh.strategy.kind: is an integer, but must be a string",
        ),
        (
            r#"[store]
kind = "etcd"
url = "http://127.0.0.1:2379""#,
            "line 2, column 1: store.kind: `etcd` is not a known store; choose one of `file`, `memory`, `postgres`, `redis`",
        ),
    ] {
        assert_eq!(
            refusal(&format!("{text}\n{LEAST}")).await,
            message,
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_value_of_the_wrong_kind_is_told_with_the_right_kind() {
    for (text, message) in [
        (
            "[refresh]\nstrategy = 3",
            "line 2, column 1: refresh.strategy: is an integer, but must be a table or a name",
        ),
        (
            r#"[refresh]
strategy = { kind = "optimistic-early", on_expiry = "logout" }"#,
            "line 2, column 41: refresh.strategy.on_expiry: must be `rotate` or `end`",
        ),
        (
            r#"[refresh]
coordination = "lock""#,
            "line 2, column 1: refresh.coordination: must be `lease` or `none`",
        ),
        (
            "[refresh]\ncoordination = 1",
            "line 2, column 1: refresh.coordination: must be `lease` or `none`",
        ),
        (
            "[refresh]\nwait = 35",
            r#"line 2, column 1: refresh.wait: is an integer, but must be a duration with a unit, such as "10s", "500ms" or "1h 30m""#,
        ),
        (
            r#"[refresh]
wait = "10""#,
            r#"line 2, column 1: refresh.wait: must be a duration with a unit, such as "10s", "500ms" or "1h 30m""#,
        ),
        (
            r#"[refresh]
wait = "-1s""#,
            r#"line 2, column 1: refresh.wait: must be a duration with a unit, such as "10s", "500ms" or "1h 30m""#,
        ),
        (
            r#"[refresh]
leeway = "10 parsecs""#,
            r#"line 2, column 1: refresh.leeway: must be a duration with a unit, such as "10s", "500ms" or "1h 30m""#,
        ),
        (
            r#"[refresh]
leeway = "200 years""#,
            "line 2, column 1: refresh.leeway: must not be longer than 100 years",
        ),
        (
            r#"[refresh]
jitter = "0.1""#,
            "line 2, column 1: refresh.jitter: is a string, but must be a number",
        ),
        (
            "[refresh]\npersistence = { workers = true }",
            "line 2, column 17: refresh.persistence.workers: is a boolean, but must be an integer from 0 to 4294967295",
        ),
        (
            "[refresh]\npersistence = { workers = -1 }",
            "line 2, column 17: refresh.persistence.workers: must be an integer from 0 to 4294967295",
        ),
        (
            r#"[refresh]
persistence = { on_store_failure = "panic" }"#,
            "line 2, column 17: refresh.persistence.on_store_failure: must be `serve` or `fail`",
        ),
        (
            r#"[http]
origins = "https://a.example.org""#,
            "line 2, column 1: http.origins: is a string, but must be a list",
        ),
        (
            "[store]\ntimeout = 5",
            r#"line 2, column 1: store.timeout: is an integer, but must be a duration with a unit, such as "10s", "500ms" or "1h 30m""#,
        ),
        (
            "store = 5",
            "line 1, column 1: store: is an integer, but must be a table or a name",
        ),
        (
            "[session]\nissuer = 5",
            "line 2, column 1: session.issuer: is an integer, but must be a string",
        ),
    ] {
        assert_eq!(
            refusal(&format!("{text}\n{LEAST}")).await,
            message,
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_value_out_of_its_range_is_told_with_the_range() {
    for (text, message) in [
        (
            r#"[refresh]
strategy = { kind = "background-timer", at_fraction = 1.5 }"#,
            "line 2, column 41: refresh.strategy.at_fraction: must be more than 0 and at most 1",
        ),
        (
            r#"[refresh]
strategy = { kind = "on-request", at_fraction = 0 }"#,
            "line 2, column 35: refresh.strategy.at_fraction: must be more than 0 and at most 1",
        ),
        (
            r#"[refresh]
strategy = { kind = "on-request", at_fraction = nan }"#,
            "line 2, column 35: refresh.strategy.at_fraction: must be more than 0 and at most 1",
        ),
        (
            r#"[refresh]
strategy = { kind = "optimistic-early", window = "0s" }"#,
            "line 2, column 41: refresh.strategy.window: must be longer than zero",
        ),
        (
            r#"[refresh]
wait = "30s""#,
            "line 2, column 1: refresh.wait: must be longer than the endpoint's timeout of 30 s",
        ),
        (
            r#"[refresh]
lease_duration = "45s""#,
            "line 2, column 1: refresh.lease_duration: must be longer than 45 s: the endpoint's timeout, twice the store's timeout (5 s at least), and 5 s",
        ),
        (
            "[refresh]\njitter = 0.9",
            "line 2, column 1: refresh.jitter: must be between 0 and 0.5",
        ),
        (
            "[refresh]\njitter = nan",
            "line 2, column 1: refresh.jitter: must be between 0 and 0.5",
        ),
        (
            r#"[refresh]
poll_interval = "0s""#,
            "line 2, column 1: refresh.poll_interval: must be at least 0.01 s",
        ),
        (
            r#"[refresh]
shortest_interval = "1ms""#,
            "line 2, column 1: refresh.shortest_interval: must be at least 0.01 s",
        ),
        (
            r#"[refresh.cool_down]
early = "2m""#,
            "line 1, column 10: refresh.cool_down.longest: must not be shorter than the first pauses, `early` and `expired`",
        ),
        (
            r#"[refresh.cool_down]
expired = "0s""#,
            "line 2, column 1: refresh.cool_down.expired: must be at least 0.01 s",
        ),
        (
            r#"[http]
origins = ["https://a.example.org", "https://b.example.org/records"]"#,
            "line 2, column 37: http.origins[1]: must have no path, query, user name or password; write it as https://host[:port]",
        ),
        (
            "[http]\nreject_on = [401, 99]",
            "line 2, column 19: http.reject_on[1]: must be the status of an error, from 400 to 599",
        ),
        (
            "[http]\nreject_on = [200]",
            "line 2, column 14: http.reject_on[0]: must be the status of an error, from 400 to 599",
        ),
        (
            r#"[http]
header = "X Okapi Token""#,
            r#"line 2, column 1: http.header: must be the name of a header, such as "X-Okapi-Token""#,
        ),
        (
            r#"[store]
kind = "file""#,
            "line 1, column 2: store.path: is missing",
        ),
        (
            r#"[store]
kind = "file"
path = """#,
            "line 3, column 1: store.path: must not be an empty path",
        ),
        (
            r#"[store]
kind = "postgres""#,
            "line 1, column 2: store.url: is missing",
        ),
        (
            r#"[store]
kind = "postgres"
path = "session""#,
            "line 3, column 1: store.path: is not a key of `postgres`; allowed here: `url`, `retention`, `kind`, `timeout`",
        ),
        #[cfg(not(feature = "postgres"))]
        (
            r#"[store]
kind = "postgres"
url = "postgres://user:password@127.0.0.1/tokens""#,
            "line 2, column 1: store.kind: `postgres` requires evertoken's feature `postgres`; build the program with it",
        ),
        #[cfg(feature = "postgres")]
        (
            r#"[store]
kind = "postgres"
url = "user:password@127.0.0.1""#,
            "line 3, column 1: store.url: the URL of the database must begin with postgres://",
        ),
        (
            r#"[store]
timeout = "0s""#,
            "line 2, column 1: store.timeout: must not be zero",
        ),
    ] {
        assert_eq!(
            refusal(&format!("{text}\n{LEAST}")).await,
            message,
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_first_pair_that_is_none_is_refused() {
    for (text, message) in [
        (
            "[seed]",
            "line 1, column 2: seed: must have `refresh_token` or `access_token`, or both",
        ),
        (
            "[seed]\nrefresh_token = 5",
            r#"line 2, column 1: seed.refresh_token: must be `{ env = "NAME" }`, `{ file = "path" }`, or the secret as a string"#,
        ),
        (
            r#"[seed]
refresh_token = "a"
expires_in = "5m""#,
            "line 3, column 1: seed.expires_in: requires `access_token`; set `access_token`, or remove this key",
        ),
        (
            r#"[seed]
refresh_token = """#,
            "line 2, column 1: seed.refresh_token: the secret is empty",
        ),
        (
            r#"[seed]
refresh_token = { file = "" }"#,
            "line 2, column 1: seed.refresh_token: must not be an empty path",
        ),
        (
            r#"[seed]
refresh_token = { env = "EVERTOKEN_NOT_SET" }"#,
            "line 2, column 1: seed.refresh_token: the environment variable `EVERTOKEN_NOT_SET` is not set",
        ),
        (
            r#"[seed]
refresh_token = { file = "/nonexistent/token" }"#,
            "line 2, column 1: seed.refresh_token: the file `/nonexistent/token` cannot be read: No such file or directory (os error 2)",
        ),
        (
            r#"[seed]
refresh_token = { env = "A", file = "b" }"#,
            r#"line 2, column 1: seed.refresh_token: must be `{ env = "NAME" }`, `{ file = "path" }`, or the secret as a string"#,
        ),
        (
            r#"[seed]
refresh_token = "a"
refresh_expires_in = "0s""#,
            "line 3, column 1: seed.refresh_expires_in: must be longer than zero",
        ),
        (
            r#"[seed]
refresh_token = "a"
refresh_expiry = "endless""#,
            "line 3, column 1: seed.refresh_expiry: must be `sliding` or `absolute`",
        ),
    ] {
        assert_eq!(
            refusal(&format!("{text}\n{LEAST}")).await,
            message,
            "{text}"
        );
    }
}

#[tokio::test]
async fn toml_that_is_none_is_told_with_line_and_column() {
    for (text, message) in [
        (
            r#"[refresh]
wait = "35s"
wait = "40s""#,
            "line 3, column 1: is not TOML: duplicate key",
        ),
        (
            r#"[refresh
wait = "35s""#,
            "line 1, column 9: is not TOML: unclosed table, expected `]`",
        ),
    ] {
        assert_eq!(refusal(text).await, message, "{text}");
    }
}
