//! A client that keeps its two cookies, and no other state.

use std::io;

use bytes::Bytes;
use evertoken::testing::{AccessCheck, FolioServer, TestClock};
use http::{Method, Request, Response};
use serde_json::{Value, json};

pub const ACCESS: &str = "folioAccessToken";
pub const REFRESH: &str = "folioRefreshToken";

/// A user of the tenant `diku`.
#[derive(Clone)]
pub struct Browser {
    pub folio: FolioServer,
    pub access: String,
    pub refresh: String,
}

/// A server of each kind, with access tokens of a minute and refresh tokens of an hour.
pub fn both(clock: &TestClock) -> [FolioServer; 2] {
    [FolioServer::okapi(), FolioServer::eureka()].map(|builder| {
        let builder = builder.clock(clock.clone());
        let tokens = builder.token_expiration("accessToken:60,refreshToken:3600");
        tokens.unwrap().build()
    })
}

pub fn okapi(clock: &TestClock) -> FolioServer {
    let [okapi, _] = both(clock);
    okapi
}

pub fn eureka(clock: &TestClock) -> FolioServer {
    let [_, eureka] = both(clock);
    eureka
}

/// A request of the tenant `diku` without a token.
pub fn request(method: Method, path: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("x-okapi-tenant", "diku");
    request.body(body.into()).unwrap()
}

pub fn with(mut request: Request<Bytes>, name: &'static str, value: &str) -> Request<Bytes> {
    request.headers_mut().append(name, value.parse().unwrap());
    request
}

pub fn cookie(name: &str, value: &str) -> String {
    format!("{name}={value}")
}

pub fn login(path: &str) -> Request<Bytes> {
    let body = json!({ "username": "diku_admin", "password": "admin" });
    request(Method::POST, path, body.to_string())
}

pub async fn send(folio: &FolioServer, request: Request<Bytes>) -> Response<Bytes> {
    folio.handle(request).await.unwrap()
}

/// The value and the attributes of a cookie that is set.
pub fn set_cookie<'a>(response: &'a Response<Bytes>, name: &str) -> Option<(&'a str, &'a str)> {
    let mut cookies = response.headers().get_all("set-cookie").iter();
    let cookie = cookies.find_map(|cookie| cookie.to_str().unwrap().strip_prefix(name))?;
    cookie.strip_prefix('=')?.split_once("; ")
}

pub fn json_of(response: &Response<Bytes>) -> Value {
    assert_eq!(response.headers()["content-type"], "application/json");
    serde_json::from_slice(response.body()).unwrap()
}

pub fn text_of(response: &Response<Bytes>) -> &str {
    assert_eq!(response.headers()["content-type"], "text/plain");
    std::str::from_utf8(response.body()).unwrap()
}

/// The code and the message of each error in an answer.
pub fn error_of(response: &Response<Bytes>) -> (u16, String, String) {
    let error = json_of(response)["errors"][0].clone();
    let text = |name: &str| error[name].as_str().unwrap().to_owned();
    (response.status().as_u16(), text("code"), text("message"))
}

/// Checks the status and the code of an answer that is an error.
#[track_caller]
pub fn assert_error(response: &Response<Bytes>, status: u16, code: &str) {
    let (found, found_code, _) = error_of(response);
    assert_eq!((found, found_code.as_str()), (status, code));
}

pub fn unprocessable() -> (u16, String, String) {
    let message = "Authorization server unable to process token refresh request";
    let code = "token.refresh.unprocessable";
    (422, code.to_owned(), message.to_owned())
}

impl Browser {
    pub async fn signed_in(folio: &FolioServer) -> Self {
        let response = send(folio, login("/authn/login-with-expiry")).await;
        assert_eq!(response.status(), 201);
        let mut browser = Self {
            folio: folio.clone(),
            access: String::new(),
            refresh: String::new(),
        };
        browser.keep(&response);
        browser
    }

    pub fn keep(&mut self, response: &Response<Bytes>) {
        self.access = set_cookie(response, ACCESS).unwrap().0.to_owned();
        self.refresh = set_cookie(response, REFRESH).unwrap().0.to_owned();
    }

    /// A request with the refresh token alone.
    pub fn post(&self, path: &str) -> Request<Bytes> {
        let cookie = cookie(REFRESH, &self.refresh);
        with(request(Method::POST, path, ""), "cookie", &cookie)
    }

    /// Refreshes, and keeps the new pair if the answer has one.
    pub async fn refresh(&mut self) -> Response<Bytes> {
        let response = self.refreshed().await.unwrap();
        if response.status() == 201 {
            self.keep(&response);
        }
        response
    }

    /// Refreshes, and keeps the old pair.
    pub async fn refreshed(&self) -> io::Result<Response<Bytes>> {
        self.folio.handle(self.post("/authn/refresh")).await
    }

    /// A request with the cookies that the browser still has.
    pub async fn log_out(&self) -> Response<Bytes> {
        let mut request = request(Method::POST, "/authn/logout", "");
        let mut cookies = cookie(REFRESH, &self.refresh);
        if self.folio.check(&self.access) == AccessCheck::Live {
            cookies = format!("{}; {cookies}", cookie(ACCESS, &self.access));
        }
        request = with(request, "cookie", &cookies);
        send(&self.folio, request).await
    }

    /// A call of the API that brings one record.
    pub async fn call(&self) -> u16 {
        self.call_of("/records").await.status().as_u16()
    }

    pub async fn call_of(&self, path: &str) -> Response<Bytes> {
        let request = request(Method::POST, path, "record");
        send(&self.folio, with(request, "x-okapi-token", &self.access)).await
    }

    pub fn is_live(&self) -> bool {
        self.folio.is_live_refresh(&self.refresh)
    }
}
