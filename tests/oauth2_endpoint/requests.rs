//! What goes over the wire, how often, and what never does.

use evertoken::{BuildError, ClientAuth, EndpointError, OAuth2, TokenEndpoint, TokenPair};
use reqwest::redirect;

use crate::exchanges::{AGENT, answer, class, refresh, sign_in};
use crate::public;
use crate::raw_server::{RawServer, Step, ok};

#[tokio::test]
async fn a_refresh_is_one_form_and_names_the_client_once() {
    let grant = "grant_type=refresh_token&refresh_token=r%2F1+%2B";
    // printf '%s' 'odd%3Aid:p%2Bss+w%25rd%2F%26%3D' | base64
    let basic = "Basic b2RkJTNBaWQ6cCUyQnNzK3clMjVyZCUyRiUyNiUzRA==";
    let table = [
        (None, None, format!("{grant}&scope=a+b&client_id=odd%3Aid")),
        (Some(basic), None, format!("{grant}&scope=a+b")),
        (
            None,
            Some(ClientAuth::Post),
            format!("{grant}&scope=a+b&client_id=odd%3Aid&client_secret=p%2Bss+w%25rd%2F%26%3D"),
        ),
    ];
    for (authorization, auth, body) in table {
        let server = RawServer::start([Step::Answer(ok(r#"{"access_token":"a2"}"#))]).await;
        let endpoint = OAuth2::new(server.url("/token?p=1"), "odd:id").unwrap();
        let mut endpoint = endpoint.scope("b a");
        if authorization.is_some() || auth.is_some() {
            endpoint = endpoint.client_secret("p+ss w%rd/&=");
        }
        if let Some(auth) = auth {
            endpoint = endpoint.client_auth(auth);
        }
        refresh(&endpoint, "r/1 +").await.unwrap();
        let requests = server.requests().await;
        let [request] = requests.as_slice() else {
            panic!("{} requests", requests.len());
        };
        assert_eq!(request.line(), "POST /token?p=1 HTTP/1.1");
        assert_eq!(request.body(), body);
        for (name, value) in [
            ("content-length", Some(body.len().to_string().as_str())),
            ("content-type", Some("application/x-www-form-urlencoded")),
            ("accept", Some("application/json")),
            ("authorization", authorization),
            ("accept-encoding", Some("identity")),
            ("user-agent", Some(AGENT)),
            ("transfer-encoding", None),
            ("cookie", None),
            ("referer", None),
        ] {
            assert_eq!(request.header(name), value, "{name}");
        }
    }
}

#[tokio::test]
async fn the_user_agent_can_be_set() {
    let set = |endpoint: OAuth2| endpoint.user_agent("importer/7").unwrap();
    let built = |endpoint: OAuth2| {
        let builder = reqwest::Client::builder().user_agent("built/1");
        endpoint.http(builder).unwrap()
    };
    let answers = [(); 3].map(|()| Step::Answer(ok(r#"{"access_token":"a2"}"#)));
    let server = RawServer::start(answers).await;
    for endpoint in [
        set(public(&server)),
        built(public(&server)),
        built(set(public(&server))),
    ] {
        refresh(&endpoint, "r1").await.unwrap();
    }
    let requests = server.requests().await;
    let agents = requests.iter().filter_map(|it| it.header("user-agent"));
    let expected = ["importer/7", "built/1", "importer/7"];
    assert_eq!(agents.collect::<Vec<_>>(), expected);
    for odd in ["", "a\nb"] {
        let endpoint = OAuth2::new("https://id.example.org/token", "importer").unwrap();
        assert!(endpoint.user_agent(odd).is_err(), "{odd}");
    }
}

#[tokio::test]
async fn fm9_a_lost_answer_is_not_sent_again() {
    let server = RawServer::start([Step::Close]).await;
    assert_eq!(class(refresh(&public(&server), "r1").await), "unknown");
    assert_eq!(server.connections().await, [1]);

    // HTTP clients send a request again if the server closes a kept connection.
    let body = r#"{"access_token":"a2","refresh_token":"r2"}"#;
    let server = RawServer::start([Step::Answer(ok(body)), Step::Close]).await;
    let endpoint = public(&server);
    assert_eq!(class(refresh(&endpoint, "r1").await), "issued");
    assert_eq!(class(refresh(&endpoint, "r2").await), "unknown");
    assert_eq!(server.connections().await, [1, 1]);
}

#[tokio::test]
async fn fm39_client_authentication_is_never_probed() {
    let refusal = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\
        Content-Length: 26\r\n\r\n{\"error\":\"invalid_client\"}";
    for auth in [ClientAuth::Basic, ClientAuth::Post, ClientAuth::None] {
        let server = RawServer::start([Step::Answer(refusal.into())]).await;
        let endpoint = public(&server).client_secret("sesame").client_auth(auth);
        let error = refresh(&endpoint, "r1").await.unwrap_err();
        assert!(matches!(error, EndpointError::Refused { .. }), "{error}");
        assert_eq!(error.code(), Some("invalid_client"));
        assert_eq!(server.connections().await, [1], "{auth:?}");
    }
}

#[tokio::test]
async fn fm40_no_key_holds_a_credential_of_the_token_urls_query() {
    let key = |url: &str| TokenEndpoint::key(&OAuth2::new(url, "importer").unwrap());
    let with = key("https://id.example.org/token?key=sesame");
    assert!(!format!("{with} {with:?}").contains("sesame"));
    assert_ne!(with, key("https://id.example.org/token?key=other"));
    let url = "https://id.example.org/token";
    assert_eq!(key(url).issuer, url);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let other = RawServer::start([Step::Answer(ok(r#"{"refresh_token":"r2"}"#))]).await;
        let location = other.url("/token");
        let location = format!("Location: {location}");
        let server = RawServer::start([answer(status, &[&location], "")]).await;
        let follow = reqwest::Client::builder().redirect(redirect::Policy::limited(5));
        let endpoint = public(&server).http(follow).unwrap();
        assert_eq!(class(refresh(&endpoint, "r1").await), "page", "{status}");
        assert_eq!(server.connections().await, [1]);
        assert_eq!(other.connections().await, [0; 0]);
    }
}

#[tokio::test]
async fn a_token_for_loopback_does_not_go_through_a_proxy() {
    let proxy = RawServer::start([Step::Answer(ok(r#"{"refresh_token":"r2"}"#))]).await;
    let server = RawServer::start([Step::Answer(ok(r#"{"refresh_token":"r2"}"#))]).await;
    let proxied = reqwest::Client::builder().proxy(reqwest::Proxy::all(proxy.url("")).unwrap());
    let endpoint = public(&server).http(proxied).unwrap();
    assert_eq!(class(refresh(&endpoint, "r1").await), "issued");
    assert_eq!(proxy.connections().await, [0; 0]);
    assert_eq!(server.connections().await, [1]);
}

#[tokio::test]
async fn a_sign_in_is_refused_without_a_request() {
    let server = RawServer::start([]).await;
    let endpoint = public(&server);
    assert!(!endpoint.can_sign_in());
    assert_eq!(class(sign_in(&endpoint).await), "refused");
    assert_eq!(server.connections().await, [0; 0]);
}

#[tokio::test]
async fn a_revocation_names_the_refresh_token_or_else_the_access_token() {
    let access = TokenPair::new("a1");
    for (pair, token) in [
        (
            access.clone().refresh_token("r/1"),
            "token=r%2F1&token_type_hint=refresh_token",
        ),
        (access, "token=a1&token_type_hint=access_token"),
    ] {
        let server = RawServer::start([Step::Answer(ok(""))]).await;
        let endpoint = public(&server).revocation_url(server.url("/revoke"));
        endpoint.unwrap().revoke(&pair).await.unwrap();
        let requests = server.requests().await;
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].line(), "POST /revoke HTTP/1.1");
        let body = format!("{token}&client_id=importer");
        assert_eq!(requests[0].body(), body);
    }
}

#[tokio::test]
async fn a_failed_revocation_is_an_error() {
    let pair = TokenPair::new("a1").refresh_token("r1");
    let without = OAuth2::new("http://localhost/token", "importer").unwrap();
    assert_eq!(class(without.revoke(&pair).await), "refused");
    let refusal = r#"{"error":"unsupported_token_type"}"#;
    for (status, body, expected) in [
        (400, refusal, "refused"),
        (400, "", "page"),
        (404, "<html>", "page"),
        (429, "", "later"),
        (503, "", "unavailable"),
        (500, refusal, "unknown"),
        (302, "", "page"),
    ] {
        let server = RawServer::start([answer(status, &["Retry-After: 7"], body)]).await;
        let endpoint = public(&server).revocation_url(server.url("/revoke"));
        let outcome = endpoint.unwrap().revoke(&pair).await;
        assert_eq!(class(outcome), expected, "{status}");
        assert_eq!(server.connections().await, [1]);
    }
}

#[test]
fn a_client_that_cannot_be_built_is_a_typed_error() {
    let builder = reqwest::Client::builder().user_agent("line\nbreak");
    let endpoint = OAuth2::new("https://id.example.org/token", "importer").unwrap();
    let refused = endpoint.http(builder).unwrap_err();
    assert!(matches!(refused, BuildError::Client { .. }));
}
