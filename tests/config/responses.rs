//! A first pair from the answer of a token endpoint that a sign-in left in a file.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, UNIX_EPOCH};

use evertoken::clock::{Clock, SystemClock};
use evertoken::{
    Builder, Config, MemoryStore, OAuth2, RefreshExpiry, Registry, StoreError, TokenManager,
    TokenPair,
};

use crate::raw_server::{RawServer, Step, ok};
use crate::{LEAST, builder, directory, file};

const ANSWER: &str = r#"{"access_token":"a1","token_type":"Bearer","refresh_token":"r1","expires_in":3600,
    "refresh_expires_in":7200,"scope":"b a","id_token":"e30.e30.x"}"#;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The seed of a builder, printed.
fn seed_of(builder: &Builder) -> String {
    let shown = format!("{builder:#?}");
    let (_, seed) = shown.split_once("\n    seed: Some(").expect(&shown);
    let (seed, _) = seed.split_once("\n    ),").expect(&shown);
    seed.to_owned()
}

fn seeded(pair: TokenPair) -> String {
    let endpoint = OAuth2::new("https://id.example.org/token", "importer").unwrap();
    seed_of(&TokenManager::builder(endpoint).seed(pair))
}

async fn shown(seed: &str) -> String {
    let text = format!("{LEAST}\n[seed]\n{seed}");
    seed_of(&builder(&text).await.expect(&text))
}

/// A point in time in UTC, this long ago.
fn before_now(ago: Duration) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + SystemClock.wall() - ago).to_string()
}

#[tokio::test]
async fn of_an_answer_of_unknown_age_only_the_refresh_token_counts() {
    let directory = directory("an_answer_of_unknown_age");
    file(&directory, "answer.json", ANSWER, 0o600);
    let next = ok(r#"{"access_token":"a2","refresh_token":"r2","expires_in":60}"#);
    let server = RawServer::start([Step::AnswerAndClose(next)]).await;
    let text = format!(
        "[endpoint]\ntoken_url = \"{}\"\nclient_id = \"importer\"\n[seed]\nresponse = {{ file = \"answer.json\" }}",
        server.url("/token")
    );
    let config = Config::from_toml(&text).unwrap().relative_to(&directory);
    let tokens = config.connect(&Registry::builtin()).await.unwrap();
    assert_eq!(tokens.token().await.unwrap().expose(), "a2");
    let requests = server.requests().await;
    let sent = "grant_type=refresh_token&refresh_token=r1&client_id=importer";
    assert_eq!(
        requests.iter().map(|it| it.body()).collect::<Vec<_>>(),
        [sent]
    );
    let left = TokenPair::from_refresh_token("r1")
        .token_type("Bearer")
        .scope("a b");
    assert_eq!(
        shown(&format!("response = '''{ANSWER}'''")).await,
        seeded(left)
    );
}

/// The recipe of `docs/handover.md`: with a store that outlives the process, the answer may stay where it is.
#[tokio::test]
async fn after_a_restart_the_store_wins_over_the_answer_in_the_file() {
    let directory = directory("after_a_restart_the_store_wins");
    file(&directory, "answer.json", ANSWER, 0o600);
    let steps = [
        r#"{"access_token":"a2","refresh_token":"r2","expires_in":60}"#,
        r#"{"access_token":"a3","refresh_token":"r3","expires_in":60}"#,
    ];
    let server = RawServer::start(steps.map(|pair| Step::AnswerAndClose(ok(pair)))).await;
    let text = format!(
        "[store]\nkind = \"file\"\npath = \"session\"\n[endpoint]\ntoken_url = \"{}\"\nclient_id = \"importer\"\n\
         [seed]\nresponse = {{ file = \"answer.json\" }}",
        server.url("/token")
    );
    let config = Config::from_toml(&text).unwrap().relative_to(&directory);
    for _ in 0..2 {
        let tokens = config.connect(&Registry::builtin()).await.unwrap();
        assert_eq!(tokens.token().await.unwrap().expose(), "a2");
        tokens.shutdown().await.unwrap();
    }
    let requests = server.requests().await;
    let sent: Vec<_> = requests.iter().map(|it| it.body()).collect();
    let first = "grant_type=refresh_token&refresh_token=r1&client_id=importer";
    assert_eq!(sent, [first]);
}

/// A store may wait for its server. The time passes for the token as well.
#[tokio::test]
async fn the_age_of_an_answer_has_the_time_in_it_that_opening_the_store_takes() {
    #[derive(serde::Deserialize)]
    struct Nothing {}
    let opened_at = Arc::new(OnceLock::new());
    let opened = Arc::clone(&opened_at);
    let registry = Registry::builtin().store("slow", move |Nothing {}| {
        let opened = Arc::clone(&opened);
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            opened.set(SystemClock.wall()).unwrap();
            Ok::<_, StoreError>(MemoryStore::new())
        }
    });
    let received = before_now(seconds(600));
    let text = format!(
        "{LEAST}\n[store]\nkind = \"slow\"\n[seed]\nresponse = '''{ANSWER}'''\nreceived_at = \"{received}\""
    );
    let config = Config::from_toml(&text).unwrap();
    let tokens = config.connect(&registry).await.unwrap();
    assert_eq!(tokens.token().await.unwrap().expose(), "a1");
    let remaining = tokens.status().access_expires_in.unwrap();
    let received = humantime::parse_rfc3339(&received).unwrap();
    let received = received.duration_since(UNIX_EPOCH).unwrap();
    let most = seconds(3_600) - (*opened_at.get().unwrap() - received);
    assert!(remaining <= most, "{remaining:?} {most:?}");
}

