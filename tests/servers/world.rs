//! The start of each test: a server, a relay before its token endpoint, and a session.

use std::sync::Arc;
use std::time::Duration;

use evertoken::{
    Builder, EndReason, Error, Event, Events, FileStore, OAuth2, OldPair, OnRequest,
    RefreshStrategy, Rejection, ServerProfile, Token, TokenManager, TokenPair,
};
use tempfile::TempDir;

use crate::judge::{CLIENT, First, Judge, Rules, Server};
use crate::relay::Relay;

pub(crate) struct World {
    judge: Arc<Judge>,
    pub(crate) server: Arc<Server>,
    pub(crate) relay: Relay,
    /// The first pair of a session that is not used by a manager yet.
    pub(crate) first: First,
}

impl World {
    pub(crate) async fn new(judge: &Arc<Judge>, rules: Rules) -> Self {
        let server = Arc::new(judge.server(rules).await);
        Self::of(judge, &server).await
    }

    /// Another session at the same server, with a relay of its own.
    pub(crate) async fn of(judge: &Arc<Judge>, server: &Arc<Server>) -> Self {
        Self {
            judge: Arc::clone(judge),
            server: Arc::clone(server),
            relay: Relay::start(&server.token_url(), &server.revocation_url()).await,
            first: server.sign_in().await,
        }
    }

    /// The client's endpoint, with the profile of the server.
    pub(crate) fn endpoint(&self) -> OAuth2 {
        let url = self.relay.token_url();
        let endpoint = OAuth2::new(url, CLIENT.id).expect("a URL of loopback");
        let endpoint = endpoint.revocation_url(self.relay.revocation_url());
        let old_pair = match self.judge.old_access_dies() {
            true => OldPair::AccessDiesAtRotation,
            false => OldPair::AccessLivesOn,
        };
        endpoint
            .expect("a URL of loopback")
            .client_secret(CLIENT.secret)
            .profile(ServerProfile::strict().old_pair(old_pair))
            .timeout(Duration::from_secs(8))
    }

    /// A manager whose session begins with the first pair.
    pub(crate) fn builder(&self, strategy: impl RefreshStrategy) -> Builder {
        TokenManager::builder(self.endpoint())
            .strategy(strategy)
            .seed(self.first.pair())
    }

    /// A manager that has only a refresh token, so its first call needs an exchange.
    pub(crate) fn refreshing(&self, token: &str) -> Builder {
        let seed = TokenPair::from_refresh_token(token);
        self.builder(OnRequest::default()).seed(seed)
    }

    /// A manager that stores its session in this directory.
    pub(crate) fn stored(&self, directory: &TempDir) -> Builder {
        self.builder(OnRequest::default()).store(store(directory))
    }

    /// A manager that has rotated once, so its record shows that this client works with this endpoint.
    pub(crate) async fn begun(&self) -> TokenManager {
        let tokens = self.builder(OnRequest::default()).jitter(0.0);
        let tokens = tokens.shortest_interval(SHORTEST_INTERVAL);
        let tokens = tokens.build().expect("the settings are valid");
        let rotated = tokens.rotate().await;
        rotated.expect("the relay passes the first rotation");
        tokens
    }

    /// Asserts the numbers of exchanges, of tokens that came twice among them, and of pairs that the server issued.
    #[track_caller]
    pub(crate) fn assert_exchanges(&self, exchanges: u64, repeated: u64, issued: u64) {
        let seen = self.relay.seen();
        let counted = (seen.exchanges, seen.repeated, seen.issued);
        assert_eq!(counted, (exchanges, repeated, issued), "{seen:?}");
    }

    /// Asserts that each refresh token reached the server once, and brought a pair.
    #[track_caller]
    pub(crate) fn assert_each_once(&self) {
        let exchanges = self.relay.seen().exchanges;
        self.assert_exchanges(exchanges, 0, exchanges);
    }

    /// Asserts this number of rotations: each refresh token reached the server once, and each brought a pair.
    #[track_caller]
    pub(crate) fn assert_rotations(&self, rotations: u64) {
        let seen = self.relay.seen();
        let counted = (seen.arrived, seen.exchanges, seen.repeated, seen.issued);
        assert_eq!(counted, (rotations, rotations, 0, rotations), "{seen:?}");
    }
}

/// The store of a session in this directory.
pub(crate) fn store(directory: &TempDir) -> FileStore {
    FileStore::new(directory.path().join("session")).expect("a directory of its own")
}

/// The shortest time between two rotations, for tests that do not wait for a second.
pub(crate) const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// Rejects the served token, as an API does.
pub(crate) async fn reject(tokens: &TokenManager) {
    let token = tokens.token().await.expect("a token is served");
    // The manager ignores the rejection of a token that was issued a moment ago.
    while tokens.reject(&token) == Rejection::TooSoon {
        tokio::time::sleep(SHORTEST_INTERVAL).await;
    }
}

/// Returns the answer to a caller whose token an API has rejected.
pub(crate) async fn without_a_token(tokens: &TokenManager) -> Result<Token, Error> {
    reject(tokens).await;
    tokens.token().await
}

/// Asserts that the server's refusal ended the session, in the server's words.
#[track_caller]
pub(crate) fn assert_rejected(answer: Result<Token, Error>) {
    let error = answer.expect_err("the server refuses");
    assert!(error.needs_sign_in() && !error.is_retryable(), "{error:?}");
    match error {
        Error::Ended {
            reason: EndReason::Rejected(word),
            ..
        } => assert_eq!(word.code(), Some("invalid_grant")),
        other => panic!("{other:?}"),
    }
}

/// Counts the rotations of this manager in the events so far.
pub(crate) fn rotated(events: &mut Events) -> u64 {
    let events = std::iter::from_fn(|| events.try_recv());
    events
        .filter(|event| matches!(event, Event::Rotated { .. }))
        .count() as u64
}
