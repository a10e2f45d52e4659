//! The gateway: it admits or refuses every request, and serves every path but those of sign-in as an API that takes records.
//! Okapi's gateway asks its module for tokens about a token; Eureka's sidecars read the token themselves. This module never
//! issues a token.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use serde_json::json;

use super::super::http::{Body, json_of};
use super::answer::{self, Twice, cookies, eureka_error, text};
use super::builder::{System, is_within};
use super::state::{Bearer, State};
use crate::token::Digest;

pub(super) const TENANT: &str = "x-okapi-tenant";
pub(super) const TOKEN: &str = "x-okapi-token";

/// The number of passes that Okapi keeps before it drops those that have expired.
const CACHE_LIMIT: usize = 10_000;

/// Paths that need no permission, with all paths below them.
const OPEN: [&str; 8] = [
    "/bl-users/forgotten/password",
    "/bl-users/forgotten/username",
    "/bl-users/password-reset",
    "/saml/check",
    "/saml/login",
    "/users-keycloak/forgotten/password",
    "/users-keycloak/forgotten/username",
    "/users-keycloak/password-reset",
];

/// The sender of a request.
pub(super) struct Caller<'a> {
    pub(super) tenant: &'a str,
    pub(super) token: Option<&'a str>,
    pub(super) bearer: Option<Bearer>,
}

impl State {
    /// Checks the tenant and the access token of a request. A request without a token passes this check.
    pub(super) fn let_in<'a>(&self, head: &'a Parts, now: u64) -> Result<Caller<'a>, Refusal> {
        let caller = self.caller(head)?;
        let Some(token) = caller.token else {
            return Ok(caller);
        };
        let bearer = self.bearer(token);
        let bearer = bearer.filter(|bearer| !self.is_over(bearer, now));
        let tenant = &bearer.as_ref().ok_or(Refusal::InvalidToken)?.tenant;
        // Eureka checks the tenant only where a permission is needed.
        if tenant != caller.tenant && self.rules.system == System::Okapi {
            return Err(Refusal::WrongTenant);
        }
        Ok(Caller { bearer, ..caller })
    }

    /// The answer to a call of the API, and the number of records that the call brought.
    pub(super) fn call(
        &mut self,
        head: &Parts,
        path: &str,
        body: &[u8],
        now: u64,
    ) -> (Response<Bytes>, u64) {
        match self.authorize(head, path, now) {
            Err(refusal) => (self.refuse(&refusal, &head.method, path), 0),
            Ok(None) => (json_of(200, &json!({})), 0),
            Ok(Some(bearer)) => {
                let records = self.take(body);
                let Bearer { tenant, name, .. } = bearer;
                let body = json!({ "records": records, "tenant": tenant, "user": name });
                (json_of(200, &body), records)
            }
        }
    }

    /// Takes the records of an accepted call, and returns their number.
    fn take(&mut self, body: &[u8]) -> u64 {
        let mut arrived = Body::new(self.rules.remembers_records);
        arrived.arrived(body);
        let count = arrived.count();
        let (_, records) = arrived.finish();
        self.taken.note(&records);
        self.counters.records += count;
        count
    }

    /// The bearer of an authorized call. `None` for a path that needs no permission.
    fn authorize(&mut self, head: &Parts, path: &str, now: u64) -> Result<Option<Bearer>, Refusal> {
        let Caller { tenant, token, .. } = self.caller(head)?;
        let pass = token.map(|token| pass(tenant, &head.method, path, token));
        let until = pass.and_then(|pass| self.passes.get(&pass));
        if until.is_some_and(|until| now < *until) {
            return Ok(token.and_then(|token| self.bearer(token)));
        }
        let bearer = self.let_in(head, now)?.bearer;
        if is_open(path) {
            return Ok(None);
        }
        let bearer = bearer.ok_or(Refusal::TokenMissing)?;
        if bearer.tenant != tenant {
            return Err(Refusal::WrongTenant);
        }
        if !self.is_active(&bearer) {
            return Err(Refusal::Inactive(bearer));
        }
        if self.rules.forbids(tenant, &bearer.name, path) {
            return Err(Refusal::PermissionMissing(bearer));
        }
        if let (System::Okapi, Some(pass)) = (self.rules.system, pass) {
            if self.passes.len() >= CACHE_LIMIT {
                self.passes.retain(|_, until| now < *until);
            }
            // Use does not prolong a pass.
            let until = now + self.rules.authorization_cache;
            self.passes.insert(pass, until);
        }
        Ok(Some(bearer))
    }

    fn caller<'a>(&self, head: &'a Parts) -> Result<Caller<'a>, Refusal> {
        let tenant = header(&head.headers, TENANT)
            .ok_or_else(|| Refusal::Bad("Missing header: X-Okapi-Tenant".to_owned()))?;
        if !self.has_tenant(tenant) {
            return Err(Refusal::Bad(format!("No such Tenant {tenant}")));
        }
        let token = access_token(&head.headers);
        Ok(Caller {
            tenant,
            token: token.map_err(|message| Refusal::Bad(message.to_owned()))?,
            bearer: None,
        })
    }
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The access token, which may come in three ways. Two different tokens are an error.
fn access_token(headers: &HeaderMap) -> Result<Option<&str>, &'static str> {
    let mut token = header(headers, TOKEN);
    if let Some(authorization) = header(headers, AUTHORIZATION.as_str()) {
        let bearer = authorization.strip_prefix("Bearer ");
        let bearer = bearer.map_or(authorization, str::trim);
        if token.is_some_and(|token| token != bearer) {
            return Err("X-Okapi-Token is not equal to Authorization token");
        }
        token = Some(bearer);
    }
    match answer::cookie(headers, answer::ACCESS) {
        Err(Twice) => Err("Multiple folioAccessToken cookie names"),
        Ok(Some(cookie)) if token.is_some_and(|token| token != cookie) => {
            Err("X-Okapi-Token conflicts with Cookie")
        }
        Ok(cookie) => Ok(token.or(cookie)),
    }
}

