//! Looks at the first bytes of an answer's body, and returns the answer unchanged.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use reqwest::{Response, ResponseBuilderExt};

/// Returns the answer, and whether its body begins with `text`. Reads only as many frames as the comparison needs.
pub(super) async fn begins_with(response: Response, text: &str) -> (Response, bool) {
    let url = response.url().clone();
    let (head, mut rest) = http::Response::from(response).into_parts();
    let mut read = VecDeque::new();
    let mut missing = text.as_bytes();
    let begins = loop {
        if missing.is_empty() {
            break true;
        }
        let Some(frame) = rest.frame().await else {
            break false;
        };
        let seen = frame.as_ref().ok().and_then(Frame::data_ref).cloned();
        let failed = frame.is_err();
        read.push_back(frame);
        let Some(seen) = seen else {
            if failed {
                break false;
            }
            continue;
        };
        let common = seen.len().min(missing.len());
        if seen[..common] != missing[..common] {
            break false;
        }
        missing = &missing[common..];
    };
    let body = reqwest::Body::wrap(Replayed { read, rest });
    // reqwest accepts a URL through the builder only; the builder fails only for a URL.
    let Ok(fresh) = http::Response::builder().url(url).body(body) else {
        return (
            Response::from(http::Response::new(reqwest::Body::default())),
            false,
        );
    };
    let (mut fresh, body) = fresh.into_parts();
    fresh.status = head.status;
    fresh.version = head.version;
    fresh.headers = head.headers;
    fresh.extensions.extend(head.extensions);
    (
        Response::from(http::Response::from_parts(fresh, body)),
        begins,
    )
}

/// A body that replays the frames that were read, and continues with the rest.
struct Replayed {
    read: VecDeque<Result<Frame<Bytes>, reqwest::Error>>,
    rest: reqwest::Body,
}

impl Body for Replayed {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        match self.read.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => Poll::Ready(ready!(Pin::new(&mut self.rest).poll_frame(cx))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.iter().flatten();
        let read: usize = read.filter_map(Frame::data_ref).map(Bytes::len).sum();
        let (read, rest) = (read as u64, self.rest.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(read)) {
            hint.set_upper(upper);
        }
        hint
    }
}
