use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use super::*;
use crate::endpoint::reply::Broken;

fn reply(status: u16, body: &str) -> Reply {
    let body = Zeroizing::new(body.into());
    let status = StatusCode::from_u16(status).unwrap();
    Reply::new(status, HeaderMap::new(), body, None, Duration::ZERO)
}

fn shown(error: EndpointError) -> String {
    let words = || {
        let code = error.code().unwrap();
        match error.description() {
            Some(description) => format!("{code}: {description}"),
            None => code.to_owned(),
        }
    };
    let (status, after) = (error.status().unwrap_or(0), error.retry_after());
    match &error {
        EndpointError::NotSent { .. } => "not sent".into(),
        EndpointError::Later { .. } => format!("later: {after:?}"),
        EndpointError::Rejected { .. } => format!("rejected: {}", words()),
        EndpointError::UserNeeded { .. } => format!("user needed: {}", words()),
        EndpointError::Refused { .. } => format!("refused: {}", words()),
        EndpointError::Page { quote } => format!("page {status}: {:?}", quote.start),
        EndpointError::Unavailable { .. } => format!("unavailable {status}: {after:?}"),
        EndpointError::Unknown { source, .. } => format!("unknown: {source}"),
    }
}

fn verdict_with(reply: Reply, codes: &Codes) -> String {
    match exchange(reply, codes, Secrets::default()) {
        Ok(issued) => format!("issued {}", issued.refresh.unwrap().expose()),
        Err(error) => shown(error),
    }
}

fn verdict(reply: Reply) -> String {
    verdict_with(reply, &Codes::default())
}

fn unknown(status: &str) -> String {
    format!("unknown: the answer holds neither a token nor a readable error code: {status}")
}

const DEAD: &str = r#"{"error":"invalid_grant","error_description":"grant request is invalid"}"#;
const CLIENT: &str = r#"{"error":"invalid_client","error_description":"who?"}"#;

