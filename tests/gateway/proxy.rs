//! Requests that are passed on to an API, over loopback.

use std::convert::Infallible;
use std::future::IntoFuture as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE, UPGRADE,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::any};
use evertoken::testing::browser::Call;
use evertoken::testing::{AccessCheck, AuthorizationServer, Browser};
use evertoken::{Gateway, SessionPolicy, Sessions};
use futures_util::{StreamExt as _, stream};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::world::keys;

/// What the API got.
#[derive(Debug, Clone)]
struct Got {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

struct Api {
    server: AuthorizationServer,
    got: Mutex<Vec<Got>>,
    /// The values of `Authorization` that the API rejects although they are good at the server.
    rejected: Mutex<Vec<HeaderValue>>,
    /// The lines of the stream that is open.
    lines: Mutex<Option<mpsc::UnboundedReceiver<String>>>,
}

struct Scene {
    server: AuthorizationServer,
    api: Arc<Api>,
    gateway: Gateway,
    origin: String,
    browser: Browser,
    http: reqwest::Client,
}

async fn listen(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, app).into_future());
    origin
}

/// What an API does that accepts the server's tokens.
async fn api(State(api): State<Arc<Api>>, mut request: Request) -> Response {
    let bearer = request.headers().get(AUTHORIZATION);
    let bearer = bearer.filter(|bearer| !api.rejected.lock().contains(bearer));
    let bearer = bearer.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let is_live = bearer.is_some_and(|token| api.server.check(token) == AccessCheck::Live);
    let upgrade = request.headers().contains_key(UPGRADE);
    let on_upgrade = upgrade.then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let path = parts.uri.path().to_owned();
    api.got.lock().push(Got {
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
        body: body.clone(),
    });
    if !is_live {
        return (StatusCode::UNAUTHORIZED, "no token").into_response();
    }
    if let Some(on_upgrade) = on_upgrade {
        tokio::spawn(async move {
            let mut stream = TokioIo::new(on_upgrade.await.unwrap());
            let mut bytes = [0; 4];
            stream.read_exact(&mut bytes).await.unwrap();
            bytes.reverse();
            stream.write_all(&bytes).await.unwrap();
        });
        let headers = [("connection", "upgrade"), ("upgrade", "websocket")];
        return (StatusCode::SWITCHING_PROTOCOLS, headers).into_response();
    }
    match &*path {
        "/v1/cookie" => {
            let headers = [
                (SET_COOKIE, "__Host-Http-session-0=evil; Path=/"),
                (
                    axum::http::HeaderName::from_static("clear-site-data"),
                    "\"cookies\"",
                ),
                (axum::http::HeaderName::from_static("x-kept"), "1"),
            ];
            (headers, "cookie").into_response()
        }
        "/v1/moved" => (StatusCode::FOUND, [(LOCATION, "/elsewhere")]).into_response(),
        "/v1/packed" => {
            let headers = [(CONTENT_ENCODING, "gzip"), (CONTENT_TYPE, "text/plain")];
            (headers, &b"\x1f\x8b not really"[..]).into_response()
        }
        "/v1/stream" => {
            let lines = api.lines.lock().take().unwrap();
            let lines = stream::unfold(lines, async |mut lines| Some((lines.recv().await?, lines)));
            let body = Body::from_stream(lines.map(Ok::<_, Infallible>));
            ([(CONTENT_TYPE, "text/event-stream")], body).into_response()
        }
        _ => body.into_response(),
    }
}

impl Scene {
    async fn new() -> Self {
        let server = AuthorizationServer::builder().client("app", "").build();
        let token_endpoint = server.listen().await.unwrap();
        let shared = Arc::new(Api {
            server: server.clone(),
            got: Mutex::default(),
            rejected: Mutex::default(),
            lines: Mutex::default(),
        });
        let api = Router::new()
            .fallback(any(api))
            .with_state(Arc::clone(&shared));
        let api = listen(api).await;
        let endpoint = evertoken::OAuth2::new(token_endpoint.url(), "app").unwrap();
        // The server lives as long as the test's process.
        std::mem::forget(token_endpoint);
        let policy = SessionPolicy::new().retired_for(Duration::from_secs(30));
        let sessions = Sessions::builder(endpoint)
            .origin(&api)
            .default_policy(policy);
        let sessions = sessions.build().unwrap();
        let gateway = Gateway::builder(&sessions).sealer(keys()).build().unwrap();
        let proxy = gateway.proxy(format!("{api}/v1/")).unwrap();
        let origin = listen(Router::new().nest_service("/api", proxy)).await;
        let browser = Browser::new(&origin).unwrap();
        let scene = Self {
            server,
            api: shared,
            gateway,
            origin,
            browser,
            http: client(),
        };
        scene.sign_in(&scene.browser).await;
        scene
    }

