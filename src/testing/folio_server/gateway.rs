//! Who is let in, and what is below the gateway but sign-in: an API that takes records. Okapi's gateway asks
//! its module for tokens, Eureka's sidecars read them themselves.

mod refusal;

use std::collections::HashMap;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, Method, Response};
use serde_json::json;

use self::refusal::Refusal;
use super::super::body::Body;
use super::answer::json_of;
use super::builder::{System, is_within};
use super::cookies::{self, Twice};
use super::state::{Bearer, State};
use crate::token::Digest;

pub(super) const TENANT: &str = "x-okapi-tenant";
pub(super) const TOKEN: &str = "x-okapi-token";

/// So many tokens that Okapi let pass are kept before it looks which of them it need not keep.
const CACHE_LIMIT: usize = 10_000;

/// Paths that need no permission, with all that is below them.
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

/// Whom a request is from.
pub(super) struct Caller<'a> {
    pub(super) tenant: &'a str,
    pub(super) token: Option<&'a str>,
    pub(super) bearer: Option<Bearer>,
}

/// What becomes of a call.
pub(super) enum Call {
    /// Refused, or of a path that takes no records.
    Answered(Response<Bytes>),
    /// It brought so many records.
    Accepted(Response<Bytes>, u64),
}

/// The tokens that Okapi let pass, by tenant, method, path and token, each until a moment.
#[derive(Default)]
pub(super) struct Passes(HashMap<Digest, u64>);

impl Passes {
    fn has(&self, pass: &Digest, now: u64) -> bool {
        self.0.get(pass).is_some_and(|until| now < *until)
    }

    /// A pass is not prolonged by being used.
    fn insert(&mut self, pass: Digest, until: u64, now: u64) {
        if self.0.len() >= CACHE_LIMIT {
            self.0.retain(|_, until| now < *until);
        }
        self.0.insert(pass, until);
    }
}

impl State {
    /// Looks at the tenant and at the access token of any request. One without a token is let in here.
    pub(super) fn let_in<'a>(&self, head: &'a Parts, now: u64) -> Result<Caller<'a>, Refusal> {
        let caller = self.caller(head)?;
        let Some(token) = caller.token else {
            return Ok(caller);
        };
        let bearer = self.bearer(token);
        match bearer.filter(|bearer| !self.is_over(bearer, now)) {
            None => Err(Refusal::InvalidToken),
            // Eureka looks at the tenant only where a permission is needed.
            Some(bearer)
                if bearer.tenant != caller.tenant && self.rules.system == System::Okapi =>
            {
                Err(Refusal::WrongTenant)
            }
            bearer => Ok(Caller { bearer, ..caller }),
        }
    }

    /// A call of the API.
    pub(super) fn call(
        &mut self,
        passes: &mut Passes,
        head: &Parts,
        path: &str,
        body: &Bytes,
        now: u64,
    ) -> Call {
        self.counters.calls += 1;
        match self.authorize(passes, head, path, now) {
            Err(refusal) => Call::Answered(self.refuse(&refusal, &head.method, path)),
            Ok(None) => Call::Answered(json_of(200, &json!({}))),
            Ok(Some(bearer)) => {
                let records = self.take(body);
                let body = json!({
                    "records": records,
                    "tenant": bearer.tenant,
                    "user": bearer.name,
                });
                Call::Accepted(json_of(200, &body), records)
            }
        }
    }

    /// Takes what an accepted call brought, and says how many records that was.
    fn take(&mut self, body: &[u8]) -> u64 {
        let mut arrived = Body::new(self.rules.remembers_records);
        arrived.arrived(body);
        let count = arrived.count();
        let (_, records) = arrived.finish();
        self.taken.note(&records);
        self.counters.records += count;
        count
    }

    /// Whose call it is; nobody's, where none has to be.
    fn authorize(
        &self,
        passes: &mut Passes,
        head: &Parts,
        path: &str,
        now: u64,
    ) -> Result<Option<Bearer>, Refusal> {
        let Caller { tenant, token, .. } = self.caller(head)?;
        let pass = token.map(|token| pass(tenant, &head.method, path, token));
        if let (Some(pass), Some(token)) = (&pass, token)
            && passes.has(pass, now)
        {
            return Ok(self.bearer(token));
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
            passes.insert(pass, now + self.rules.authorization_cache, now);
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

/// The access token, which may come in three ways, but not as two different ones.
fn access_token(headers: &HeaderMap) -> Result<Option<&str>, &'static str> {
    let mut token = header(headers, TOKEN);
    if let Some(authorization) = header(headers, AUTHORIZATION.as_str()) {
        let bearer = authorization
            .strip_prefix("Bearer ")
            .map_or(authorization, str::trim);
        if token.is_some_and(|token| token != bearer) {
            return Err("X-Okapi-Token is not equal to Authorization token");
        }
        token = Some(bearer);
    }
    match cookies::value(headers, cookies::ACCESS) {
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
