//! Answers of real token endpoints, byte by byte, and the meaning of each. The answer of a row with a source comes from that
//! source, with other tokens.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod cases;
#[allow(dead_code, reason = "other tests need the rest")]
#[path = "../support/raw_server.rs"]
mod raw_server;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use evertoken::clock::{Clock, SystemClock};
use evertoken::{
    Bare400, Codes, EndpointError, Error, Grant, Issued, OAuth2, RefreshToken, SendWindow,
    TokenEndpoint, TokenManager, TokenPair, async_trait,
};
use flate2::Compression;
use flate2::write::GzEncoder;

use self::cases::{CASES, Case, OTHERS};
use self::raw_server::{RawServer, Step};

impl Case {
    fn answer(&self) -> Step {
        answer(self.status, self.headers, self.body.as_bytes())
    }
}

fn answer(status: u16, headers: &str, body: &[u8]) -> Step {
    let mut answer = format!(
        "HTTP/1.1 {status} x\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    Step::Answer(answer)
}

async fn outcome(step: Step, codes: Codes) -> Result<Issued, EndpointError> {
    let server = RawServer::start([step]).await;
    let endpoint = OAuth2::new(server.url("/token"), "importer").unwrap();
    let outcome = exchanged(&endpoint.codes(codes)).await;
    assert_eq!(server.connections().await, [1]);
    outcome
}

async fn exchanged(endpoint: &impl TokenEndpoint) -> Result<Issued, EndpointError> {
    let token = RefreshToken::new("refresh-token-of-the-test");
    let until = SystemClock.now() + Duration::from_secs(3_600);
    let window = SendWindow::new(Arc::new(SystemClock), until);
    let outcome = endpoint.exchange(Grant::refresh(&token, &window)).await;
    if let Err(error) = &outcome {
        let mut shown = format!("{error:?} {error}");
        let mut next = std::error::Error::source(error);
        while let Some(source) = next {
            shown.push_str(&source.to_string());
            next = source.source();
        }
        assert!(!shown.contains(token.expose()), "{shown}");
    }
    outcome
}

fn told(outcome: &Result<Issued, EndpointError>) -> String {
    let seconds =
        |span: Option<Duration>| span.map_or("-".into(), |it| format!("{} s", it.as_secs()));
    let error = match outcome {
        Ok(issued) => {
            let access = issued.access.as_ref().map_or("-", |it| it.expose());
            let refresh = issued.refresh.as_ref().map_or("-", |it| it.expose());
            let (first, second) = (
                seconds(issued.expires_in),
                seconds(issued.refresh_expires_in),
            );
            return format!("issued {access} {refresh}, {first}, {second}");
        }
        Err(error) => error,
    };
    let code = error.code().unwrap_or("-");
    let status = error.status().unwrap_or_default();
    let mut told = match error {
        EndpointError::Rejected { .. } => format!("dead {code}"),
        EndpointError::UserNeeded { .. } => format!("user {code}"),
        EndpointError::Refused { .. } => format!("client {code}"),
        EndpointError::Later { .. } => "later".to_owned(),
        EndpointError::Page { .. } => format!("page {status}"),
        EndpointError::Unavailable { .. } => format!("unavailable {status}"),
        EndpointError::Unknown { .. } => "unknown".to_owned(),
        other => format!("{other:?}"),
    };
    if let Some(after) = error.retry_after() {
        told.push_str(&format!(" after {} s", after.as_secs()));
    }
    told
}

#[tokio::test]
async fn each_answer_of_the_field_has_the_meaning_of_its_server() {
    for case in CASES {
        let outcome = outcome(case.answer(), Codes::default()).await;
        let Case {
            number,
            source,
            body,
            ..
        } = case;
        assert_eq!(told(&outcome), case.means, "{number} {source}: {body}");
        // The error quotes the server or the page.
        if let Err(error) = outcome {
            assert_eq!(
                error.status(),
                Some(case.status),
                "{number} {source}: {body}"
            );
        }
    }
}

#[tokio::test]
async fn an_answer_of_a_gateway_or_a_page_is_not_the_servers_word() {
    for case in OTHERS {
        let outcome = outcome(case.answer(), Codes::default()).await;
        assert_eq!(told(&outcome), case.means, "{}", case.body);
    }
}

/// A gateway that cut its connection to the server leaves such an answer.
#[tokio::test]
async fn a_bare_400_without_a_length_is_a_page() {
    let codes = || Codes::default().bare_400(Bare400::Dead);
    let cut = "HTTP/1.1 400 x\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n";
    let outcome = outcome(Step::AnswerAndClose(cut.into()), codes()).await;
    assert_eq!(told(&outcome), "page 400");
}

#[tokio::test]
async fn a_redirect_is_quoted_with_its_target() {
    let headers = "Location: https://portal.example.org/login?back=/token\r\n";
    let error = outcome(answer(302, headers, b""), Codes::default())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the token endpoint answered with a page: 302, to https://portal.example.org/login"
    );
}

