//! The requests for tokens: sign-in, refresh and logout, as `mod-login` answers them in Okapi and `mod-login-keycloak` in
//! Eureka. This module never counts a call of the API.

use bytes::Bytes;
use http::header::COOKIE;
use http::request::Parts;
use http::{HeaderValue, Method, Response};
use serde::Deserialize;
use serde_json::json;
use url::form_urlencoded;

use super::super::http::json_of;
use super::answer::{
    self, Shape, Twice, clear_cookies, eureka_error, logged_out, okapi_error, text,
};
use super::builder::System;
use super::gateway::{Caller, TOKEN};
use super::state::{Pair, Refused, State};

const LOGIN: &str = "/authn/login-with-expiry";
const LOGIN_OF_A_BROWSER: &str = "/bl-users/login-with-expiry";
const LEGACY_LOGIN: &str = "/authn/login";
const CODE: &str = "/authn/token";
const REFRESH: &str = "/authn/refresh";
const LOGOUT: &str = "/authn/logout";
const LOGOUT_ALL: &str = "/authn/logout-all";

/// The pair that a request for tokens brings, or an answer without a pair.
pub(super) type Outcome = Result<(Pair, Shape), Box<Response<Bytes>>>;

/// Whether a request to this path is a request for tokens.
pub(super) fn is_authn(path: &str) -> bool {
    path.starts_with("/authn/") || path == LOGIN_OF_A_BROWSER
}

/// The credentials of a sign-in.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Credentials {
    username: Option<String>,
    user_id: Option<String>,
    password: Option<String>,
}

impl State {
    /// Processes a request for tokens.
    pub(super) fn authn(&mut self, head: &Parts, path: &str, body: &Bytes, now: u64) -> Outcome {
        let caller = self.let_in(head, now).map_err(|refusal| {
            self.counters.refreshes += u64::from(path == REFRESH);
            self.refuse(&refusal, &head.method, path)
        })?;
        let is_eureka = self.rules.system == System::Eureka;
        let answered = match (head.method.as_str(), path) {
            ("POST", LOGIN | LOGIN_OF_A_BROWSER | LEGACY_LOGIN) => {
                return self.login(caller.tenant, path, body, now);
            }
            ("POST", REFRESH) => return self.refresh_by_cookie(caller.tenant, head, now),
            ("GET", CODE) if is_eureka => return self.code(caller.tenant, head, now),
            ("POST", LOGOUT) => self.logout(&caller, head),
            ("POST", LOGOUT_ALL) => self.logout_all(&caller),
            _ => no_module(&head.method, path),
        };
        Err(answered.into())
    }

    /// Counts a request that is not processed.
    pub(super) fn note_undone(&mut self, head: &Parts, path: &str) {
        if path == REFRESH {
            self.counters.refreshes += 1;
            if let Ok(Some(token)) = refresh_token(head) {
                self.note_replay(token);
            }
        }
    }

    fn login(&mut self, tenant: &str, path: &str, body: &Bytes, now: u64) -> Outcome {
        let is_legacy = self.rules.is_legacy(tenant);
        if self.rules.system == System::Okapi && is_legacy != (path == LEGACY_LOGIN) {
            return Err(text(404, "Token endpoint is not available").into());
        }
        let credentials: Credentials = serde_json::from_slice(body).unwrap_or_default();
        let name = credentials.username.or(credentials.user_id);
        let name = name.ok_or_else(|| text(400, "You must provide a username or userId"))?;
        let password = credentials.password;
        let password = password.ok_or_else(|| text(400, "You must provide a password"))?;
        let user = self.authenticate(tenant, &name, &password);
        let user = user.ok_or_else(|| self.wrong_password())?;
        self.counters.logins += 1;
        if is_legacy {
            return Err(legacy(&self.legacy_token(user, now)).into());
        }
        let shape = match path {
            LOGIN_OF_A_BROWSER => {
                let (id, name) = self.who(user);
                Shape::Wrapped { id, name }
            }
            LEGACY_LOGIN => Shape::Tokens,
            _ => Shape::Flat,
        };
        Ok((self.issue(user, now), shape))
    }

    fn refresh_by_cookie(&mut self, tenant: &str, head: &Parts, now: u64) -> Outcome {
        self.counters.refreshes += 1;
        let token = refresh_token(head).ok().flatten();
        let token = token.ok_or_else(|| self.no_refresh_token())?;
        let refreshed = self.refresh(token, tenant, now);
        let pair = refreshed.map_err(|Refused| {
            self.unprocessable(
                "Authorization server unable to process token refresh request",
                "TokenRefreshException",
                "token.refresh.unprocessable",
            )
        })?;
        Ok((pair, Shape::Flat))
    }

