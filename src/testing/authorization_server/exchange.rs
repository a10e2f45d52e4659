//! The path of a grant that has arrived, by either face: the grant waits, meets its fault, and is decided.
//!
//! [`InProcessEndpoint`] is the in-process face: an endpoint without sockets. It reads the server's replies as a careful
//! OAuth2 client reads answers, and never shows more of a reply than such a client can see.

use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;

use super::super::clock::{back, there};
use super::super::fault::{Fault, fill, met};
use super::AuthorizationServer;
use super::rules::{Client, Refusal};
use crate::endpoint::{EndpointError, Grant, Issued, ServerProfile, TokenEndpoint, judge_oauth2};
use crate::token::{AccessToken, Key, RefreshToken, Scope, TokenPair};

/// What a client asks for.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    /// For this scope. An empty scope asks for the scope that the token had before.
    Refresh(RefreshToken, Scope),
    SignIn,
    /// The server does not know this grant.
    Malformed(Refusal),
}

/// The client that asks, or why the server cannot identify the client.
pub(super) type Credentials = Result<Option<Client>, Refusal>;

/// What goes back to the client.
#[derive(Debug)]
pub(super) enum Reply {
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
    pub(super) async fn decide(self, ask: Ask, client: Credentials) -> Reply {
        let fault = self.arrive(&ask);
        self.released().await;
        let reply = met(fault, |fault| self.reply(&ask, client, fault)).await;
        self.back().await;
        reply
    }

    /// The first half of the latency: the way of the request.
    pub(super) async fn there(&self) {
        let latency = self.state().rules.latency;
        there(latency).await;
    }

    /// The second half of the latency: the way of the answer.
    pub(super) async fn back(&self) {
        let latency = self.state().rules.latency;
        back(latency).await;
    }

    /// Counts the grant, and takes its fault.
    fn arrive(&self, ask: &Ask) -> Option<Fault> {
        let fault = self.shared.faults.lock().next();
        match ask {
            Ask::Refresh(..) => self.shared.exchanges.send_modify(|count| *count += 1),
            Ask::SignIn => self.state().counters.sign_ins += 1,
            Ask::Malformed(_) => {}
        }
        fault
    }

    async fn released(&self) {
        let mut holds = self.shared.holds.subscribe();
        // The wait fails only without a sender, which lives as long as this server.
        let _ = holds.wait_for(|holds| *holds == 0).await;
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
        self.server.there().await;
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
        self.server.there().await;
        let revoked = self.server.state().revoke(token, self.client.as_ref());
        self.server.back().await;
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

#[cfg(test)]
mod tests;