    async fn sign_in(&self, browser: &Browser) {
        let mut set = HeaderMap::new();
        let signed_in = self.gateway.sign_in(&set, self.server.issue()).await;
        signed_in.unwrap().apply(&mut set);
        browser.send("/").arrived(StatusCode::OK, &set);
    }

    fn request(&self, call: impl Into<Call>) -> reqwest::RequestBuilder {
        let request = self.browser.send(call);
        let headers = request.headers(axum::http::Version::HTTP_11);
        self.http
            .request(request.method().clone(), request.url())
            .headers(headers)
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        self.request(path).send().await.unwrap()
    }

    fn last(&self) -> Got {
        self.api.got.lock().last().unwrap().clone()
    }
}

fn client() -> reqwest::Client {
    let policy = reqwest::redirect::Policy::none();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(policy)
        .build()
        .unwrap()
}

#[tokio::test]
async fn the_token_goes_on_the_request_and_nothing_of_the_browsers_credentials() {
    let scene = Scene::new().await;
    let request = scene
        .request("/api/orders?a=1&b=%20")
        .header(AUTHORIZATION, "Bearer of-the-browser")
        .header("x-forwarded-for", "10.0.0.1")
        .header("forwarded", "for=10.0.0.1")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("x-own", "kept");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    let got = scene.last();
    assert_eq!(got.uri, "/v1/orders?a=1&b=%20");
    let bearer = got.headers[AUTHORIZATION].to_str().unwrap();
    let token = bearer.strip_prefix("Bearer ").unwrap();
    assert_eq!(scene.server.check(token), AccessCheck::Live);
    assert_eq!(got.headers.get_all(AUTHORIZATION).iter().count(), 1);
    for name in ["cookie", "x-forwarded-for", "forwarded", "x-hop"] {
        assert_eq!(got.headers.get(name), None, "{name}");
    }
    assert_eq!(got.headers["x-own"], "kept");
    let host = got.headers["host"].to_str().unwrap();
    assert!(!scene.origin.ends_with(host), "{host}");
}

#[tokio::test]
async fn without_a_session_nothing_is_passed_on() {
    let scene = Scene::new().await;
    let answer = scene
        .http
        .get(format!("{}/api/orders", scene.origin))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer.json_body().await["error"], "signed_out");
    assert_eq!(scene.api.got.lock().len(), 0);
    // A hundred kilobytes of cookies, which the server in front of the gateway takes.
    let long = format!("{}/api/orders", scene.origin);
    let answer = scene.http.get(long).header(COOKIE, "x".repeat(100_000));
    assert_eq!(
        answer.send().await.unwrap().status(),
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(scene.api.got.lock().len(), 0);
}

trait JsonBody {
    async fn json_body(self) -> serde_json::Value;
}

impl JsonBody for reqwest::Response {
    async fn json_body(self) -> serde_json::Value {
        serde_json::from_slice(&self.bytes().await.unwrap()).unwrap()
    }
}

#[tokio::test]
async fn an_upstream_outside_the_origins_is_refused() {
    let scene = Scene::new().await;
    for upstream in [
        "https://other.example.org",
        "http://api.example.org",
        "api",
        "",
        "https://user:sesame@api.example.org",
        &format!("{}/?x=1", scene.origin),
    ] {
        let error = scene.gateway.proxy(upstream).unwrap_err().to_string();
        assert!(error.contains("upstream"), "{upstream}: {error}");
        assert!(!error.contains("sesame"), "{error}");
    }
}

