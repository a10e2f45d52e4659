use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::state::State;
use super::{AuthorizationServer, Shared, seed};
use crate::clock::{Clock, SystemClock};
use crate::endpoint::EndpointError;
use crate::token::{RefreshExpiry, Scope};

/// What the server does with a refresh token that was consumed before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reuse {
    /// The server answers `invalid_grant` and revokes the whole family, the newest pair included (RFC 9700 section 4.14.2;
    /// oidc-provider, Glewlwyd).
    #[default]
    RevokeFamily,
    /// The server answers `invalid_grant`, and the family lives on (Canaille, Doorkeeper).
    Refuse,
    /// The server answers with a pair for a while after the first use. Later, it does as
    /// [`RevokeFamily`](Self::RevokeFamily).
    Grace {
        /// How long after the first use.
        window: Duration,
        /// Which pair.
        answer: GraceAnswer,
    },
    /// The server answers with the same pair for a while after the first use. Later, and once that pair was rotated in its
    /// turn, it does as [`Refuse`](Self::Refuse) (proposed for light-oauth2).
    Linked {
        /// How long after the first use.
        window: Duration,
    },
    /// The server answers with another new pair, a number of times and for a while after the first use. The pair issued
    /// before dies, whether or not an API saw it. After that, and once the last pair was rotated in its turn, the server
    /// does as [`Refuse`](Self::Refuse) (WSO2).
    Renew {
        /// How long after the first use.
        window: Duration,
        /// How many times.
        times: u32,
    },
}

/// The server's answer to a replay inside the grace window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GraceAnswer {
    /// The answer to the first use, to the byte: its `expires_in` too, although some of that time has passed
    /// (django-oauth-toolkit). Once the pair is rotated in its turn, the replay revokes the family.
    #[default]
    SamePair,
    /// Another new pair. All pairs stay live (oidc-provider with a lenient adapter).
    Fork,
    /// Another new pair, and the pair issued before dies (Synapse). Once that pair was used, at the token endpoint or at
    /// the API, the replay revokes the family.
    LastWins,
}

/// The refresh token in an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RefreshTokens {
    /// A new refresh token. The old one is consumed.
    #[default]
    Rotated,
    /// The same refresh token, which is never consumed. In a sliding session, the answer prolongs it.
    Echoed,
    /// None. The old refresh token stays as it is.
    Omitted,
    /// An empty string, which means the same as [`Omitted`](Self::Omitted).
    Empty,
}

/// The wording of refusals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Words {
    #[default]
    Rfc6749,
    Light4j,
}

/// Why a grant was refused (RFC 6749 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    /// The refresh token belongs to another client than the one that asks.
    OtherClient,
    /// The client asks for more scope than the refresh token has.
    OtherScope,
    UnauthorizedClient,
    UnsupportedGrantType,
}

impl Refusal {
    /// The status, the code, and light-4j's message.
    fn worded(self, words: Words) -> (u16, &'static str, Option<&'static str>) {
        match (words, self) {
            (Words::Light4j, Self::InvalidClient) => (401, "ERR12007", Some("UNAUTHORIZED_CLIENT")),
            (Words::Light4j, Self::OtherScope) => (400, "ERR12027", Some("MISMATCH_SCOPE")),
            (Words::Light4j, Self::OtherClient) => (400, "ERR12028", Some("MISMATCH_CLIENT_ID")),
            (Words::Light4j, Self::InvalidGrant) => {
                (404, "ERR12029", Some("REFRESH_TOKEN_NOT_FOUND"))
            }
            (_, Self::InvalidRequest) => (400, "invalid_request", None),
            (_, Self::InvalidClient) => (401, "invalid_client", None),
            (_, Self::InvalidGrant | Self::OtherClient) => (400, "invalid_grant", None),
            (_, Self::OtherScope) => (400, "invalid_scope", None),
            (_, Self::UnauthorizedClient) => (400, "unauthorized_client", None),
            (_, Self::UnsupportedGrantType) => (400, "unsupported_grant_type", None),
        }
    }

    /// The status and the body of an answer over HTTP.
    pub(super) fn answer(self, words: Words) -> (u16, Value) {
        let (status, code, message) = self.worded(words);
        let body = match message {
            Some(message) => {
                json!({ "statusCode": status, "code": code, "message": message, "severity": "ERROR" })
            }
            None => json!({ "error": code }),
        };
        (status, body)
    }

    /// The error of a client that reads the answer.
    pub(super) fn error(self, words: Words) -> EndpointError {
        let (_, code, _) = self.worded(words);
        // These answers report a dead refresh token.
        match self {
            Self::InvalidGrant => EndpointError::rejected(code),
            Self::OtherClient if words == Words::Rfc6749 => EndpointError::rejected(code),
            _ => EndpointError::refused(code),
        }
    }
}

/// Describes an [`AuthorizationServer`]; see [`AuthorizationServer::builder`].
#[derive(Debug)]
pub struct AuthorizationServerBuilder {
    pub(super) rules: Rules,
    clock: Arc<dyn Clock>,
}

