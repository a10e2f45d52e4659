//! A first pair from the answer of a token endpoint that a sign-in left in a file.

use std::time::{Duration, UNIX_EPOCH};

use evertoken::clock::{Clock, SystemClock};
use evertoken::{Builder, Config, OAuth2, RefreshExpiry, Registry, TokenManager, TokenPair};

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
