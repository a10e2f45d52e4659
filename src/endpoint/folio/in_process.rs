//! A way to a service in this process, without sockets: paused time runs ahead while a socket is waited for.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use zeroize::Zeroizing;

use super::wire::FolioRequest;
use crate::endpoint::transport::{Reply, TimedOut};
use crate::endpoint::{EndpointError, SendWindow};

/// Brings requests to a service in this process.
#[async_trait]
pub(crate) trait InProcess: Debug + Send + Sync {
    /// Brings one request there, once, and the answer back. What is lost on the way is said as an error: not sent, or
    /// unknown. A request that has arrived is answered also if nobody waits for it any more.
    async fn carry(&self, request: Request<Bytes>) -> Result<Response<Bytes>, EndpointError>;

    /// The client's wall clock, since the Unix epoch.
    fn wall(&self) -> Duration;
}

pub(super) async fn send(
    server: &dyn InProcess,
    request: FolioRequest,
    window: Option<&SendWindow>,
    timeout: Duration,
) -> Result<Reply, EndpointError> {
    if window.is_some_and(|window| !window.is_open()) {
        return Err(EndpointError::not_sent("the send window is over"));
    }
    let carrying = server.carry(request.map(Bytes::from_owner));
    let carried = tokio::time::timeout(timeout, carrying).await;
    let response = carried.map_err(|_| EndpointError::unknown(TimedOut(timeout)))??;
    let (parts, body) = response.into_parts();
    let body = Zeroizing::new(body.to_vec());
    Ok(Reply::new(
        parts.status,
        parts.headers,
        body,
        None,
        server.wall(),
    ))
}
