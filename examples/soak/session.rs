//! One session, and the manager that keeps it alive: the manager is replaced now and then, as by a restart.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use evertoken::{BackgroundTimer, Builder, Key, OAuth2, OnRequest, OptimisticEarly, TokenManager};
use tokio::sync::{RwLock, RwLockReadGuard, watch};

use crate::servers::{Addresses, CLIENT_ID, CLIENT_SECRET};
use crate::shaky::{ShakyStore, Trouble};
use crate::store::Location;

/// How long a manager lives: half a minute to a minute.
pub(crate) const LIFE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(60));

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    OnRequest,
    BackgroundTimer,
    OptimisticEarly,
}

impl Strategy {
    pub(crate) const ALL: [Self; 3] = [
        Self::OnRequest,
        Self::BackgroundTimer,
        Self::OptimisticEarly,
    ];

    fn of(self, builder: Builder) -> Builder {
        match self {
            Self::OnRequest => builder.strategy(OnRequest::default()),
            Self::BackgroundTimer => builder.strategy(BackgroundTimer::default()),
            Self::OptimisticEarly => builder.strategy(OptimisticEarly::default()),
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OnRequest => "on-request",
            Self::BackgroundTimer => "background-timer",
            Self::OptimisticEarly => "optimistic-early",
        })
    }
}

/// What every manager of a run is built from.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) addresses: Addresses,
    pub(crate) store: Location,
    pub(crate) trouble: watch::Receiver<Option<Trouble>>,
    /// Tells the sessions of one run from those of another, in a store that outlives the run.
    pub(crate) run: String,
}

pub(crate) struct Session {
    pub(crate) strategy: Strategy,
    setup: Arc<Setup>,
    /// A caller holds it for reading during a call, so that no call meets a manager that is shut down.
    tokens: RwLock<TokenManager>,
}

impl Session {
    /// Signs in, once: whatever becomes of the session afterwards, no manager can sign in anew.
    pub(crate) async fn open(strategy: Strategy, setup: Arc<Setup>) -> anyhow::Result<Self> {
        let first = setup.manager(strategy, setup.endpoint()?.sign_in_as_client());
        let first = first.await?;
        first.token().await.context("the sign-in failed")?;
        first.shutdown().await?;
        let tokens = setup.manager(strategy, setup.endpoint()?).await?;
        Ok(Self {
            strategy,
            setup,
            tokens: RwLock::new(tokens),
        })
    }

    /// The manager of the moment. A caller waits here while it is replaced.
    pub(crate) async fn tokens(&self) -> RwLockReadGuard<'_, TokenManager> {
        self.tokens.read().await
    }

    /// Shuts the manager down and builds another one over the same store, once the calls under way are answered.
    pub(crate) async fn restart(&self) -> anyhow::Result<()> {
        let mut tokens = self.tokens.write().await;
        let shutdown = tokens.shutdown().await;
        let endpoint = self.setup.endpoint()?;
        *tokens = self.setup.manager(self.strategy, endpoint).await?;
        shutdown.context("a manager did not shut down in good order")
    }

    pub(crate) async fn end(self) -> anyhow::Result<()> {
        Ok(self.tokens.into_inner().shutdown().await?)
    }
}

impl Setup {
    /// A manager on default settings, with a store that is opened anew.
    async fn manager(&self, strategy: Strategy, endpoint: OAuth2) -> anyhow::Result<TokenManager> {
        let label = format!("{} {strategy}", self.run);
        let key = Key::new(&self.addresses.token_url, CLIENT_ID).label(label);
        let store = ShakyStore::new(self.store.open().await?, self.trouble.clone());
        let builder = TokenManager::builder(endpoint)
            .key(key)
            .store(store)
            .origin(&self.addresses.api_origin);
        Ok(strategy.of(builder).build()?)
    }

    fn endpoint(&self) -> anyhow::Result<OAuth2> {
        let endpoint = OAuth2::new(&self.addresses.token_url, CLIENT_ID)?;
        Ok(endpoint.client_secret(CLIENT_SECRET))
    }
}
