//! The OAuth2 endpoint against servers that answer byte by byte as told.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "support/raw_server.rs"]
mod raw_server;

use std::error::Error as StdError;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use evertoken::clock::{Clock, SystemClock};
use evertoken::{
    Bare400, BuildError, ClientAuth, Codes, EndpointError, Grant, Issued, OAuth2, RefreshToken,
    SendWindow, TokenEndpoint, TokenPair,
};
use reqwest::redirect;
use tokio::net::TcpListener;
use tokio::time::timeout;

use self::raw_server::{RawServer, Step, ok};

const HOUR: Duration = Duration::from_secs(3600);

/// Long enough for a loopback exchange on a busy machine, short enough to wait for.
const SHORT: Duration = Duration::from_secs(1);

/// What a request names as its client, unless the user says otherwise.
const AGENT: &str = concat!("evertoken/", env!("CARGO_PKG_VERSION"));

/// Well before an exchange with the default timeout is over.
const SOON: Duration = Duration::from_secs(15);

fn window(open_for: Duration) -> SendWindow {
    SendWindow::new(Arc::new(SystemClock), SystemClock.now() + open_for)
}

async fn refresh(endpoint: &OAuth2, token: &str) -> Result<Issued, EndpointError> {
    let (token, window) = (RefreshToken::new(token), window(HOUR));
    endpoint.exchange(Grant::refresh(&token, &window)).await
}

fn public(server: &RawServer) -> OAuth2 {
    OAuth2::new(server.url("/token"), "importer").unwrap()
}

/// What each exchange comes to if the server answers so, each over a connection of its own.
async fn exchanges(
    steps: impl IntoIterator<Item = Step>,
) -> impl Iterator<Item = Result<Issued, EndpointError>> {
    let steps = Vec::from_iter(steps);
    let count = steps.len();
    let server = RawServer::start(steps).await;
    let endpoint = public(&server);
    let mut outcomes = Vec::new();
    for _ in 0..count {
        outcomes.push(refresh(&endpoint, "r1").await);
    }
    assert_eq!(server.connections().await, vec![1; count]);
    outcomes.into_iter()
}

async fn exchange(step: Step) -> Result<Issued, EndpointError> {
    exchanges([step]).await.next().unwrap()
}

fn refresh_token(outcome: Result<Issued, EndpointError>) -> Option<String> {
    let token = outcome.unwrap().refresh?;
    Some(token.expose().to_owned())
}

fn class(outcome: Result<Issued, EndpointError>) -> &'static str {
    match outcome {
        Ok(_) => "issued",
        Err(EndpointError::NotSent { .. }) => "not sent",
        Err(EndpointError::Later { .. }) => "later",
        Err(EndpointError::Rejected { .. }) => "rejected",
        Err(EndpointError::UserNeeded { .. }) => "user needed",
        Err(EndpointError::Refused { .. }) => "refused",
        Err(EndpointError::Page { .. }) => "page",
        Err(EndpointError::Unavailable { .. }) => "unavailable",
        Err(EndpointError::Unknown { .. }) => "unknown",
        Err(_) => "another",
    }
}

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
        let mut endpoint = OAuth2::new(server.url("/token?p=1"), "odd:id")
            .unwrap()
            .scope("b a");
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
        assert_eq!(
            request.header("content-length"),
            Some(body.len().to_string().as_str())
        );
        assert_eq!(
            request.header("content-type"),
            Some("application/x-www-form-urlencoded")
        );
        assert_eq!(request.header("accept"), Some("application/json"));
        assert_eq!(request.header("authorization"), authorization);
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        assert_eq!(request.header("user-agent"), Some(AGENT));
        for absent in ["transfer-encoding", "cookie", "referer"] {
            assert_eq!(request.header(absent), None, "{absent}");
        }
    }
}

