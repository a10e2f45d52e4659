//! A server, a relay before its token endpoint, and a session: what tests start from.

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
    /// The first pair of a session that no manager has begun yet.
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

    /// The client, with what is known of the server.
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

    /// A manager that has rotated once, so that its record knows that this client works here.
    pub(crate) async fn begun(&self) -> TokenManager {
        let tokens = self.builder(OnRequest::default()).jitter(0.0);
        let tokens = tokens.shortest_interval(SHORTEST_INTERVAL);
        let tokens = tokens.build().expect("its settings hold together");
        tokens.rotate().await.expect("nothing is in the way yet");
        tokens
    }

    /// Each refresh token reached the server once, and each brought a pair: so many of them.
    #[track_caller]
    pub(crate) fn assert_rotations(&self, rotations: u64) {
        let seen = self.relay.seen();
        let counted = (seen.arrived, seen.exchanges, seen.repeated, seen.issued);
        assert_eq!(counted, (rotations, rotations, 0, rotations), "{seen:?}");
    }
}

/// Between two rotations, for tests that do not wait for a second.
pub(crate) const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// An API rejects the token that is served.
pub(crate) async fn reject(tokens: &TokenManager) {
    let token = tokens.token().await.expect("it is served");
    // One that was issued in the last moment is served on.
    while tokens.reject(&token) == Rejection::TooSoon {
        tokio::time::sleep(SHORTEST_INTERVAL).await;
    }
}

/// What a caller gets whose token an API has rejected.
pub(crate) async fn without_a_token(tokens: &TokenManager) -> Result<Token, Error> {
    reject(tokens).await;
    tokens.token().await
}

/// The server's refusal ended the session.
#[track_caller]
pub(crate) fn assert_rejected(answer: Result<Token, Error>) {
    let error = answer.expect_err("the server refuses");
    let is_rejected = matches!(&error, Error::Ended { reason, .. } if reason.is_rejected());
    let is_final = error.needs_sign_in() && !error.is_retryable();
    assert!(is_rejected && is_final, "{error:?}");
}

/// How often this manager rotated, of what has happened so far.
pub(crate) fn rotated(events: &mut Events) -> u64 {
    let events = std::iter::from_fn(|| events.try_recv());
    events
        .filter(|event| matches!(event, Event::Rotated { .. }))
        .count() as u64
}
