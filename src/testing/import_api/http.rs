//! The HTTP face: any request in, JSON out. It never keeps a body, so a long import takes no memory. A request with an
//! `Idempotency-Key` is processed once, however often it is sent (draft-ietf-httpapi-idempotency-key-header).

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::super::body::{Body, Fingerprint, fingerprint};
use super::super::http::{HttpServer, Sent, date, serve, typed};
use super::{Admission, ImportApi, Seen};

const IDEMPOTENCY_KEY: &str = "idempotency-key";

const OKAPI_TOKEN: &str = "x-okapi-token";

pub(super) async fn listen(api: ImportApi, addr: SocketAddr) -> io::Result<HttpServer> {
    serve(addr, "/records", move |request| {
        answer(api.clone(), request)
    })
    .await
}

async fn answer(api: ImportApi, request: Request<Incoming>) -> Sent {
    let (head, body) = request.into_parts();
    if head.method == Method::GET && head.uri.path() == "/counters" {
        return Sent::Whole(json_of(200, &api.counters_json()));
    }
    let access = token(&head.headers);
    if !(head.headers.contains_key(AUTHORIZATION) || head.headers.contains_key(OKAPI_TOKEN)) {
        api.note_anonymous();
    }
    // A gateway judges the token when the request arrives, before it has the body.
    let admission = api.admit(head.uri.path(), access);
    let Ok(body) = read(body, api.shared.remembers_records).await else {
        return Sent::Nothing;
    };
    api.note(Seen {
        bearer: access.is_some(),
        path: head.uri.path().to_owned(),
        method: head.method.clone(),
        body: body.length,
    });
    let mut response = match admission {
        Admission::Scripted(answer) => answer.into_response(),
        Admission::Unauthorized => unauthorized(),
        Admission::Accepted => match api.import(&head, body).await {
            Some(response) => response,
            None => return Sent::Nothing,
        },
    };
    date(response.headers_mut(), api.shared.server.date());
    Sent::Whole(response)
}

impl ImportApi {
    /// Processes a request that was accepted; `None` if the runtime ends meanwhile.
    async fn import(&self, head: &Parts, body: Body) -> Option<Response<Bytes>> {
        let count = body.count();
        let (whole, records) = body.finish();
        let Some(key) = head.headers.get(IDEMPOTENCY_KEY) else {
            self.take(count, &records);
            self.spend_time(count).await;
            return Some(accepted(count));
        };
        let key = fingerprint(key);
        match self.used(key, request_fingerprint(head, &whole), count) {
            Use::First => {}
            Use::Again { records } => return Some(accepted(records)),
            Use::Early => return Some(problem(409, "still being worked on")),
            Use::Misuse => {
                return Some(problem(422, "another request had this key"));
            }
        }
        let api = self.clone();
        // In the connection's own task, a client that hangs up leaves the key unanswered for ever.
        let work = tokio::spawn(async move {
            api.take(count, &records);
            api.spend_time(count).await;
            api.answered(&key);
        });
        work.await.ok()?;
        Some(accepted(count))
    }

    fn counters_json(&self) -> Value {
        let mut counters = json!(self.counters());
        counters["distinct_records"] = self.distinct_records().into();
        counters
    }
}

/// The token of `Authorization: Bearer` (RFC 6750 section 2.1), or of FOLIO's own header.
fn token(headers: &HeaderMap) -> Option<&str> {
    let Some(authorization) = headers.get(AUTHORIZATION) else {
        return headers.get(OKAPI_TOKEN)?.to_str().ok();
    };
    let (scheme, token) = authorization.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

async fn read(mut incoming: Incoming, remembers_records: bool) -> hyper::Result<Body> {
    let mut body = Body::new(remembers_records);
    while let Some(frame) = incoming.frame().await {
        if let Some(data) = frame?.data_ref() {
            body.arrived(data);
        }
    }
    Ok(body)
}

/// The fingerprint by which two requests are equal (section 2.4 of the draft leaves that to the server).
fn request_fingerprint(head: &Parts, body: &Fingerprint) -> Fingerprint {
    let line = format!("{} {}\n", head.method, head.uri);
    fingerprint([line.as_bytes(), body].concat())
}

fn accepted(records: u64) -> Response<Bytes> {
    json_of(200, &json!({ "records": records }))
}

fn problem(status: u16, title: &str) -> Response<Bytes> {
    json_of(status, &json!({ "title": title }))
}

fn json_of(status: u16, body: &Value) -> Response<Bytes> {
    typed(status, "application/json", body.to_string())
}

fn unauthorized() -> Response<Bytes> {
    let mut response = typed(401, "text/plain", "Invalid token");
    let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

/// The requests with a key. A key takes 40 bytes and is never forgotten.
#[derive(Debug, Default)]
pub(super) struct Keys {
    known: HashMap<Fingerprint, Keyed>,
}

#[derive(Debug)]
struct Keyed {
    fingerprint: Fingerprint,
    records: u32,
    is_answered: bool,
}

/// How a request with a key relates to those before.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// The first one: the caller processes the request, and then calls [`answered`](Keys::answered).
    First,
    /// The same request again: the caller answers as for the first one, which took this number of records.
    Again { records: u64 },
    /// The same as a request that is still being processed.
    Early,
    /// Another request under a known key.
    Misuse,
}

impl Keys {
    pub(super) fn used(&mut self, key: Fingerprint, fingerprint: Fingerprint, records: u64) -> Use {
        match self.known.get(&key) {
            Some(first) if first.fingerprint != fingerprint => Use::Misuse,
            Some(first) if first.is_answered => Use::Again {
                records: first.records.into(),
            },
            Some(_) => Use::Early,
            None => {
                let request = Keyed {
                    fingerprint,
                    records: u32::try_from(records).unwrap_or(u32::MAX),
                    is_answered: false,
                };
                self.known.insert(key, request);
                Use::First
            }
        }
    }

    pub(super) fn answered(&mut self, key: &Fingerprint) {
        if let Some(request) = self.known.get_mut(key) {
            request.is_answered = true;
        }
    }
}
