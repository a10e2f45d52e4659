//! An application that has sessions of its own, with `tower-sessions`: the id of evertoken's session is in them, and the pair is not.

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use evertoken::{Error, GatewayError, SessionId, Sessions, TokenPair};
use tower_sessions::{MemoryStore, Session, SessionManagerLayer};

/// The routes of the application, whose handlers take a `TokenManager`.
pub fn with_sessions(routes: Router, sessions: Sessions) -> Router {
    let own = SessionManagerLayer::new(MemoryStore::default());
    routes
        .layer(from_fn_with_state(sessions, with_tokens))
        .layer(own)
}

async fn with_tokens(
    State(sessions): State<Sessions>,
    session: Session,
    mut request: Request,
    next: Next,
) -> Result<Response, GatewayError> {
    let tokens = match session.get::<SessionId>("evertoken.id").await {
        Ok(Some(id)) => match sessions.present(&id).await {
            Ok(presented) => Some(presented.tokens().clone()),
            Err(error) if error.needs_sign_in() => None,
            Err(error) => return Err(error.into()),
        },
        _ => None,
    };
    // Without a manager, the handlers that take one answer 401.
    request.extensions_mut().insert(tokens);
    Ok(next.run(request).await)
}

/// The end of a login.
pub async fn signed_in(
    session: &Session,
    sessions: &Sessions,
    pair: TokenPair,
) -> Result<(), SignInError> {
    session.cycle_id().await?;
    let id = sessions.sign_in(pair).await?;
    session.insert("evertoken.id", id).await?;
    Ok(())
}

/// Why a login did not end in a session.
#[derive(Debug)]
pub enum SignInError {
    /// The application's own session failed.
    Session(tower_sessions::session::Error),
    /// The pair was not stored.
    Tokens(Error),
}

impl From<tower_sessions::session::Error> for SignInError {
    fn from(error: tower_sessions::session::Error) -> Self {
        Self::Session(error)
    }
}

impl From<Error> for SignInError {
    fn from(error: Error) -> Self {
        Self::Tokens(error)
    }
}