#[tokio::test]
async fn added_codes_extend_the_table() {
    let dead = Codes::default().dead(["invalid_request", "invalid_token", "10010", "40030"]);
    let rows = [
        (
            400,
            r#"{"error":"invalid_request"}"#,
            dead.clone(),
            "dead invalid_request",
        ),
        (
            401,
            r#"{"error":"invalid_token"}"#,
            dead.clone(),
            "dead invalid_token",
        ),
        // The first version of TikTok, and WeChat.
        (
            200,
            r#"{"data":{"description":"Refresh_token expired","error_code":10010},"message":"error"}"#,
            dead.clone(),
            "dead 10010",
        ),
        (
            200,
            r#"{"errcode":40030,"errmsg":"invalid refresh_token"}"#,
            dead,
            "dead 40030",
        ),
        (
            400,
            "",
            Codes::default().bare_400(Bare400::Dead),
            "dead 400",
        ),
        // Atlassian, Gitea.
        (
            403,
            r#"{"error":"unauthorized_client","error_description":"refresh_token is invalid"}"#,
            Codes::default().dead(["unauthorized_client"]),
            "dead unauthorized_client",
        ),
        // Supabase.
        (
            409,
            r#"{"code":409,"error_code":"conflict","msg":"Too many concurrent token refresh requests"}"#,
            Codes::default().later(["conflict"]),
            "later",
        ),
        (
            400,
            r#"{"error":"invalid_grant","error_description":"AADSTS50076"}"#,
            Codes::default().user(["invalid_grant"]),
            "user invalid_grant",
        ),
        (
            400,
            r#"{"error":"login_required"}"#,
            Codes::default().client(["login_required"]),
            "client login_required",
        ),
    ];
    for (status, body, codes, means) in rows {
        let outcome = outcome(answer(status, "", body.as_bytes()), codes).await;
        assert_eq!(told(&outcome), means, "{body}");
    }
}

#[tokio::test]
async fn a_pair_in_a_compressed_answer_is_issued() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(br#"{"access_token":"a2","refresh_token":"r2","expires_in":60}"#)
        .unwrap();
    let body = encoder.finish().unwrap();
    for headers in ["Content-Encoding: gzip\r\n", ""] {
        let outcome = outcome(answer(200, headers, &body), Codes::default()).await;
        assert_eq!(told(&outcome), "issued a2 r2, 60 s, -");
    }
    let cut = &body[..body.len() / 2];
    let error = outcome(answer(200, "", cut), Codes::default())
        .await
        .unwrap_err();
    assert!(matches!(error, EndpointError::Unknown { .. }), "{error}");
}

/// Such an answer ends with the connection, and a broken connection looks the same.
#[tokio::test]
async fn half_a_token_of_an_answer_without_a_length_counts_as_absent() {
    for (body, means) in [
        (
            "access_token=a2&refresh_token=r2&token_type=bear",
            "issued a2 r2, -, -",
        ),
        ("access_token=a2&refresh_token=r2\n", "issued a2 r2, -, -"),
        ("access_token=a2&expires_in=60&token_type=bearer", ""),
        (
            "access_token=a2&expires_in=60&token_type=bearer\n",
            "issued a2 -, 60 s, -",
        ),
        (
            r#"{"access_token":"a2","expires_in":60}"#,
            "issued a2 -, 60 s, -",
        ),
        (r#"{"access_token":"a2","expires_in":60,"#, ""),
        (
            r#"{"access_token":"a2","refresh_token":"r2","exp"#,
            "issued a2 r2, -, -",
        ),
        ("refresh_token=r2&access_token=a", "issued - r2, -, -"),
        ("access_token=a2&refresh_token=r", ""),
        ("access_token=a2&refresh_to", ""),
    ] {
        let whole = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}");
        let outcome = outcome(Step::AnswerAndClose(whole.into()), Codes::default()).await;
        match (&outcome, means) {
            (Err(EndpointError::Unknown { .. }), "") => {}
            (_, "") => panic!("{body}: {outcome:?}"),
            _ => assert_eq!(told(&outcome), means, "{body}"),
        }
    }
}

