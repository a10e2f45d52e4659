//! The grants of RFC 6749 without a browser, over HTTP.

use evertoken::testing::{AccessCheck, AuthorizationServer};
use evertoken::{EndpointError, Error, Event, MemoryStore, OAuth2, TokenManager};

use crate::raw_server::{RawServer, Step, ok};
use crate::support::{SECOND, World, built, drain, loaded};

const PAIR: &str = r#"{"access_token":"a1","refresh_token":"r1","expires_in":600}"#;

fn status(line: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {line}\r\nContent-Length: {length}\r\n\r\n{body}").into()
}

fn client(url: &str) -> OAuth2 {
    OAuth2::new(url, "importer").unwrap()
}

fn with_password(server: &RawServer) -> OAuth2 {
    client(&server.url("/token")).sign_in_with_password("jürgen", "open sesame&+%")
}

/// A server that answers one request with each of these bodies.
async fn answering(bodies: &[&str]) -> RawServer {
    let answers = bodies.iter().map(|body| Step::AnswerAndClose(ok(body)));
    RawServer::start(answers).await
}

#[tokio::test]
async fn client_credentials_are_one_form_without_a_user() {
    let server = answering(&[PAIR]).await;
    let endpoint = client(&server.url("/token")).client_secret("sesame");
    let endpoint = endpoint.scope("records").sign_in_as_client();
    let tokens = built(TokenManager::builder(endpoint));
    assert_eq!(tokens.token().await.unwrap().expose(), "a1");
    let requests = server.requests().await;
    let [request] = requests.as_slice() else {
        panic!("{} requests", requests.len());
    };
    assert_eq!(request.line(), "POST /token HTTP/1.1");
    assert_eq!(
        request.body(),
        "grant_type=client_credentials&scope=records"
    );
    // Basic credentials of importer:sesame.
    let basic = request.header("authorization");
    assert_eq!(basic, Some("Basic aW1wb3J0ZXI6c2VzYW1l"));
}

#[tokio::test]
async fn a_password_is_one_form_and_its_pair_is_refreshed_without_it() {
    let second = r#"{"access_token":"a2","refresh_token":"r2","expires_in":600}"#;
    let server = answering(&[PAIR, second]).await;
    let tokens = built(TokenManager::builder(with_password(&server)));
    assert_eq!(tokens.token().await.unwrap().expose(), "a1");
    assert_eq!(tokens.rotate().await.unwrap().expose(), "a2");
    let requests = server.requests().await;
    let bodies: Vec<_> = requests.iter().map(|request| request.body()).collect();
    assert_eq!(
        bodies,
        [
            "grant_type=password&username=j%C3%BCrgen&password=open+sesame%26%2B%25&client_id=importer",
            "grant_type=refresh_token&refresh_token=r1&client_id=importer",
        ]
    );
}

