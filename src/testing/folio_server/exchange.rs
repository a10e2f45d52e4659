//! The path of a request that has arrived, by either face: the request waits, meets its fault, and is answered.
//!
//! The two faces are here as well: HTTP, and the in-process transport of [`Folio`].

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ::http::request::Parts;
use ::http::{Request, Response};
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::super::clock::{Latency, pass};
use super::super::fault::{Fault, fill};
use super::super::http::{self, HttpServer, Sent, serve};
use super::authn::{self, Outcome, is_authn, no_module};
use super::builder::System;
use super::gateway::Call;
use super::{FolioServer, Inner, answer};
use crate::build_error::BuildError;
use crate::endpoint::{EndpointError, Folio, FolioMode, InProcessFolio};

impl FolioServer {
    /// Answers a request to any path.
    pub(super) async fn answer(&self, request: Request<Bytes>) -> Sent {
        let (head, body) = request.into_parts();
        let below = head.uri.path().strip_prefix(self.path());
        let Some(path) = below.filter(|path| path.starts_with('/')) else {
            return self.dated(Sent::Whole(no_module(&head.method, head.uri.path())));
        };
        let path = path.to_owned();
        let sent = if is_authn(&path) {
            let latency = Latency::of(self.shared.latency);
            latency.there().await;
            // A request that has arrived is decided, also if the client hangs up now.
            let task = tokio::spawn(self.clone().decide(head, path, body, latency));
            task.await.unwrap_or(Sent::Nothing)
        } else {
            self.call(&head, &path, &body).await
        };
        self.dated(sent)
    }

    /// A request for tokens.
    async fn decide(self, head: Parts, path: String, body: Bytes, latency: Latency) -> Sent {
        let fault = self.shared.inner.lock().faults.next();
        if let Some(Fault::DelayBefore(delay)) = fault {
            pass(delay).await;
        }
        let late = match fault {
            Some(Fault::Delay(delay)) => delay,
            _ => Duration::ZERO,
        };
        let sent = self.decided(&head, &path, &body, fault);
        pass(late).await;
        latency.back().await;
        sent
    }

    fn decided(&self, head: &Parts, path: &str, body: &Bytes, fault: Option<Fault>) -> Sent {
        let now = self.now();
        let mut inner = self.shared.inner.lock();
        let sent = match fault {
            Some(Fault::Status {
                status,
                body,
                retry_after,
            }) => {
                inner.note_undone(head, path);
                let mut response = answer::json_text(status, body);
                http::retry_after(response.headers_mut(), retry_after);
                Sent::Whole(response)
            }
            Some(Fault::DropBefore) => {
                inner.note_undone(head, path);
                Sent::Nothing
            }
            fault => {
                let outcome = inner.authn(head, path, body, now);
                self.sent(outcome, fault)
            }
        };
        inner.note(head, path, &sent);
        sent
    }

    fn sent(&self, outcome: Outcome, fault: Option<Fault>) -> Sent {
        let (pair, shape) = match outcome {
            Outcome::Issued(pair, shape) => (pair, shape),
            Outcome::Answered(_) if fault == Some(Fault::DropAfter) => return Sent::Nothing,
            Outcome::Answered(response) => return Sent::Whole(response),
        };
        let whole = || answer::issued(self.shared.system, self.path(), &pair, &shape);
        match fault {
            Some(Fault::DropAfter) => Sent::Nothing,
            Some(Fault::Truncate) => Sent::Half(whole()),
            Some(Fault::Body { status, body }) => {
                let body = fill(&body, &pair.access.token, &pair.refresh.token);
                Sent::Whole(answer::json_text(status, body))
            }
            _ => Sent::Whole(whole()),
        }
    }

    /// A call of the API.
    async fn call(&self, head: &Parts, path: &str, body: &Bytes) -> Sent {
        let now = self.now();
        let (sent, records) = {
            let mut inner = self.shared.inner.lock();
            let (response, records) = match inner.call(head, path, body, now) {
                Call::Answered(response) => (response, 0),
                Call::Accepted(response, records) => (response, records),
            };
            let sent = Sent::Whole(response);
            inner.note(head, path, &sent);
            (sent, records)
        };
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        pass(self.shared.time_per_record.saturating_mul(records)).await;
        sent
    }

    fn dated(&self, mut sent: Sent) -> Sent {
        if let Sent::Whole(response) | Sent::Half(response) = &mut sent {
            http::date(response.headers_mut(), self.shared.clock.wall());
        }
        sent
    }
}

impl Inner {
    fn authn(&mut self, head: &Parts, path: &str, body: &Bytes, now: u64) -> Outcome {
        match self.state.let_in(head, now) {
            Ok(caller) => self.state.authn(&caller, head, path, body, now),
            Err(refusal) => {
                self.state.counters.refreshes += u64::from(path == authn::REFRESH);
                Outcome::Answered(self.state.refuse(&refusal, &head.method, path))
            }
        }
    }

    fn call(&mut self, head: &Parts, path: &str, body: &Bytes, now: u64) -> Call {
        if let Some(answer) = self.next.pop_front() {
            let response = answer.into_response();
            let counters = &mut self.state.counters;
            counters.calls += 1;
            counters.unauthorized += u64::from(response.status() == 401);
            return Call::Answered(response);
        }
        self.state.call(&mut self.passes, head, path, body, now)
    }

    /// Counts a request that is not processed.
    fn note_undone(&mut self, head: &Parts, path: &str) {
        if path == authn::REFRESH {
            self.state.counters.refreshes += 1;
            if let Ok(Some(token)) = authn::refresh_token(head) {
                self.state.note_replay(token);
            }
        }
    }
}

impl FolioServer {
    /// The login service of a tenant as an endpoint without sockets, for simulated time.
    ///
    /// # Errors
    ///
    /// [`BuildError::Invalid`] if this is not a valid name of a tenant.
    pub fn endpoint(&self, tenant: impl Into<String>) -> Result<Folio, BuildError> {
        let mode = match self.shared.system {
            System::Okapi => FolioMode::Okapi,
            System::Eureka => FolioMode::Eureka,
        };
        let url = format!("http://127.0.0.1{}", self.path());
        Folio::carried(mode, url, tenant, self.clone())
    }
}

#[async_trait]
impl InProcessFolio for FolioServer {
    async fn carry(&self, request: Request<Bytes>) -> Result<Response<Bytes>, EndpointError> {
        self.handle(request)
            .await
            .map_err(|error| match error.kind() {
                io::ErrorKind::ConnectionRefused => EndpointError::not_sent(error),
                _ => EndpointError::unknown(error),
            })
    }

    fn wall(&self) -> Duration {
        self.shared.clock.wall()
    }
}

pub(super) async fn listen(server: FolioServer, addr: SocketAddr) -> io::Result<HttpServer> {
    let path = server.path().to_owned();
    serve(addr, &path, move |request| {
        answer_one(server.clone(), request)
    })
    .await
}

async fn answer_one(server: FolioServer, request: Request<Incoming>) -> Sent {
    let (head, body) = request.into_parts();
    match body.collect().await {
        Ok(body) => {
            let request = Request::from_parts(head, body.to_bytes());
            server.answer(request).await
        }
        Err(_) => Sent::Nothing,
    }
}
