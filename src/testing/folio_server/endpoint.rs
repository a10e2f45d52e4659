//! The way of [`Folio`]'s requests into a server in the process.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};

use super::FolioServer;
use super::builder::System;
use crate::endpoint::{EndpointError, Folio, FolioMode, InProcessFolio};
use crate::error::BuildError;

impl FolioServer {
    /// The login service of a tenant, without sockets: for simulated time.
    ///
    /// # Errors
    ///
    /// [`BuildError::Invalid`] if that cannot be the name of a tenant.
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
