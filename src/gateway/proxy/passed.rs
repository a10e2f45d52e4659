//! A request on its way to the API: once, or once more if it was rejected and its body is kept.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, Method};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use url::Url;

use super::BoxError;
use crate::api::Credential;
use crate::manager::Attempt;

/// The longest body that is kept, so that it can be sent once more.
const KEPT: usize = 64 * 1024;

/// The body of a browser's request.
pub(super) enum PassedBody {
    /// All of it.
    Kept(Bytes),
    /// More than is kept, which is sent as it comes.
    Stream(reqwest::Body),
}

impl PassedBody {
    /// Reads a body as far as it is kept.
    pub(super) async fn read<B>(body: B) -> Result<Self, BoxError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let size = body.size_hint();
        let mut body = Box::pin(body);
        // Its length is known, so no frame has to be read to know that it is too long.
        if size.lower() > KEPT as u64 {
            return Ok(Self::stream(Bytes::new(), body));
        }
        let mut read = BytesMut::new();
        while let Some(frame) = body.frame().await {
            // Trailers are of this connection.
            let Ok(data) = frame.map_err(Into::into)?.into_data() else {
                continue;
            };
            read.extend_from_slice(&data);
            if read.len() > KEPT {
                return Ok(Self::stream(read.freeze(), body));
            }
        }
        Ok(Self::Kept(read.freeze()))
    }

    fn stream<B>(read: Bytes, rest: Pin<Box<B>>) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let rest = Mutex::new(rest);
        Self::Stream(reqwest::Body::wrap(Stream { read, rest }))
    }
}

/// What was read, and then the rest. The lock is never taken: reqwest wants a body that may be shared, and shares none.
struct Stream<B> {
    read: Bytes,
    rest: Mutex<Pin<Box<B>>>,
}

impl<B> Body for Stream<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.read.has_remaining() {
            let read = std::mem::take(&mut self.read);
            return Poll::Ready(Some(Ok(Frame::data(read))));
        }
        let rest = self.rest.get_mut().as_mut();
        rest.poll_frame(context)
            .map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        !self.read.has_remaining() && self.rest.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.lock().size_hint();
        let read = self.read.len() as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(read)) {
            hint.set_upper(upper);
        }
        hint
    }
}

/// A request to the API.
pub(super) struct Passing {
    pub(super) http: reqwest::Client,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: PassedBody,
}

impl Attempt for Passing {
    type Answer = reqwest::Response;
    type Error = reqwest::Error;

    async fn send(
        self,
        credential: Credential,
        keeps: bool,
    ) -> Result<(reqwest::Response, Option<Self>), reqwest::Error> {
        let mut request = reqwest::Request::new(self.method.clone(), self.url.clone());
        *request.headers_mut() = self.headers.clone();
        credential.put(request.headers_mut());
        let http = self.http.clone();
        let next = match self.body {
            PassedBody::Kept(body) => {
                if !body.is_empty() {
                    *request.body_mut() = Some(body.clone().into());
                }
                let body = PassedBody::Kept(body);
                keeps.then_some(Self { body, ..self })
            }
            PassedBody::Stream(body) => {
                *request.body_mut() = Some(body);
                None
            }
        };
        Ok((http.execute(request).await?, next))
    }
}
