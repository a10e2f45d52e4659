//! What FOLIO's answers look like. It decides nothing.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::builder::System;
use super::state::Pair;
use super::{cookies, date};

/// Where the body of an answer with tokens says when they expire.
pub(super) enum Shape {
    /// `{accessTokenExpiration, refreshTokenExpiration}`.
    Flat,
    /// The same as `tokenExpiration`, beside who signed in.
    Wrapped { id: String, name: String },
    /// Nowhere: it has the tokens themselves.
    Tokens,
}

/// 201: the tokens in cookies, and when they expire in the body.
pub(super) fn issued(system: System, path: &str, pair: &Pair, shape: &Shape) -> Response<Bytes> {
    let times = json!({
        "accessTokenExpiration": date::iso(pair.access.expires_at),
        "refreshTokenExpiration": date::iso(pair.refresh.expires_at),
    });
    let body = match shape {
        Shape::Flat => times,
        Shape::Wrapped { id, name } => json!({
            "user": { "id": id, "username": name, "active": true },
            "tokenExpiration": times,
        }),
        Shape::Tokens => json!({
            "okapiToken": pair.access.token,
            "refreshToken": pair.refresh.token,
        }),
    };
    let mut response = json_of(201, &body);
    cookies::set(response.headers_mut(), system, path, pair);
    response
}

/// 204, and the cookies are gone.
pub(super) fn logged_out(system: System) -> Response<Bytes> {
    let mut response = with(204, Bytes::new());
    cookies::clear(response.headers_mut(), system);
    response
}

pub(super) fn text(status: u16, text: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = with(status, text.into());
    let plain = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

pub(super) fn json_of(status: u16, body: &Value) -> Response<Bytes> {
    json_text(status, body.to_string())
}

pub(super) fn json_text(status: u16, body: String) -> Response<Bytes> {
    let mut response = with(status, body.into());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// As the modules for sign-in say it to Okapi.
pub(super) fn okapi_error(status: u16, message: &str, code: &str) -> Response<Bytes> {
    let error = json!({ "message": message, "type": "error", "code": code });
    json_of(status, &json!({ "errors": [error] }))
}

/// As Eureka's modules and sidecars say it.
pub(super) fn eureka_error(status: u16, message: &str, kind: &str, code: &str) -> Response<Bytes> {
    let error = json!({ "message": message, "type": kind, "code": code });
    json_of(status, &json!({ "errors": [error], "total_records": 1 }))
}

fn with(status: u16, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}
