//! The authorization server and the API, in this process.

use std::time::Duration;

use evertoken::testing::{AuthorizationServer, HttpServer, ImportApi};

use crate::arguments::Arguments;
use crate::setup::{CLIENT_ID, CLIENT_SECRET};

/// Longer than any run.
const REFRESH_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

pub(crate) struct Site {
    pub(crate) server: AuthorizationServer,
    pub(crate) api: ImportApi,
    pub(crate) token_endpoint: HttpServer,
    pub(crate) records: HttpServer,
}

impl Site {
    pub(crate) async fn open(arguments: &Arguments) -> anyhow::Result<Self> {
        let server = AuthorizationServer::builder()
            .client(CLIENT_ID, CLIENT_SECRET)
            .access_ttl(arguments.access_ttl)
            .refresh_ttl(REFRESH_TTL)
            .latency(arguments.latency)
            .reuse(arguments.server.reuse())
            .build();
        let api = ImportApi::builder(&server).build();
        Ok(Self {
            token_endpoint: server.listen().await?,
            records: api.listen().await?,
            server,
            api,
        })
    }
}
