//! Answers of real token endpoints, byte by byte, and the meaning of each. The answer of a row with a source comes from that
//! source, with other tokens.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod cases;
#[path = "../support/exchanges.rs"]
mod exchanges;
#[allow(dead_code, reason = "other tests need the rest")]
#[path = "../support/raw_server.rs"]
mod raw_server;

use std::io::Write as _;
use std::time::Duration;

use evertoken::{
    Bare400, Codes, EndpointError, Error, Grant, Issued, OAuth2, TokenEndpoint, TokenManager,
    TokenPair, async_trait,
};
use flate2::Compression;
use flate2::write::GzEncoder;

use self::cases::{CASES, Case, OTHERS};
use self::exchanges::{answer, chain, refresh};
use self::raw_server::{RawServer, Step};

/// The refresh token of each exchange.
const TOKEN: &str = "refresh-token-of-the-test";

impl Case {
    fn answer(&self) -> Step {
        answer(self.status, self.headers, self.body)
    }
}

async fn outcome(step: Step, codes: Codes) -> Result<Issued, EndpointError> {
    let server = RawServer::start([step]).await;
    let endpoint = OAuth2::new(server.url("/token"), "importer").unwrap();
    let outcome = exchanged(&endpoint.codes(codes)).await;
    assert_eq!(server.connections().await, [1]);
    outcome
}

