//! What token endpoints of the field answer, byte by byte, and what each answer means. Where a row has a source, the answer
//! is from there; its tokens are replaced.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[allow(dead_code, reason = "other tests need the rest")]
#[path = "support/raw_server.rs"]
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

use self::raw_server::{RawServer, Step};

/// An answer, and what it means.
struct Case {
    /// Of the list of field cases; 0 for one that was found since.
    number: u32,
    /// The server, and where its answer is from.
    source: &'static str,
    status: u16,
    headers: &'static str,
    body: &'static str,
    means: &'static str,
}

const fn case(number: u32, status: u16, body: &'static str, means: &'static str) -> Case {
    Case {
        number,
        source: "",
        status,
        headers: "",
        body,
        means,
    }
}

/// One that was found in a provider's document, source or issue tracker.
const fn found(source: &'static str, status: u16, body: &'static str, means: &'static str) -> Case {
    Case {
        source,
        ..case(0, status, body, means)
    }
}

impl Case {
    const fn with(self, headers: &'static str) -> Self {
        Self { headers, ..self }
    }

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

const PAGE: &str = "<html>blocked</html>";

const CASES: &[Case] = &[
    case(1, 403, PAGE, "page 403").with("Content-Type: text/html\r\n"),
    case(2, 400, r#"{"error":"temporarily_unavailable"}"#, "later"),
    case(2, 200, r#"{"error":"temporarily_unavailable"}"#, "later"),
    case(2, 503, r#"{"error":"temporarily_unavailable"}"#, "later"),
    case(3, 400, r#"{"error":"server_error"}"#, "later"),
    case(
        3,
        400,
        r#"{"error":"unknown_error","error_description":"retry your request"}"#,
        "later",
    ),
    case(3, 403, r#"{"error":"too_many_attempts"}"#, "later"),
    case(
        4,
        400,
        r#"{"message":"Bad Request","errors":[{"resource":"Application","field":"client_id","code":"invalid"}]}"#,
        "page 400",
    ),
    case(5, 503, "", "unavailable 503"),
    case(5, 502, "", "unavailable 502"),
    case(5, 504, PAGE, "unavailable 504"),
    case(
        7,
        400,
        r#"{"error":"invalid_request","error_description":"Refresh token is invalid"}"#,
        "client invalid_request",
    ),
    case(8, 400, r#"{"error":"interaction_required"}"#, "user interaction_required"),
    case(8, 400, r#"{"error":"consent_required"}"#, "user consent_required"),
    case(8, 400, r#"{"error":"login_required"}"#, "user login_required"),
    case(9, 200, r#"{"error":"bad_refresh_token"}"#, "dead bad_refresh_token"),
    case(
        9,
        200,
        "error=bad_refresh_token&error_description=The+refresh+token+passed+is+incorrect",
        "dead bad_refresh_token",
    ),
    case(
        10,
        200,
        r#"{"x_refresh_token_expires_in":8640000,"refresh_token":"r2","access_token":"a2","token_type":"bearer","expires_in":3600}"#,
        "issued a2 r2, 3600 s, 8640000 s",
    ),
    case(
        12,
        200,
        r#"{"access_token":"a2","refresh_token":"r2","instance_url":"https://example.org"}"#,
        "issued a2 r2, -, -",
    ),
    case(
        13,
        200,
        r#"{"access_token":"a2","expires_in":300,"refresh_expires_in":0,"refresh_token":"r2","token_type":"Bearer"}"#,
        "issued a2 r2, 300 s, -",
    ),
    case(
        14,
        200,
        r#"{"access_token":"a2","expires_in":3599,"scope":"x","token_type":"Bearer"}"#,
        "issued a2 -, 3599 s, -",
    ),
    case(
        15,
        400,
        r#"{"error":"invalid_grant","error_description":"token request is already being processed"}"#,
        "dead invalid_grant",
    ),
    case(16, 429, "", "later after 121 s").with("Retry-After: 120.5\r\n"),
    case(16, 503, "", "unavailable 503 after 121 s").with("Retry-After: 120.5\r\n"),
    case(17, 425, "", "later"),
    case(17, 408, "", "unavailable 408"),
    case(18, 400, "", "page 400"),
    found(
        "Slack: slackapi/python-slack-sdk#1242",
        200,
        r#"{"ok":false,"error":"invalid_refresh_token"}"#,
        "dead invalid_refresh_token",
    ),
    found(
        "Slack: oauth.v2.access for a user's token",
        200,
        r#"{"ok":true,"app_id":"A1","authed_user":{"id":"U1","scope":"x","access_token":"a2","token_type":"user","refresh_token":"r2","expires_in":43200}}"#,
        "issued a2 r2, 43200 s, -",
    ),
    found(
        "Zoho: Weble/ZohoBooksApi#84",
        200,
        r#"{"error":"invalid_code"}"#,
        "dead invalid_code",
    ),
    found(
        "HubSpot: HGData/mk-node-hubspot#64",
        400,
        r#"{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token"}"#,
        "dead BAD_REFRESH_TOKEN",
    ),
    found(
        "Strava: dreeveapp/dreeve#1449",
        400,
        r#"{"message":"Bad Request","errors":[{"resource":"RefreshToken","field":"refresh_token","code":"invalid"}]}"#,
        "dead RefreshToken.invalid",
    ),
    found(
        "Fitbit: home-assistant/core#141223",
        400,
        r#"{"errors":[{"errorType":"invalid_grant","message":"Refresh token invalid: r1"}],"success":false}"#,
        "dead invalid_grant",
    ),
    found(
        "OpenAI: openai/codex, auth_tests.rs",
        401,
        r#"{"error":{"message":"already been used","type":"invalid_request_error","param":null,"code":"refresh_token_reused"}}"#,
        "dead refresh_token_reused",
    ),
    found(
        "Supabase: supabase/auth, internal/tokens/service.go",
        400,
        r#"{"code":400,"error_code":"refresh_token_already_used","msg":"Invalid Refresh Token: Already Used"}"#,
        "dead refresh_token_already_used",
    ),
    found(
        "Supabase: supabase/auth, internal/tokens/service.go",
        400,
        r#"{"code":400,"error_code":"refresh_token_not_found","msg":"Invalid Refresh Token: Refresh Token Not Found"}"#,
        "dead refresh_token_not_found",
    ),
    found(
        "Lark: larksuite/cli, lark_errors.go",
        400,
        r#"{"code":20064,"error":"invalid_grant","error_description":"The refresh token has been revoked."}"#,
        "dead invalid_grant",
    ),
    found(
        "Google: google-auth-library-python, _can_retry",
        400,
        r#"{"error":"internal_failure"}"#,
        "later",
    ),
    found(
        "Zoom: JubaerHossain/zoom-laravel#3",
        400,
        r#"{"reason":"Invalid client_id or client_secret","error":"invalid_client"}"#,
        "client invalid_client",
    ),
    found(
        "Apigee: cloud.google.com, OAuth HTTP status code reference",
        401,
        r#"{"ErrorCode":"invalid_request","Error":"Invalid client id : x. ClientId is Invalid"}"#,
        "client invalid_request",
    ),
    found(
        "Twitch: twitchdev/issues#1037, where the token was alive",
        400,
        r#"{"status":400,"message":"Invalid refresh token"}"#,
        "page 400",
    ),
    found(
        "TikTok: NangoHQ/nango, refreshTiktokAccountsToken",
        200,
        r#"{"code":0,"message":"OK","data":{"access_token":"a2","expires_in":86400,"refresh_token":"r2","refresh_token_expires_in":31536000}}"#,
        "issued a2 r2, 86400 s, 31536000 s",
    ),
    found(
        "TikTok for merchants: developers.tiktok.com/doc/obtain-access-token-for-apis, expires_in is a Unix time",
        200,
        r#"{"access_token":"a2","refresh_token":"r2","expires_in":1767232800}"#,
        "issued a2 r2, -, -",
    ),
    found(
        "Withings: vangorra/python_withings_api",
        200,
        r#"{"status":0,"body":{"userid":"7","access_token":"a2","refresh_token":"r2","expires_in":10800,"scope":"user.info","token_type":"Bearer"}}"#,
        "issued a2 r2, 10800 s, -",
    ),
    found(
        "Square: ObtainTokenResponse",
        200,
        r#"{"access_token":"a2","token_type":"bearer","expires_at":"2026-01-01T01:00:00Z","merchant_id":"M","refresh_token":"r2","short_lived":false,"refresh_token_expires_at":"2026-01-31T00:00:00Z"}"#,
        "issued a2 r2, 3600 s, 2592000 s",
    )
    .with("Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"),
    found(
        "Entra, first version: expires_on is text",
        200,
        r#"{"token_type":"Bearer","expires_on":"1767229200","not_before":"1767225600","access_token":"a2","refresh_token":"r2"}"#,
        "issued a2 r2, 3600 s, -",
    )
    .with("Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"),
    found(
        "PHP with display_errors",
        200,
        "<br />\n<b>Notice</b>:  Undefined index: scope in <b>/srv/token.php</b> on line <b>7</b><br />\n{\"access_token\":\"a2\",\"refresh_token\":\"r2\",\"expires_in\":3600}",
        "issued a2 r2, 3600 s, -",
    ),
];

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
async fn each_answer_of_the_field_means_what_its_server_says_with_it() {
    for case in CASES {
        let outcome = outcome(case.answer(), Codes::default()).await;
        let Case {
            number,
            source,
            body,
            ..
        } = case;
        assert_eq!(told(&outcome), case.means, "{number} {source}: {body}");
        // The user learns what the server or the page said.
        if let Err(error) = outcome {
            assert_eq!(
                error.status(),
                Some(case.status),
                "{number} {source}: {body}"
            );
        }
    }
}

/// What stands between a client and its server writes JSON as well, and pages hold tokens of others.
const OTHERS: &[Case] = &[
    case(
        0,
        200,
        r#"<html><script>window.cfg={"accessToken":"pk.eyJ1"}</script></html>"#,
        "unknown",
    ),
    case(
        0,
        200,
        r#"<!DOCTYPE html><script>cfg = {"access_token":"a2","token_type":"bearer","expires_in":60}</script>"#,
        "unknown",
    ),
    case(0, 200, r#"{"config":{"accessToken":"pk.eyJ1"}}"#, "unknown"),
    case(
        0,
        200,
        r#"{"error":"bad_refresh_token","refresh_token":"refresh-token-of-the-test"}"#,
        "dead bad_refresh_token",
    ),
    case(
        0,
        400,
        r#"{"error":"access_denied","cause":{"error":"invalid_grant"}}"#,
        "client access_denied",
    ),
    case(
        0,
        400,
        r#"{"error":"access_denied","data":{"error":"invalid_grant"}}"#,
        "client access_denied",
    ),
    case(
        0,
        400,
        r#"{"message":"upstream","request":{"status":400,"error":"invalid_grant"}}"#,
        "page 400",
    ),
    case(
        0,
        504,
        r#"{"code":"temporarily_unavailable","message":"upstream timed out"}"#,
        "unavailable 504",
    ),
    case(
        0,
        502,
        r#"{"error":{"code":"slow_down"}}"#,
        "unavailable 502",
    ),
    case(0, 403, r#"{"code":"login_required"}"#, "page 403"),
    case(
        0,
        400,
        r#"<p>Notice</p>{"error":"invalid_grant"}"#,
        "page 400",
    ),
    case(
        0,
        200,
        r#"<p>Notice</p>{"error":"invalid_grant"}"#,
        "unknown",
    ),
    // Whole pairs in the wrong company.
    case(
        0,
        200,
        r#"{"error":"success","data":{"access_token":"a2","refresh_token":"r2"}}"#,
        "issued a2 r2, -, -",
    ),
    case(
        0,
        200,
        r#"{"refresh_token":"refresh-token-of-the-test","data":{"access_token":"a2","refresh_token":"r2"}}"#,
        "issued a2 r2, -, -",
    ),
    case(
        0,
        200,
        r#"{"bot":{"access_token":"b"},"user":{"access_token":"a2","refresh_token":"r2"}}"#,
        "issued a2 r2, -, -",
    ),
    case(
        0,
        200,
        r#"{"expires_in":60,"data":[{"access_token":"a2","refresh_token":"r2"}]}"#,
        "issued a2 r2, 60 s, -",
    ),
    case(
        0,
        200,
        r#"{"access_token":"a2","refresh_token":"r2","expires_at":"1767229200000"}"#,
        "issued a2 r2, 3600 s, -",
    )
    .with("Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"),
    case(
        0,
        200,
        r#"{"access_token":"a2","refresh_token":"r2","expires_at":-1,"expires_in":"soon"}"#,
        "issued a2 r2, -, -",
    ),
    case(
        0,
        400,
        r#"{"error_code":"refresh_token_not_found","resource":"/token"}"#,
        "dead refresh_token_not_found",
    ),
];

#[tokio::test]
async fn what_others_say_is_not_taken_for_the_servers_word() {
    for case in OTHERS {
        let outcome = outcome(case.answer(), Codes::default()).await;
        assert_eq!(told(&outcome), case.means, "{}", case.body);
    }
}

/// It looks like one after a gateway that cut its connection to the server.
#[tokio::test]
async fn a_bare_400_that_does_not_say_where_it_ends_is_a_page() {
    let codes = || Codes::default().bare_400(Bare400::Dead);
    let cut = "HTTP/1.1 400 x\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n";
    let outcome = outcome(Step::AnswerAndClose(cut.into()), codes()).await;
    assert_eq!(told(&outcome), "page 400");
}

#[tokio::test]
async fn a_redirect_is_told_with_its_target() {
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
async fn what_only_this_server_means_is_added_to_the_table() {
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
        // TikTok's first version, and WeChat.
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
async fn a_pair_that_came_compressed_is_issued_though_it_was_not_asked_for() {
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

/// It ends where the connection does, and a connection that broke ends as well.
#[tokio::test]
async fn half_a_token_of_an_answer_without_a_length_is_none() {
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

/// Field case 11: {"exp":1767229260,"iat":1767229200}, and a header that is decades away.
#[tokio::test]
async fn a_date_that_contradicts_the_tokens_own_times_is_not_believed() {
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
async fn a_user_who_is_needed_is_asked_for_and_nothing_is_stored() {
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

/// An endpoint of a user's own, as the documentation has it.
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
async fn an_endpoint_of_ones_own_judges_answers_as_the_built_in_one_does() {
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
    assert_eq!(refused.description(), None, "it repeats the token");
    // What was issued and dropped leaves the refresh token in doubt.
    let dropped = exchanged(&own).await.unwrap_err();
    assert!(
        matches!(dropped, EndpointError::Unknown { .. }),
        "{dropped}"
    );
}
