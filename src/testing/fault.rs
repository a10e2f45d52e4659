//! What a test scripts for a server: the fault that a grant meets, and the answer to a call of an API.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};

use super::clock::pass;

/// What goes wrong with one grant.
///
/// Faults differ in the fate of the refresh token, which the client cannot see. "Rotated" means that the token reaches the
/// server, which decides as it does without a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The server answers with this status, and nothing is rotated.
    Status {
        /// The status code.
        status: u16,
        /// The body, as `application/json`.
        body: String,
        /// The `Retry-After` header, in whole seconds.
        retry_after: Option<Duration>,
    },
    /// Rotated at once, and answered this much later.
    Delay(Duration),
    /// Rotated this much later, and then answered: the request waited in a queue.
    DelayBefore(Duration),
    /// The connection is closed, and nothing is rotated.
    DropBefore,
    /// Rotated, then the connection is closed without an answer.
    DropAfter,
    /// Rotated, and the connection is closed in the middle of the answer's body.
    Truncate,
    /// Rotated, and answered with this body, in which `{access_token}` and `{refresh_token}` stand for the new tokens. A
    /// refusal stays as it is.
    Body {
        /// The status code.
        status: u16,
        /// The body, as `application/json`.
        body: String,
    },
}

impl Fault {
    /// The server answers with this status and an empty body, and nothing is rotated.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Status {
            status,
            body: String::new(),
            retry_after: None,
        }
    }
}

/// The faults of the grants to come.
#[derive(Debug, Default)]
pub(super) struct Faults {
    queue: VecDeque<Fault>,
    always: Option<Fault>,
}

impl Faults {
    pub(super) fn queue(&mut self, fault: Fault) {
        self.queue.push_back(fault);
    }

    pub(super) fn always(&mut self, fault: Option<Fault>) {
        self.always = fault;
    }

    /// The fault of the grant that arrives now.
    pub(super) fn next(&mut self) -> Option<Fault> {
        self.queue.pop_front().or_else(|| self.always.clone())
    }
}

/// Decides a grant that meets this fault, and waits before or after the decision where the fault is a delay.
pub(super) async fn met<T>(fault: Option<Fault>, decide: impl FnOnce(Option<Fault>) -> T) -> T {
    let (before, after) = match fault {
        Some(Fault::DelayBefore(delay)) => (delay, Duration::ZERO),
        Some(Fault::Delay(delay)) => (Duration::ZERO, delay),
        _ => (Duration::ZERO, Duration::ZERO),
    };
    pass(before).await;
    let decided = decide(fault);
    pass(after).await;
    decided
}

/// The body of a [`Fault::Body`], with the new tokens.
pub(super) fn fill(template: &str, access: &str, refresh: &str) -> String {
    template
        .replace("{access_token}", access)
        .replace("{refresh_token}", refresh)
}

/// An answer that a server gives without a check of the token.
///
/// ```
/// use evertoken::testing::Answer;
///
/// let busy = Answer::status(503).header("retry-after", "1").body("try later");
/// let elsewhere = Answer::status(307).header("location", "http://127.0.0.1:9/");
/// # let _ = (busy, elsewhere);
/// ```
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Answer {
    /// An answer with this status, without headers and with an empty body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// 503 with a `Retry-After` header, in whole seconds (RFC 9110 section 10.2.3).
    #[must_use]
    pub fn unavailable(retry_after: Duration) -> Self {
        Self::status(503).header("retry-after", retry_after.as_secs().to_string())
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The response. A status or header that HTTP does not allow makes it a 500 with the error as its body.
    pub(super) fn into_response(self) -> Response<Bytes> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        response.body(self.body).unwrap_or_else(|error| {
            let mut response = Response::new(error.to_string().into());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        })
    }
}
