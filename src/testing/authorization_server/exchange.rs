//! The path of a grant that has arrived, by either face: the grant waits, meets its fault, and is decided. Both faces share
//! one decision.
//!
//! [`InProcessEndpoint`] is the in-process face: an endpoint without sockets. It reads the server's replies as a careful
//! OAuth2 client reads answers, and never shows more of a reply than such a client can see. The HTTP face takes form requests
//! and answers with JSON (RFC 6749 sections 3.2 and 5, RFC 7009). It also has the page on which a user signs in (`page`).

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, PRAGMA, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::Value;
use url::form_urlencoded;

use super::super::clock::{back, there, until};
use super::super::fault::{Fault, fill, met};
use super::super::http::{Sent, date, response, retry_after, typed};
use super::AuthorizationServer;
use super::page;
use super::rules::{Client, Refusal};
use super::state::CodeGrant;
use crate::endpoint::{EndpointError, Grant, Issued, ServerProfile, TokenEndpoint, judge_oauth2};
use crate::token::{AccessToken, Key, RefreshToken, Scope, TokenPair};

/// What a client asks for.
enum Ask {
    /// For this scope. An empty scope asks for the scope that the token had before.
    Refresh(RefreshToken, Scope),
    SignIn,
    /// By a code of the authorization endpoint.
    Code(CodeGrant),
    /// The server does not know this grant.
    Malformed(Refusal),
}

/// The client that asks, or why the server cannot identify the client.
type Credentials = Result<Option<Client>, Refusal>;

/// What goes back to the client.
#[derive(Debug)]
enum Reply {
    Issued(Issued),
    Refused(Refusal),
    /// A status, a body, and the pause of `Retry-After`.
    Scripted(u16, String, Option<Duration>),
    /// Half of this answer arrives.
    Truncated(Issued),
    Dropped,
}

impl AuthorizationServer {
    /// Decides a grant that has arrived, and then waits for the second half of the latency.
    ///
    /// The caller runs this in a task of its own: a client that hangs up does not undo a grant that has arrived.
    async fn decide(self, ask: Ask, client: Credentials) -> Reply {
        let fault = self.arrive(&ask);
        until(&self.shared.holds, |holds| *holds == 0).await;
        let reply = met(fault, |fault| self.reply(&ask, client, fault)).await;
        back(self.latency()).await;
        reply
    }

    /// Counts the grant, and takes its fault.
    fn arrive(&self, ask: &Ask) -> Option<Fault> {
        let fault = self.shared.faults.lock().take();
        match ask {
            Ask::Refresh(..) => self.shared.exchanges.send_modify(|count| *count += 1),
            Ask::SignIn | Ask::Code(_) => self.state().counters.sign_ins += 1,
            Ask::Malformed(_) => {}
        }
        fault
    }

    fn reply(&self, ask: &Ask, client: Credentials, fault: Option<Fault>) -> Reply {
        let (now, mut state) = (self.now(), self.state());
        let undone = matches!(fault, Some(Fault::Status { .. } | Fault::DropBefore));
        if let Ask::Refresh(token, _) = ask
            && (undone || client.is_err())
        {
            state.note_replay(token.expose());
        }
        let fault = match fault {
            Some(Fault::DropBefore) => return Reply::Dropped,
            Some(Fault::Status {
                status,
                body,
                retry_after,
            }) => return Reply::Scripted(status, body, retry_after),
            fault => fault,
        };
        let decided = client.and_then(|client| match ask {
            Ask::Refresh(token, scope) => {
                state.refresh(token.expose(), scope, client.as_ref(), now)
            }
            Ask::SignIn => state.sign_in(client.as_ref(), now),
            Ask::Code(grant) => state.redeem(grant, client.as_ref(), now),
            Ask::Malformed(refusal) => Err(*refusal),
        });
        match (decided, fault) {
            (_, Some(Fault::DropAfter)) => Reply::Dropped,
            (Err(refusal), _) => Reply::Refused(refusal),
            (Ok(issued), Some(Fault::Truncate)) => Reply::Truncated(issued),
            (Ok(issued), Some(Fault::Body { status, body })) => {
                let access = issued.access.as_ref().map_or("", AccessToken::expose);
                let refresh = issued.refresh.as_ref().map_or("", RefreshToken::expose);
                Reply::Scripted(status, fill(&body, access, refresh), None)
            }
            (Ok(issued), _) => Reply::Issued(issued),
        }
    }
}

/// An [`AuthorizationServer`] in this process, as a [`TokenEndpoint`].
#[derive(Debug, Clone)]
pub struct InProcessEndpoint {
    server: AuthorizationServer,
    client: Option<Client>,
    profile: ServerProfile,
    timeout: Duration,
    key: Key,
}

impl InProcessEndpoint {
    pub(super) fn new(server: AuthorizationServer, client: Option<Client>) -> Self {
        let id = client.as_ref().map_or("client", |client| &client.id);
        Self {
            key: Key::new("authorization-server.test", id),
            server,
            client,
            profile: ServerProfile::strict(),
            timeout: Duration::from_secs(30),
        }
    }