/// A wrong seed is reported before anything waits for a store.
#[tokio::test]
async fn a_seed_that_cannot_be_read_is_refused_before_the_store_is_opened() {
    #[derive(serde::Deserialize)]
    struct Nothing {}
    let registry = Registry::builtin().store("slow", |Nothing {}| async {
        Err::<MemoryStore, _>("the store is away")
    });
    let text = format!(
        "{LEAST}\n[store]\nkind = \"slow\"\n[seed]\nresponse = {{ env = \"EVERTOKEN_NONE\" }}"
    );
    let config = Config::from_toml(&text).unwrap();
    let error = config.connect(&registry).await.map(|_| ()).unwrap_err();
    assert_eq!(error.path(), "seed.response");
}

#[tokio::test]
async fn an_access_token_alone_of_unknown_age_has_an_unknown_lifetime() {
    let seed = r#"response = '{"access_token":"a1","expires_in":3600}'"#;
    assert_eq!(shown(seed).await, seeded(TokenPair::new("a1")));
}

#[tokio::test]
async fn an_answer_of_known_age_is_a_pair_whose_lifetimes_count_from_the_receipt() {
    let text = format!(
        "{LEAST}\n[seed]\nresponse = '''{ANSWER}'''\nreceived_at = \"{}\"",
        before_now(seconds(600))
    );
    let config = Config::from_toml(&text).unwrap();
    let tokens = config.connect(&Registry::builtin()).await.unwrap();
    // The endpoint does not exist, so this is the token of the answer.
    assert_eq!(tokens.token().await.unwrap().expose(), "a1");
    let remaining = tokens.status().access_expires_in.unwrap();
    let limits = seconds(3_000 - 60)..=seconds(3_000);
    assert!(limits.contains(&remaining), "{remaining:?}");
}

#[tokio::test]
async fn an_answer_that_is_older_than_its_lifetimes_is_a_pair_that_has_expired() {
    let seed = format!("response = '''{ANSWER}'''\nreceived_at = \"2020-02-29T12:00:00.5Z\"");
    let pair = TokenPair::new("a1")
        .refresh_token("r1")
        .expires_in(Duration::ZERO)
        .refresh_expires_in(Duration::ZERO)
        .token_type("Bearer")
        .scope("a b");
    assert_eq!(shown(&seed).await, seeded(pair));
}

/// The clocks of two machines differ by a little.
#[tokio::test]
async fn a_receipt_within_the_next_minute_counts_as_now() {
    let soon = SystemClock.wall() + seconds(40);
    let soon = humantime::format_rfc3339_seconds(UNIX_EPOCH + soon);
    let seed = format!("response = '''{ANSWER}'''\nreceived_at = \"{soon}\"");
    let pair = TokenPair::new("a1")
        .refresh_token("r1")
        .expires_in(seconds(3_600))
        .refresh_expires_in(seconds(7_200))
        .token_type("Bearer")
        .scope("a b");
    assert_eq!(shown(&seed).await, seeded(pair));
}

/// No answer states whether a rotation prolongs the session, so the configuration may.
#[tokio::test]
async fn a_response_may_stand_beside_the_refresh_expiry() {
    let seed = "response = '{\"refresh_token\":\"r1\"}'\nrefresh_expiry = \"absolute\"";
    let pair = TokenPair::from_refresh_token("r1").refresh_expiry(RefreshExpiry::Absolute);
    assert_eq!(shown(seed).await, seeded(pair));
}
