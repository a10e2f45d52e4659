//! FOLIO's interfaces as an API: which answers reject a token, and which requests wait for no token.

use std::time::Duration;

use bytes::Bytes;
use evertoken::testing::{AuthorizationServer, TestClock};
use evertoken::{ApiProfile, Error, TokenClient, TokenManager, TokenPair};
use reqwest::{Client, Response};

use crate::raw_server::{RawServer, Step};
use crate::recorder::{Arrived, Recorder, Reply, reply};

const TTL: Duration = Duration::from_secs(600);
const MISSING: &str =
    "Token missing, access requires permission: instance-storage.instances.item.get";

/// A server whose tokens live 600 s, and a manager that holds its first pair.
struct World {
    clock: TestClock,
    server: AuthorizationServer,
    first: TokenPair,
}

impl World {
    fn new() -> Self {
        let clock = TestClock::new();
        let server = AuthorizationServer::builder()
            .clock(clock.clone())
            .access_ttl(TTL)
            .build();
        let first = server.issue();
        Self {
            clock,
            server,
            first,
        }
    }

    fn tokens(&self, origin: &str, api: ApiProfile) -> TokenManager {
        TokenManager::builder(self.server.endpoint())
            .clock(self.clock.clone())
            .jitter(0.0)
            .seed(self.first.clone())
            .origin(origin)
            .api(api)
            .build()
            .unwrap()
    }

    fn first(&self) -> &str {
        self.first.access.as_ref().unwrap().expose()
    }
}

async fn get(http: &TokenClient, url: String) -> Response {
    http.send(http.http().get(url)).await.unwrap()
}

fn text(status: u16, kind: &str, body: &'static str) -> Reply {
    let response = http::Response::builder().status(status);
    let response = response
        .header("content-type", kind)
        .header("x-kept", "yes");
    Some(response.body(Bytes::from_static(body.as_bytes())).unwrap())
}

