use http::StatusCode;

/// How an API behaves towards tokens, and what stands in front of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiProfile {
    reject_on: Vec<StatusCode>,
    unavailable_is_the_gateways: bool,
}

impl ApiProfile {
    /// The statuses by which the API rejects a token. Default: 401 (RFC 6750 section 3.1). Some servers
    /// say 403 (django-oauth-toolkit); where 403 also means "not permitted", leave it out, or every such
    /// answer costs a rotation.
    #[must_use]
    pub fn reject_on(mut self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.reject_on = statuses.into_iter().collect();
        self
    }

    /// A 503 with `Retry-After` comes from a gateway that did not pass the request on, so that any
    /// method may be sent once more. Default: no; then only idempotent methods (RFC 9110 section 9.2.2)
    /// are.
    #[must_use]
    pub fn gateway_unavailable(mut self, is_the_gateways: bool) -> Self {
        self.unavailable_is_the_gateways = is_the_gateways;
        self
    }

    pub(super) fn rejects(&self, status: StatusCode) -> bool {
        self.reject_on.contains(&status)
    }

    pub(super) fn unavailable_is_the_gateways(&self) -> bool {
        self.unavailable_is_the_gateways
    }
}

impl Default for ApiProfile {
    fn default() -> Self {
        Self {
            reject_on: vec![StatusCode::UNAUTHORIZED],
            unavailable_is_the_gateways: false,
        }
    }
}
