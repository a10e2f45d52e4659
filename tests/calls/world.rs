//! An authorization server, an API that asks it, and a manager between them, on one clock.

use std::sync::Arc;
use std::time::Duration;

use evertoken::testing::{
    AccessCheck, AuthorizationServer, AuthorizationServerBuilder, HttpServer, ImportApi, TestClock,
};
use evertoken::{Builder, Error, TokenManager, TokenPair};
use reqwest::{Client, RequestBuilder, Response};
use tokio::sync::Semaphore;

use crate::recorder::{Arrived, Recorder, reply};

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
        let mut world = Self::of(|server| server).await;
        let builder = world.builder(&world.first).origin(world.http.origin());
        world.tokens = change(builder).build().unwrap();
        world
    }

    /// A world with another kind of server.
    pub(crate) async fn of(
        describe: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
    ) -> Self {
        let clock = TestClock::new();
        let server = AuthorizationServer::builder().access_ttl(ACCESS_TTL);
        let server = describe(server).clock(clock.clone()).build();
        let first = server.issue();
        let api = ImportApi::builder(&server).build();
        let http = api.listen().await.unwrap();
        let tokens = builder(&server, &clock, &first).origin(http.origin());
        Self {
            tokens: tokens.build().unwrap(),
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
        world.tokens = world.seeded(&world.first);
        world.clock.advance(ACCESS_TTL).await;
        world
    }

    /// A manager of the world's first pair that sends its tokens to this origin.
    pub(crate) fn manager(&self, origin: &str) -> TokenManager {
        self.builder(&self.first).origin(origin).build().unwrap()
    }

    /// A manager of this pair for the API of the world.
    pub(crate) fn seeded(&self, first: &TokenPair) -> TokenManager {
        let builder = self.builder(first).origin(self.http.origin());
        builder.build().unwrap()
    }

    /// A manager of this pair that rotates at the last moment.
    pub(crate) fn builder(&self, first: &TokenPair) -> Builder {
        builder(&self.server, &self.clock, first)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.http.origin())
    }

    /// A record to import.
    pub(crate) fn record(&self) -> RequestBuilder {
        self.client.post(self.http.url()).body("record")
    }

    /// The answer to this request.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Response {
        self.tokens.send(request).await.unwrap()
    }

    /// The error in place of an answer to a record.
    pub(crate) async fn refused(&self) -> Error {
        self.tokens.send(self.record()).await.unwrap_err()
    }

    /// The status of the answer to a record.
    pub(crate) async fn import(&self) -> u16 {
        self.send(self.record()).await.status().as_u16()
    }

    /// The status of the answer to a GET of this path.
    pub(crate) async fn get(&self, path: &str) -> u16 {
        let get = self.client.get(self.url(path));
        self.send(get).await.status().as_u16()
    }

    /// The numbers of calls of the API, of unauthorized calls among them, and of exchanges at the server.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let api = &self.api;
        (api.calls(), api.unauthorized(), self.server.exchanges())
    }
}

fn builder(server: &AuthorizationServer, clock: &TestClock, first: &TokenPair) -> Builder {
    TokenManager::builder(server.endpoint())
        .clock(clock.clone())
        .jitter(0.0)
        .seed(first.clone())
}

/// An API that asks the server about each token, and judges the `old` token only with a permit, one request for each
/// permit.
pub(crate) async fn slow_api(
    server: &AuthorizationServer,
    old: &TokenPair,
) -> (Recorder, Arc<Semaphore>) {
    let judged = Arc::new(Semaphore::new(0));
    let (gate, server, old) = (judged.clone(), server.clone(), old.clone());
    let api = Recorder::start(move |request: Arrived| {
        let (gate, server, old) = (gate.clone(), server.clone(), old.clone());
        async move {
            let token = request.token().unwrap_or_default();
            if token == access(&old) {
                gate.acquire().await.unwrap().forget();
            }
            let is_live = server.check(token) == AccessCheck::Live;
            reply(if is_live { 200 } else { 401 }, &[])
        }
    });
    (api.await, judged)
}

pub(crate) fn access(pair: &TokenPair) -> &str {
    pair.access.as_ref().unwrap().expose()
}
