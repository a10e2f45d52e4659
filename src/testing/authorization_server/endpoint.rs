//! The in-process face: an endpoint without sockets. It reads the server's replies as a careful OAuth2
//! client reads its answers, and never shows more of them than such a client could see.

use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;

use super::AuthorizationServer;
use super::exchange::{Ask, Reply};
use super::rules::{Client, Words};
use super::state::Refusal;
use crate::endpoint::{EndpointError, Grant, Issued, ServerProfile, TokenEndpoint, judge_oauth2};
use crate::token::{AccessToken, Key, RefreshToken, Scope, TokenPair};

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

    /// What the client believes of the server. Default: [`ServerProfile::strict`].
    #[must_use]
    pub fn with_profile(mut self, profile: ServerProfile) -> Self {
        self.profile = profile;
        self
    }

    /// When the client gives up on an exchange, which the server then finishes all the same.
    /// Default: 30 s.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What a session at this endpoint is. Default: one that all endpoints of a client share.
    #[must_use]
    pub fn with_key(mut self, key: Key) -> Self {
        self.key = key;
        self
    }

    /// Who the client says it is. Default: the server's own.
    #[must_use]
    pub fn with_client(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.client = Some(Client {
            id: id.into(),
            secret: secret.into(),
        });
        self
    }

    /// Sends the grant and waits for the reply.
    async fn ask(&self, ask: Ask) -> Result<Reply, EndpointError> {
        // Until it has arrived, the request is the client's and goes with it.
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
            Reply::Refused(refusal) => Err(refused(refusal, self.server.words())),
            Reply::Scripted {
                status,
                body,
                retry_after,
            } => {
                // A status that there is not is nothing that a client could read.
                let status = StatusCode::from_u16(status).map_err(EndpointError::unknown)?;
                let issued = judge_oauth2(status, body, retry_after)?;
                Ok(issued.server_time(self.server.date()))
            }
            Reply::Truncated(_) => Err(EndpointError::unknown("the answer ended early")),
            Reply::Dropped => Err(EndpointError::unknown("closed before the answer")),
        }
    }

    fn can_sign_in(&self) -> bool {
        self.server.allows_sign_in()
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
        let revoked = self.server.revoke(token, self.client.as_ref());
        self.server.back().await;
        revoked.map_err(|refusal| refused(refusal, self.server.words()))
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

fn refused(refusal: Refusal, words: Words) -> EndpointError {
    let code = refusal.code(words);
    if refusal.is_verdict(words) {
        EndpointError::rejected(code)
    } else {
        EndpointError::refused(code)
    }
}

#[cfg(test)]
mod tests;