#[tokio::test]
async fn a_client_names_itself_as_the_user_says() {
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
    let agents: Vec<_> = requests.iter().map(|it| it.header("user-agent")).collect();
    assert_eq!(
        agents,
        [Some("importer/7"), Some("built/1"), Some("importer/7")]
    );
    for odd in ["", "a\nb"] {
        let endpoint = OAuth2::new("https://id.example.org/token", "importer").unwrap();
        assert!(endpoint.user_agent(odd).is_err(), "{odd}");
    }
}

#[tokio::test]
async fn what_was_issued_comes_with_the_servers_time() {
    let answer = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 64\r\n\r\n\
        {\"access_token\":\"a2\",\"expires_in\":\"60\",\"refresh_token\":\"r2\"    }";
    let issued = exchange(Step::Answer(answer.into())).await.unwrap();
    assert_eq!(issued.access, Some("a2".into()));
    assert_eq!(issued.refresh, Some("r2".into()));
    assert_eq!(issued.expires_in, Some(Duration::from_secs(60)));
    assert_eq!(issued.server_time, Some(Duration::from_secs(784_111_777)));
}

#[tokio::test]
async fn fm9_a_lost_answer_is_not_sent_again() {
    let server = RawServer::start([Step::Close]).await;
    assert_eq!(class(refresh(&public(&server), "r1").await), "unknown");
    assert_eq!(server.connections().await, [1]);

    // A kept connection that the server closes is what clients resend a request for.
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
async fn fm29_a_refresh_token_is_kept_whatever_else_is_odd() {
    let odd_fields = [
        r#""expires_in":"soon""#,
        r#""expires_in":-1"#,
        r#""expires_in":1e999"#,
        r#""expires_in":NaN"#,
        r#""expires_in":null"#,
        r#""expires_in":{"seconds":60}"#,
        r#""token_type":"mac""#,
        r#""token_type":7"#,
        r#""access_token":null"#,
        r#""scope":"less""#,
        r#""scope":["a",null]"#,
        r#""id_token":"not.a.jwt""#,
        r#""id_token":{"a":[1,"]}"]}"#,
        r#""error":"server_error""#,
        r#""error_description":"half a pair: \ud83d""#,
        "\"error_description\":\"two\nlines\"",
        r#""unknown":undefined"#,
    ];
    let bodies = odd_fields.map(|odd| format!("{{{odd},\"refresh_token\":\"r2\"}}"));
    let bare = [
        r#"{"refresh_token":"r2"}"#,
        r#"{"refresh_token":"r2","expires_in":"#,
        r#"{"refresh_token":"","refresh_token":"r2"}"#,
        "\u{feff} {\"refresh_token\":\"r2\"} trailing",
        "refresh_token=r2",
    ];
    let bodies = Vec::from_iter(bodies.into_iter().chain(bare.map(str::to_owned)));
    let outcomes = exchanges(bodies.iter().map(|body| Step::Answer(ok(body)))).await;
    for (body, outcome) in bodies.iter().zip(outcomes) {
        assert_eq!(refresh_token(outcome).as_deref(), Some("r2"), "{body}");
    }
    let latin1 = b"HTTP/1.1 200 OK\r\nContent-Length: 43\r\n\r\n\
        {\"account\":\"J\xfcrgen\",  \"refresh_token\":\"r2\"}";
    let outcome = exchange(Step::Answer(latin1.to_vec())).await;
    assert_eq!(refresh_token(outcome).as_deref(), Some("r2"));
}

#[tokio::test]
async fn fm29_a_refresh_token_is_kept_behind_odd_headers() {
    let heads = [
        "HTTP/1.1 203 Whatever\r\nX: a\r\n folded\r\nContent-Length: 22",
        "HTTP/1.1 200 OK\r\nBad Header: x\r\nContent-Length: 22",
        "HTTP/1.1 200 OK\r\nContent-Length : 22\r\nContent-Length: 22",
        "HTTP/1.1 200\r\nContent-Type: text/html; charset=utf-16",
        "HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\nSet-Cookie: a=b",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nDate: yesterday",
    ];
    let answers = heads.map(|head| {
        let answer = format!("{head}\r\nContent-Length: 22\r\n\r\n{{\"refresh_token\":\"r2\"}}");
        Step::AnswerAndClose(answer.into())
    });
    for (head, outcome) in heads.iter().zip(exchanges(answers).await) {
        assert_eq!(refresh_token(outcome).as_deref(), Some("r2"), "{head}");
    }
    let codings = [
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\r\n chunked",
    ];
    let answers = codings.map(|coding| {
        let chunks = "7\r\n{\"refre\r\nF\r\nsh_token\":\"r2\"}\r\n0\r\n\r\n";
        Step::AnswerAndClose(format!("HTTP/1.1 200 OK\r\n{coding}\r\n\r\n{chunks}").into())
    });
    for (coding, outcome) in codings.iter().zip(exchanges(answers).await) {
        assert_eq!(refresh_token(outcome).as_deref(), Some("r2"), "{coding}");
    }
}

#[tokio::test]
async fn fm29_a_refresh_token_is_kept_of_an_answer_that_breaks_off() {
    let breaks = [
        "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"refresh_token\":\"r2\",\"acc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            16\r\n{\"refresh_token\":\"r2\"}\r\n500\r\nmore",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            16\r\n{\"refresh_token\":\"r2\"}\r\nno chunk\r\n",
    ];
    let steps = breaks.map(|answer| Step::AnswerAndClose(answer.into()));
    for (answer, outcome) in breaks.iter().zip(exchanges(steps).await) {
        assert_eq!(refresh_token(outcome).as_deref(), Some("r2"), "{answer}");
    }
    let parts = [
        r#"{"refresh_token":"r"#,
        "token_type=bearer&refresh_token=r",
        "",
    ];
    let steps = parts.map(|part| {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{part}");
        Step::AnswerAndClose(answer.into())
    });
    for (part, outcome) in parts.iter().zip(exchanges(steps).await) {
        assert_eq!(class(outcome), "unknown", "{part}");
    }
}

#[tokio::test]
async fn a_chunked_body_is_read_whole() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        7\r\n{\"refre\r\nF\r\nsh_token\":\"r2\"}\r\n0\r\n\r\n";
    let outcome = exchange(Step::Answer(answer.into())).await;
    assert_eq!(refresh_token(outcome).as_deref(), Some("r2"));
}

#[tokio::test]
async fn a_body_is_read_up_to_64_kib_and_no_more() {
    let padding = "x".repeat(64 * 1024);
    let mut whole = format!("padding={padding}");
    let last = "&refresh_token=r2";
    whole.replace_range(64 * 1024 - last.len().., last);
    let outcome = exchange(Step::Answer(ok(&whole))).await;
    assert_eq!(refresh_token(outcome).as_deref(), Some("r2"));
    let bodies = [
        format!("{{\"padding\":\"{padding}\",\"refresh_token\":\"r2\"}}"),
        // Whole, but not as far as it is read.
        format!("padding={}&refresh_token=r2345", &padding[26..]),
    ];
    for (body, outcome) in bodies
        .iter()
        .zip(exchanges(bodies.iter().map(|body| Step::Answer(ok(body)))).await)
    {
        assert_eq!(class(outcome), "unknown", "{} bytes", body.len());
    }
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{{\"refresh_token\":\"r2\",\"x\":\"{padding}");
    let outcome = timeout(SOON, exchange(Step::Stall(endless.into()))).await;
    assert_eq!(refresh_token(outcome.unwrap()).as_deref(), Some("r2"));
}

#[tokio::test]
async fn fm40_no_token_in_any_debug_or_error() {
    let token = "rt-S3same/0pen&th3 d00r+please";
    let secret = "cs-S3same:sh/ut the d00r%now";
    let issued = "at-S3same-1s-valid-f0r-an-hour";
    let form_token = "rt-S3same%2F0pen%26th3+d00r%2Bplease";
    let escaped: String = token.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    let echoes = [
        token,
        form_token,
        &escaped,
        secret,
        "S3same/0pen&th",
        "rt-S3s\u{7f}ame/0p\u{7f}en&th3 d00r+please",
        "aW1wb3J0ZXI6Y3MtUzNzYW1lJTNBc2glMkZ1dCt0aGUrZDAwciUyNW5vdw==",
    ];
    let mut answers = Vec::new();
    for status in [
        "200 OK",
        "400 Bad Request",
        "401 No",
        "429 Slow",
        "500 Error",
        "302 Found",
    ] {
        for echo in echoes {
            let bodies = [
                format!(r#"{{"error":"bad","error_description":"used: {echo}"}}"#),
                format!(r#"{{"error":"{echo}"}}"#),
                format!(r#"{{"access_token":"{issued}","error_description":"{issued}"}}"#),
                format!("<html>{echo}</html>"),
            ];
            answers.extend(bodies.map(|body| {
                format!(
                    "HTTP/1.1 {status} {echo}\r\nX-Echo: {echo}\r\nLocation: /?{echo}\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len() + 7
                )
            }));
        }
    }
    let twice = answers.iter().flat_map(|answer| [answer, answer]);
    let steps = twice.map(|answer| Step::AnswerAndClose(answer.clone().into()));
    let server = RawServer::start(Vec::from_iter(steps)).await;
    let revocation_url = server.url("/revoke?key=url-S3same");
    let endpoint = public(&server).client_secret(secret);
    let endpoint = endpoint.revocation_url(revocation_url).unwrap();
    let mut printed = format!("{endpoint:?} {endpoint:#?}\n");
    for answer in &answers {
        printed += &match refresh(&endpoint, token).await {
            Ok(issued) => format!("{issued:?}\n"),
            Err(error) => chain(&error),
        };
        match endpoint.revoke(&TokenPair::from_refresh_token(token)).await {
            Ok(()) => assert!(answer.contains("200 OK")),
            Err(error) => printed += &chain(&error),
        }
    }
    assert_eq!(server.connections().await, vec![1; 2 * answers.len()]);
    assert!(
        printed.contains("refuses this client: bad") && printed.contains("with a page: 401"),
        "{printed}"
    );
    for secret in ["S3same", "the+d00r", "the d00r", "ZSt0aGUr"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

/// Everything an error and its sources can be made to say.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut printed = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        printed += &format!("{error} {error:?} {error:#?}\n");
        next = error.source();
    }
    printed
}

#[tokio::test]
async fn q9_a_refusal_carries_code_and_message_and_an_unreadable_one_is_an_error_all_the_same() {
    let answer = |body: &str| {
        let length = body.len();
        Step::AnswerAndClose(
            format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {length}\r\n\r\n{body}").into(),
        )
    };
    let refused = exchange(answer(
        r#"{"error":"invalid_grant","error_description":"the session is over"}"#,
    ))
    .await
    .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the token endpoint rejected the grant: invalid_grant: the session is over (400)"
    );
    let client = exchange(answer(
        r#"{"error":"invalid_client","error_description":"who?"}"#,
    ))
    .await;
    let client = client.unwrap_err().to_string();
    assert!(
        client.contains("invalid_client") && client.contains("who?"),
        "{client}"
    );
    for odd in [
        "",
        "<html>Bad Request</html>",
        "{",
        "null",
        "[1,2",
        "\u{0}\u{1}",
        "\"\\ud800\"",
    ] {
        assert_eq!(class(exchange(answer(odd)).await), "page", "{odd}");
    }
}

/// An answer of this status, with headers and a body.
fn answered(status: &str, headers: &str, body: &str) -> Step {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n");
    Step::AnswerAndClose(format!("{head}{body}").into())
}

#[tokio::test]
async fn only_the_servers_own_word_is_a_verdict() {
    let html = "Content-Type: text/html\r\n";
    let json = "Content-Type: application/json\r\n";
    let table = [
        ("403 Forbidden", html, "<html>blocked</html>", "page"),
        ("400 Bad Request", html, "<html>no</html>", "page"),
        ("400 Bad Request", "", "", "page"),
        ("401 Unauthorized", html, "<html>no</html>", "page"),
        ("404 Not Found", html, "", "page"),
        ("404 Not Found", json, r#"{"error":"Not Found"}"#, "page"),
        ("413 Too Large", html, "", "page"),
        ("301 Moved", "Location: /elsewhere\r\n", "", "page"),
        (
            "400 Bad Request",
            json,
            r#"{"message":"Bad Request","errors":[{"field":"client_id","code":"invalid"}]}"#,
            "page",
        ),
        ("408 Request Timeout", "", "", "unavailable"),
        ("502 Bad Gateway", html, "<html>", "unavailable"),
        ("503 Unavailable", "", "", "unavailable"),
        ("504 Timeout", html, "<html>", "unavailable"),
        ("500 Error", html, "<html>", "unknown"),
        ("200 OK", html, "<html>sign in</html>", "unknown"),
        (
            "503 Unavailable",
            json,
            r#"{"error":"temporarily_unavailable"}"#,
            "later",
        ),
        (
            "200 OK",
            json,
            r#"{"error":"temporarily_unavailable"}"#,
            "later",
        ),
        (
            "400 Bad Request",
            json,
            r#"{"error":"server_error"}"#,
            "later",
        ),
        (
            "403 Forbidden",
            json,
            r#"{"error":"too_many_attempts"}"#,
            "later",
        ),
        ("425 Too Early", "", "", "later"),
        ("429 Too Many Requests", html, "<html>", "later"),
        (
            "400 Bad Request",
            json,
            r#"{"error":"interaction_required"}"#,
            "user needed",
        ),
        (
            "200 OK",
            json,
            r#"{"error":"bad_refresh_token"}"#,
            "rejected",
        ),
        ("200 OK", "", "error=bad_refresh_token", "rejected"),
        (
            "400 Bad Request",
            json,
            r#"{"error":"invalid_request"}"#,
            "refused",
        ),
    ];
    let steps = table.map(|(status, headers, body, _)| answered(status, headers, body));
    for ((status, _, body, expected), outcome) in table.iter().zip(exchanges(steps).await) {
        assert_eq!(class(outcome), *expected, "{status} {body}");
    }
}

#[tokio::test]
async fn a_page_is_told_by_its_status_its_type_and_its_first_words() {
    let body = "<!DOCTYPE html>\n<html>\n <title>Blocked</title>";
    let headers = "Content-Type: text/html; charset=utf-8\r\n";
    let error = exchange(answered("403 Forbidden", headers, body)).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "the token endpoint answered with a page: 403, text/html; charset=utf-8, \
         \"<!DOCTYPE html> <html> <title>Blocked</title>\""
    );
}

#[tokio::test]
async fn what_a_server_means_by_its_own_codes_can_be_said() {
    let refusal = |code: &str| {
        let body = format!(r#"{{"error":"{code}"}}"#);
        answered("400 Bad Request", "", &body)
    };
    let codes = ["invalid_request", "quota", "mfa_required", "invalid_scope"];
    let bare = answered("400 Bad Request", "", "");
    let server = RawServer::start(codes.map(refusal).into_iter().chain([bare])).await;
    let endpoint = public(&server).codes(
        Codes::default()
            .dead(["invalid_request"])
            .later(["quota"])
            .user(["mfa_required"])
            .bare_400(Bare400::Dead),
    );
    for expected in ["rejected", "later", "user needed", "refused", "rejected"] {
        assert_eq!(class(refresh(&endpoint, "r1").await), expected);
    }
    assert_eq!(server.connections().await, [1; 5]);
}

#[tokio::test]
async fn fm40_a_credential_in_the_token_urls_query_is_in_no_key() {
    let key = |url: &str| TokenEndpoint::key(&OAuth2::new(url, "importer").unwrap());
    let with = key("https://id.example.org/token?key=sesame");
    assert!(!format!("{with} {with:?}").contains("sesame"));
    assert_ne!(with, key("https://id.example.org/token?key=other"));
    assert_eq!(
        key("https://id.example.org/token").issuer,
        "https://id.example.org/token"
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let other = RawServer::start([Step::Answer(ok(r#"{"refresh_token":"r2"}"#))]).await;
        let location = other.url("/token");
        let answer =
            format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        let server = RawServer::start([Step::Answer(answer.into())]).await;
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
async fn an_answer_that_does_not_come_in_time_is_unknown() {
    for silence in [
        Step::Stall("".into()),
        Step::Stall("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"refresh_token\":\"r".into()),
    ] {
        let server = RawServer::start([silence]).await;
        let endpoint = public(&server).timeout(SHORT);
        assert_eq!(TokenEndpoint::timeout(&endpoint), SHORT);
        let outcome = timeout(SOON, refresh(&endpoint, "r1")).await;
        assert_eq!(class(outcome.unwrap()), "unknown");
        assert_eq!(server.connections().await, [1]);
    }
    let salvageable = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"refresh_token\":\"r2\",";
    let server = RawServer::start([Step::Stall(salvageable.into())]).await;
    let outcome = refresh(&public(&server).timeout(SHORT), "r1").await;
    assert_eq!(refresh_token(outcome).as_deref(), Some("r2"));
}

/// As by Ctrl-Z, or on a machine that does something else: nothing in here runs, and time goes by.
#[tokio::test]
async fn fm8_an_answer_that_came_while_the_process_was_stopped_is_read() {
    let answer = ok(r#"{"access_token":"a2","refresh_token":"r2"}"#);
    for before in [0, answer.len() / 2] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let (first, rest) = answer.split_at(before);
        let (first, rest) = (first.to_owned(), rest.to_owned());
        let (asked, was_asked) = tokio::sync::oneshot::channel();
        let (stopped, was_stopped) = std::sync::mpsc::channel();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"refresh_token=r1") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            stream.write_all(&first).unwrap();
            asked.send(()).unwrap();
            was_stopped.recv().unwrap();
            stream.write_all(&rest).unwrap();
            // Until the client has read it.
            let _ = stream.read(&mut [0]);
        });
        let stop = async {
            was_asked.await.unwrap();
            stopped.send(()).unwrap();
            std::thread::sleep(2 * SHORT);
        };
        let endpoint = OAuth2::new(url, "importer").unwrap().timeout(SHORT);
        let (outcome, ()) = tokio::join!(refresh(&endpoint, "r1"), stop);
        assert_eq!(refresh_token(outcome).as_deref(), Some("r2"), "{before}");
        server.join().unwrap();
    }
}

#[tokio::test]
async fn without_a_connection_nothing_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    drop(listener);
    let endpoint = OAuth2::new(url, "importer").unwrap();
    assert_eq!(class(refresh(&endpoint, "r1").await), "not sent");
}

#[tokio::test]
async fn what_may_pass_by_itself_is_not_lasting() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    drop(listener);
    let refused = OAuth2::new(url, "importer").unwrap();
    assert_eq!(is_lasting(refresh(&refused, "r1").await), Some(false));
    let unresolved = OAuth2::new("https://evertoken.invalid/token", "importer").unwrap();
    assert_eq!(is_lasting(refresh(&unresolved, "r1").await), Some(false));
}

/// Of a request that was not sent.
fn is_lasting(outcome: Result<Issued, EndpointError>) -> Option<bool> {
    match outcome {
        Err(EndpointError::NotSent { is_lasting, .. }) => Some(is_lasting),
        _ => None,
    }
}

/// A server by TLS with a certificate of its own, for `localhost` and until 2120.
#[cfg(feature = "rustls")]
mod tls {
    use std::net::SocketAddr;
    use std::thread::JoinHandle;

    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
    use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto};

    use super::*;

    const CERTIFICATE: &str = "\
        MIIBaDCCAQ6gAwIBAgIBATAKBggqhkjOPQQDAjAZMRcwFQYDVQQDDA5ldmVydG9rZW4gdGVzdDAgFw0yMDAxMDEwMDAwMDBaGA8y\
        MTIwMDEwMTAwMDAwMFowGTEXMBUGA1UEAwwOZXZlcnRva2VuIHRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAT53dp9IYZC\
        g4pR2BmjGjichQb6kY6oiBRtAN9wcZIFprfQos0IyjAaPl2OLKNAlKk+WWVA5ZIEL6JBznV5k80Qo0UwQzAUBgNVHREEDTALggls\
        b2NhbGhvc3QwDAYDVR0TAQH/BAIwADAdBgNVHQ4EFgQUF5FDN/CqGGhDwaBrtaPTS0wuvGMwCgYIKoZIzj0EAwIDSAAwRQIhANKF\
        2sfnQ+hwi1og+d5sTVtc7wUQTJI/gSZRjVYjXdnhAiBQmVfs0ty4H8i8m+GjwFvpMvnQfCTurigXfXEnvo69vA==";

    /// Of this test alone.
    const KEY: &str = "\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg2XTgRQR8/RcAn4XIYOI1w+Px3vFMlfl6A0cOFHtOcCShRANCAAT5\
        3dp9IYZCg4pR2BmjGjichQb6kY6oiBRtAN9wcZIFprfQos0IyjAaPl2OLKNAlKk+WWVA5ZIEL6JBznV5k80Q";

    pub(super) fn certificate() -> Vec<u8> {
        BASE64_STANDARD.decode(CERTIFICATE).unwrap()
    }

    /// Answers one request with a pair, and returns whether any came.
    pub(super) fn start() -> (SocketAddr, JoinHandle<bool>) {
        let key = BASE64_STANDARD.decode(KEY).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
        let chain = vec![CertificateDer::from(certificate())];
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let connection = ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.windows(16).any(|end| end == b"refresh_token=r1") {
                match stream.read(&mut byte) {
                    Ok(1) => request.extend(byte),
                    _ => return false,
                }
            }
            let answer = ok(r#"{"access_token":"a2","refresh_token":"r2"}"#);
            stream.write_all(&answer).unwrap();
            stream.flush().unwrap();
            // Until the client has read it.
            let _ = stream.read(&mut byte);
            true
        });
        (address, server)
    }
}

#[cfg(feature = "rustls")]
#[tokio::test]
async fn a_certificate_that_is_not_trusted_or_names_another_host_is_lasting() {
    let trusted = || {
        let certificate = reqwest::Certificate::from_der(&tls::certificate()).unwrap();
        reqwest::Client::builder().tls_certs_only([certificate])
    };
    let distrusted = reqwest::Client::builder;
    for (host, http, expected) in [
        ("localhost", trusted(), None),
        ("127.0.0.1", trusted(), Some(true)),
        ("localhost", distrusted(), Some(true)),
    ] {
        let (address, server) = tls::start();
        let url = format!("https://{host}:{}/token", address.port());
        let http = http.resolve("localhost", address);
        let endpoint = OAuth2::new(url, "importer").unwrap().http(http).unwrap();
        let outcome = refresh(&endpoint, "r1").await;
        let shown = format!("{outcome:?}");
        assert_eq!(outcome.is_ok(), expected.is_none(), "{host}: {shown}");
        assert_eq!(is_lasting(outcome), expected, "{host}: {shown}");
        assert_eq!(server.join().unwrap(), expected.is_none());
    }
}

#[cfg(feature = "rustls")]
#[tokio::test]
async fn a_handshake_that_does_not_end_in_time_sends_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/token", listener.local_addr().unwrap());
    let endpoint = OAuth2::new(url, "importer").unwrap().timeout(SHORT);
    let (outcome, accepted) = tokio::join!(refresh(&endpoint, "r1"), listener.accept());
    accepted.unwrap();
    assert_eq!(class(outcome), "not sent");
}

#[tokio::test]
async fn a_closed_window_lets_no_token_out() {
    let server = RawServer::start([Step::Answer(ok(r#"{"refresh_token":"r2"}"#))]).await;
    let endpoint = public(&server);
    let token = RefreshToken::new("r1");
    let closed = window(Duration::ZERO);
    let outcome = endpoint.exchange(Grant::refresh(&token, &closed)).await;
    let said = chain(outcome.as_ref().unwrap_err());
    assert!(said.contains("was over before"), "{said}");
    assert_eq!(class(outcome), "not sent");
    for request in server.requests().await {
        assert_eq!(request.body(), "");
    }
}

#[tokio::test]
async fn a_date_to_retry_after_is_by_the_servers_clock() {
    let answer = "HTTP/1.1 503 Busy\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
        Retry-After: Sun, 06 Nov 1994 08:49:44 GMT\r\nContent-Length: 0\r\n\r\n";
    let error = exchange(Step::Answer(answer.into())).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_sign_in_is_refused_without_a_request() {
    let server = RawServer::start([]).await;
    let endpoint = public(&server);
    assert!(!endpoint.can_sign_in());
    let outcome = endpoint.exchange(Grant::sign_in(&window(HOUR))).await;
    assert_eq!(class(outcome), "refused");
    assert_eq!(server.connections().await, [0; 0]);
}

#[tokio::test]
async fn a_revocation_names_the_refresh_token_or_else_the_access_token() {
    let table = [
        (
            TokenPair::new("a1").refresh_token("r/1"),
            "token=r%2F1&token_type_hint=refresh_token&client_id=importer",
        ),
        (
            TokenPair::new("a1"),
            "token=a1&token_type_hint=access_token&client_id=importer",
        ),
    ];
    for (pair, body) in table {
        let server = RawServer::start([Step::Answer(ok(""))]).await;
        let endpoint = public(&server)
            .revocation_url(server.url("/revoke"))
            .unwrap();
        endpoint.revoke(&pair).await.unwrap();
        let requests = server.requests().await;
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].line(), "POST /revoke HTTP/1.1");
        assert_eq!(requests[0].body(), body);
    }
}

#[tokio::test]
async fn a_revocation_that_failed_says_so() {
    let pair = TokenPair::new("a1").refresh_token("r1");
    let without = OAuth2::new("http://localhost/token", "importer").unwrap();
    assert_eq!(
        class(without.revoke(&pair).await.map(|()| Issued::default())),
        "refused"
    );
    let refusal = r#"{"error":"unsupported_token_type"}"#;
    for (status, body, expected) in [
        ("400 Bad Request", refusal, "refused"),
        ("400 Bad Request", "", "page"),
        ("404 Not Found", "<html>", "page"),
        ("429 Slow down", "", "later"),
        ("503 Busy", "", "unavailable"),
        ("500 Error", refusal, "unknown"),
        ("302 Found", "", "page"),
    ] {
        let server = RawServer::start([answered(status, "Retry-After: 7\r\n", body)]).await;
        let endpoint = public(&server)
            .revocation_url(server.url("/revoke"))
            .unwrap();
        let outcome = endpoint.revoke(&pair).await;
        assert_eq!(
            class(outcome.map(|()| Issued::default())),
            expected,
            "{status}"
        );
        assert_eq!(server.connections().await, [1]);
    }
}

#[test]
fn a_client_that_cannot_be_built_is_a_typed_error() {
    let builder = reqwest::Client::builder().user_agent("line\nbreak");
    let endpoint = OAuth2::new("https://id.example.org/token", "importer").unwrap();
    assert!(matches!(
        endpoint.http(builder),
        Err(BuildError::Client { .. })
    ));
}
