//! The HTTP face: form requests in, JSON out (RFC 6749 sections 3.2 and 5, RFC 7009). This module never decides a grant:
//! both faces share one decision.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, PRAGMA, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::Value;
use url::form_urlencoded;

use super::super::http::{Sent, date, response, retry_after, typed};
use super::AuthorizationServer;
use super::exchange::{Ask, Credentials, Reply};
use super::rules::{Client, Refusal};
use crate::endpoint::Issued;
use crate::token::{AccessToken, RefreshToken, Scope};

/// Bytes of a request's body, far more than a grant needs.
const BODY_LIMIT: usize = 64 * 1024;

pub(super) async fn answer(server: AuthorizationServer, request: Request<Incoming>) -> Sent {
    let (head, body) = request.into_parts();
    let revokes = match head.uri.path() {
        "/token" => false,
        "/revoke" => true,
        _ => return server.sent(404, Bytes::new()),
    };
    if head.method != Method::POST {
        return server.sent(405, Bytes::new());
    }
    let Ok(body) = Limited::new(body, BODY_LIMIT).collect().await else {
        return server.refused(Refusal::InvalidRequest);
    };
    let form = Form::parse(&body.to_bytes());
    let client = form.client(&head.headers);
    // A grant that was read whole is decided, also if the client hangs up now.
    let task = tokio::spawn(async move {
        server.there().await;
        if revokes {
            server.revoke_for(&form, client).await
        } else {
            let reply = server.clone().decide(form.ask(), client).await;
            server.send(reply)
        }
    });
    task.await.unwrap_or(Sent::Nothing)
}

impl AuthorizationServer {
    async fn revoke_for(self, form: &Form, client: Credentials) -> Sent {
        let revoked = client.and_then(|client| match form.value("token") {
            Some(token) => self.state().revoke(token, client.as_ref()),
            None => Err(Refusal::InvalidRequest),
        });
        self.back().await;
        match revoked {
            Ok(()) => self.sent(200, Bytes::new()),
            Err(refusal) => self.refused(refusal),
        }
    }

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
            (Some("refresh_token") | None, _) => Ask::Malformed(Refusal::InvalidRequest),
            (Some(_), _) => Ask::Malformed(Refusal::UnsupportedGrantType),
        }
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
