//! The outcome of an answer: a pair, or an error that quotes the server.

use std::time::Duration;

use evertoken::{Bare400, Codes, TokenEndpoint, TokenPair};
use tokio::time::timeout;

use crate::exchanges::{answer, chain, class, refresh};
use crate::raw_server::{RawServer, Step, ok};
use crate::{SOON, answers_to, exchange, public, refresh_token};

#[tokio::test]
async fn an_issued_pair_comes_with_the_servers_time() {
    let answer = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 64\r\n\r\n\
        {\"access_token\":\"a2\",\"expires_in\":\"60\",\"refresh_token\":\"r2\"    }";
    let issued = exchange(Step::Answer(answer.into())).await.unwrap();
    assert_eq!(issued.access, Some("a2".into()));
    assert_eq!(issued.refresh, Some("r2".into()));
    assert_eq!(issued.expires_in, Some(Duration::from_secs(60)));
    assert_eq!(issued.server_time, Some(Duration::from_secs(784_111_777)));
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
    let outcomes = answers_to(bodies.iter().map(|body| Step::Answer(ok(body)))).await;
    for (body, outcome) in bodies.iter().zip(outcomes) {
        assert_eq!(refresh_token(outcome).as_deref(), Some("r2"), "{body}");
    }
    let latin1 = b"HTTP/1.1 200 OK\r\nContent-Length: 43\r\n\r\n\
        {\"account\":\"J\xfcrgen\",  \"refresh_token\":\"r2\"}";
    let outcome = exchange(Step::Answer(latin1.to_vec())).await;
    assert_eq!(refresh_token(outcome).as_deref(), Some("r2"));
}

#[tokio::test]
async fn fm29_a_refresh_token_is_kept_despite_odd_headers() {
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
    for (head, outcome) in heads.iter().zip(answers_to(answers).await) {
        assert_eq!(refresh_token(outcome).as_deref(), Some("r2"), "{head}");
    }
    let name = "Transfer-Encoding";
    let codings = [format!("{name} : chunked"), format!("{name}:\r\n chunked")];
    let answers = codings.each_ref().map(|coding| {
        let chunks = "7\r\n{\"refre\r\nF\r\nsh_token\":\"r2\"}\r\n0\r\n\r\n";
        Step::AnswerAndClose(format!("HTTP/1.1 200 OK\r\n{coding}\r\n\r\n{chunks}").into())
    });
    for (coding, outcome) in codings.iter().zip(answers_to(answers).await) {
        assert_eq!(refresh_token(outcome).as_deref(), Some("r2"), "{coding}");
    }
}

#[tokio::test]
async fn fm29_a_refresh_token_of_an_answer_that_breaks_off_is_kept() {
    let breaks = [
        "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"refresh_token\":\"r2\",\"acc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            16\r\n{\"refresh_token\":\"r2\"}\r\n500\r\nmore",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            16\r\n{\"refresh_token\":\"r2\"}\r\nno chunk\r\n",
    ];
    let steps = breaks.map(|answer| Step::AnswerAndClose(answer.into()));
    for (answer, outcome) in breaks.iter().zip(answers_to(steps).await) {
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
    for (part, outcome) in parts.iter().zip(answers_to(steps).await) {
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
async fn a_body_is_read_up_to_64_kib() {
    let padding = "x".repeat(64 * 1024);
    let mut whole = format!("padding={padding}");
    let last = "&refresh_token=r2";
    whole.replace_range(64 * 1024 - last.len().., last);
    let outcome = exchange(Step::Answer(ok(&whole))).await;
    assert_eq!(refresh_token(outcome).as_deref(), Some("r2"));
    let bodies = [
        format!("{{\"padding\":\"{padding}\",\"refresh_token\":\"r2\"}}"),
        // The body is complete, but longer than the part that is read.
        format!("padding={}&refresh_token=r2345", &padding[26..]),
    ];
    let steps = bodies.iter().map(|body| Step::Answer(ok(body)));
    for (body, outcome) in bodies.iter().zip(answers_to(steps).await) {
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
        "400 No",
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
    for said in ["refuses this client: bad", "with a page: 401"] {
        assert!(printed.contains(said), "{printed}");
    }
    for secret in ["S3same", "the+d00r", "the d00r", "ZSt0aGUr"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

#[tokio::test]
async fn q9_a_refusal_carries_code_and_message_and_an_unreadable_one_is_an_error() {
    let refused = async |body: &str| exchange(answer(400, &[], body)).await;
    let dead = r#"{"error":"invalid_grant","error_description":"the session is over"}"#;
    let said = "the token endpoint rejected the grant: invalid_grant: the session is over (400)";
    assert_eq!(refused(dead).await.unwrap_err().to_string(), said);
    let client = refused(r#"{"error":"invalid_client","error_description":"who?"}"#).await;
    let client = client.unwrap_err().to_string();
    assert!(client.contains("invalid_client"), "{client}");
    assert!(client.contains("who?"), "{client}");
    let html = "<html>Bad Request</html>";
    for odd in ["", html, "{", "null", "[1,2", "\u{0}\u{1}", "\"\\ud800\""] {
        assert_eq!(class(refused(odd).await), "page", "{odd}");
    }
}

#[tokio::test]
async fn only_an_explicit_answer_decides_about_a_token() {
    let html = "Content-Type: text/html";
    let json = "Content-Type: application/json";
    let fields = r#"{"message":"Bad Request","errors":[{"field":"client_id","code":"invalid"}]}"#;
    let error = |code: &str| format!(r#"{{"error":"{code}"}}"#);
    let text = str::to_owned;
    let table = [
        (403, html, text("<html>blocked</html>"), "page"),
        (400, html, text("<html>no</html>"), "page"),
        (400, "", text(""), "page"),
        (401, html, text("<html>no</html>"), "page"),
        (404, html, text(""), "page"),
        (404, json, error("Not Found"), "page"),
        (413, html, text(""), "page"),
        (301, "Location: /elsewhere", text(""), "page"),
        (400, json, text(fields), "page"),
        (408, "", text(""), "unavailable"),
        (502, html, text("<html>"), "unavailable"),
        (503, "", text(""), "unavailable"),
        (504, html, text("<html>"), "unavailable"),
        (500, html, text("<html>"), "unknown"),
        (200, html, text("<html>sign in</html>"), "unknown"),
        (503, json, error("temporarily_unavailable"), "later"),
        (200, json, error("temporarily_unavailable"), "later"),
        (400, json, error("server_error"), "later"),
        (403, json, error("too_many_attempts"), "later"),
        (425, "", text(""), "later"),
        (429, html, text("<html>"), "later"),
        (400, json, error("interaction_required"), "user needed"),
        (200, json, error("bad_refresh_token"), "rejected"),
        (200, "", text("error=bad_refresh_token"), "rejected"),
        (400, json, error("invalid_request"), "refused"),
    ];
    let steps = table.each_ref().map(|(status, header, body, _)| {
        let header = Some(*header).filter(|header| !header.is_empty());
        answer(*status, header.as_slice(), body)
    });
    for ((status, _, body, expected), outcome) in table.iter().zip(answers_to(steps).await) {
        assert_eq!(class(outcome), *expected, "{status} {body}");
    }
}

#[tokio::test]
async fn a_page_is_quoted_by_status_type_and_first_words() {
    let body = "<!DOCTYPE html>\n<html>\n <title>Blocked</title>";
    let headers = ["Content-Type: text/html; charset=utf-8"];
    let error = exchange(answer(403, &headers, body)).await;
    let page = r#"403, text/html; charset=utf-8, "<!DOCTYPE html> <html> <title>Blocked</title>""#;
    let said = format!("the token endpoint answered with a page: {page}");
    assert_eq!(error.unwrap_err().to_string(), said);
}

#[tokio::test]
async fn added_codes_set_the_meaning_of_a_servers_own_codes() {
    let refusal = |code: &str| answer(400, &[], format!(r#"{{"error":"{code}"}}"#));
    let codes = ["invalid_request", "quota", "mfa_required", "invalid_scope"];
    let bare = answer(400, &[], "");
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
async fn a_retry_after_date_is_measured_by_the_servers_clock() {
    let answer = "HTTP/1.1 503 Busy\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
        Retry-After: Sun, 06 Nov 1994 08:49:44 GMT\r\nContent-Length: 0\r\n\r\n";
    let error = exchange(Step::Answer(answer.into())).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}