    /// The profile that the client has of the server. Default: [`ServerProfile::strict`].
    #[must_use]
    pub fn with_profile(mut self, profile: ServerProfile) -> Self {
        self.profile = profile;
        self
    }

    /// How long the client waits for an exchange. The server finishes the exchange also after that. Default: 30 s.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The key of the session. Default: one that all endpoints of a client share.
    #[must_use]
    pub fn with_key(mut self, key: Key) -> Self {
        self.key = key;
        self
    }

    /// The credentials that the client presents. Default: those of the server's own client.
    #[must_use]
    pub fn with_client(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.client = Some(Client::new(id, secret));
        self
    }

    /// Sends the grant and waits for the reply.
    async fn ask(&self, ask: Ask) -> Result<Reply, EndpointError> {
        // A request that has not arrived yet is dropped with the client.
        there(self.server.latency()).await;
        let decision = self.server.clone().decide(ask, Ok(self.client.clone()));
        tokio::spawn(decision).await.map_err(EndpointError::unknown)
    }
}

#[async_trait]
impl TokenEndpoint for InProcessEndpoint {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        let (ask, window) = match grant {
            Grant::Refresh { token, window } => {
                (Ask::Refresh(token.clone(), Scope::default()), window)
            }
            Grant::SignIn { window } => (Ask::SignIn, window),
        };
        if !window.is_open() {
            return Err(EndpointError::not_sent("the send window is over"));
        }
        if !self.server.is_reachable() {
            return Err(EndpointError::not_sent("connection refused"));
        }
        let reply = tokio::time::timeout(self.timeout, self.ask(ask))
            .await
            .map_err(EndpointError::unknown)??;
        match reply {
            Reply::Issued(issued) => Ok(issued.server_time(self.server.date())),
            Reply::Refused(refusal) => Err(refusal.error(self.server.words())),
            Reply::Scripted(status, body, retry_after) => {
                // A client cannot read an answer whose status HTTP does not have.
                let status = StatusCode::from_u16(status).map_err(EndpointError::unknown)?;
                let issued = judge_oauth2(status, body, retry_after)?;
                Ok(issued.server_time(self.server.date()))
            }
            Reply::Truncated(_) => Err(EndpointError::unknown("the answer ended early")),
            Reply::Dropped => Err(EndpointError::unknown("closed before the answer")),
        }
    }

    fn can_sign_in(&self) -> bool {
        self.server.state().rules.sign_in
    }

    async fn revoke(&self, pair: &TokenPair) -> Result<(), EndpointError> {
        let refresh = pair.refresh.as_ref().map(RefreshToken::expose);
        let access = pair.access.as_ref().map(AccessToken::expose);
        let Some(token) = refresh.or(access) else {
            return Ok(());
        };
        if !self.server.is_reachable() {
            return Err(EndpointError::not_sent("connection refused"));
        }
        there(self.server.latency()).await;
        let revoked = self.server.state().revoke(token, self.client.as_ref());
        back(self.server.latency()).await;
        revoked.map_err(|refusal| refusal.error(self.server.words()))
    }

    fn profile(&self) -> ServerProfile {
        self.profile
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn key(&self) -> Key {
        self.key.clone()
    }
}

/// Bytes of a request's body, far more than a grant needs.
const BODY_LIMIT: usize = 64 * 1024;

/// Answers a request over HTTP.
pub(super) async fn answer(server: AuthorizationServer, request: Request<Incoming>) -> Sent {
    let (head, body) = request.into_parts();
    let (revokes, is_page) = match head.uri.path() {
        "/token" => (false, false),
        "/revoke" => (true, false),
        "/authorize" => (false, true),
        _ => return server.sent(404, Bytes::new()),
    };
    if is_page && head.method == Method::GET {
        let query = head.uri.query().unwrap_or_default();
        let answer = page::answer(&server, &head.method, &head.headers, query.as_bytes());
        return Sent::Whole(answer);
    }
    if head.method != Method::POST {
        return server.sent(405, Bytes::new());
    }
    let Ok(body) = Limited::new(body, BODY_LIMIT).collect().await else {
        return server.refused(Refusal::InvalidRequest);
    };
    let body = body.to_bytes();
    if is_page {
        return Sent::Whole(page::answer(&server, &head.method, &head.headers, &body));
    }
    let form = Form::parse(&body);
    let client = form.client(&head.headers);
    // A grant that was read whole is decided, also if the client hangs up now.
    let task = tokio::spawn(async move {
        there(server.latency()).await;
        if !revokes {
            let reply = server.clone().decide(form.ask(), client).await;
            return server.send(reply);
        }
        let revoked = client.and_then(|client| {
            let token = form.value("token").ok_or(Refusal::InvalidRequest)?;
            server.state().revoke(token, client.as_ref())
        });
        back(server.latency()).await;
        match revoked {
            Ok(()) => server.sent(200, Bytes::new()),
            Err(refusal) => server.refused(refusal),
        }
    });
    task.await.unwrap_or(Sent::Nothing)
}