fn code(code: &str) -> String {
    format!(r#"{{"error":"{code}"}}"#)
}

#[test]
fn each_answer_has_one_meaning_for_the_token() {
    let rejected = "rejected: invalid_grant: grant request is invalid";
    let refused = "refused: invalid_client: who?";
    let table = [
        (200, r#"{"refresh_token":"r2"}"#, "issued r2"),
        (
            201,
            r#"{"refresh_token":"r2","error":"invalid_grant"}"#,
            "issued r2",
        ),
        (200, DEAD, rejected),
        (
            200,
            "error=bad_refresh_token&error_description=x",
            "rejected: bad_refresh_token: x",
        ),
        (
            200,
            r#"{"error":"bad_refresh_token"}"#,
            "rejected: bad_refresh_token",
        ),
        (200, CLIENT, refused),
        (400, DEAD, rejected),
        (401, DEAD, rejected),
        (403, DEAD, rejected),
        (408, DEAD, rejected),
        (429, DEAD, rejected),
        (400, CLIENT, refused),
        (401, CLIENT, refused),
        (
            400,
            r#"{"error":"invalid_request","error_description":"Refresh token is invalid"}"#,
            "refused: invalid_request: Refresh token is invalid",
        ),
        (400, "", "page 400: None"),
        (400, "<html>", "page 400: Some(\"<html>\")"),
        (
            400,
            r#"{"error":{"code":7}}"#,
            r#"page 400: Some("{\"error\":{\"code\":7}}")"#,
        ),
        (401, "", "page 401: None"),
        (
            403,
            "<html>blocked</html>",
            "page 403: Some(\"<html>blocked</html>\")",
        ),
        (404, "", "page 404: None"),
        (413, "", "page 413: None"),
        (301, r#"{"refresh_token":"r2"}"#, "page 301: None"),
        (302, "", "page 302: None"),
        (
            307,
            "moved  to\r\nthere",
            "page 307: Some(\"moved to there\")",
        ),
        (429, CLIENT, "later: None"),
        (429, "", "later: None"),
        (425, "", "later: None"),
        (408, "", "unavailable 408: None"),
        (408, CLIENT, "unavailable 408: None"),
        (502, "", "unavailable 502: None"),
        (503, "<html>", "unavailable 503: None"),
        (503, CLIENT, "unavailable 503: None"),
        (503, DEAD, "unavailable 503: None"),
        (504, "", "unavailable 504: None"),
    ];
    for (status, body, expected) in table {
        assert_eq!(verdict(reply(status, body)), expected, "{status} {body}");
    }
    for (status, shown, body) in [
        (200, "200", ""),
        (200, "200, \"<html>\"", "<html>"),
        (200, "200", r#"{"access_token":""}"#),
        (204, "204", ""),
        (500, "invalid_grant: grant request is invalid (500)", DEAD),
        (500, "invalid_client: who? (500)", CLIENT),
        (500, "500", r#"{"refresh_token":"r2"}"#),
        (501, "501", ""),
        (599, "599", ""),
        (999, "999", ""),
    ] {
        assert_eq!(verdict(reply(status, body)), unknown(shown), "{status}");
    }
}

#[test]
fn each_code_has_one_meaning_at_each_status() {
    let table = [
        ("temporarily_unavailable", [200, 400, 503, 500], "later"),
        ("slow_down", [400, 403, 500, 504], "later"),
        ("too_many_attempts", [400, 403, 429, 503], "later"),
        ("server_error", [200, 400, 401, 403], "later"),
        ("unknown_error", [200, 400, 401, 403], "later"),
        ("interaction_required", [200, 400, 401, 403], "user needed"),
        ("consent_required", [200, 400, 401, 403], "user needed"),
        ("login_required", [200, 400, 401, 403], "user needed"),
        (
            "account_selection_required",
            [200, 400, 401, 403],
            "user needed",
        ),
        ("invalid_scope", [200, 400, 401, 403], "refused"),
        ("unauthorized_client", [200, 400, 401, 403], "refused"),
        ("something_else", [200, 400, 418, 451], "refused"),
    ];
    for (name, statuses, expected) in table {
        for status in statuses {
            let verdict = verdict(reply(status, &code(name)));
            let (class, _) = verdict.split_once(':').unwrap();
            assert_eq!(class, expected, "{status} {name}");
        }
    }
    for name in ["server_error", "unknown_error", "login_required"] {
        for (status, expected) in [(500, "unknown"), (503, "unavailable 503")] {
            let verdict = verdict(reply(status, &code(name)));
            assert!(verdict.starts_with(expected), "{status} {name}: {verdict}");
        }
    }
}

/// Spring, NestJS and some gateways write the name of the status into `error`.
#[test]
fn the_name_of_the_status_is_not_an_error_code() {
    for (status, name) in [
        (400, "Bad Request"),
        (401, "Unauthorized"),
        (403, "forbidden"),
        (404, "Not Found"),
    ] {
        let verdict = verdict(reply(status, &code(name)));
        assert!(verdict.starts_with("page"), "{verdict}");
    }
    assert_eq!(
        verdict(reply(400, &code("Not Found"))),
        "refused: Not Found"
    );
    let codes = Codes::default().dead(["Bad Request"]);
    assert_eq!(
        verdict_with(reply(400, &code("Bad Request")), &codes),
        "rejected: Bad Request"
    );
}

#[test]
fn added_codes_have_the_meaning_they_were_added_with() {
    let codes = Codes::default()
        .dead(["invalid_request", "token_expired"])
        .later(["quota"])
        .user(["mfa_required"]);
    for (status, name, expected) in [
        (400, "invalid_request", "rejected: invalid_request"),
        (403, "token_expired", "rejected: token_expired"),
        (502, "token_expired", "unavailable 502: None"),
        (403, "quota", "later: None"),
        (500, "quota", "later: None"),
        (403, "mfa_required", "user needed: mfa_required"),
        (400, "invalid_grant", "rejected: invalid_grant"),
        (400, "invalid_client", "refused: invalid_client"),
    ] {
        assert_eq!(
            verdict_with(reply(status, &code(name)), &codes),
            expected,
            "{status} {name}"
        );
    }
}

#[test]
fn a_bare_400_is_a_page_unless_the_codes_call_it_dead() {
    let codes = Codes::default().bare_400(Bare400::Dead);
    assert_eq!(verdict(reply(400, "")), "page 400: None");
    assert_eq!(verdict_with(reply(400, ""), &codes), "rejected: 400");
    assert_eq!(verdict_with(reply(400, " \r\n"), &codes), "rejected: 400");
    for (status, body, expected) in [
        (400, "<html>", "page 400: Some(\"<html>\")"),
        (401, "", "page 401: None"),
        (404, "", "page 404: None"),
        (400, CLIENT, "refused: invalid_client: who?"),
    ] {
        assert_eq!(verdict_with(reply(status, body), &codes), expected);
    }
    let cut = Reply {
        broken: Some(Broken::TooLong { limit: 0 }),
        ..reply(400, "")
    };
    assert_eq!(verdict_with(cut, &codes), "page 400: None");
    let revoked = revocation(reply(400, ""), &codes, Secrets::default());
    assert_eq!(shown(revoked.unwrap_err()), "refused: 400");
}

#[test]
fn n16_light4j_refuses_in_its_own_form() {
    let status = |code: &str| {
        format!(r#"{{"statusCode":404,"code":"{code}","message":"M","severity":"ERROR"}}"#)
    };
    for (http, code, expected) in [
        (404, "ERR12029", "rejected: ERR12029: M"),
        (400, "ERR12028", "refused: ERR12028: M"),
        (401, "ERR12007", "refused: ERR12007: M"),
    ] {
        assert_eq!(verdict(reply(http, &status(code))), expected, "{code}");
    }
    let unclear = verdict(reply(500, &status("ERR12029")));
    assert!(unclear.starts_with("unknown"), "{unclear}");
    // These are not codes of light-4j.
    for (http, code) in [(400, "ERR1"), (400, "invalid"), (404, "invalid")] {
        let page = verdict(reply(http, &status(code)));
        assert!(page.starts_with(&format!("page {http}")), "{page}");
    }
    let both = r#"{"code":"ERR12029","error":"invalid_client"}"#;
    assert_eq!(verdict(reply(404, both)), "refused: invalid_client");
}

#[test]
fn an_answer_that_breaks_off_before_a_refresh_token_keeps_no_old_one() {
    let cut = |body| Reply {
        broken: Some(Broken::TooLong { limit: 65_536 }),
        ..reply(200, body)
    };
    assert_eq!(
        verdict(cut(r#"{"access_token":"a2","refr"#)),
        "unknown: the answer broke off before a refresh token: 200"
    );
    assert_eq!(verdict(cut(r#"{"refresh_token":"r2","acc"#)), "issued r2");
}

#[test]
fn retry_after_is_quoted() {
    for (status, body, expected) in [
        (429, "", "later: Some(7s)"),
        (425, "", "later: Some(7s)"),
        (400, "error=slow_down", "later: Some(7s)"),
        (503, "error=temporarily_unavailable", "later: Some(7s)"),
        (503, "", "unavailable 503: Some(7s)"),
        (502, "", "unavailable 502: Some(7s)"),
        (408, "", "unavailable 408: Some(7s)"),
    ] {
        let mut reply = reply(status, body);
        reply.retry_after = Some(Duration::from_secs(7));
        assert_eq!(verdict(reply), expected, "{status} {body}");
    }
    let mut failed = reply(500, "");
    failed.retry_after = Some(Duration::from_secs(7));
    assert_eq!(verdict(failed), unknown("500"));
}

#[test]
fn a_refusal_that_breaks_off_counts_as_far_as_it_was_read() {
    for (status, body, expected) in [
        (
            400,
            r#"{"error":"invalid_grant","err"#,
            "rejected: invalid_grant",
        ),
        (
            400,
            r#"{"error":"invalid_"#,
            r#"page 400: Some("{\"error\":\"invalid_")"#,
        ),
        (
            400,
            "error=invalid_grant",
            "page 400: Some(\"error=invalid_grant\")",
        ),
        (401, r#"{"err"#, r#"page 401: Some("{\"err")"#),
        (
            200,
            r#"{"err"#,
            "unknown: the answer holds neither a token nor a readable error code: 200",
        ),
    ] {
        let mut reply = reply(status, body);
        reply.broken = Some(Broken::TooLong { limit: 65_536 });
        assert_eq!(verdict(reply), expected, "{status} {body}");
    }
}

#[test]
fn a_page_is_quoted() {
    let page = |content_type: &[u8]| {
        let mut reply = reply(404, "<html>no</html>");
        let value = HeaderValue::from_bytes(content_type).unwrap();
        reply.headers.insert(CONTENT_TYPE, value);
        let mut secrets = Secrets::default();
        secrets.add("sesame-refresh-token");
        exchange(reply, &Codes::default(), secrets).unwrap_err()
    };
    assert_eq!(
        page(b"text/html; charset=utf-8").to_string(),
        r#"the token endpoint answered with a page: 404, text/html; charset=utf-8, "<html>no</html>""#
    );
    for (content_type, told) in [
        (&b"text\thtml"[..], Some("texthtml".to_owned())),
        (&[b'x'; 900], Some("x".repeat(100))),
        (b"text/\xff", None),
        (b"text/html; was=sesame-refresh-token", None),
        (b"", None),
    ] {
        assert_eq!(page(content_type).quote().unwrap().content_type, told);
    }
}

#[test]
fn the_status_replaces_a_code_that_must_not_be_quoted() {
    let mut secrets = Secrets::default();
    secrets.add("sesame-refresh-token");
    let body = r#"{"error":"sesame-refresh-token","error_description":"sesame-refresh-token?"}"#;
    let error = exchange(reply(400, body), &Codes::default(), secrets).unwrap_err();
    assert_eq!(shown(error), "refused: 400");
    let long = code(&"é".repeat(900));
    let error = verdict(reply(400, &long));
    assert_eq!(error, format!("refused: {}", "é".repeat(128)));
}

#[test]
fn only_an_explicit_answer_decides_a_revocation() {
    let revoked = |status, body: &str| match revocation(
        reply(status, body),
        &Codes::default(),
        Secrets::default(),
    ) {
        Ok(()) => "revoked".to_owned(),
        Err(error) => shown(error),
    };
    for (status, body, expected) in [
        (200, "", "revoked"),
        (204, CLIENT, "revoked"),
        (
            400,
            r#"{"error":"unsupported_token_type"}"#,
            "refused: unsupported_token_type",
        ),
        (401, CLIENT, "refused: invalid_client: who?"),
        (
            400,
            DEAD,
            "refused: invalid_grant: grant request is invalid",
        ),
        (400, "error=login_required", "refused: login_required"),
        (400, "", "page 400: None"),
        (404, "", "page 404: None"),
        (302, "", "page 302: None"),
        (429, "", "later: None"),
        (425, "", "later: None"),
        (400, "error=slow_down", "later: None"),
        (503, "error=temporarily_unavailable", "later: None"),
        (408, "", "unavailable 408: None"),
        (502, "", "unavailable 502: None"),
        (503, "", "unavailable 503: None"),
        (504, "", "unavailable 504: None"),
        (
            500,
            CLIENT,
            "unknown: the answer does not report whether the token was revoked: invalid_client: who? (500)",
        ),
    ] {
        assert_eq!(revoked(status, body), expected, "{status} {body}");
    }
}
