//! The HTTP face: any request in, JSON out. It keeps nothing of a body but the count of its records.

use std::io;
use std::net::SocketAddr;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;

use super::super::http::{HttpServer, Sent, serve};
use super::{Admission, ImportApi, Seen};

/// Ends a MARC record (ISO 2709).
const RECORD_TERMINATOR: u8 = 0x1D;

const OKAPI_TOKEN: &str = "x-okapi-token";

pub(super) async fn listen(api: ImportApi, addr: SocketAddr) -> io::Result<HttpServer> {
    serve(addr, "/records", move |request| {
        answer(api.clone(), request)
    })
    .await
}

async fn answer(api: ImportApi, request: Request<Incoming>) -> Sent {
    let (head, body) = request.into_parts();
    let access = token(&head.headers);
    if !(head.headers.contains_key(AUTHORIZATION) || head.headers.contains_key(OKAPI_TOKEN)) {
        api.note_anonymous();
    }
    // Judged when the request arrives, as a gateway does, and not when its body is there.
    let admission = api.admit(head.uri.path(), access);
    let Ok((length, records)) = measured(body).await else {
        return Sent::Nothing;
    };
    api.note(Seen {
        bearer: access.is_some(),
        path: head.uri.path().to_owned(),
        method: head.method,
        body: length,
    });
    let mut response = match admission {
        Admission::Scripted(answer) => answer.into_response(),
        Admission::Unauthorized => unauthorized(),
        Admission::Accepted => {
            api.import(records).await;
            accepted(records)
        }
    };
    let date = httpdate::fmt_http_date(UNIX_EPOCH + api.shared.server.date());
    if let Ok(date) = date.try_into() {
        response.headers_mut().entry(DATE).or_insert(date);
    }
    Sent::Whole(response)
}

/// `Authorization: Bearer` (RFC 6750 section 2.1), or FOLIO's own header.
fn token(headers: &HeaderMap) -> Option<&str> {
    let Some(authorization) = headers.get(AUTHORIZATION) else {
        return headers.get(OKAPI_TOKEN)?.to_str().ok();
    };
    let (scheme, token) = authorization.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// The length of a body, and how many records it holds.
async fn measured(mut body: Incoming) -> hyper::Result<(u64, u64)> {
    let (mut length, mut terminators) = (0, 0);
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            length += data.len() as u64;
            let ends = data.iter().filter(|byte| **byte == RECORD_TERMINATOR);
            terminators += ends.count() as u64;
        }
    }
    let records = match terminators {
        0 => u64::from(length > 0),
        some => some,
    };
    Ok((length, records))
}

fn accepted(records: u64) -> Response<Bytes> {
    let mut response = Response::new(json!({ "records": records }).to_string().into());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn unauthorized() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(b"Invalid token"));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
    headers.insert(WWW_AUTHENTICATE, challenge);
    response
}
