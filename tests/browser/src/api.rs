//! The API behind the gateway. It knows the user of a token, and answers nothing without one.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};

use evertoken::testing::{AccessCheck, AuthorizationServer};
use evertoken::{AccessToken, Issued, RefreshToken, TokenPair};
use futures_util::{Stream, StreamExt as _};
use http::StatusCode;
use http::header::{AUTHORIZATION, CACHE_CONTROL};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio_stream::wrappers::BroadcastStream;

/// An API on a free port of the loopback. Clones are one API.
#[derive(Clone)]
pub struct Api {
    shared: Arc<Shared>,
}

struct Shared {
    server: AuthorizationServer,
    url: String,
    /// By each token of a pair.
    users: Mutex<HashMap<String, String>>,
    changes: watch::Sender<u64>,
    streams: Mutex<broadcast::Sender<String>>,
}

/// The user of a request, as its token shows.
#[derive(Clone)]
struct User(String);

impl Api {
    pub async fn start(server: &AuthorizationServer) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            server: server.clone(),
            url: format!("http://{address}"),
            users: Mutex::default(),
            changes: watch::Sender::default(),
            streams: Mutex::new(broadcast::Sender::new(16)),
        });
        let api = Self { shared };
        let router = Router::new()
            .route("/me", get(me))
            .route("/me/kept", get(me_kept))
            .route("/change", post(change))
            .route("/events", get(events))
            .route("/socket", get(socket))
            .layer(from_fn_with_state(api.clone(), authenticate))
            .with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        api
    }

    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Notes that a pair is this user's.
    pub fn know(&self, pair: &TokenPair, user: &str) {
        let access = pair.access.iter().map(AccessToken::expose);
        let refresh = pair.refresh.iter().map(RefreshToken::expose);
        let tokens = access.chain(refresh).map(str::to_owned);
        let mut users = self.shared.users.lock();
        users.extend(tokens.map(|token| (token, user.to_owned())));
    }

    /// Notes that a pair was issued for this refresh token, so that it is the same user's.
    pub(crate) fn follow(&self, refresh: &str, issued: &Issued) {
        let mut users = self.shared.users.lock();
        let Some(user) = users.get(refresh).cloned() else {
            return;
        };
        let access = issued.access.iter().map(AccessToken::expose);
        let refresh = issued.refresh.iter().map(RefreshToken::expose);
        let tokens = access.chain(refresh).map(str::to_owned);
        users.extend(tokens.map(|token| (token, user.clone())));
    }

    /// How many requests have changed something.
    pub fn changes(&self) -> u64 {
        *self.shared.changes.borrow()
    }

    /// How many event streams are open.
    pub fn streams(&self) -> usize {
        self.shared.streams.lock().receiver_count()
    }

    /// Sends an event to all streams.
    pub fn publish(&self, text: &str) {
        let sent = self.shared.streams.lock().send(text.to_owned());
        sent.expect("an open stream");
    }

    /// Ends all streams, as a server does that restarts.
    pub fn end_streams(&self) {
        *self.shared.streams.lock() = broadcast::Sender::new(16);
    }
}

async fn authenticate(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let field = request.headers().get(AUTHORIZATION);
    let field = field.and_then(|field| field.to_str().ok()?.strip_prefix("Bearer "));
    let token = field.unwrap_or_default().to_owned();
    if api.shared.server.check(&token) != AccessCheck::Live {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let user = api.shared.users.lock().get(&token).cloned();
    let user = user.unwrap_or_else(|| "a user that the API does not know".to_owned());
    request.extensions_mut().insert(User(user));
    next.run(request).await
}

async fn me(Extension(User(user)): Extension<User>) -> Json<Value> {
    Json(json!({ "user": user }))
}

/// The same, which a browser may keep for a while.
async fn me_kept(user: Extension<User>) -> impl IntoResponse {
    ([(CACHE_CONTROL, "max-age=600")], me(user).await)
}

async fn change(State(api): State<Api>) -> Json<Value> {
    api.shared.changes.send_modify(|changes| *changes += 1);
    Json(json!({ "changes": api.changes() }))
}

async fn events(
    State(api): State<Api>,
    Extension(User(user)): Extension<User>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = BroadcastStream::new(api.shared.streams.lock().subscribe());
    // The browser's own pause before it comes back is 3 s.
    let retry = std::time::Duration::from_millis(10);
    let hello = Event::default().retry(retry).data(format!("hello {user}"));
    let hello = futures_util::stream::iter([hello]);
    let events = events.filter_map(async |text| Some(Event::default().data(text.ok()?)));
    Sse::new(hello.chain(events).map(Ok))
}

async fn socket(Extension(User(user)): Extension<User>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|socket| echo(socket, user))
}

async fn echo(mut socket: WebSocket, user: String) {
    while let Some(Ok(Message::Text(text))) = socket.recv().await {
        let answer = format!("{user}: {text}");
        if socket.send(Message::text(answer)).await.is_err() {
            break;
        }
    }
}
