//! A manager is light: one that waits for requests has no task of its own, and what needs a timer shares one. A token
//! that is quiet costs one load and one comparison: no lock, no wait, no allocation.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evertoken::testing::AuthorizationServer;
use evertoken::{
    BackgroundTimer, EndpointError, Events, Grant, Issued, Key, OnRequest, RefreshStrategy,
    Sessions, TokenEndpoint, TokenManager, TokenPair, async_trait,
};
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::task::yield_now;

const MANAGERS: usize = 1_000;

/// More steps than what has ended takes to be gone. There is no time in it: the runtime has one thread.
const STEPS: usize = 1_000;

/// Each with a session and a store of its own, and used once.
async fn used(strategy: impl RefreshStrategy + Copy) -> Vec<TokenManager> {
    let server = AuthorizationServer::builder().build();
    let mut managers = Vec::with_capacity(MANAGERS);
    for _ in 0..MANAGERS {
        let builder = TokenManager::builder(server.endpoint()).strategy(strategy);
        let tokens = builder.seed(server.issue()).build().unwrap();
        tokens.token().await.unwrap();
        managers.push(tokens);
    }
    managers
}

/// The tasks that there are once there are no more of them than `most`, or too many that do not end.
async fn tasks(most: usize) -> usize {
    let metrics = Handle::current().metrics();
    for _ in 0..STEPS {
        if metrics.num_alive_tasks() <= most {
            break;
        }
        yield_now().await;
    }
    metrics.num_alive_tasks()
}

#[tokio::test]
async fn a_manager_that_waits_for_requests_has_no_task() {
    let before = tasks(0).await;
    let managers = used(OnRequest::default()).await;
    assert_eq!(tasks(before).await, before, "after the first use");
    for tokens in &managers {
        tokens.rotate().await.unwrap();
    }
    assert_eq!(tasks(before).await, before, "after a rotation");
    drop(managers);
    assert_eq!(tasks(before).await, before, "after the last manager");
}

#[tokio::test]
async fn subscribers_of_all_managers_take_one_task() {
    let before = tasks(0).await;
    let managers = used(OnRequest::default()).await;
    let events: Vec<Events> = managers.iter().map(TokenManager::subscribe).collect();
    let most = before + 1;
    assert!(tasks(most).await <= most, "once they are subscribed to");
    for tokens in &managers {
        tokens.rotate().await.unwrap();
    }
    assert!(tasks(most).await <= most, "after a rotation");
    drop(managers);
    assert_eq!(tasks(before).await, before, "after the last manager");
    drop(events);
}

#[tokio::test]
async fn timers_of_all_managers_take_one_task() {
    let before = tasks(0).await;
    let managers = used(BackgroundTimer::default()).await;
    let most = before + 1;
    assert!(tasks(most).await <= most, "after the first use");
    for tokens in &managers {
        tokens.rotate().await.unwrap();
    }
    assert!(tasks(most).await <= most, "after a rotation");
    // One that is left keeps the timer.
    let mut managers = managers;
    managers.truncate(1);
    assert!(tasks(most).await <= most, "with one manager left");
    managers[0].rotate().await.unwrap();
    drop(managers);
    assert_eq!(tasks(before).await, before, "after the last manager");
}

/// A manager after its first use. Its access token has 1,000 bytes.
async fn warm() -> TokenManager {
    let server = AuthorizationServer::builder().build();
    let pair = TokenPair::new("x".repeat(1_000)).expires_in(Duration::from_secs(3_600));
    let builder = TokenManager::builder(server.endpoint()).seed(pair);
    let tokens = builder.build().unwrap();
    tokens.token().await.unwrap();
    tokens
}

#[tokio::test]
async fn a_warm_authorization_allocates_nothing() {
    let tokens = warm().await;
    // The first call of a thread deals it a copy of the header.
    tokens.authorization().await.unwrap();
    let counted = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            let header = tokens.authorization().now_or_never();
            let header = header.expect("does not wait").unwrap();
            assert_eq!(header.len(), 1_007);
        }
    });
    assert_eq!(counted.count_total, 0);
}

#[tokio::test]
async fn a_warm_token_allocates_nothing() {
    let tokens = warm().await;
    let counted = allocation_counter::measure(|| {
        let token = tokens.token().now_or_never().expect("does not wait");
        assert!(token.is_ok_and(|token| token.expose().len() == 1_000));
        assert!(tokens.try_token().is_ok());
    });
    assert_eq!(counted.count_total, 0);
}

/// The count is the counter's to make: it does see an allocation.
#[tokio::test]
async fn a_cold_authorization_is_seen_to_allocate() {
    let tokens = warm().await;
    let counted = allocation_counter::measure(|| {
        let header = tokens.authorization().now_or_never();
        let header = header.expect("does not wait").unwrap();
        assert_eq!(header.as_bytes().to_vec().len(), 1_007);
    });
    assert_eq!(counted.count_total, 1);
}

/// Without a manager, a session is its record in the store: signed in, and after more rotations than it remembers tokens of.
#[test]
fn a_session_at_rest_takes_at_most_700_bytes_besides_its_tokens() {
    const SESSIONS: usize = 1_000;
    const TOKENS: (usize, usize) = (800, 200);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let sessions = runtime.block_on(async { Sessions::builder(Issuer).build().unwrap() });
    let manager = |number: usize| sessions.manager(sessions.key().tenant(number.to_string()));
    let mut bytes = 0;
    for rotations in [0, 10] {
        let counted = allocation_counter::measure(|| {
            runtime.block_on(async {
                for number in 0..SESSIONS {
                    if rotations == 0 {
                        manager(number).replace(Issuer.pair()).await.unwrap();
                    }
                    for _ in 0..rotations {
                        manager(number).rotate().await.unwrap();
                    }
                }
                assert_eq!(tasks(0).await, 0);
            });
        });
        assert_eq!(sessions.in_memory(), 0);
        bytes += counted.bytes_current;
        let tokens = (TOKENS.0 + TOKENS.1) * SESSIONS;
        let each = (bytes - i64::try_from(tokens).unwrap()) / SESSIONS as i64;
        assert!(each <= 700, "{each} bytes after {rotations} rotations");
    }
}

/// Issues different tokens of 800 and of 200 bytes.
#[derive(Debug, Clone, Copy)]
struct Issuer;

impl Issuer {
    fn pair(self) -> TokenPair {
        let (access, refresh) = Self::tokens();
        TokenPair::new(access)
            .refresh_token(refresh)
            .expires_in(Duration::from_secs(3_600))
    }

    fn tokens() -> (String, String) {
        static ISSUED: AtomicU64 = AtomicU64::new(0);
        let number = ISSUED.fetch_add(1, Ordering::Relaxed);
        // The buffers are of the tokens' own size.
        let exact = |text: String| text.into_boxed_str().into_string();
        (
            exact(format!("{number:0800}")),
            exact(format!("{number:0200}")),
        )
    }
}

#[async_trait]
impl TokenEndpoint for Issuer {
    async fn exchange(&self, _: Grant<'_>) -> Result<Issued, EndpointError> {
        let (access, refresh) = Self::tokens();
        let issued = Issued::new(access).refresh_token(refresh);
        Ok(issued.expires_in(Duration::from_secs(3_600)))
    }

    fn key(&self) -> Key {
        Key::new("https://id.example.org/token", "service")
    }
}
