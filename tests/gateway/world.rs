//! Instances of a gateway at one server, and browsers of its users.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::{HeaderMap, HeaderName, LOCATION, SET_COOKIE};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Router, body::Bytes};
use evertoken::gateway::{GatewayBuilder, GatewayError, Mode};
use evertoken::seal::SealingKeys;
use evertoken::testing::browser::{Call, Kind};
use evertoken::testing::{
    AccessCheck, AuthorizationServer, AuthorizationServerBuilder, Browser, FaultyEndpoint,
    FaultyStore, TestClock,
};
use evertoken::{
    Builder, Gateway, MemoryStore, Presentation, SessionPolicy, Sessions, TokenManager, TokenPair,
};
use serde_json::Value;
use tower_service::Service as _;

pub(crate) const ORIGIN: &str = "https://app.example.org";
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// How long an access token lives, unless a test says otherwise.
pub(crate) const ACCESS_TTL: Duration = Duration::from_secs(600);

/// The policy of a page.
pub(crate) fn page() -> SessionPolicy {
    SessionPolicy::new().retired_for(30 * SECOND)
}

pub(crate) fn keys() -> SealingKeys {
    SealingKeys::from_text(&SealingKeys::random_key().unwrap()).unwrap()
}

/// A server, and instances of a gateway on one store.
pub(crate) struct World {
    pub(crate) clock: TestClock,
    pub(crate) server: AuthorizationServer,
    pub(crate) store: FaultyStore,
    pub(crate) endpoint: FaultyEndpoint,
    pub(crate) keys: SealingKeys,
    pub(crate) instances: Vec<Instance>,
}

/// One instance: a gateway with the routes of a small application.
#[derive(Clone)]
pub(crate) struct Instance {
    pub(crate) sessions: Sessions,
    pub(crate) gateway: Gateway,
    app: Router,
}

impl World {
    /// Instances in the mode `synchronised`, at a strict server.
    pub(crate) fn new(instances: usize) -> Self {
        Self::of(instances, Mode::Synchronised)
    }

    pub(crate) fn of(instances: usize, mode: Mode) -> Self {
        let mut world = Self::at(|server| server);
        for _ in 0..instances {
            world.add(mode, page());
        }
        world
    }

    /// A world without an instance, at a server of another kind.
    pub(crate) fn at(
        describe: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder,
    ) -> Self {
        let clock = TestClock::new();
        let server = AuthorizationServer::builder()
            .clock(clock.clone())
            .access_ttl(ACCESS_TTL);
        let server = describe(server).build();
        Self {
            store: FaultyStore::new(MemoryStore::with_clock(clock.clone())),
            endpoint: FaultyEndpoint::new(server.endpoint()),
            clock,
            server,
            keys: keys(),
            instances: Vec::new(),
        }
    }

    /// The builder of sessions on the common store.
    pub(crate) fn builder(&self, policy: SessionPolicy) -> Builder<Sessions> {
        Sessions::builder(self.endpoint.clone())
            .clock(self.clock.clone())
            .store(self.store.clone())
            .jitter(0.0)
            .default_policy(policy)
    }

    /// Adds an instance on the common store.
    pub(crate) fn add(&mut self, mode: Mode, policy: SessionPolicy) -> Instance {
        let builder = self.builder(policy);
        self.add_built(builder, |gateway| gateway.mode(mode))
    }

    pub(crate) fn add_built(
        &mut self,
        builder: Builder<Sessions>,
        describe: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
    ) -> Instance {
        let sessions = builder.build().unwrap();
        let gateway = Gateway::builder(&sessions)
            .sealer(self.keys.clone())
            .on_signed_out(|page| format!("/login?to={}", page.return_to()));
        let gateway = describe(gateway).build().unwrap();
        let instance = Instance::new(sessions, gateway, &self.server);
        self.instances.push(instance.clone());
        instance
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::with_clock(ORIGIN, self.clock.clone()).unwrap()
    }

    /// A browser whose user has signed in at the first instance.
    pub(crate) async fn signed_in(&self) -> Browser {
        let browser = self.browser();
        self.sign_in(&browser).await;
        browser
    }

    pub(crate) async fn sign_in(&self, browser: &Browser) {
        let answer = self.instances[0]
            .send(browser, Call::navigation("/sign-in"))
            .await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    }

    pub(crate) async fn expire(&self) {
        self.clock.advance(ACCESS_TTL).await;
    }

    /// The exchanges, the replays and the families that were revoked.
    #[track_caller]
    pub(crate) fn assert_exchanges(&self, exchanges: u64) {
        let server = &self.server;
        let counts = (
            server.exchanges(),
            server.replays(),
            server.families_revoked(),
        );
        assert_eq!(
            counts,
            (exchanges, 0, 0),
            "exchanges, replays, families revoked"
        );
    }
}

impl Instance {
    pub(crate) fn new(sessions: Sessions, gateway: Gateway, server: &AuthorizationServer) -> Self {
        let app = app(&gateway, server);
        Self {
            sessions,
            gateway,
            app,
        }
    }