impl AuthorizationServerBuilder {
    pub(super) fn new() -> Self {
        let rules = Rules {
            access_ttl: Duration::from_secs(600),
            refresh_ttl: Duration::from_secs(7 * 24 * 60 * 60),
            issue_refresh_expires_in: true,
            token_type: "Bearer",
            code_ttl: Duration::from_secs(60),
            ..Rules::default()
        };
        let clock = Arc::new(SystemClock);
        Self { rules, clock }
    }

    /// The server's clock. Default: the [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    setters! {
        /// How long an access token lives. Default: 600 s.
        access_ttl: Duration => rules.access_ttl,
        /// How long a refresh token lives. Default: 7 days.
        refresh_ttl: Duration => rules.refresh_ttl,
        /// Whether a rotation prolongs the session. Default: [`RefreshExpiry::Sliding`]. In an absolute session, no token
        /// outlives the family's first refresh token.
        refresh_expiry: RefreshExpiry => rules.refresh_expiry,
        /// The effect of a replay. Default: [`Reuse::RevokeFamily`].
        reuse: Reuse => rules.reuse,
        /// The refresh token in an answer. Default: [`RefreshTokens::Rotated`].
        refresh_tokens: RefreshTokens => rules.refresh_tokens,
        /// Whether the old access token dies at the rotation (django-oauth-toolkit, Canaille). Default: no.
        old_access_dies: bool => rules.old_access_dies,
        /// Whether answers report the lifetime of the refresh token. Default: yes.
        issue_refresh_expires_in: bool => rules.issue_refresh_expires_in,
        /// Whether a refresh token dies if a wrong client presents it, known or unknown (Glewlwyd). Default: no.
        wrong_client_burns: bool => rules.wrong_client_burns,
        /// Whether the client may sign in by itself (`client_credentials`). Default: no.
        sign_in: bool => rules.sign_in,
        /// How long a request takes: half of the time before it arrives, half after the decision. Default: no time.
        latency: Duration => rules.latency,
        /// How long an authorization code lives. Default: 60 s.
        code_ttl: Duration => rules.code_ttl,
    }

    /// Registers a URI to which the authorization endpoint sends the browser back (RFC 6749 section 3.1.2). It is compared to the
    /// letter, but for the port of `127.0.0.1` and `[::1]` (RFC 8252 section 7.3). Several may be registered. Default: none, so
    /// the endpoint refuses every request.
    #[must_use]
    pub fn redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.rules.redirect_uris.push(uri.into());
        self
    }

    /// The scope of sessions, which every answer names. The sign-in of a user may ask for a part of it. Default: answers name none.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<Scope>) -> Self {
        self.rules.scope = Some(scope.into());
        self
    }

    /// The one client that the server serves. Default: all clients, authenticated or not.
    #[must_use]
    pub fn client(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.rules.client = Some(Client::new(id, secret));
        self
    }

    /// Another client that the server knows. It owns no family: the server refuses each refresh token that it presents.
    #[must_use]
    pub fn another_client(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.rules.other_clients.push(Client::new(id, secret));
        self
    }

    /// The server, with no family yet.
    #[must_use]
    pub fn build(self) -> AuthorizationServer {
        AuthorizationServer {
            shared: Arc::new(Shared {
                clock: self.clock,
                state: Mutex::new(State::new(self.rules, seed())),
                faults: Mutex::default(),
                reachable: AtomicBool::new(true),
                exchanges: watch::Sender::new(0),
                holds: watch::Sender::new(0),
            }),
        }
    }
}

/// Whether a scope has all of another one.
pub(super) fn covers(own: &Scope, asked: &Scope) -> bool {
    let has = |name: &str| own.iter().any(|it| it == name);
    asked.iter().all(has)
}

/// All settings of the builder but the clock.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    pub(super) access_ttl: Duration,
    pub(super) refresh_ttl: Duration,
    pub(super) refresh_expiry: RefreshExpiry,
    pub(super) reuse: Reuse,
    pub(super) refresh_tokens: RefreshTokens,
    pub(super) old_access_dies: bool,
    pub(super) issue_refresh_expires_in: bool,
    pub(super) scope: Option<Scope>,
    pub(super) client: Option<Client>,
    /// Clients that the server knows and that own no family.
    pub(super) other_clients: Vec<Client>,
    pub(super) wrong_client_burns: bool,
    pub(super) token_type: &'static str,
    pub(super) words: Words,
    pub(super) sign_in: bool,
    pub(super) latency: Duration,
    /// Where the browser may be sent back to after a sign-in.
    pub(super) redirect_uris: Vec<String>,
    pub(super) code_ttl: Duration,
}

/// A client's id and secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) secret: String,
}

impl Client {
    pub(super) fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        let (id, secret) = (id.into(), secret.into());
        Self { id, secret }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({}, [REDACTED])", self.id)
    }
}