/// Sends a request line as it stands, and returns the status.
async fn raw(scene: &Scene, path: &str) -> u16 {
    let address = scene.origin.strip_prefix("http://").unwrap();
    let cookie = scene.browser.send("/").cookie().unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\ncookie: {}\r\nconnection: close\r\n\r\n",
        cookie.to_str().unwrap()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn no_path_leads_out_of_the_apis() {
    let scene = Scene::new().await;
    for path in [
        "/api/../admin",
        "/api/x/../../admin",
        "/api/%2e%2e/admin",
        "/api/%2E%2E/%2e%2e/admin",
        "/api/x/.%2e/%2e./admin",
        "/api/..\\admin",
        "/api//evil.example/../../../admin",
        "/api/../v1x",
    ] {
        let status = raw(&scene, path).await;
        let got: Vec<_> = scene.api.got.lock().drain(..).collect();
        let outside = got.iter().find(|got| !got.uri.path().starts_with("/v1/"));
        assert!(outside.is_none(), "{path} {status}: {outside:?}");
    }
    // What stays encoded is the API's to read, under its own path.
    assert_eq!(raw(&scene, "/api/a%2fb/%2e/c?d=/../e").await, 200);
    assert_eq!(scene.last().uri, "/v1/a%2fb/c?d=/../e");
}

#[tokio::test]
async fn a_rejected_request_is_sent_once_more_if_its_body_is_kept() {
    for (length, expected) in [(0, 200), (1_000, 200), (65_536, 200), (65_537, 401)] {
        let scene = Scene::new().await;
        scene.get("/api/warm").await;
        // The API rejects the token that the gateway holds.
        let token = scene.last().headers[AUTHORIZATION].clone();
        scene.api.rejected.lock().push(token);
        scene.api.got.lock().clear();
        let body = vec![b'x'; length];
        let call = Call::fetch("/api/orders").method(Method::POST);
        let request = scene.browser.send(call);
        let headers = request.headers(axum::http::Version::HTTP_11);
        let url = request.url();
        let answer = scene.http.post(url).headers(headers).body(body.clone());
        let answer = answer.send().await.unwrap();
        request.arrived(answer.status(), answer.headers());
        assert_eq!(answer.status(), expected, "{length}");
        let got = scene.api.got.lock().clone();
        assert_eq!(got.len(), if expected == 200 { 2 } else { 1 }, "{length}");
        assert!(
            got.iter()
                .all(|got| got.body == body && got.method == Method::POST)
        );
        // The next request has the next token.
        assert_eq!(scene.get("/api/orders").await.status(), StatusCode::OK);
        assert_eq!(scene.server.replays(), 0);
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_passes_as_a_stream() {
    let scene = Scene::new().await;
    for count in [1, 200] {
        let chunks = stream::iter((0..count).map(|_| Ok::<_, Infallible>(vec![b'y'; 1_000])));
        let call = Call::fetch("/api/orders").method(Method::PUT);
        let answer = scene.request(call).body(reqwest::Body::wrap_stream(chunks));
        assert_eq!(answer.send().await.unwrap().status(), StatusCode::OK);
        assert_eq!(scene.last().body.len(), count * 1_000);
    }
}

#[tokio::test]
async fn what_the_api_answers_reaches_the_browser_but_for_its_cookies() {
    let scene = Scene::new().await;
    let answer = scene.get("/api/cookie").await;
    assert_eq!(answer.headers().get(SET_COOKIE), None);
    assert_eq!(answer.headers().get("clear-site-data"), None);
    assert_eq!(answer.headers()["x-kept"], "1");
    let moved = scene.get("/api/moved").await;
    assert_eq!(
        (moved.status(), &moved.headers()[LOCATION]),
        (StatusCode::FOUND, &HeaderValue::from_static("/elsewhere"))
    );
    let packed = scene.get("/api/packed").await;
    assert_eq!(packed.headers()[CONTENT_ENCODING], "gzip");
    assert_eq!(packed.bytes().await.unwrap(), &b"\x1f\x8b not really"[..]);
}

#[tokio::test]
async fn report_15_a_stream_passes_line_by_line() {
    let scene = Scene::new().await;
    let (line, lines) = mpsc::unbounded_channel();
    *scene.api.lines.lock() = Some(lines);
    let mut answer = scene.get("/api/stream").await;
    assert_eq!(answer.status(), StatusCode::OK);
    for number in 0..3 {
        line.send(format!("data: {number}\n\n")).unwrap();
        let chunk = answer.chunk().await.unwrap().unwrap();
        assert_eq!(chunk, format!("data: {number}\n\n"));
    }
    drop(line);
    assert_eq!(answer.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn a_websocket_passes_with_the_token_on_its_handshake() {
    let scene = Scene::new().await;
    let address = scene.origin.strip_prefix("http://").unwrap();
    let cookie = scene.browser.send("/").cookie().unwrap();
    let request = format!(
        "GET /api/socket HTTP/1.1\r\nhost: {address}\r\norigin: {}\r\ncookie: {}\r\n\
         connection: Upgrade\r\nupgrade: WebSocket\r\n\r\n",
        scene.origin,
        cookie.to_str().unwrap()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.to_lowercase().contains("upgrade: websocket"), "{head}");
    stream.write_all(b"abcd").await.unwrap();
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"dcba");
    assert!(scene.last().headers.contains_key(AUTHORIZATION));
}

/// Through another HTTP within the connection, requests would reach the API that the gateway has not seen.
#[tokio::test]
async fn no_protocol_but_a_websocket_passes() {
    let scene = Scene::new().await;
    let own = scene.origin.clone();
    for protocol in ["h2c", "TLS/1.0", "websocket, h2c"] {
        let request = scene
            .request("/api/orders")
            .header("origin", &own)
            .header("connection", "upgrade, http2-settings")
            .header("upgrade", protocol)
            .header("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA");
        assert_eq!(request.send().await.unwrap().status(), 200, "{protocol}");
        let got = scene.last();
        for name in ["upgrade", "connection", "http2-settings"] {
            assert_eq!(got.headers.get(name), None, "{protocol}");
        }
    }
}

#[tokio::test]
async fn a_request_that_is_answered_with_its_own_fields_is_not_passed_on() {
    let scene = Scene::new().await;
    let call = Call::fetch("/api/orders").method(Method::TRACE);
    let answer = scene.request(call).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(scene.api.got.lock().len(), 0);
}

#[tokio::test]
async fn an_api_that_is_gone_is_a_502_and_the_session_stays() {
    let scene = Scene::new().await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let endpoint = evertoken::StaticToken::new("token");
    let sessions = Sessions::builder(endpoint).origin(&origin);
    let policy = SessionPolicy::new().retired_for(Duration::from_secs(30));
    let sessions = sessions.default_policy(policy).build().unwrap();
    let gateway = Gateway::builder(&sessions).sealer(keys()).build().unwrap();
    let proxy = gateway.proxy(&origin).unwrap();
    let front = listen(Router::new().fallback_service(proxy)).await;
    let browser = Browser::new(&front).unwrap();
    let mut set = HeaderMap::new();
    gateway
        .sign_in(&set, scene.server.issue())
        .await
        .unwrap()
        .apply(&mut set);
    browser.send("/").arrived(StatusCode::OK, &set);
    let request = browser.send("/orders");
    let headers = request.headers(axum::http::Version::HTTP_11);
    let answer = scene
        .http
        .get(request.url())
        .headers(headers)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(answer.headers().get(SET_COOKIE), None);
    assert_eq!(answer.json_body().await["error"], "bad_gateway");
}

#[tokio::test]
async fn a_pooled_client_never_sends_one_users_token_for_another() {
    let scene = Scene::new().await;
    let other = Browser::new(&scene.origin).unwrap();
    scene.sign_in(&other).await;
    let token_of = async |browser: &Browser| {
        let request = browser.send("/api/orders");
        let headers = request.headers(axum::http::Version::HTTP_11);
        let answer = scene.http.get(request.url()).headers(headers).send().await;
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
        scene.last().headers[AUTHORIZATION].clone()
    };
    let (first, second) = (token_of(&scene.browser).await, token_of(&other).await);
    assert_ne!(first, second);
    for _ in 0..100 {
        assert_eq!(token_of(&scene.browser).await, first);
        assert_eq!(token_of(&other).await, second);
    }
}