/// A server that answers the token `stale` with this answer, and any other token with a 200.
async fn rejecting(stale: &str, status: u16, kind: &'static str, body: &'static str) -> Recorder {
    let stale = stale.to_owned();
    Recorder::start(move |request: Arrived| {
        let is_stale = request.header("x-okapi-token") == Some(stale.as_str());
        std::future::ready(if is_stale {
            text(status, kind, body)
        } else {
            reply(200, &[])
        })
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn q6_a_missing_token_and_a_401_cost_one_refresh_and_one_replay() {
    for (status, kind, body) in [
        (400, "text/plain", MISSING),
        (400, "Text/Plain; charset=utf-8", MISSING),
        (400, "text/plain", "Token missing"),
        (401, "text/plain", "Invalid token"),
        (401, "application/json", ""),
    ] {
        for profile in [ApiProfile::okapi(), ApiProfile::eureka()] {
            let world = World::new();
            let api = rejecting(world.first(), status, kind, body).await;
            let tokens = world.tokens(api.origin(), profile);
            let http = tokens.client(Client::builder).unwrap();
            let request = http.http().post(api.url("/records")).body("record");
            let response = http.send(request).await.unwrap();
            assert_eq!(response.status(), 200, "{status} {kind} {body}");
            let bodies: Vec<_> = api.seen().into_iter().map(|seen| seen.body).collect();
            assert_eq!(bodies, ["record", "record"]);
            assert_eq!(world.server.exchanges(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn q7_any_other_400_is_returned_unchanged() {
    for (status, kind, body) in [
        (400, "application/json", MISSING),
        (400, "text/html", MISSING),
        (400, "text/plain", "Token miss"),
        (400, "text/plain", "token missing, access requires: x"),
        (400, "text/plain", " Token missing"),
        (400, "text/plain", "Unable to process: Tenant must be set"),
        (400, "text/plain", ""),
        (403, "text/plain", MISSING),
        (404, "text/plain", MISSING),
        (422, "text/plain", MISSING),
    ] {
        let world = World::new();
        let api = rejecting(world.first(), status, kind, body).await;
        let tokens = world.tokens(api.origin(), ApiProfile::okapi());
        let http = tokens.client(Client::builder).unwrap();
        let url = api.url("/records?limit=1");
        let response = get(&http, url.clone()).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.url().as_str(), url);
        assert_eq!(response.headers()["x-kept"], "yes");
        assert_eq!(response.content_length(), Some(body.len() as u64));
        assert!(response.remote_addr().is_some());
        assert_eq!(response.text().await.unwrap(), body);
        assert_eq!((api.seen().len(), world.server.exchanges()), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn q8_a_second_token_missing_is_returned() {
    let world = World::new();
    let api = Recorder::always(|| text(400, "text/plain", MISSING)).await;
    let tokens = world.tokens(api.origin(), ApiProfile::okapi());
    let http = tokens.client(Client::builder).unwrap();
    let response = get(&http, api.url("/records")).await;
    assert_eq!(response.status(), 400);
    assert_eq!(response.text().await.unwrap(), MISSING);
    assert_eq!((api.seen().len(), world.server.exchanges()), (2, 1));
}

/// The text may arrive in any number of pieces, or incomplete.
#[tokio::test]
async fn q6_a_body_is_read_only_as_far_as_the_comparison_needs() {
    let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n";
    let pieces =
        format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\nTok\r\n1\r\ne\r\n9\r\nn missing\r\n");
    let cut = format!("{head}Content-Length: 80\r\n\r\nToken mis");
    let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
    // The rest never arrives, and the client does not wait for it.
    let api = RawServer::start([Step::Stall(pieces.into()), Step::Answer(ok)]).await;
    let world = World::new();
    let tokens = world.tokens(&api.url(""), ApiProfile::okapi());
    let http = tokens.client(|| Client::builder().timeout(TTL)).unwrap();
    let response = get(&http, api.url("/records")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(world.server.exchanges(), 1);

    let api = RawServer::start([Step::AnswerAndClose(cut.into())]).await;
    let world = World::new();
    let tokens = world.tokens(&api.url(""), ApiProfile::okapi());
    let http = tokens.client(Client::builder).unwrap();
    let mut response = get(&http, api.url("/records")).await;
    assert_eq!(response.status(), 400);
    assert_eq!(response.chunk().await.unwrap().unwrap(), "Token mis");
    assert!(response.chunk().await.is_err());
    assert_eq!(world.server.exchanges(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_the_profile_a_text_is_not_a_rejection() {
    let world = World::new();
    let api = Recorder::always(|| text(400, "text/plain", MISSING)).await;
    let tokens = world.tokens(api.origin(), ApiProfile::default());
    let request = Client::new().get(api.url("/records"));
    let response = tokens.send(request).await.unwrap();
    assert_eq!(response.text().await.unwrap(), MISSING);
    assert_eq!((api.seen().len(), world.server.exchanges()), (1, 0));
}

const OPEN: [&str; 17] = [
    "/authn/login",
    "/okapi/authn/login",
    "/okapi/authn/login-with-expiry",
    "/authn/logout",
    "/authn/logout-all",
    "/authn/refresh",
    "/authn/token?code=c1&redirect-uri=x",
    "/bl-users/login?expandPermissions=true",
    "/bl-users/login-with-expiry",
    "/bl-users/forgotten/password",
    "/bl-users/forgotten/username",
    "/bl-users/password-reset/validate",
    "/bl-users/password-reset/reset",
    "/bl-users/password-reset",
    "/saml/check",
    "/saml/check/",
    "/_/invoke/tenant/diku/saml/login",
];

const OPEN_IN_EUREKA: [&str; 5] = [
    "/users-keycloak/forgotten/password",
    "/users-keycloak/forgotten/username",
    "/users-keycloak/password-reset/validate",
    "/users-keycloak/password-reset/reset",
    "/users-keycloak/password-reset",
];

/// Calls each path with an expired token: the manager requests no new token, and the request carries none.
async fn called_as_they_are(profile: ApiProfile, paths: impl IntoIterator<Item = &str>) {
    let world = World::new();
    let api = Recorder::always(|| reply(401, &[])).await;
    let tokens = world.tokens(api.origin(), profile);
    world.clock.advance(TTL).await;
    // A client that follows redirects anywhere may send this request, because it carries no token.
    let client = Client::new();
    for path in paths {
        let request = client.post(api.url(path)).body("{}");
        let request = request.header("x-okapi-token", "of-the-link");
        assert_eq!(tokens.send(request).await.unwrap().status(), 401);
        let seen = api.seen();
        let arrived = seen.last().unwrap();
        assert_eq!(arrived.path, path);
        assert_eq!(arrived.header("x-okapi-token"), Some("of-the-link"));
        assert_eq!(arrived.token(), None);
    }
    assert_eq!(world.server.exchanges(), 0);
}

#[tokio::test(start_paused = true)]
async fn q12_tokenless_paths_are_called_unchanged_while_the_token_is_expired() {
    called_as_they_are(ApiProfile::okapi(), OPEN).await;
    called_as_they_are(ApiProfile::eureka(), OPEN).await;
}

#[tokio::test(start_paused = true)]
async fn q12_eurekas_own_paths_are_tokenless_too() {
    called_as_they_are(ApiProfile::eureka(), OPEN_IN_EUREKA).await;
}

#[tokio::test(start_paused = true)]
async fn q12_the_profile_takes_more_tokenless_paths() {
    let profile = ApiProfile::default()
        .tokenless("/users/sign-in")
        .tokenless("heartbeat/")
        .tokenless("");
    let open = ["/users/sign-in", "/v1/users/sign-in?x=y", "/heartbeat"];
    called_as_they_are(profile.clone(), open).await;
    let world = World::new();
    let api = Recorder::always(|| reply(200, &[])).await;
    let tokens = world.tokens(api.origin(), profile);
    for path in ["/", "/sign-in", "/users/sign-in/more", "/no-heartbeat"] {
        let request = Client::new().get(api.url(path));
        assert_eq!(tokens.send(request).await.unwrap().status(), 200);
        let seen = api.seen();
        assert_eq!(seen.last().unwrap().token(), Some(world.first()), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn q12_no_other_path_is_tokenless() {
    let world = World::new();
    let api = Recorder::always(|| reply(200, &[])).await;
    let tokens = world.tokens(api.origin(), ApiProfile::eureka());
    let http = tokens.client(Client::builder).unwrap();
    for path in [
        "/authn/credentials",
        "/authn/update",
        "/bl-users/_self",
        "/bl-users/settings/password",
        "/users-keycloak/users",
        "/saml/check/more",
        "/authn/login/attempts",
        "/xauthn/login",
        "/records?next=/authn/login",
    ] {
        get(&http, api.url(path)).await;
    }
    for arrived in api.seen() {
        let token = arrived.header("x-okapi-token");
        assert_eq!(token, Some(world.first()), "{}", arrived.path);
    }
}

#[tokio::test(start_paused = true)]
async fn i8_in_eureka_a_503_with_retry_after_is_waited_for_with_any_method() {
    for (profile, calls) in [(ApiProfile::okapi(), 1), (ApiProfile::eureka(), 2)] {
        let world = World::new();
        let busy = || reply(503, &[("retry-after", "1")]);
        let api = Recorder::with("/records", busy).await;
        let tokens = world.tokens(api.origin(), profile);
        let http = tokens.client(Client::builder).unwrap();
        let request = http.http().post(api.url("/records")).body("record");
        assert_eq!(http.send(request).await.unwrap().status(), 503);
        assert_eq!((api.seen().len(), world.server.exchanges()), (calls, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_in_its_own_header_needs_a_client_that_keeps_it_in() {
    let world = World::new();
    let api = Recorder::always(|| reply(200, &[])).await;
    let tokens = world.tokens(api.origin(), ApiProfile::okapi());
    let error = tokens.send(Client::new().get(api.url("/records"))).await;
    assert!(matches!(error, Err(Error::ForeignClient)));
    assert!(api.seen().is_empty());
}
