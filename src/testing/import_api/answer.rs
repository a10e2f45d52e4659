use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};

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
    pub(in super::super) fn into_response(self) -> Response<Bytes> {
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
