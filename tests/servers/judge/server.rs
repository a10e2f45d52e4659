//! The requests to a server that bypass the crate: a first pair, the liveness of a token, and a plain exchange.

use std::sync::Arc;
use std::time::Duration;

use evertoken::TokenPair;
use evertoken::testing::{
    AccessCheck, AuthorizationServer, GraceAnswer, HttpServer, Reuse as EmbeddedReuse,
};
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;

use super::program::Program;
use super::{CLIENT, Client, Kind, OTHER_CLIENT, Reuse, Rules};

/// A running server.
pub(crate) struct Server {
    at: At,
    http: reqwest::Client,
}

enum At {
    Real(Arc<Program>),
    Embedded(AuthorizationServer, HttpServer),
}

/// The first pair of a session.
#[derive(Clone, Deserialize)]
pub(crate) struct First {
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
    pub(crate) expires_in: u64,
}

impl First {
    pub(crate) fn pair(&self) -> TokenPair {
        TokenPair::new(self.access_token.as_str())
            .refresh_token(self.refresh_token.as_str())
            .expires_in(Duration::from_secs(self.expires_in))
    }
}

/// An answer of the token endpoint.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }

    /// The status and the error code, empty if the answer has none.
    pub(crate) fn outcome(&self) -> (u16, &str) {
        (self.status, self.text("error"))
    }
}

impl Server {
    pub(super) fn real(program: Arc<Program>) -> Self {
        let http = reqwest::Client::new();
        Self {
            at: At::Real(program),
            http,
        }
    }

    pub(super) async fn embedded(kind: Kind, rules: Rules) -> Self {
        let answer = match kind {
            Kind::OidcProvider => GraceAnswer::Fork,
            Kind::Django => GraceAnswer::SamePair,
        };
        let server = AuthorizationServer::builder()
            .client(CLIENT.id, CLIENT.secret)
            .another_client(OTHER_CLIENT.id, OTHER_CLIENT.secret)
            .access_ttl(Duration::from_secs(rules.access_ttl))
            .refresh_ttl(Duration::from_secs(rules.refresh_ttl))
            .issue_refresh_expires_in(false)
            .old_access_dies(kind == Kind::Django)
            .reuse(match rules.reuse {
                Reuse::RevokeFamily => EmbeddedReuse::RevokeFamily,
                Reuse::Refuse => EmbeddedReuse::Refuse,
                Reuse::Grace(seconds) => {
                    let window = Duration::from_secs(seconds);
                    EmbeddedReuse::Grace { window, answer }
                }
            })
            .build();
        let listening = server.listen().await.expect("a port");
        let http = reqwest::Client::new();
        Self {
            at: At::Embedded(server, listening),
            http,
        }
    }

    pub(crate) fn token_url(&self) -> String {
        match &self.at {
            At::Real(program) => program.urls.token_url.clone(),
            At::Embedded(_, listening) => listening.url().to_owned(),
        }
    }

    pub(crate) fn revocation_url(&self) -> String {
        match &self.at {
            At::Real(program) => program.urls.revocation_url.clone(),
            At::Embedded(_, listening) => format!("{}/revoke", listening.origin()),
        }
    }

    pub(crate) async fn sign_in(&self) -> First {
        let program = match &self.at {
            At::Real(program) => program,
            At::Embedded(server, _) => return first(&server.issue()),
        };
        let answer = self.http.post(&program.urls.session_url).send().await;
        let answer = answer.unwrap().error_for_status().unwrap();
        answer.json().await.unwrap()
    }

    pub(crate) async fn is_live_access(&self, token: &str) -> bool {
        match &self.at {
            At::Real(program) => {
                let url = &program.urls.introspection_url;
                self.introspect(url, token).await
            }
            At::Embedded(server, _) => server.check(token) == AccessCheck::Live,
        }
    }

    pub(crate) async fn is_live_refresh(&self, token: &str) -> bool {
        match &self.at {
            At::Real(program) => {
                let urls = &program.urls;
                let own = urls.refresh_introspection_url.as_ref();
                let url = own.unwrap_or(&urls.introspection_url);
                self.introspect(url, token).await
            }
            At::Embedded(server, _) => server.is_live_refresh(token),
        }
    }

    /// Presents a refresh token, as the client does.
    pub(crate) async fn exchange(&self, refresh_token: &str) -> Answer {
        self.exchange_as(CLIENT, refresh_token).await
    }

    pub(crate) async fn exchange_as(&self, client: Client, refresh_token: &str) -> Answer {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
        ];
        self.ask(Some(client), &form).await
    }

    /// Sends any request to the token endpoint.
    pub(crate) async fn ask(&self, client: Option<Client>, form: &[(&str, &str)]) -> Answer {
        let answer = self.post(&self.token_url(), client, form).await;
        let status = answer.status().as_u16();
        let body = answer.json().await.unwrap_or_default();
        Answer { status, body }
    }

    /// Revokes a token (RFC 7009), and returns the status.
    pub(crate) async fn revoke(&self, token: &str) -> u16 {
        let url = self.revocation_url();
        let answer = self.post(&url, Some(CLIENT), &[("token", token)]).await;
        answer.status().as_u16()
    }

    /// Introspects a token (RFC 7662).
    async fn introspect(&self, url: &str, token: &str) -> bool {
        let answer = self.post(url, Some(CLIENT), &[("token", token)]).await;
        let answer: Value = answer.error_for_status().unwrap().json().await.unwrap();
        answer["active"].as_bool().expect("RFC 7662 requires it")
    }

    async fn post(
        &self,
        url: &str,
        client: Option<Client>,
        form: &[(&str, &str)],
    ) -> reqwest::Response {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let mut request = self.http.post(url).body(body);
        request = request.header("content-type", "application/x-www-form-urlencoded");
        if let Some(client) = client {
            request = request.basic_auth(encoded(client.id), Some(encoded(client.secret)));
        }
        request.send().await.unwrap()
    }
}

fn first(pair: &TokenPair) -> First {
    let (access, refresh) = (pair.access.as_ref(), pair.refresh.as_ref());
    let access = access.expect("the server issues an access token");
    let refresh = refresh.expect("the server issues a refresh token");
    let lifetime = pair.lifetime.access.total();
    First {
        access_token: access.expose().to_owned(),
        refresh_token: refresh.expose().to_owned(),
        expires_in: lifetime.expect("the answer has a lifetime").as_secs(),
    }
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
