//! What each refresh and access token is, as the server knows it: whose, and of which rotation.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use evertoken::testing::InProcessEndpoint;
use evertoken::{
    EndpointError, Grant, Issued, Key, ServerProfile, TokenEndpoint, TokenPair, async_trait,
};
use parking_lot::Mutex;

/// Whose token it is, and how many rotations of the session there were before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) owner: usize,
    pub(crate) rotation: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<HashMap<String, Place>>>);

impl Ledger {
    /// Notes the pair of this user's sign-in.
    pub(crate) fn signed_in(&self, owner: usize, pair: &TokenPair) {
        let place = Place { owner, rotation: 0 };
        let access = pair.access.as_ref().map(|it| it.expose());
        let refresh = pair.refresh.as_ref().map(|it| it.expose());
        self.note(place, [access, refresh]);
    }

    fn note(&self, place: Place, tokens: [Option<&str>; 2]) {
        let tokens = tokens.into_iter().flatten();
        let named = tokens.map(|token| (token.to_owned(), place));
        self.0.lock().extend(named);
    }

    /// The place of an access token or a refresh token.
    pub(crate) fn find(&self, token: &str) -> Place {
        self.0.lock()[token]
    }

    pub(crate) fn of(&self, pair: &TokenPair) -> Place {
        self.find(pair.refresh.as_ref().unwrap().expose())
    }

    /// The rotations of this user's session so far.
    pub(crate) fn rotations(&self, owner: usize) -> u64 {
        let places = self.0.lock();
        let own = places.values().filter(|place| place.owner == owner);
        own.map(|place| place.rotation).max().unwrap_or_default()
    }
}

/// The server's endpoint, whose answers the ledger notes.
#[derive(Debug, Clone)]
pub(crate) struct Noted {
    pub(crate) inner: InProcessEndpoint,
    pub(crate) ledger: Ledger,
}

#[async_trait]
impl TokenEndpoint for Noted {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        let Grant::Refresh { token, .. } = &grant else {
            return Err(EndpointError::refused("this endpoint has no sign-in"));
        };
        let Place { owner, rotation } = self.ledger.find(token.expose());
        let issued = self.inner.exchange(grant).await?;
        let access = issued.access.as_ref().map(|it| it.expose());
        let refresh = issued.refresh.as_ref().map(|it| it.expose());
        let rotation = rotation + 1;
        let place = Place { owner, rotation };
        self.ledger.note(place, [access, refresh]);
        Ok(issued)
    }

    async fn revoke(&self, pair: &TokenPair) -> Result<(), EndpointError> {
        self.inner.revoke(pair).await
    }

    fn profile(&self) -> ServerProfile {
        self.inner.profile()
    }

    fn timeout(&self) -> Duration {
        self.inner.timeout()
    }

    fn key(&self) -> Key {
        self.inner.key()
    }
}
