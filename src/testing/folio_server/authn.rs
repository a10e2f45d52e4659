//! The requests for tokens: sign-in, refresh and logout, as `mod-login` answers them in Okapi and `mod-login-keycloak` in
//! Eureka. This module never counts a call of the API.

use bytes::Bytes;
use http::header::COOKIE;
use http::request::Parts;
use http::{HeaderValue, Method, Response};
use serde::Deserialize;
use serde_json::json;
use url::form_urlencoded;

use super::answer::{
    self, Shape, Twice, clear_cookies, eureka_error, json_of, logged_out, okapi_error, text,
};
use super::builder::System;
use super::gateway::{Caller, TOKEN};
use super::state::{Pair, Refused, State};

const LOGIN: &str = "/authn/login-with-expiry";
const LOGIN_OF_A_BROWSER: &str = "/bl-users/login-with-expiry";
const LEGACY_LOGIN: &str = "/authn/login";
const CODE: &str = "/authn/token";
pub(super) const REFRESH: &str = "/authn/refresh";
const LOGOUT: &str = "/authn/logout";
const LOGOUT_ALL: &str = "/authn/logout-all";

/// The decision about a request for tokens.
pub(super) enum Outcome {
    Issued(Pair, Shape),
    Answered(Response<Bytes>),
}

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
    /// Processes a request for tokens that the gateway admitted.
    pub(super) fn authn(
        &mut self,
        caller: &Caller<'_>,
        head: &Parts,
        path: &str,
        body: &Bytes,
        now: u64,
    ) -> Outcome {
        let is_eureka = self.rules.system == System::Eureka;
        let answered = match (head.method.as_str(), path) {
            ("POST", LOGIN | LOGIN_OF_A_BROWSER | LEGACY_LOGIN) => {
                return self.login(caller.tenant, path, body, now);
            }
            ("POST", REFRESH) => return self.refresh_by_cookie(caller.tenant, head, now),
            ("GET", CODE) if is_eureka => return self.code(caller.tenant, head, now),
            ("POST", LOGOUT) => self.logout(caller, head),
            ("POST", LOGOUT_ALL) => self.logout_all(caller),
            _ => no_module(&head.method, path),
        };
        Outcome::Answered(answered)
    }

    fn login(&mut self, tenant: &str, path: &str, body: &Bytes, now: u64) -> Outcome {
        let is_legacy = self.is_legacy(tenant);
        if self.rules.system == System::Okapi && is_legacy != (path == LEGACY_LOGIN) {
            return Outcome::Answered(text(404, "Token endpoint is not available"));
        }
        let credentials: Credentials = serde_json::from_slice(body).unwrap_or_default();
        let Some(name) = credentials.username.or(credentials.user_id) else {
            return Outcome::Answered(text(400, "You must provide a username or userId"));
        };
        let Some(password) = credentials.password else {
            return Outcome::Answered(text(400, "You must provide a password"));
        };
        let Ok(user) = self.authenticate(tenant, &name, &password) else {
            return Outcome::Answered(self.wrong_password());
        };
        self.counters.logins += 1;
        if is_legacy {
            return Outcome::Answered(legacy(&self.legacy_token(user, now)));
        }
        let shape = match path {
            LOGIN_OF_A_BROWSER => {
                let (id, name) = self.who(user);
                Shape::Wrapped { id, name }
            }
            LEGACY_LOGIN => Shape::Tokens,
            _ => Shape::Flat,
        };
        Outcome::Issued(self.issue(user, now), shape)
    }

    fn refresh_by_cookie(&mut self, tenant: &str, head: &Parts, now: u64) -> Outcome {
        self.counters.refreshes += 1;
        let Ok(Some(token)) = refresh_token(head) else {
            return Outcome::Answered(self.no_refresh_token());
        };
        match self.refresh(token, tenant, now) {
            Ok(pair) => Outcome::Issued(pair, Shape::Flat),
            Err(Refused) => Outcome::Answered(self.unprocessable(
                "Authorization server unable to process token refresh request",
                "TokenRefreshException",
                "token.refresh.unprocessable",
            )),
        }
    }

    fn code(&mut self, tenant: &str, head: &Parts, now: u64) -> Outcome {
        let query = head.uri.query().unwrap_or_default().as_bytes();
        let value = |name: &str| {
            let mut pairs = form_urlencoded::parse(query);
            pairs
                .find(|(found, _)| found == name)
                .map(|(_, value)| value)
        };
        let (code, redirect_uri) = (value("code"), value("redirect-uri"));
        let (Some(code), Some(redirect_uri)) = (code, redirect_uri) else {
            return Outcome::Answered(eureka_error(
                400,
                "Required request parameter is not present",
                "MissingServletRequestParameterException",
                "validation_error",
            ));
        };
        match self.exchange_code(tenant, &code, &redirect_uri, now) {
            Ok(pair) => {
                self.counters.logins += 1;
                Outcome::Issued(pair, Shape::Flat)
            }
            Err(Refused) => {
                let message = "Failed to obtain a token";
                let mut refused = eureka_error(400, message, "ServiceException", "service_error");
                clear_cookies(refused.headers_mut(), System::Eureka);
                Outcome::Answered(refused)
            }
        }
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
        if self.rules.system == System::Eureka && caller.bearer.is_none() {
            return self.unable_to_log_out();
        }
        match self.log_out(token) {
            Ok(()) => logged_out(self.rules.system),
            Err(Refused) => self.unable_to_log_out(),
        }
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
            System::Eureka => eureka_error(
                401,
                "Unauthorized error",
                "UnauthorizedException",
                "unauthorized_error",
            ),
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
pub(super) fn refresh_token(head: &Parts) -> Result<Option<&str>, Twice> {
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
    text(
        404,
        format!("No suitable module found for path {path} ({method})"),
    )
}
