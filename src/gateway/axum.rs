//! What handlers of axum get and return.

use std::sync::Arc;

use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, IntoResponseParts, Response, ResponseParts};
use http::request::Parts;

use super::error::GatewayError;
use super::sign_in::SignedIn;
use super::visit::Visit;
use crate::manager::TokenManager;
use crate::sessions::Presentation;

async fn presentation(parts: &Parts) -> Result<Presentation, GatewayError> {
    let visit = parts.extensions.get::<Arc<Visit>>().cloned();
    let visit = visit.ok_or(GatewayError::NoLayer)?;
    visit.presentation().await.cloned()
}

/// The session of the browser, for a handler behind the [layer](super::GatewayLayer).
impl<S: Sync> FromRequestParts<S> for Presentation {
    type Rejection = GatewayError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, GatewayError> {
        presentation(parts).await
    }
}

/// The manager of the browser's session, for a handler behind the [layer](super::GatewayLayer). In a program that has sessions of its
/// own, a middleware puts an `Option<TokenManager>` into the request's extensions in place of the layer; `None` is a user who is
/// signed out.
impl<S: Sync> FromRequestParts<S> for TokenManager {
    type Rejection = GatewayError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, GatewayError> {
        match parts.extensions.get::<Option<TokenManager>>() {
            Some(Some(tokens)) => Ok(tokens.clone()),
            Some(None) => Err(GatewayError::SignedOut { source: None }),
            None => Ok(presentation(parts).await?.tokens().clone()),
        }
    }
}

impl IntoResponse for GatewayError {
    fn into_response(self) -> Response {
        self.to_response()
    }
}

impl IntoResponseParts for SignedIn {
    type Error = std::convert::Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Self::Error> {
        self.apply(parts.headers_mut());
        Ok(parts)
    }
}
