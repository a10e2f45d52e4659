//! An authorization server, an API that asks it, and a manager between them, on one clock.

use std::time::Duration;

use evertoken::testing::{AuthorizationServer, HttpServer, ImportApi, TestClock};
use evertoken::{Builder, TokenManager, TokenPair};
use reqwest::Client;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The lifetime of access tokens at the server.
pub(crate) const ACCESS_TTL: Duration = Duration::from_secs(600);

pub(crate) struct World {
    pub(crate) clock: TestClock,
    pub(crate) server: AuthorizationServer,
    pub(crate) api: ImportApi,
    pub(crate) http: HttpServer,
    pub(crate) client: Client,
    /// The seed of the manager.
    pub(crate) first: TokenPair,
    pub(crate) tokens: TokenManager,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    /// A world with this change to the manager.
    pub(crate) async fn with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let clock = TestClock::new();
        let server = AuthorizationServer::builder()
            .clock(clock.clone())
            .access_ttl(ACCESS_TTL)
            .build();
        let first = server.issue();
        let api = ImportApi::builder(&server).build();
        let http = api.listen().await.unwrap();
        let builder = builder(&server, &clock, &first).origin(http.origin());
        Self {
            tokens: change(builder).build().unwrap(),
            client: Client::new(),
            clock,
            server,
            api,
            http,
            first,
        }
    }

    /// A world with a token that has expired at the server, and that the client considers valid.
    pub(crate) async fn with_stale_token() -> Self {
        let mut world = Self::new().await;
        world.first = world.server.issue().expires_in(100 * ACCESS_TTL);
        world.tokens = builder(&world.server, &world.clock, &world.first)
            .origin(world.http.origin())
            .build()
            .unwrap();
        world.clock.advance(ACCESS_TTL).await;
        world
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.http.origin())
    }

    /// A record to import.
    pub(crate) fn record(&self) -> reqwest::RequestBuilder {
        self.client.post(self.http.url()).body("record")
    }

    /// The numbers of calls of the API, of unauthorized calls among them, and of exchanges at the server.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let api = &self.api;
        (api.calls(), api.unauthorized(), self.server.exchanges())
    }
}

/// A manager of this server's tokens that rotates at the last moment.
pub(crate) fn builder(
    server: &AuthorizationServer,
    clock: &TestClock,
    first: &TokenPair,
) -> Builder {
    TokenManager::builder(server.endpoint())
        .clock(clock.clone())
        .jitter(0.0)
        .seed(first.clone())
}

pub(crate) fn access(pair: &TokenPair) -> &str {
    pair.access.as_ref().unwrap().expose()
}