/// Field case 11: {"exp":1767229260,"iat":1767229200}, and a `Date` that is decades away.
#[tokio::test]
async fn a_date_that_contradicts_the_times_of_the_token_is_ignored() {
    let body = r#"{"access_token":"e30.eyJleHAiOjE3NjcyMjkyNjAsImlhdCI6MTc2NzIyOTIwMH0.x","refresh_token":"r2"}"#;
    for (date, lifetime) in [
        ("Date: Thu, 01 Jan 1970 00:10:00 GMT\r\n", 60),
        ("Date: Thu, 01 Jan 2026 01:00:10 GMT\r\n", 50),
        ("", 60),
    ] {
        let server = RawServer::start([answer(200, date, body.as_bytes())]).await;
        let endpoint = OAuth2::new(server.url("/token"), "importer").unwrap();
        let first = TokenPair::from_refresh_token("r1");
        let tokens = TokenManager::builder(endpoint).seed(first).build().unwrap();
        tokens.token().await.unwrap();
        let left = tokens.status().access_expires_in.unwrap().as_secs_f64();
        let limits = lifetime as f64 - 30.0..=lifetime as f64;
        assert!(limits.contains(&left), "{date}: {left}");
    }
}

#[tokio::test]
async fn an_answer_that_asks_for_the_user_is_reported_and_not_stored() {
    let needed = r#"{"error":"interaction_required","error_description":"AADSTS50076: use multi-factor authentication"}"#;
    let pair = r#"{"access_token":"a2","refresh_token":"r2","expires_in":60}"#;
    let steps = [needed, pair].map(|body| {
        let status = if body == needed { 400 } else { 200 };
        answer(status, "", body.as_bytes())
    });
    let server = RawServer::start(steps).await;
    let endpoint = OAuth2::new(server.url("/token"), "importer").unwrap();
    let first = TokenPair::from_refresh_token("r1");
    let tokens = TokenManager::builder(endpoint).seed(first).build().unwrap();
    let error = tokens.token().await.unwrap_err();
    assert!(error.needs_sign_in(), "{error:?}");
    let quote = error.endpoint().and_then(EndpointError::quote).unwrap();
    assert_eq!(
        quote.to_string(),
        "interaction_required: AADSTS50076: use multi-factor authentication (400)"
    );
    assert!(matches!(error, Error::Endpoint { .. }), "{error:?}");
    assert!(tokens.status().end.is_none());
}

/// A custom endpoint, as in the documentation.
#[derive(Debug)]
struct Own {
    http: reqwest::Client,
    url: String,
}

#[async_trait]
impl TokenEndpoint for Own {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        let Grant::Refresh { token, .. } = grant else {
            return Err(EndpointError::refused("unsupported_grant_type"));
        };
        let secret = token.expose();
        let request = self.http.post(&self.url).header("x-token", secret);
        let answer = request.send().await.map_err(EndpointError::from_reqwest)?;
        if answer.status() == 299 {
            return Err(EndpointError::from_response(answer, &[secret]).await);
        }
        Issued::from_response(answer, &[secret]).await
    }
}

#[tokio::test]
async fn a_custom_endpoint_judges_answers_as_the_built_in_one() {
    for case in CASES {
        let server = RawServer::start([case.answer()]).await;
        let own = Own {
            http: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
            url: server.url("/token"),
        };
        let outcome = exchanged(&own).await;
        assert_eq!(told(&outcome), case.means, "{}: {}", case.number, case.body);
    }
    let echo =
        r#"{"error":"invalid_request","error_description":"refresh-token-of-the-test is wrong"}"#;
    let odd = r#"{"access_token":"a2"}"#;
    let steps = [
        answer(400, "", echo.as_bytes()),
        answer(299, "", odd.as_bytes()),
    ];
    let server = RawServer::start(steps).await;
    let own = Own {
        http: reqwest::Client::new(),
        url: server.url("/token"),
    };
    let refused = exchanged(&own).await.unwrap_err();
    assert_eq!(refused.code(), Some("invalid_request"));
    assert_eq!(
        refused.description(),
        None,
        "the description repeats the token"
    );
    // A token that was issued and dropped leaves the refresh token in doubt.
    let dropped = exchanged(&own).await.unwrap_err();
    assert!(
        matches!(dropped, EndpointError::Unknown { .. }),
        "{dropped}"
    );
}