impl AuthorizationServer {
    fn send(&self, reply: Reply) -> Sent {
        match reply {
            Reply::Issued(issued) => self.sent(200, json_of(&issued)),
            Reply::Refused(refusal) => self.refused(refusal),
            Reply::Scripted(status, body, pause) => {
                let mut response = self.response(status, body.into());
                retry_after(response.headers_mut(), pause);
                Sent::Whole(response)
            }
            Reply::Truncated(issued) => Sent::Half(self.response(200, json_of(&issued))),
            Reply::Dropped => Sent::Nothing,
        }
    }

    fn refused(&self, refusal: Refusal) -> Sent {
        let (status, body) = refusal.answer(self.words());
        let mut response = self.response(status, body.to_string().into());
        if refusal == Refusal::InvalidClient {
            let challenge = HeaderValue::from_static("Basic realm=\"token\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        Sent::Whole(response)
    }

    fn sent(&self, status: u16, body: Bytes) -> Sent {
        Sent::Whole(self.response(status, body))
    }

    /// An answer with the headers that all answers have.
    fn response(&self, status: u16, body: Bytes) -> Response<Bytes> {
        let mut response = if body.is_empty() {
            response(status, body)
        } else {
            typed(status, "application/json", body)
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        date(headers, self.date());
        response
    }
}

fn json_of(issued: &Issued) -> Bytes {
    let access = issued.access.as_ref().map(AccessToken::expose);
    let refresh = issued.refresh.as_ref().map(RefreshToken::expose);
    let scope = issued.scope.as_ref().map(ToString::to_string);
    let members = [
        ("access_token", access.map(Value::from)),
        ("token_type", issued.token_type.clone().map(Value::from)),
        ("expires_in", issued.expires_in.map(seconds)),
        ("refresh_token", refresh.map(Value::from)),
        ("refresh_expires_in", issued.refresh_expires_in.map(seconds)),
        ("scope", scope.map(Value::from)),
    ];
    let present = members.into_iter();
    let present = present.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(present.collect()).to_string().into()
}

/// Whole seconds as an integer, as servers write them, and else a fraction.
fn seconds(span: Duration) -> Value {
    if span.subsec_nanos() == 0 {
        span.as_secs().into()
    } else {
        span.as_secs_f64().into()
    }
}

/// The parameters of a request's body.
struct Form(Vec<(String, String)>);

impl Form {
    fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// A parameter without a value counts as omitted (RFC 6749 section 3.2).
    fn value(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(found, value)| found == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    fn ask(&self) -> Ask {
        match (self.value("grant_type"), self.value("refresh_token")) {
            (Some("refresh_token"), Some(token)) => {
                let scope = self.value("scope").unwrap_or_default();
                Ask::Refresh(token.into(), Scope::parse(scope))
            }
            (Some("client_credentials"), _) => Ask::SignIn,
            (Some("authorization_code"), _) => self
                .code()
                .map_or(Ask::Malformed(Refusal::InvalidRequest), Ask::Code),
            (Some("refresh_token") | None, _) => Ask::Malformed(Refusal::InvalidRequest),
            (Some(_), _) => Ask::Malformed(Refusal::UnsupportedGrantType),
        }
    }

    fn code(&self) -> Option<CodeGrant> {
        Some(CodeGrant {
            code: self.value("code")?.to_owned(),
            redirect_uri: self.value("redirect_uri")?.to_owned(),
            verifier: self.value("code_verifier")?.to_owned(),
        })
    }

    /// The client that the header or the body names; both at once is an error (RFC 6749 section 2.3).
    fn client(&self, headers: &HeaderMap) -> Credentials {
        let secret = self.value("client_secret");
        let Some(header) = headers.get(AUTHORIZATION) else {
            let id = self.value("client_id");
            return Ok(id.map(|id| Client::new(id, secret.unwrap_or_default())));
        };
        if secret.is_some() {
            return Err(Refusal::InvalidRequest);
        }
        let in_header = header.to_str().ok().and_then(basic);
        in_header.map(Some).ok_or(Refusal::InvalidClient)
    }
}

/// Reads Basic credentials, both parts form-encoded (RFC 6749 section 2.3.1).
fn basic(header: &str) -> Option<Client> {
    let (scheme, credentials) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(credentials.trim()).ok()?;
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(Client::new(form_decoded(id)?, form_decoded(secret)?))
}

/// `None` for a text with characters that form-encoding replaces.
fn form_decoded(text: &str) -> Option<String> {
    if text.contains(['&', '=']) {
        return None;
    }
    let decoded = form_urlencoded::parse(text.as_bytes()).next();
    Some(decoded.map_or(String::new(), |(name, _)| name.into_owned()))
}

#[cfg(test)]
mod tests;