async fn exchanged(endpoint: &impl TokenEndpoint) -> Result<Issued, EndpointError> {
    let outcome = refresh(endpoint, TOKEN).await;
    if let Err(error) = &outcome {
        let shown = chain(error);
        assert!(!shown.contains(TOKEN), "{shown}");
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
            let first = seconds(issued.expires_in);
            let second = seconds(issued.refresh_expires_in);
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
        let name = format!("{} {}: {}", case.number, case.source, case.body);
        assert_eq!(told(&outcome), case.means, "{name}");
        // The error quotes the server or the page.
        if let Err(error) = outcome {
            assert_eq!(error.status(), Some(case.status), "{name}");
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
    let headers = ["Location: https://portal.example.org/login?back=/token"];
    let outcome = outcome(answer(302, &headers, ""), Codes::default()).await;
    let said = "the token endpoint answered with a page: 302, to https://portal.example.org/login";
    assert_eq!(outcome.unwrap_err().to_string(), said);
}

#[tokio::test]
async fn added_codes_extend_the_table() {
    let codes = Codes::default;
    let dead = codes().dead(["invalid_request", "invalid_token", "10010", "40030"]);
    let tiktok =
        r#"{"data":{"description":"Refresh_token expired","error_code":10010},"message":"error"}"#;
    let wechat = r#"{"errcode":40030,"errmsg":"invalid refresh_token"}"#;
    let invalid_request = r#"{"error":"invalid_request"}"#;
    let rows = [
        (400, invalid_request, dead.clone(), "dead invalid_request"),
        (
            401,
            r#"{"error":"invalid_token"}"#,
            dead.clone(),
            "dead invalid_token",
        ),
        // The first version of TikTok, and WeChat.
        (200, tiktok, dead.clone(), "dead 10010"),
        (200, wechat, dead, "dead 40030"),
        (400, "", codes().bare_400(Bare400::Dead), "dead 400"),
        // Atlassian, Gitea.
        (
            403,
            r#"{"error":"unauthorized_client","error_description":"refresh_token is invalid"}"#,
            codes().dead(["unauthorized_client"]),
            "dead unauthorized_client",
        ),
        // Supabase.
        (
            409,
            r#"{"code":409,"error_code":"conflict","msg":"Too many concurrent token refresh requests"}"#,
            codes().later(["conflict"]),
            "later",
        ),
        (
            400,
            r#"{"error":"invalid_grant","error_description":"AADSTS50076"}"#,
            codes().user(["invalid_grant"]),
            "user invalid_grant",
        ),
        (
            400,
            r#"{"error":"login_required"}"#,
            codes().client(["login_required"]),
            "client login_required",
        ),
    ];
    for (status, body, codes, means) in rows {
        let outcome = outcome(answer(status, &[], body), codes).await;
        assert_eq!(told(&outcome), means, "{body}");
    }
}

#[tokio::test]
async fn a_pair_in_a_compressed_answer_is_issued() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let pair = br#"{"access_token":"a2","refresh_token":"r2","expires_in":60}"#;
    encoder.write_all(pair).unwrap();
    let body = encoder.finish().unwrap();
    for headers in [&["Content-Encoding: gzip"][..], &[]] {
        let outcome = outcome(answer(200, headers, &body), Codes::default()).await;
        assert_eq!(told(&outcome), "issued a2 r2, 60 s, -");
    }
    let cut = &body[..body.len() / 2];
    let outcome = outcome(answer(200, &[], cut), Codes::default()).await;
    assert_eq!(told(&outcome), "unknown");
}

/// Such an answer ends with the connection, and a broken connection looks the same.
#[tokio::test]
async fn half_a_token_of_an_answer_without_a_length_counts_as_absent() {
    let (pair, access) = ("issued a2 r2, -, -", "issued a2 -, 60 s, -");
    for (means, body) in [
        (pair, "access_token=a2&refresh_token=r2&token_type=bear"),
        (pair, "access_token=a2&refresh_token=r2\n"),
        ("unknown", "access_token=a2&expires_in=60&token_type=bearer"),
        (access, "access_token=a2&expires_in=60&token_type=bearer\n"),
        (access, r#"{"access_token":"a2","expires_in":60}"#),
        ("unknown", r#"{"access_token":"a2","expires_in":60,"#),
        (pair, r#"{"access_token":"a2","refresh_token":"r2","exp"#),
        ("issued - r2, -, -", "refresh_token=r2&access_token=a"),
        ("unknown", "access_token=a2&refresh_token=r"),
        ("unknown", "access_token=a2&refresh_to"),
    ] {
        let whole = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}");
        let outcome = outcome(Step::AnswerAndClose(whole.into()), Codes::default()).await;
        assert_eq!(told(&outcome), means, "{body}");
    }
}

fn manager(server: &RawServer) -> TokenManager {
    let endpoint = OAuth2::new(server.url("/token"), "importer").unwrap();
    let first = TokenPair::from_refresh_token("r1");
    TokenManager::builder(endpoint).seed(first).build().unwrap()
}

/// Field case 11: {"exp":1767229260,"iat":1767229200}, and a `Date` that is decades away.
#[tokio::test]
async fn a_date_that_contradicts_the_times_of_the_token_is_ignored() {
    let body = r#"{"access_token":"e30.eyJleHAiOjE3NjcyMjkyNjAsImlhdCI6MTc2NzIyOTIwMH0.x","refresh_token":"r2"}"#;
    for (date, lifetime) in [
        (Some("Date: Thu, 01 Jan 1970 00:10:00 GMT"), 60),
        (Some("Date: Thu, 01 Jan 2026 01:00:10 GMT"), 50),
        (None, 60),
    ] {
        let server = RawServer::start([answer(200, date.as_slice(), body)]).await;
        let tokens = manager(&server);
        tokens.token().await.unwrap();
        let left = tokens.status().access_expires_in.unwrap().as_secs_f64();
        let limits = lifetime as f64 - 30.0..=lifetime as f64;
        assert!(limits.contains(&left), "{date:?}: {left}");
    }
}

#[tokio::test]
async fn an_answer_that_asks_for_the_user_is_reported_and_not_stored() {
    let needed = r#"{"error":"interaction_required","error_description":"AADSTS50076: use multi-factor authentication"}"#;
    let pair = r#"{"access_token":"a2","refresh_token":"r2","expires_in":60}"#;
    let steps = [needed, pair].map(|body| {
        let status = if body == needed { 400 } else { 200 };
        answer(status, &[], body)
    });
    let server = RawServer::start(steps).await;
    let tokens = manager(&server);
    let error = tokens.token().await.unwrap_err();
    assert!(error.needs_sign_in(), "{error:?}");
    let quote = error.endpoint().and_then(EndpointError::quote).unwrap();
    let said = "interaction_required: AADSTS50076: use multi-factor authentication (400)";
    assert_eq!(quote.to_string(), said);
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
    let redirect = reqwest::redirect::Policy::none();
    let http = reqwest::Client::builder()
        .redirect(redirect)
        .build()
        .unwrap();
    let own = |server: &RawServer| {
        let (http, url) = (http.clone(), server.url("/token"));
        Own { http, url }
    };
    for case in CASES {
        let server = RawServer::start([case.answer()]).await;
        let outcome = exchanged(&own(&server)).await;
        assert_eq!(told(&outcome), case.means, "{}: {}", case.number, case.body);
    }
    let echo = format!(r#"{{"error":"invalid_request","error_description":"{TOKEN} is wrong"}}"#);
    let odd = r#"{"access_token":"a2"}"#;
    let server = RawServer::start([answer(400, &[], echo), answer(299, &[], odd)]).await;
    let refused = exchanged(&own(&server)).await.unwrap_err();
    assert_eq!(refused.code(), Some("invalid_request"));
    let description = refused.description();
    assert_eq!(description, None, "the description repeats the token");
    // A token that was issued and dropped leaves the refresh token in doubt.
    assert_eq!(told(&exchanged(&own(&server)).await), "unknown");
}
