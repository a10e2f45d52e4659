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
    let (mut head, mut rest) = http::Response::from(response).into_parts();
    let mut read = VecDeque::new();
    let mut missing = text.as_bytes();
    while !missing.is_empty() {
        let Some(frame) = rest.frame().await else {
            break;
        };
        let seen = frame.as_ref().map(|it| it.data_ref().cloned());
        let seen = seen.map_err(drop);
        read.push_back(frame);
        match seen {
            Ok(Some(seen)) => {
                let common = seen.len().min(missing.len());
                if seen[..common] != missing[..common] {
                    break;
                }
                missing = &missing[common..];
            }
            Ok(None) => {}
            Err(()) => break,
        }
    }
    let begins = missing.is_empty();
    let body = reqwest::Body::wrap(Replayed { read, rest });
    // reqwest accepts a URL through the extensions of a builder only. The builder fails only for a URL.
    let extensions = match http::Response::builder().url(url).body(()) {
        Ok(built) => built.into_parts().0.extensions,
        Err(_) => http::Extensions::new(),
    };
    head.extensions.extend(extensions);
    let response = http::Response::from_parts(head, body);
    (Response::from(response), begins)
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