    fn code(&mut self, tenant: &str, head: &Parts, now: u64) -> Outcome {
        let query = head.uri.query().unwrap_or_default().as_bytes();
        let value = |name: &str| {
            let mut pairs = form_urlencoded::parse(query);
            let found = pairs.find(|(found, _)| found == name)?;
            Some(found.1)
        };
        let (Some(code), Some(redirect_uri)) = (value("code"), value("redirect-uri")) else {
            let message = "Required request parameter is not present";
            let kind = "MissingServletRequestParameterException";
            return Err(eureka_error(400, message, kind, "validation_error").into());
        };
        let exchanged = self.exchange_code(tenant, &code, &redirect_uri, now);
        let pair = exchanged.map_err(|Refused| {
            let message = "Failed to obtain a token";
            let mut refused = eureka_error(400, message, "ServiceException", "service_error");
            clear_cookies(refused.headers_mut(), System::Eureka);
            refused
        })?;
        self.counters.logins += 1;
        Ok((pair, Shape::Flat))
    }

    /// A logout without a cookie ends all sessions.
    fn logout(&mut self, caller: &Caller<'_>, head: &Parts) -> Response<Bytes> {
        let token = match (self.rules.system, refresh_token(head)) {
            (_, Ok(Some(token))) => token,
            (System::Okapi, _) if head.headers.contains_key(COOKIE) => {
                return self.no_refresh_token();
            }
            (System::Okapi | System::Eureka, _) => return self.logout_all(caller),
        };
        // Eureka needs an access token to identify the user.
        let is_unknown = self.rules.system == System::Eureka && caller.bearer.is_none();
        if is_unknown || self.log_out(token).is_err() {
            return self.unable_to_log_out();
        }
        logged_out(self.rules.system)
    }

    fn logout_all(&mut self, caller: &Caller<'_>) -> Response<Bytes> {
        let Some(bearer) = &caller.bearer else {
            return self.unable_to_log_out();
        };
        self.log_out_everywhere(bearer.user);
        logged_out(self.rules.system)
    }

    fn wrong_password(&self) -> Response<Bytes> {
        match self.rules.system {
            System::Okapi => okapi_error(
                422,
                "Wrong username or password, or the account is blocked",
                "wrong.username.or.wrong.password.or.account.blocked",
            ),
            System::Eureka => {
                let (message, kind) = ("Unauthorized error", "UnauthorizedException");
                eureka_error(401, message, kind, "unauthorized_error")
            }
        }
    }

    fn no_refresh_token(&self) -> Response<Bytes> {
        match self.rules.system {
            System::Okapi => okapi_error(400, "Bad request", "token.parse.failure"),
            System::Eureka => eureka_error(
                400,
                "Required cookie 'folioRefreshToken' for method parameter type String is not present",
                "MissingRequestCookieException",
                "validation_error",
            ),
        }
    }

    fn unprocessable(&self, message: &str, kind: &str, code: &str) -> Response<Bytes> {
        match self.rules.system {
            System::Okapi => okapi_error(422, message, code),
            System::Eureka => eureka_error(422, message, kind, code),
        }
    }

    fn unable_to_log_out(&self) -> Response<Bytes> {
        let mut response = self.unprocessable(
            "Authorization server unable to process token logout request",
            "TokenLogoutException",
            "token.logout.unprocessable",
        );
        if self.rules.system == System::Eureka {
            clear_cookies(response.headers_mut(), System::Eureka);
        }
        response
    }
}

/// The refresh token of a request. An empty cookie counts as absent.
fn refresh_token(head: &Parts) -> Result<Option<&str>, Twice> {
    let token = answer::cookie(&head.headers, answer::REFRESH)?;
    Ok(token.filter(|token| !token.trim().is_empty()))
}

/// A token without expiry, in a header and in the body.
fn legacy(token: &str) -> Response<Bytes> {
    let mut response = json_of(201, &json!({ "okapiToken": token }));
    if let Ok(value) = HeaderValue::from_str(token) {
        response.headers_mut().insert(TOKEN, value);
    }
    response
}

pub(super) fn no_module(method: &Method, path: &str) -> Response<Bytes> {
    let message = format!("No suitable module found for path {path} ({method})");
    text(404, message)
}
