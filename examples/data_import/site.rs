//! What an import finds in place: an authorization server and an API, embedded here.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use evertoken::testing::{AuthorizationServer, HttpServer, ImportApi};
use evertoken::{
    BackgroundTimer, Builder, OAuth2, OnRequest, OptimisticEarly, RefreshStrategy, TokenManager,
};

use crate::arguments::{Arguments, Strategy};

pub(crate) const CLIENT_ID: &str = "data-import";
pub(crate) const CLIENT_SECRET: &str = "of the embedded server";

/// A batch of 50 takes 150 ms, as a chunk of an import into FOLIO does.
const TIME_PER_RECORD: Duration = Duration::from_millis(3);

/// What a token endpoint takes that is not on this machine.
const TOKEN_ENDPOINT_LATENCY: Duration = Duration::from_millis(20);

const TOKEN_ENDPOINT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) server: AuthorizationServer,
    pub(crate) api: ImportApi,
    token_endpoint: HttpServer,
    records: HttpServer,
}

impl Site {
    pub(crate) async fn open(arguments: &Arguments) -> anyhow::Result<Self> {
        let server = AuthorizationServer::builder()
            .client(CLIENT_ID, CLIENT_SECRET)
            .access_ttl(arguments.access_ttl)
            .refresh_ttl(arguments.refresh_ttl)
            .latency(TOKEN_ENDPOINT_LATENCY)
            .build();
        let api = ImportApi::builder(&server)
            .gateway(arguments.gateway())
            .time_per_record(TIME_PER_RECORD)
            .build();
        Self::of(server, api).await
    }

    pub(crate) async fn of(server: AuthorizationServer, api: ImportApi) -> anyhow::Result<Self> {
        Ok(Self {
            token_endpoint: server.listen().await.context("cannot listen")?,
            records: api.listen().await.context("cannot listen")?,
            server,
            api,
        })
    }

    /// The URL for records.
    pub(crate) fn url(&self) -> &str {
        self.records.url()
    }

    /// Calls that the API has answered 401 by now.
    pub(crate) fn unauthorized(&self) -> u64 {
        self.api.unauthorized()
    }

    /// What is to become a manager, but for the pair to start with.
    pub(crate) fn builder(&self, strategy: Strategy) -> anyhow::Result<Option<Builder>> {
        let strategy: Arc<dyn RefreshStrategy> = match strategy {
            Strategy::Fixed => return Ok(None),
            Strategy::OnRequest => Arc::new(OnRequest::default()),
            Strategy::BackgroundTimer => Arc::new(BackgroundTimer::default()),
            Strategy::OptimisticEarly => Arc::new(OptimisticEarly::default()),
        };
        let endpoint = OAuth2::new(self.token_endpoint.url(), CLIENT_ID)?
            .client_secret(CLIENT_SECRET)
            .timeout(TOKEN_ENDPOINT_TIMEOUT);
        let builder = TokenManager::builder(endpoint)
            .strategy(strategy)
            .origin(self.records.origin());
        Ok(Some(builder))
    }
}
