//! The servers of an import: an authorization server and an API, embedded here or named by a configuration.

#[allow(dead_code)]
#[path = "../shared/site.rs"]
mod shared;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use evertoken::testing::{AuthorizationServer, Front, ImportApi};
use evertoken::{Builder, Events, OAuth2, TokenManager, TokenPair};
use reqwest::{Client, Url};
use serde::Deserialize;
use tokio::task::JoinSet;

pub(crate) use self::shared::CLIENT_SECRET;
use self::shared::{LATENCY, Servers};
use crate::arguments::Arguments;
use crate::command::Strategy;
use crate::configuration::{Configuration, External};
use crate::faults::Faults;
use crate::tally::Tally;

pub(crate) const CLIENT_ID: &str = "data-import";

/// A batch of 50 takes 150 ms, as a chunk of an import into FOLIO does.
const TIME_PER_RECORD: Duration = Duration::from_millis(3);

const TOKEN_ENDPOINT_TIMEOUT: Duration = Duration::from_secs(10);

/// More time than servers need to report their counters.
const COUNTERS_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) enum Site {
    Embedded(Embedded),
    External {
        servers: External,
        configuration: Configuration,
    },
}

#[derive(Debug)]
pub(crate) struct Embedded {
    servers: Servers,
    /// The proxy before the token endpoint, and the outages that it causes.
    front: Option<(Arc<Front>, Faults)>,
    configuration: Option<Configuration>,
}

/// What the servers counted, since their start or during an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Counters {
    /// Refresh grants that reached the authorization server.
    pub(crate) exchanges: u64,
    pub(crate) replays: u64,
    pub(crate) families_revoked: u64,
    /// Calls that the API answered with 401.
    pub(crate) unauthorized: u64,
}

impl Counters {
    pub(crate) fn since(self, before: Self) -> Self {
        let families = self.families_revoked;
        Self {
            exchanges: self.exchanges.saturating_sub(before.exchanges),
            replays: self.replays.saturating_sub(before.replays),
            families_revoked: families.saturating_sub(before.families_revoked),
            unauthorized: self.unauthorized.saturating_sub(before.unauthorized),
        }
    }
}

impl Site {
    pub(crate) async fn open(arguments: &Arguments) -> anyhow::Result<Self> {
        if let (Some(servers), Some(configuration)) = (arguments.external(), &arguments.config) {
            return Ok(Self::External {
                servers: servers.clone(),
                configuration: configuration.clone(),
            });
        }
        let server = AuthorizationServer::builder()
            .client(CLIENT_ID, CLIENT_SECRET)
            .access_ttl(arguments.access_ttl())
            .refresh_ttl(arguments.refresh_ttl())
            .latency(LATENCY)
            .build();
        let api = ImportApi::builder(&server)
            .gateway(arguments.gateway())
            .time_per_record(TIME_PER_RECORD)
            .build();
        let faults = arguments.faults.clone();
        Self::embedded(server, api, arguments.config.clone(), faults).await
    }

    pub(crate) async fn embedded(
        server: AuthorizationServer,
        api: ImportApi,
        configuration: Option<Configuration>,
        faults: Option<Faults>,
    ) -> anyhow::Result<Self> {
        let servers = Servers::open(server, api).await?;
        let front = match faults {
            None => None,
            Some(faults) => {
                let front = Front::before(servers.token_endpoint.addr()).await;
                Some((Arc::new(front.context("cannot listen")?), faults))
            }
        };
        Ok(Self::Embedded(Embedded {
            servers,
            front,
            configuration,
        }))
    }

    /// Starts the outages of the token endpoint, if `--faults` asks for any. They end when the returned set is dropped.
    pub(crate) fn faults(&self, events: Events, tally: &Arc<Tally>) -> Option<JoinSet<()>> {
        let Self::Embedded(Embedded { front, .. }) = self else {
            return None;
        };
        let (front, faults) = front.clone()?;
        let mut task = JoinSet::new();
        task.spawn(faults.run(front, events, Arc::clone(tally)));
        Some(task)
    }

    /// The URL for records.
    pub(crate) fn url(&self) -> &str {
        match self {
            Self::Embedded(embedded) => embedded.servers.records.url(),
            Self::External { servers, .. } => servers.api_url.as_str(),
        }
    }

    /// Calls that the API has answered with 401 so far. An external API is not asked after every batch.
    pub(crate) fn unauthorized(&self) -> Option<u64> {
        match self {
            Self::Embedded(embedded) => Some(embedded.servers.api.unauthorized()),
            Self::External { .. } => None,
        }
    }

    /// What the servers have counted so far, if they report it.
    pub(crate) async fn counters(&self) -> anyhow::Result<Option<Counters>> {
        match self {
            Self::Embedded(Embedded { servers, .. }) => Ok(Some(Counters {
                exchanges: servers.server.exchanges(),
                replays: servers.server.replays(),
                families_revoked: servers.server.families_revoked(),
                unauthorized: servers.api.unauthorized(),
            })),
            Self::External { servers, .. } => match &servers.counters_url {
                Some(url) => counters(url).await.map(Some),
                None => Ok(None),
            },
        }
    }

    /// The first token pair of a session, unless the configuration has one.
    pub(crate) fn sign_in(&self) -> Option<TokenPair> {
        let Self::Embedded(embedded) = self else {
            return None;
        };
        match &embedded.configuration {
            Some(configuration) if configuration.has_seed => None,
            _ => Some(embedded.servers.server.issue()),
        }
    }

    /// The builder of a manager without the pair of [`sign_in`](Self::sign_in); `None` for [`Strategy::Fixed`].
    pub(crate) async fn builder(&self, strategy: Strategy) -> anyhow::Result<Option<Builder>> {
        let embedded = match self {
            Self::External { configuration, .. } => return configuration.builder().await.map(Some),
            Self::Embedded(embedded) => embedded,
        };
        let token_url = match &embedded.front {
            Some((front, _)) => format!("{}/token", front.origin()),
            None => embedded.servers.token_endpoint.url().to_owned(),
        };
        let endpoint = OAuth2::new(&token_url, CLIENT_ID)?
            .client_secret(CLIENT_SECRET)
            .timeout(TOKEN_ENDPOINT_TIMEOUT);
        let builder = match (&embedded.configuration, strategy.managed()) {
            (Some(configuration), _) => configuration.builder_for(endpoint).await?,
            (None, Some(strategy)) => TokenManager::builder(endpoint).strategy(strategy),
            (None, None) => return Ok(None),
        };
        Ok(Some(builder.origin(embedded.servers.records.origin())))
    }
}

async fn counters(url: &Url) -> anyhow::Result<Counters> {
    let answer = async {
        let request = Client::new().get(url.clone()).timeout(COUNTERS_TIMEOUT);
        request.send().await?.error_for_status()?.json().await
    };
    answer
        .await
        .with_context(|| format!("cannot read the counters of {url}"))
}