#[tokio::test]
async fn two_users_of_one_client_are_two_sessions() {
    let server = answering(&[PAIR, &PAIR.replace("a1", "b1")]).await;
    let store = MemoryStore::new();
    let mut seen = Vec::new();
    for user in ["ada", "bob", "ada"] {
        let endpoint = client(&server.url("/token")).sign_in_with_password(user, "sesame");
        let tokens = built(TokenManager::builder(endpoint).store(store.clone()));
        seen.push(tokens.token().await.unwrap().expose().to_owned());
    }
    assert_eq!(seen, ["a1", "b1", "a1"]);
    assert_eq!(server.requests().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_reported_and_not_tried_again_by_itself() {
    let world = World::new(600 * SECOND);
    let body = r#"{"error":"invalid_grant","error_description":"bad password: open sesame&+%"}"#;
    let refused = || Step::AnswerAndClose(status("400 Bad Request", body));
    let server = RawServer::start((0..10).map(|_| refused())).await;
    let builder = TokenManager::builder(with_password(&server)).clock(world.clock.clone());
    let tokens = built(builder.strategy(evertoken::BackgroundTimer::default()));
    let mut events = tokens.subscribe();
    let error = tokens.token().await.unwrap_err();
    assert!(matches!(error, Error::SignInRefused { .. }), "{error:?}");
    // The user has to correct the password. Another attempt does not help.
    assert!(!error.is_retryable());
    assert!(error.needs_sign_in());
    let told = format!("{error:?} {error} {:?}", error.endpoint());
    assert!(told.contains("invalid_grant"), "{told}");
    assert!(!told.contains("sesame"), "{told}");
    // Without a caller the manager sends nothing for an hour.
    world.clock.advance(3_600 * SECOND).await;
    let events = drain(&mut events);
    assert!(
        matches!(events.as_slice(), [Event::Failed { .. }]),
        "{events:?}"
    );
    assert!(!format!("{events:?}").contains("sesame"));
    assert_eq!(server.requests().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn callers_do_not_hammer_the_server_with_a_wrong_password() {
    let world = World::new(600 * SECOND);
    let body = r#"{"error":"invalid_grant"}"#;
    let refused = || Step::AnswerAndClose(status("400 Bad Request", body));
    let server = RawServer::start((0..100).map(|_| refused())).await;
    let builder = TokenManager::builder(with_password(&server)).clock(world.clock.clone());
    let tokens = builder.build().unwrap();
    let mut refused = 0;
    // Callers ask every second for five minutes, plus some time for the connections. The manager sends one request for
    // each pause of the longest length.
    for _ in 0..300 {
        refused += u32::from(tokens.token().await.is_err());
        world.clock.advance(SECOND).await;
    }
    assert_eq!(refused, 300);
    let requests = server.requests().await.len();
    assert!((5..=6).contains(&requests), "{requests}");
}

#[tokio::test]
async fn a_sign_in_over_http_is_the_servers_own_and_is_revoked_at_a_logout() {
    let server = AuthorizationServer::builder()
        .client("importer", "sesame")
        .sign_in(true)
        .build();
    let http = server.listen().await.unwrap();
    let endpoint = client(http.url())
        .client_secret("sesame")
        .sign_in_as_client();
    let revocation_url = format!("{}/revoke", http.origin());
    let endpoint = endpoint.revocation_url(revocation_url).unwrap();
    let tokens = TokenManager::builder(endpoint).build().unwrap();
    let first = tokens.token().await.unwrap();
    let second = tokens.rotate().await.unwrap();
    assert_eq!(first.pair_id().family, second.pair_id().family);
    assert!(tokens.logout().await.is_complete());
    assert_eq!(server.check(second.expose()), AccessCheck::Revoked);
    assert!(tokens.token().await.unwrap_err().needs_sign_in());
    let third = tokens.sign_in().await.unwrap();
    assert_eq!(server.check(third.expose()), AccessCheck::Live);
    assert_eq!(
        (server.sign_ins(), server.exchanges(), server.revocations()),
        (2, 1, 1)
    );
}

#[tokio::test]
async fn a_logout_without_a_revocation_url_is_local_and_reports_that() {
    let server = AuthorizationServer::builder().sign_in(true).build();
    let http = server.listen().await.unwrap();
    let endpoint = client(http.url()).sign_in_as_client();
    let tokens = loaded(TokenManager::builder(endpoint)).await;
    let logout = tokens.logout().await;
    assert!(logout.stored.is_ok());
    assert!(matches!(logout.revoked, Err(EndpointError::Refused { .. })));
    assert!(!logout.is_complete());
    assert!(matches!(tokens.token().await, Err(Error::Ended { .. })));
}

#[tokio::test]
async fn the_endpoints_debug_holds_no_password() {
    let server = RawServer::start([]).await;
    let endpoint = with_password(&server).client_secret("open secret");
    let told = format!("{endpoint:?}");
    assert!(!told.contains("open"), "{told}");
    let builder = TokenManager::builder(endpoint);
    let told = format!("{builder:?} {builder:#?}");
    assert!(!told.contains("open"), "{told}");
}
