//! The site under test: an authorization server, an API, and three instances of a gateway behind one origin.

use std::time::Duration;

use axum::Router;
use axum::extract::{Form, Query, State};
use axum::response::{Html, IntoResponse, Redirect};
use axum::routing::get;
use evertoken::gateway::{Gateway, GatewayError, SignedIn};
use evertoken::testing::{AuthorizationServer, TestClock};
use evertoken::{
    CoolDown, MemoryStore, OptimisticEarly, SealingKeys, SessionPolicy, Sessions, TokenManager,
    TokenPair,
};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Deserialize;

use crate::api::Api;
use crate::endpoint::Followed;
use crate::front::Front;
use crate::login::{self, Logins};
use crate::pages;

/// How many instances there are.
pub const INSTANCES: usize = 3;

/// How long an access token lives. Time passes by [`Site::pass`] alone, so no token expires by itself.
const ACCESS: Duration = Duration::from_secs(600);

/// The pause after a failure, where requests wait for a short time.
pub const PAUSE: Duration = Duration::from_millis(100);

/// The site. Clones are one site.
#[derive(Clone)]
pub struct Site {
    pub server: AuthorizationServer,
    pub api: Api,
    pub front: Front,
    /// The keys with which the instances start.
    pub keys: SealingKeys,
    pub(crate) logins: Logins,
    clock: TestClock,
    store: MemoryStore,
    /// How long a request waits for a token; `None` for the gateway's default.
    wait: Option<Duration>,
}

/// What the handlers of one instance have.
#[derive(Clone)]
pub(crate) struct Instance {
    gateway: Gateway,
    pub(crate) site: Site,
    http: reqwest::Client,
}

impl Site {
    /// Starts a site whose instances have these keys.
    pub async fn start(keys: SealingKeys) -> Self {
        Self::start_with(keys, None).await
    }

    /// Starts a site whose requests wait for a token this long, in place of half a minute.
    pub async fn start_impatient(keys: SealingKeys, wait: Duration) -> Self {
        Self::start_with(keys, Some(wait)).await
    }

    async fn start_with(keys: SealingKeys, wait: Option<Duration>) -> Self {
        let clock = TestClock::new();
        let front = Front::start().await;
        let callback = format!("http://localhost:{}/callback", front.port());
        let [client, secret] = login::CLIENT;
        let server = AuthorizationServer::builder()
            .access_ttl(ACCESS)
            .clock(clock.clone())
            .client(client, secret)
            .redirect_uri(&callback)
            .build();
        let pages = server.listen().await.expect("a port");
        let site = Self {
            api: Api::start(&server).await,
            front,
            logins: Logins::new(pages, callback),
            store: MemoryStore::with_clock(clock.clone()),
            keys,
            server,
            clock,
            wait,
        };
        for _ in 0..INSTANCES {
            site.front.add(site.instance(&site.keys));
        }
        site
    }

