//! The start of each test: a server, a relay before its token endpoint, and a session.

use std::sync::Arc;
use std::time::Duration;

use evertoken::{
    Builder, Error, Event, Events, OAuth2, OldPair, OnRequest, RefreshStrategy, Rejection,
    ServerProfile, Token, TokenManager,
};

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
        let endpoint = endpoint
            .client_secret(CLIENT.secret)
            .profile(self.profile());
        let endpoint = endpoint.revocation_url(self.relay.revocation_url());
        endpoint
            .expect("a URL of loopback")
            .timeout(Duration::from_secs(8))
    }

    pub(crate) fn profile(&self) -> ServerProfile {
        let old_pair = match self.judge.old_access_dies() {
            true => OldPair::AccessDiesAtRotation,
            false => OldPair::AccessLivesOn,
        };
        ServerProfile::strict().old_pair(old_pair)
    }

    /// A manager whose session begins with the first pair.
    pub(crate) fn builder(&self, strategy: impl RefreshStrategy) -> Builder {
        TokenManager::builder(self.endpoint())
            .strategy(strategy)
            .seed(self.first.pair())
    }

    /// A manager that has rotated once, so its record shows that this client works with this endpoint.
    pub(crate) async fn begun(&self) -> TokenManager {
        let tokens = self.builder(OnRequest::default()).jitter(0.0);
        let tokens = tokens.shortest_interval(SHORTEST_INTERVAL);
        let tokens = tokens.build().expect("the settings are valid");
        tokens
            .rotate()
            .await
            .expect("the relay passes the first rotation");
        tokens
    }

    /// Asserts this number of rotations: each refresh token reached the server once, and each brought a pair.
    #[track_caller]
    pub(crate) fn assert_rotations(&self, rotations: u64) {
        let seen = self.relay.seen();
        let counted = (seen.arrived, seen.exchanges, seen.repeated, seen.issued);
        assert_eq!(counted, (rotations, rotations, 0, rotations), "{seen:?}");
    }
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

/// Asserts that the server's refusal ended the session.
#[track_caller]
pub(crate) fn assert_rejected(answer: Result<Token, Error>) {
    let error = answer.expect_err("the server refuses");
    let is_rejected = matches!(&error, Error::Ended { reason, .. } if reason.is_rejected());
    let is_final = error.needs_sign_in() && !error.is_retryable();
    assert!(is_rejected && is_final, "{error:?}");
}

/// Counts the rotations of this manager in the events so far.
pub(crate) fn rotated(events: &mut Events) -> u64 {
    let events = std::iter::from_fn(|| events.try_recv());
    events
        .filter(|event| matches!(event, Event::Rotated { .. }))
        .count() as u64
}