fn pass(tenant: &str, method: &Method, path: &str, token: &str) -> Digest {
    Digest::of(format!("{tenant}\n{method}\n{path}\n{token}"))
}

fn is_open(path: &str) -> bool {
    let is_invoked = path.starts_with("/_/invoke/tenant/") && path.ends_with("/saml/login");
    is_invoked || OPEN.iter().any(|open| is_within(path, open))
}

/// Why the gateway refuses a request.
pub(super) enum Refusal {
    /// The request is malformed.
    Bad(String),
    TokenMissing,
    InvalidToken,
    WrongTenant,
    Inactive(Bearer),
    PermissionMissing(Bearer),
}

impl State {
    /// Counts a refusal, and returns its answer.
    pub(super) fn refuse(
        &mut self,
        refusal: &Refusal,
        method: &Method,
        path: &str,
    ) -> Response<Bytes> {
        let response = match self.rules.system {
            System::Okapi => okapis(refusal, method, path),
            System::Eureka => eurekas(refusal),
        };
        let counters = &mut self.counters;
        match (response.status().as_u16(), refusal) {
            (401, _) => counters.unauthorized += 1,
            (403, _) => counters.forbidden += 1,
            (_, Refusal::TokenMissing) => counters.token_missing += 1,
            _ => {}
        }
        response
    }
}

fn okapis(refusal: &Refusal, method: &Method, path: &str) -> Response<Bytes> {
    let permission = permission(method, path);
    match refusal {
        Refusal::Bad(message) => text(400, message.clone()),
        Refusal::TokenMissing => {
            let message = format!("Token missing, access requires permission: {permission}");
            text(400, message)
        }
        Refusal::InvalidToken => text(401, "Invalid token"),
        Refusal::WrongTenant => text(403, "Invalid token"),
        Refusal::Inactive(Bearer { user_id, .. }) => {
            let message = format!("Invalid token: user with id {user_id} is not active");
            text(401, message)
        }
        Refusal::PermissionMissing(Bearer { name, user_id, .. }) => {
            let message =
                format!("Access for user '{name}' ({user_id}) requires permission: {permission}");
            text(403, message)
        }
    }
}

fn eurekas(refusal: &Refusal) -> Response<Bytes> {
    let code = "authorization_error";
    let unauthorized = |message| eureka_error(401, message, "UnauthorizedException", code);
    match refusal {
        Refusal::Bad(message) => eureka_error(400, message, "BadRequestException", "service_error"),
        Refusal::TokenMissing | Refusal::InvalidToken | Refusal::Inactive(_) => {
            unauthorized("Unauthorized")
        }
        Refusal::WrongTenant => {
            unauthorized("X-Okapi-Tenant header is not the same as resolved tenant")
        }
        Refusal::PermissionMissing(_) => {
            eureka_error(403, "Access Denied", "ForbiddenException", code)
        }
    }
}

/// The name of a permission, in FOLIO's form: `source-storage.records.post`.
fn permission(method: &Method, path: &str) -> String {
    let path = path.trim_matches('/').replace('/', ".");
    format!("{path}.{}", method.as_str().to_lowercase())
}

/// One request that FOLIO received.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FolioRequest {
    /// The method.
    pub method: Method,
    /// The path below that of [`okapi_path`](super::FolioServerBuilder::okapi_path), without the query.
    pub path: String,
    /// The value of `X-Okapi-Tenant`.
    pub tenant: Option<String>,
    /// The carriers of tokens in the request: `x-okapi-token`, `authorization`, and the names of all cookies, in this order.
    pub carried: Vec<String>,
    /// The status of the answer; `None` where the connection was closed instead.
    pub status: Option<StatusCode>,
}

impl FolioRequest {
    pub(super) fn new(head: &Parts, path: &str, status: Option<StatusCode>) -> Self {
        Self {
            method: head.method.clone(),
            path: path.to_owned(),
            tenant: header(&head.headers, TENANT).map(str::to_owned),
            carried: carried(&head.headers),
            status,
        }
    }
}

fn carried(headers: &HeaderMap) -> Vec<String> {
    let named = [TOKEN, AUTHORIZATION.as_str()];
    let named = named.into_iter().filter(|name| headers.contains_key(*name));
    let cookies = cookies(headers).filter_map(|cookie| cookie.split('=').next());
    named.chain(cookies).map(str::to_owned).collect()
}
