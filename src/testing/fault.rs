//! What a test scripts: the fault that a grant meets, and the answer that a call is given.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};

/// What goes wrong with one grant.
///
/// They differ in what becomes of the refresh token, which is what the client cannot see. Where it
/// is presented ("rotated"), the server does with it whatever it would have done without the fault.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Answered with this status, and nothing rotated.
    Status {
        /// The status code.
        status: u16,
        /// The body, as `application/json`.
        body: String,
        /// The `Retry-After` header, in whole seconds.
        retry_after: Option<Duration>,
    },
    /// Rotated at once, answered this much later.
    Delay(Duration),
    /// Rotated this much later, then answered: the request lay in a queue.
    DelayBefore(Duration),
    /// The connection is closed, and nothing rotated.
    DropBefore,
    /// Rotated, then the connection is closed without an answer.
    DropAfter,
    /// Rotated, and the connection is closed in the middle of the answer's body.
    Truncate,
    /// Rotated, and answered with something else: `{access_token}` and `{refresh_token}` in the
    /// body stand for the new tokens. A refusal stays what it is.
    Body {
        /// The status code.
        status: u16,
        /// The body, as `application/json`.
        body: String,
    },
}

impl Fault {
    /// Answered with this status and an empty body, and nothing rotated.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Status {
            status,
            body: String::new(),
            retry_after: None,
        }
    }
}

/// The faults to come.
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

/// The body of [`Fault::Body`] with the new tokens in it.
pub(super) fn fill(template: &str, access: &str, refresh: &str) -> String {
    template
        .replace("{access_token}", access)
        .replace("{refresh_token}", refresh)
}

/// An answer that is given without a look at the token.
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
    /// With this status, no headers of its own and an empty body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// 503, to be tried again after so long, in whole seconds (RFC 9110 section 10.2.3).
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

    pub(super) fn is_unauthorized(&self) -> bool {
        self.status == 401
    }

    /// A status or header that HTTP does not know makes it a 500 that says so.
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
