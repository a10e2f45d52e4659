//! One session, the manager that keeps it alive, and the callers of the API. The manager is replaced from time to time, as by a
//! restart.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use evertoken::{Key, OAuth2, TokenManager};
use reqwest::Client;
use tokio::sync::{RwLock, RwLockReadGuard, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::command::Strategy;
use crate::faults::{ShakyStore, Trouble};
use crate::servers::{Addresses, CLIENT_ID, CLIENT_SECRET};
use crate::store::Location;
use crate::tally::Tally;

/// The least and the longest life of a manager.
pub(crate) const LIFE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(60));

/// The settings of all managers of a run.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) addresses: Addresses,
    pub(crate) store: Location,
    pub(crate) trouble: watch::Receiver<Option<Trouble>>,
    /// Part of the key, so that runs with one store have different sessions.
    pub(crate) run: String,
}

pub(crate) struct Session {
    pub(crate) strategy: Strategy,
    setup: Arc<Setup>,
    /// A caller holds the lock for reading during a call, so that no call meets a manager that is shut down.
    tokens: RwLock<TokenManager>,
}

impl Session {
    /// Signs in once: the later managers cannot sign in again.
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

    /// The current manager. A caller waits here while the manager is replaced.
    pub(crate) async fn tokens(&self) -> RwLockReadGuard<'_, TokenManager> {
        self.tokens.read().await
    }

    /// Waits for the calls under way, shuts the manager down, and builds another one over the same store.
    pub(crate) async fn restart(&self) -> anyhow::Result<()> {
        let mut tokens = self.tokens.write().await;
        let shutdown = tokens.shutdown().await;
        let endpoint = self.setup.endpoint()?;
        *tokens = self.setup.manager(self.strategy, endpoint).await?;
        shutdown.context("the manager did not shut down cleanly")
    }

    pub(crate) async fn end(self) -> anyhow::Result<()> {
        Ok(self.tokens.into_inner().shutdown().await?)
    }
}

impl Setup {
    /// A manager with default settings, with a new connection to the store.
    async fn manager(&self, strategy: Strategy, endpoint: OAuth2) -> anyhow::Result<TokenManager> {
        let label = format!("{} {strategy}", self.run);
        let key = Key::new(&self.addresses.token_url, CLIENT_ID).label(label);
        let store = ShakyStore {
            store: self.store.open().await?,
            trouble: self.trouble.clone(),
        };
        let builder = TokenManager::builder(endpoint)
            .key(key)
            .store(store)
            .origin(&self.addresses.api_origin);
        Ok(match strategy.managed() {
            Some(strategy) => builder.strategy(strategy).build()?,
            None => builder.build()?,
        })
    }

    fn endpoint(&self) -> anyhow::Result<OAuth2> {
        let endpoint = OAuth2::new(&self.addresses.token_url, CLIENT_ID)?;
        Ok(endpoint.client_secret(CLIENT_SECRET))
    }
}

const RECORD: &str = "a record\u{1d}";

/// Calls the API at a steady pace.
pub(crate) struct Caller {
    pub(crate) session: Arc<Session>,
    /// The caller's own client, so that the number of connections is that of the callers, also in an outage.
    pub(crate) http: Client,
    pub(crate) url: String,
    pub(crate) period: Duration,
    pub(crate) tally: Arc<Tally>,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Caller {
    pub(crate) async fn run(mut self, after: Duration) {
        let mut ticks = interval_at(Instant::now() + after, self.period);
        // A caller does not catch up on calls that it missed while it waited for a token.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = self.stop.wait_for(|stop| *stop) => return,
                _ = ticks.tick() => {}
            }
            self.call().await;
        }
    }

    async fn call(&self) {
        let tokens = self.session.tokens().await;
        let begun = Instant::now();
        let request = self.http.post(&self.url).body(RECORD);
        let answer = async {
            let answer = tokens.send(request).await?;
            let status = answer.status();
            // A body that is read to its end frees its connection.
            answer.bytes().await?;
            ensure!(status.is_success(), "the API answered {status}");
            anyhow::Ok(())
        };
        let (answer, strategy) = (answer.await, self.session.strategy);
        self.tally.called(strategy, begun.elapsed(), answer);
    }
}