    /// The answer to a request, which the browser does not have yet.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        self.app.clone().call(request).await.unwrap()
    }

    /// Sends a request of the browser, and gives the browser the answer.
    pub(crate) async fn send(&self, browser: &Browser, call: impl Into<Call>) -> Response<Body> {
        let request = browser.send(call);
        let answer = self.answer(to_http(&request)).await;
        request.arrived(answer.status(), answer.headers());
        answer
    }

    /// The status of a script's request for the user's token.
    pub(crate) async fn status(&self, browser: &Browser) -> StatusCode {
        self.send(browser, "/token").await.status()
    }

    /// A script's request for the user's token is served.
    pub(crate) async fn serves(&self, browser: &Browser) -> String {
        let answer = self.send(browser, "/token").await;
        assert_eq!(answer.status(), StatusCode::OK);
        text(answer).await
    }

    pub(crate) async fn post(&self, browser: &Browser, path: &str) -> Response<Body> {
        self.send(browser, Call::fetch(path).method(Method::POST))
            .await
    }
}

pub(crate) fn to_http(request: &evertoken::testing::browser::Request) -> Request<Body> {
    request.to_http(Version::HTTP_11, Body::empty()).unwrap()
}

/// A small application behind the gateway.
fn app(gateway: &Gateway, server: &AuthorizationServer) -> Router {
    let shared = Arc::new((gateway.clone(), server.clone()));
    Router::new()
        .route("/sign-in", get(sign_in))
        .route("/token", get(token).post(token))
        .route("/presented", get(presented))
        .route("/public", get(async || "public"))
        .route("/cached", get(cached))
        .route("/status/{status}", get(status))
        .route("/seen", get(seen).post(seen))
        .nest_service("/session", gateway.session_routes())
        .layer(gateway.layer())
        .route("/outside/sign-in", get(sign_in))
        .route("/outside/post", post(async || "outside"))
        .with_state(shared)
}

type Shared = State<Arc<(Gateway, AuthorizationServer)>>;

/// The end of a login, for a user who signs in just now.
async fn sign_in(
    State(shared): Shared,
    headers: HeaderMap,
) -> Result<impl IntoResponse, GatewayError> {
    let (gateway, server) = &*shared;
    let signed_in = gateway.sign_in(&headers, server.issue()).await?;
    Ok((StatusCode::SEE_OTHER, signed_in, [(LOCATION, "/")]))
}

/// The user's token, which the server has to accept.
async fn token(State(shared): Shared, tokens: TokenManager) -> Result<String, GatewayError> {
    let token = tokens.token().await?;
    assert_eq!(shared.1.check(token.expose()), AccessCheck::Live);
    Ok(token.expose().to_owned())
}

async fn presented(presented: Presentation) -> String {
    format!("{}", presented.id())
}

/// What an application says that wants its answers cached.
async fn cached(tokens: TokenManager) -> Result<impl IntoResponse, GatewayError> {
    tokens.token().await?;
    let forever = HeaderValue::from_static("public, max-age=31536000");
    Ok(([(axum::http::header::CACHE_CONTROL, forever)], "for all"))
}

async fn status(
    axum::extract::Path(status): axum::extract::Path<u16>,
    tokens: TokenManager,
) -> Result<StatusCode, GatewayError> {
    tokens.token().await?;
    Ok(StatusCode::from_u16(status).unwrap())
}

/// The header fields that a handler sees.
async fn seen(headers: HeaderMap) -> String {
    let fields = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    fields.collect()
}

pub(crate) async fn bytes(answer: Response<Body>) -> Bytes {
    to_bytes(answer.into_body(), 1 << 20).await.unwrap()
}

pub(crate) async fn text(answer: Response<Body>) -> String {
    String::from_utf8(bytes(answer).await.into()).unwrap()
}

pub(crate) async fn json(answer: Response<Body>) -> Value {
    serde_json::from_slice(&bytes(answer).await).unwrap()
}

/// The lines that set or delete cookies.
pub(crate) fn lines(answer: &Response<Body>) -> Vec<String> {
    let lines = answer.headers().get_all(SET_COOKIE).iter();
    lines
        .map(|line| line.to_str().unwrap().to_owned())
        .collect()
}

/// The names of the cookies that an answer sets, and of those that it deletes.
pub(crate) fn set_and_deleted(answer: &Response<Body>) -> (Vec<String>, Vec<String>) {
    let (deleted, set): (Vec<_>, Vec<_>) = lines(answer)
        .into_iter()
        .partition(|line| line.contains("Max-Age=0"));
    let names = |lines: Vec<String>| {
        let names = lines
            .iter()
            .map(|line| line.split('=').next().unwrap().to_owned());
        names.collect()
    };
    (names(set), names(deleted))
}

pub(crate) fn header(answer: &Response<Body>, name: impl Into<HeaderName>) -> Option<&str> {
    let value = answer.headers().get(name.into());
    value.map(|value| value.to_str().unwrap())
}

/// A pair of the server whose tokens have so many bytes more.
pub(crate) fn longer(pair: TokenPair, by: usize) -> TokenPair {
    let access = pair.access.as_ref().unwrap().expose();
    let mut longer = pair.clone();
    longer.access = Some(format!("{access}{}", "x".repeat(by)).into());
    longer
}

/// Every kind of request but the page that a user waits for.
pub(crate) const OTHER_KINDS: [Kind; 7] = [
    Kind::Fetch,
    Kind::Image,
    Kind::Frame,
    Kind::EventSource,
    Kind::Prefetch,
    Kind::PrefetchedPage,
    Kind::Prerender,
];
