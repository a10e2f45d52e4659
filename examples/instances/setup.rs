//! What an instance has to know, and the manager it makes of that.

use std::time::Duration;

use evertoken::{Builder, OAuth2, OptimisticEarly, TokenManager, TokenStore};
use serde::{Deserialize, Serialize};

use crate::arguments::ServerChoice;
use crate::store::Location;
use crate::telling::{TellingEndpoint, TellingStore, Voice};

pub(crate) const CLIENT_ID: &str = "instances";
pub(crate) const CLIENT_SECRET: &str = "of the embedded server";

/// The longest an exchange may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How long an instance that leased the token is left alone: so short that a run of two minutes sees a few
/// of them end, and shorter than a long pause.
const LEASE_DURATION: Duration = Duration::from_secs(15);

/// How long one call of the store may take: the lease duration has room for two.
const STORE_TIMEOUT: Duration = Duration::from_secs(3);

/// What an instance is told when it starts, on one line of its standard input.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) store: Location,
    pub(crate) server: ServerChoice,
    pub(crate) token_url: String,
    pub(crate) api_url: String,
    pub(crate) api_origin: String,
    pub(crate) tasks: usize,
    /// Between two requests of a task.
    pub(crate) interval: Duration,
    /// Whether to tell everything.
    pub(crate) in_detail: bool,
}

impl Setup {
    /// The manager of an instance, which says what it does.
    pub(crate) async fn manager(&self, voice: &Voice) -> anyhow::Result<TokenManager> {
        let store = TellingStore::new(self.store.open().await?, voice.clone());
        let endpoint = TellingEndpoint::new(self.endpoint()?, voice.clone());
        let builder = TokenManager::builder(endpoint).store(store);
        Ok(self.described(builder).build()?)
    }

    /// A manager beside the instances, for a user who signs in: it rotates nothing by itself.
    pub(crate) fn bystander(&self, store: impl TokenStore) -> anyhow::Result<TokenManager> {
        let builder = TokenManager::builder(self.endpoint()?).store(store);
        Ok(self.described(builder).build()?)
    }

    fn endpoint(&self) -> anyhow::Result<OAuth2> {
        Ok(OAuth2::new(&self.token_url, CLIENT_ID)?
            .client_secret(CLIENT_SECRET)
            .timeout(TIMEOUT)
            .profile(self.server.profile())
            .revocation_url(self.token_url.replace("/token", "/revoke"))?)
    }

    fn described(&self, builder: Builder) -> Builder {
        builder
            .strategy(OptimisticEarly::default())
            .lease_duration(LEASE_DURATION)
            .store_timeout(STORE_TIMEOUT)
            .origin(&self.api_origin)
    }
}
