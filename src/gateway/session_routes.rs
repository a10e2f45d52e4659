//! The routes by which a page learns of its session: its state, a heartbeat, the logout.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::json;
use tower_service::Service;

use super::Gateway;
use super::content::Held;
use super::error::{GatewayError, json};
use super::visit::{Visit, set};
use crate::sessions::Presentation;

pub(super) const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// The shortest time to the next heartbeat.
const SHORTEST_BEAT: Duration = Duration::from_secs(1);

/// The routes of a session, see [`Gateway::session_routes`](super::Gateway::session_routes).
#[derive(Debug, Clone)]
pub struct SessionRoutes {
    gateway: Gateway,
}

impl SessionRoutes {
    pub(super) fn new(gateway: Gateway) -> Self {
        Self { gateway }
    }

    async fn answer(
        self,
        route: Route,
        visit: Arc<Visit>,
    ) -> Result<Response<reqwest::Body>, GatewayError> {
        match route {
            Route::State => match visit.presentation().await {
                Ok(presentation) => Ok(json(StatusCode::OK, &state(presentation))),
                Err(GatewayError::SignedOut { .. }) => {
                    Ok(json(StatusCode::OK, &json!({ "signed_in": false })))
                }
                Err(error) => Err(error),
            },
            Route::Heartbeat => {
                let presentation = visit.presentation().await?;
                // So that an idle browser gets the pair of the rotation that its heartbeat began.
                presentation.settled().await;
                Ok(json(StatusCode::OK, &state(presentation)))
            }
            Route::Logout => {
                let mut response = json(StatusCode::OK, &json!({ "signed_in": false }));
                if let Some(sign_in) = visit.sign_in() {
                    // In a process that has not seen the session yet, the cookie alone has the pair that is revoked. A refused
                    // pair is one of this sign-in too, so the session ends all the same.
                    let presented = match sign_in.held {
                        Held::Pair(_) => visit.presentation().await.ok(),
                        Held::Id(_) => None,
                    };
                    let tokens = match presented {
                        Some(presentation) => presentation.tokens().clone(),
                        None => self.gateway.shared.sessions.open(sign_in.id()),
                    };
                    // The session has ended for callers when this returns. Storing and revoking go on in the background if they
                    // take longer, with events and logs.
                    drop(tokens.logout().await);
                }
                set(&mut response, visit.deletions());
                let cache = HeaderValue::from_static("\"cache\"");
                response.headers_mut().insert(CLEAR_SITE_DATA, cache);
                Ok(response)
            }
        }
    }
}

/// The state of a session for its page.
fn state(presentation: &Presentation) -> serde_json::Value {
    let beat = presentation.next_heartbeat();
    let mut state = json!({ "signed_in": true });
    if let Some(beat) = beat {
        state["next_heartbeat_in"] = beat.max(SHORTEST_BEAT).as_secs().into();
    }
    state
}

#[derive(Debug, Clone, Copy)]
enum Route {
    State,
    Heartbeat,
    Logout,
}

impl Route {
    fn of(method: &Method, path: &str) -> Result<Self, GatewayError> {
        let not_allowed = |allowed| GatewayError::MethodNotAllowed { allowed };
        match path.trim_matches('/') {
            "" if *method == Method::GET => Ok(Self::State),
            "" => Err(not_allowed("GET")),
            "heartbeat" if *method == Method::POST => Ok(Self::Heartbeat),
            "logout" if *method == Method::POST => Ok(Self::Logout),
            "heartbeat" | "logout" => Err(not_allowed("POST")),
            _ => Err(GatewayError::NotFound),
        }
    }
}

impl<B> Service<Request<B>> for SessionRoutes {
    type Response = Response<reqwest::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let route = Route::of(request.method(), request.uri().path());
        let visit = request.extensions().get::<Arc<Visit>>().cloned();
        let routes = self.clone();
        Box::pin(async move {
            let answered = async {
                let visit = visit.ok_or(GatewayError::NoLayer)?;
                routes.answer(route?, visit).await
            };
            Ok(answered.await.unwrap_or_else(|error| error.to_response()))
        })
    }
}
