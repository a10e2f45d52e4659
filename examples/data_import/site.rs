//! What an import finds in place: an authorization server and an API, embedded here or of a
//! configuration.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use evertoken::testing::{AuthorizationServer, Front, HttpServer, ImportApi};
use evertoken::{
    BackgroundTimer, Builder, Events, OAuth2, OnRequest, OptimisticEarly, RefreshStrategy,
    TokenManager, TokenPair,
};
use reqwest::{Client, Url};
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::arguments::{Arguments, Strategy};
use crate::configuration::{Configuration, External};
use crate::faults::Faults;
use crate::tally::Tally;

pub(crate) const CLIENT_ID: &str = "data-import";
pub(crate) const CLIENT_SECRET: &str = "of the embedded server";

/// A batch of 50 takes 150 ms, as a chunk of an import into FOLIO does.
const TIME_PER_RECORD: Duration = Duration::from_millis(3);

/// What a token endpoint takes that is not on this machine.
const TOKEN_ENDPOINT_LATENCY: Duration = Duration::from_millis(20);

const TOKEN_ENDPOINT_TIMEOUT: Duration = Duration::from_secs(10);

/// More than servers need that only count.
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
    server: AuthorizationServer,
    api: ImportApi,
    token_endpoint: HttpServer,
    records: HttpServer,
    /// Before the token endpoint, and the outages of it.
    front: Option<(Arc<Front>, Faults)>,
    configuration: Option<Configuration>,
}

/// What servers have seen, since they started or in a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Counters {
    /// Refresh grants that reached the authorization server.
    pub(crate) exchanges: u64,
    pub(crate) replays: u64,
    pub(crate) families_revoked: u64,
    /// Calls that the API answered 401.
    pub(crate) unauthorized: u64,
}

impl Counters {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            exchanges: self.exchanges.saturating_sub(before.exchanges),
            replays: self.replays.saturating_sub(before.replays),
            families_revoked: self
                .families_revoked
                .saturating_sub(before.families_revoked),
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
            .latency(TOKEN_ENDPOINT_LATENCY)
            .build();
        let api = ImportApi::builder(&server)
            .gateway(arguments.gateway())
            .time_per_record(TIME_PER_RECORD)
            .build();
        let site = Self::of(server, api, arguments.config.clone()).await?;
        match &arguments.faults {
            Some(faults) => site.behind_front(faults.clone()).await,
            None => Ok(site),
        }
    }

    pub(crate) async fn of(
        server: AuthorizationServer,
        api: ImportApi,
        configuration: Option<Configuration>,
    ) -> anyhow::Result<Self> {
        Ok(Self::Embedded(Embedded {
            token_endpoint: server.listen().await.context("cannot listen")?,
            records: api.listen().await.context("cannot listen")?,
            server,
            api,
            front: None,
            configuration,
        }))
    }

    async fn behind_front(mut self, faults: Faults) -> anyhow::Result<Self> {
        if let Self::Embedded(embedded) = &mut self {
            let front = Front::before(embedded.token_endpoint.addr()).await;
            let front = Arc::new(front.context("cannot listen")?);
            embedded.front = Some((front, faults));
        }
        Ok(self)
    }

    /// Starts the outages of the token endpoint, if there are to be any, until the answer is dropped.
    pub(crate) fn faults(&self, events: Events, tally: &Arc<Tally>) -> Option<JoinSet<()>> {
        let Self::Embedded(Embedded {
            front: Some((front, faults)),
            ..
        }) = self
        else {
            return None;
        };
        let mut task = JoinSet::new();
        let (front, tally) = (Arc::clone(front), Arc::clone(tally));
        task.spawn(faults.clone().pass(front, events, tally));
        Some(task)
    }

    /// The URL for records.
    pub(crate) fn url(&self) -> &str {
        match self {
            Self::Embedded(embedded) => embedded.records.url(),
            Self::External { servers, .. } => servers.api_url.as_str(),
        }
    }

    /// Calls that the API has answered 401 by now, if it can be asked for every batch.
    pub(crate) fn unauthorized(&self) -> Option<u64> {
        match self {
            Self::Embedded(embedded) => Some(embedded.api.unauthorized()),
            Self::External { .. } => None,
        }
    }

    /// What the servers have seen by now, if they tell.
    pub(crate) async fn counters(&self) -> anyhow::Result<Option<Counters>> {
        match self {
            Self::Embedded(Embedded { server, api, .. }) => Ok(Some(Counters {
                exchanges: server.exchanges(),
                replays: server.replays(),
                families_revoked: server.families_revoked(),
                unauthorized: api.unauthorized(),
            })),
            Self::External { servers, .. } => match &servers.counters_url {
                Some(url) => counters(url).await.map(Some),
                None => Ok(None),
            },
        }
    }

    /// The first pair of a session, unless the configuration has it.
    pub(crate) fn sign_in(&self) -> Option<TokenPair> {
        let Self::Embedded(embedded) = self else {
            return None;
        };
        match &embedded.configuration {
            Some(configuration) if configuration.has_seed => None,
            _ => Some(embedded.server.issue()),
        }
    }

    /// What is to become a manager, but for the pair of [`sign_in`](Self::sign_in).
    pub(crate) async fn builder(&self, strategy: Strategy) -> anyhow::Result<Option<Builder>> {
        let embedded = match self {
            Self::External { configuration, .. } => return configuration.builder().await.map(Some),
            Self::Embedded(embedded) => embedded,
        };
        let token_url = match &embedded.front {
            Some((front, _)) => format!("{}/token", front.origin()),
            None => embedded.token_endpoint.url().to_owned(),
        };
        let endpoint = OAuth2::new(&token_url, CLIENT_ID)?
            .client_secret(CLIENT_SECRET)
            .timeout(TOKEN_ENDPOINT_TIMEOUT);
        let builder = match &embedded.configuration {
            Some(configuration) => configuration.builder_for(endpoint).await?,
            None => {
                let strategy: Arc<dyn RefreshStrategy> = match strategy {
                    Strategy::Fixed => return Ok(None),
                    Strategy::OnRequest => Arc::new(OnRequest::default()),
                    Strategy::BackgroundTimer => Arc::new(BackgroundTimer::default()),
                    Strategy::OptimisticEarly => Arc::new(OptimisticEarly::default()),
                };
                TokenManager::builder(endpoint).strategy(strategy)
            }
        };
        Ok(Some(builder.origin(embedded.records.origin())))
    }
}

async fn counters(url: &Url) -> anyhow::Result<Counters> {
    let asked = async {
        let request = Client::new().get(url.clone()).timeout(COUNTERS_TIMEOUT);
        request.send().await?.error_for_status()?.json().await
    };
    asked
        .await
        .with_context(|| format!("cannot read the counters of {url}"))
}
