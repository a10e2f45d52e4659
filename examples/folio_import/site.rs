//! A FOLIO with one user, and all that a client of this FOLIO needs of evertoken.

use std::time::Duration;

use anyhow::Context as _;
use evertoken::testing::{FolioServer, HttpServer, TestClock};
use evertoken::{
    ApiProfile, Builder, Folio, RefreshStrategy, TokenClient, TokenManager, TokenPair,
};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, ClientBuilder};

use crate::arguments::{Arguments, Mode};

const TENANT: &str = "diku";
const USER: &str = "diku_admin";
const PASSWORD: &str = "admin";

/// How long a request for tokens takes.
const LATENCY: Duration = Duration::from_millis(200);

pub(crate) struct Site {
    pub(crate) folio: FolioServer,
    http: HttpServer,
    mode: Mode,
    clock: TestClock,
}

impl Site {
    /// Starts a FOLIO that takes the `--length` of the arguments for so many records.
    pub(crate) async fn open(
        mode: Mode,
        arguments: &Arguments,
        total: u64,
    ) -> anyhow::Result<Self> {
        let clock = TestClock::new();
        let tokens = format!(
            "accessToken:{},refreshToken:{}",
            arguments.access_ttl.as_secs(),
            arguments.refresh_ttl.as_secs(),
        );
        let builder = match mode {
            Mode::Okapi => FolioServer::okapi().okapi_path("/okapi"),
            Mode::Eureka => FolioServer::eureka(),
        };
        let per_record = f64::from(arguments.workers) / total as f64;
        let folio = builder
            .clock(clock.clone())
            .token_expiration(&tokens)?
            .user(TENANT, USER, PASSWORD)
            .latency(LATENCY)
            .time_per_record(arguments.length.mul_f64(per_record))
            .build();
        let http = folio.listen().await.context("cannot listen")?;
        Ok(Self {
            folio,
            http,
            mode,
            clock,
        })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.http.url())
    }

    /// The pair of a sign-in with a browser.
    pub(crate) fn user_signs_in(&self) -> anyhow::Result<TokenPair> {
        self.folio
            .issue(TENANT, USER)
            .context("FOLIO has no such user")
    }

    /// The login service of FOLIO.
    pub(crate) fn endpoint(&self) -> anyhow::Result<Folio> {
        let url = self.http.url();
        Ok(match self.mode {
            Mode::Okapi => Folio::okapi(url, TENANT)?,
            Mode::Eureka => Folio::eureka(url, TENANT)?,
        })
    }

    /// The login service for a client that knows the password.
    pub(crate) fn endpoint_with_sign_in(&self) -> anyhow::Result<Folio> {
        Ok(self.endpoint()?.sign_in_with_password(USER, PASSWORD))
    }

    /// The builder of a manager.
    pub(crate) fn builder(&self, endpoint: Folio, strategy: impl RefreshStrategy) -> Builder {
        TokenManager::builder(endpoint)
            .strategy(strategy)
            .clock(self.clock.clone())
            .origin(self.http.origin())
            .api(match self.mode {
                Mode::Okapi => ApiProfile::okapi(),
                Mode::Eureka => ApiProfile::eureka(),
            })
    }

    /// A client that sends the token of a manager.
    pub(crate) fn client(&self, tokens: &TokenManager) -> anyhow::Result<TokenClient> {
        Ok(tokens.client(with_tenant)?)
    }

    /// A client that always sends this token.
    pub(crate) fn client_with(&self, token: &str) -> anyhow::Result<Client> {
        let mut headers = tenant();
        headers.insert("x-okapi-token", HeaderValue::try_from(token)?);
        Ok(Client::builder().default_headers(headers).build()?)
    }
}

fn with_tenant() -> ClientBuilder {
    Client::builder().default_headers(tenant())
}

fn tenant() -> HeaderMap {
    let tenant = HeaderValue::from_static(TENANT);
    [(http::HeaderName::from_static("x-okapi-tenant"), tenant)]
        .into_iter()
        .collect()
}