    /// The address of a path, as the user has it.
    pub fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.front.port())
    }

    /// Lets this time pass for the server, the store and all instances. The browser's time goes on as it does.
    pub fn pass(&self, span: Duration) {
        self.clock.suspend(span);
    }

    /// Lets all access tokens expire.
    pub fn expire(&self) {
        self.pass(ACCESS + Duration::from_secs(1));
    }

    /// A process with these keys in the place of an instance: it shares the store and remembers nothing.
    pub fn restart(&self, number: usize, keys: &SealingKeys) {
        self.front.replace(number, self.instance(keys));
    }

    /// What the server has to have seen at the end: this many exchanges, and none of a spent token.
    ///
    /// # Panics
    ///
    /// If it has seen something else.
    pub fn assert_exchanges(&self, expected: u64) {
        let counted = (
            self.server.exchanges(),
            self.server.replays(),
            self.server.families_revoked(),
        );
        assert_eq!(counted, (expected, 0, 0), "{:#?}", self.front.seen());
    }

    fn endpoint(&self) -> Followed {
        let endpoint = self.server.endpoint();
        let endpoint = match self.wait {
            // A request waits longer than for one exchange.
            Some(wait) => endpoint.with_timeout(wait / 2),
            None => endpoint,
        };
        Followed::new(endpoint, self.api.clone())
    }

    fn instance(&self, keys: &SealingKeys) -> Router {
        let policy = SessionPolicy::new()
            .retired_for(Duration::from_secs(30))
            .idle(Duration::from_secs(30 * 60))
            .absolute(Duration::from_secs(12 * 3_600));
        let mut sessions = Sessions::builder(self.endpoint())
            .store(self.store.clone())
            .clock(self.clock.clone())
            .strategy(OptimisticEarly::default())
            .jitter(0.0)
            .origin(self.api.url())
            .default_policy(policy);
        if let Some(wait) = self.wait {
            sessions = sessions.wait(wait).cool_down(pauses());
        }
        let sessions = sessions.build().expect("sessions");
        let gateway = Gateway::builder(&sessions)
            .sealer(keys.clone())
            .on_signed_out(|page| format!("/login?to={}", page.return_to()))
            .build()
            .expect("a gateway");
        let instance = Instance {
            gateway: gateway.clone(),
            site: self.clone(),
            http: reqwest::Client::new(),
        };
        Router::new()
            .route("/", get(home))
            .route("/account", get(account))
            .route("/public", get(public))
            .route("/app.js", get(script))
            .route("/login", get(login_page).post(sign_in))
            .merge(login::routes())
            .nest_service("/session", gateway.session_routes())
            .nest_service("/api", gateway.proxy(self.api.url()).expect("a proxy"))
            .layer(gateway.layer())
            .with_state(instance)
    }
}

/// The pauses after failures where requests wait for a short time.
fn pauses() -> CoolDown {
    let mut pauses = CoolDown::default();
    for pause in [&mut pauses.early, &mut pauses.expired, &mut pauses.longest] {
        *pause = PAUSE;
    }
    pauses
}

async fn home(
    instance: State<Instance>,
    tokens: TokenManager,
) -> Result<Html<String>, GatewayError> {
    Ok(Html(pages::home(&user(&instance, &tokens).await?, "Home")))
}

async fn account(
    instance: State<Instance>,
    tokens: TokenManager,
) -> Result<Html<String>, GatewayError> {
    let user = user(&instance, &tokens).await?;
    Ok(Html(pages::home(&user, "Account")))
}

/// The user, as the API reports.
async fn user(instance: &Instance, tokens: &TokenManager) -> Result<String, GatewayError> {
    let url = format!("{}/me", instance.site.api.url());
    let answer = tokens.send(instance.http.get(url)).await?;
    let answer: serde_json::Value = answer.json().await?;
    Ok(answer["user"].as_str().unwrap_or("none").to_owned())
}

#[derive(Deserialize)]
struct Rules {
    #[serde(default)]
    rules: String,
}

async fn public(Query(rules): Query<Rules>) -> Html<String> {
    let rules = match rules.rules.is_empty() {
        true => "{}",
        false => &rules.rules,
    };
    Html(pages::public(rules))
}

async fn script() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/javascript")], pages::SCRIPT)
}

#[derive(Deserialize)]
struct To {
    #[serde(default)]
    to: String,
}

async fn login_page(Query(To { to }): Query<To>) -> impl IntoResponse {
    ([(CACHE_CONTROL, "no-store")], Html(pages::login(&to)))
}

#[derive(Deserialize)]
struct Credentials {
    user: String,
    to: String,
}

/// A login by which a test chooses the user.
async fn sign_in(
    State(instance): State<Instance>,
    request: HeaderMap,
    Form(Credentials { user, to }): Form<Credentials>,
) -> Result<impl IntoResponse, GatewayError> {
    let pair = instance.site.server.issue();
    let signed_in = instance.signed_in(&request, pair, &user).await?;
    let to = match to.starts_with('/') {
        true => to,
        false => "/".to_owned(),
    };
    Ok((signed_in, Redirect::to(&to)))
}

impl Instance {
    /// The end of every login.
    pub(crate) async fn signed_in(
        &self,
        request: &HeaderMap,
        pair: TokenPair,
        user: &str,
    ) -> Result<SignedIn, GatewayError> {
        self.site.api.know(&pair, user);
        self.gateway.sign_in(request, pair).await
    }
}
