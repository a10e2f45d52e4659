use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::super::authorization_server::AuthorizationServer;
use super::{Gateway, ImportApi, Shared};

/// Describes an [`ImportApi`]; see [`ImportApi::builder`].
#[derive(Debug)]
pub struct ImportApiBuilder {
    server: AuthorizationServer,
    gateway: Gateway,
    time_per_record: Duration,
    remembers_records: bool,
}

impl ImportApiBuilder {
    pub(super) fn new(server: &AuthorizationServer) -> Self {
        Self {
            server: server.clone(),
            gateway: Gateway::default(),
            time_per_record: Duration::ZERO,
            remembers_records: false,
        }
    }

    /// How tokens are judged. Default: [`Gateway::Eureka`].
    #[must_use]
    pub fn gateway(mut self, gateway: Gateway) -> Self {
        self.gateway = gateway;
        self
    }

    /// How long each accepted record takes before the call is answered. Default: no time.
    #[must_use]
    pub fn time_per_record(mut self, span: Duration) -> Self {
        self.time_per_record = span;
        self
    }

    /// Whether to remember which records were accepted over HTTP, at some 20 bytes each, for
    /// [`ImportApi::distinct_records`] and [`ImportApi::times_taken`]. Default: no.
    #[must_use]
    pub fn remember_records(mut self, remember: bool) -> Self {
        self.remembers_records = remember;
        self
    }

    /// The API, with no call yet.
    #[must_use]
    pub fn build(self) -> ImportApi {
        ImportApi {
            shared: Arc::new(Shared {
                server: self.server,
                gateway: self.gateway,
                time_per_record: self.time_per_record,
                remembers_records: self.remembers_records,
                inner: Mutex::default(),
            }),
        }
    }
}
