//! The layer: it takes what is the gateway's off a request, refuses what another origin made, and gives the browser what it needs
//! with the response.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::Gateway;
use super::cross_site;
use super::error::GatewayError;
use super::request::Asked;
use super::visit::Visit;

/// The layer of a [`Gateway`] around a router or any other service of HTTP requests.
///
/// It removes the gateway's cookies and every `Authorization` from a request, refuses what a page of another origin made, and gives
/// the session to the handlers. With every response, streams and errors too, it sets the cookies that the browser needs, and
/// `Cache-Control: no-store, private` with them. Every other answer for which the session was asked gets
/// `private` and `Vary: Cookie`, unless it says that it is for all; a page that says nothing of caches gets `no-store, private`.
///
/// The service's response body has to be made of [`Bytes`], as those of axum, reqwest and `http_body_util::Full` are.
#[derive(Debug, Clone)]
pub struct GatewayLayer {
    gateway: Gateway,
}

impl GatewayLayer {
    pub(super) fn new(gateway: Gateway) -> Self {
        Self { gateway }
    }
}

impl<S> Layer<S> for GatewayLayer {
    type Service = GatewayService<S>;

    fn layer(&self, inner: S) -> GatewayService<S> {
        GatewayService::new(self.gateway.clone(), inner)
    }
}

/// A service behind a [`GatewayLayer`].
#[derive(Clone)]
pub struct GatewayService<S> {
    gateway: Gateway,
    inner: S,
}

impl<S> GatewayService<S> {
    pub(super) fn new(gateway: Gateway, inner: S) -> Self {
        Self { gateway, inner }
    }
}

impl<S> fmt::Debug for GatewayService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayService")
            .field("gateway", &self.gateway)
            .finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for GatewayService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = GatewayFuture<S::Future, R>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let outer = request.extensions().get::<Arc<Visit>>();
        // A layer further out has done all of this, and finishes the response.
        if outer.is_some_and(|visit| visit.is_of(&self.gateway)) {
            return GatewayFuture::passing(self.inner.call(request));
        }
        let (method, uri) = (request.method(), request.uri());
        let trusted = &self.gateway.shared.origins;
        if let Err(reason) = cross_site::check(method, uri, request.headers(), trusted) {
            let refusal = GatewayError::CrossSite { reason };
            return GatewayFuture::answered(refusal.to_response());
        }
        let asked = Asked::new(method, uri, request.headers());
        let visit = Arc::new(Visit::new(self.gateway.clone(), asked, request.headers()));
        let headers = request.headers_mut();
        self.gateway.shared.cookies.remove(headers);
        headers.remove(AUTHORIZATION);
        request.extensions_mut().insert(Arc::clone(&visit));
        GatewayFuture::visited(self.inner.call(request), visit)
    }
}

pin_project! {
    /// The response of a [`GatewayService`].
    #[project = Parts]
    pub struct GatewayFuture<F, R> {
        #[pin]
        inner: Option<F>,
        visit: Option<Arc<Visit>>,
        response: Option<Response<R>>,
        settling: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    }
}

impl<F, R> GatewayFuture<F, R> {
    fn passing(inner: F) -> Self {
        Self {
            inner: Some(inner),
            visit: None,
            response: None,
            settling: None,
        }
    }

    fn visited(inner: F, visit: Arc<Visit>) -> Self {
        let visit = Some(visit);
        Self {
            visit,
            ..Self::passing(inner)
        }
    }

    fn answered(response: Response<R>) -> Self {
        Self {
            inner: None,
            visit: None,
            response: Some(response),
            settling: None,
        }
    }
}

impl<F, R> fmt::Debug for GatewayFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayFuture").finish_non_exhaustive()
    }
}

impl<F, R, E> Future for GatewayFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Parts {
            mut inner,
            visit,
            response,
            settling,
        } = self.project();
        if let Some(future) = inner.as_mut().as_pin_mut() {
            let answered = ready!(future.poll(context));
            inner.set(None);
            *response = Some(answered?);
            let unsettled = visit.as_ref().and_then(|visit| visit.unsettled());
            if let Some(presentation) = unsettled {
                *settling = Some(Box::pin(async move { presentation.settled().await }));
            }
        }
        if let Some(future) = settling {
            ready!(future.as_mut().poll(context));
            *settling = None;
        }
        match response.take() {
            Some(mut response) => {
                if let Some(visit) = visit {
                    visit.finish(&mut response);
                }
                Poll::Ready(Ok(response))
            }
            // Polled after it was ready.
            None => Poll::Pending,
        }
    }
}
