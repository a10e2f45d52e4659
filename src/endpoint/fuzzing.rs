//! The parsers of what servers answer, as functions of bytes.

use std::time::Duration;

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};

#[cfg(feature = "folio")]
pub(crate) use super::folio::fuzzing as folio;
pub(crate) use super::oauth2::fuzzing as oauth2;
use super::{retry_after, server_time};

/// What every request was sent with, long enough to be known by a part of it.
pub(crate) const SECRET: &str = "sesame-0pen-the-d00r";

/// A `Retry-After` and, on a line of its own, the answer's `Date`.
pub(crate) fn headers(input: &[u8]) {
    let mut lines = input.splitn(2, |byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in [RETRY_AFTER, DATE] {
        let value = lines.next().map(HeaderValue::from_bytes);
        if let Some(Ok(value)) = value {
            headers.insert(name, value);
        }
    }
    let wall = Duration::from_secs(784_111_777);
    let now = server_time(&headers);
    let after = retry_after(&headers, wall);
    let is_named = headers.contains_key(RETRY_AFTER);
    assert!(after.is_none() || is_named);
    assert!(now.is_none() || headers.contains_key(DATE));
}
