//! Decides what an answer means for the token of the request. This module does no I/O and reads no clock.
//!
//! Only FOLIO's own statement counts. Its errors have a known form: JSON with a list of `errors`, each with a `code`. The
//! table lists the programs that answer with each status:
//!
//! | status | with a code | without |
//! |---|---|---|
//! | 400 | mod-login and mod-login-keycloak: no cookie was found, the password does not match. Eureka's sidecar: the tenant is not enabled (yet) | Okapi, as text: no such tenant, a header is missing. Proxies |
//! | 401, 403 | Eureka's sidecar: the caller is not admitted | mod-authtoken, as text: `Invalid token`. Firewalls |
//! | 404 | Eureka's sidecar: there is no such route | Okapi, as text: `No suitable module found`, also while a module is being deployed. Kong: `no Route matched` |
//! | 408 | Eureka's sidecar waited for the module in vain | Proxies |
//! | 422 | mod-login and mod-login-keycloak: the authorization server refuses | - |
//! | 429 | - | Kong |
//! | 500 | mod-login: mod-login did not reach mod-authtoken, or lost its answer. Eureka's sidecar | Okapi |
//! | 502, 503, 504 | Eureka's sidecar, with a `Retry-After`: its own token was refused | Kong, proxies |
//!
//! A **4xx with a code** is a refusal of this client. Either the service found no token to judge, or the sidecar in front
//! of it did not pass the request on; in both cases the token is unspent. A **4xx without a code** is a page: text and HTML
//! come from programs in front of the service, and mean nothing for the token.
//!
//! **A 422 ends the token.** The login service answers so whenever the authorization server behind it does not rotate. The
//! token had expired, was used before or was revoked - or that server failed, which the answer does not distinguish. A 422
//! counts as a refusal in every case, also without a code, because no gateway in front of FOLIO gives that status by itself.
//!
//! With Okapi the token must not be sent again: if it was spent, even by this very request, a second use ends every session
//! of the user. The caution costs one session, which a sign-in replaces. To treat a 422 as unknown would spare no session
//! there, and would hide the end of a session that did end. In Eureka, a failure that is treated as the end costs a session
//! that might have been kept. But to try the token again after each 422 would cost every session that did end minutes of
//! errors before its end is reported. An endpoint that can sign in recovers at once from both.
//!
//! **A 500 leaves the token unknown.** Behind Okapi, mod-login answers so when mod-authtoken consumed the token and the
//! answer of mod-authtoken was lost. A **408, 502, 503 or 504** comes from a program that did not reach the service, or gave
//! up on it.

use http::StatusCode;
use zeroize::Zeroizing;

use super::request::Mode;
use super::{Asked, answer};
use crate::endpoint::json::{Members, Value};
use crate::endpoint::quote::{Quote, Secrets};
use crate::endpoint::reply::Reply;
use crate::endpoint::{EndpointError, Issued};

/// The outcome of an exchange.
pub(in crate::endpoint) fn exchange(
    reply: Reply,
    mode: Mode,
    asked: Asked,
    secrets: &Secrets,
) -> Result<Issued, EndpointError> {
    if reply.status.is_success() {
        let issued = answer::read(&reply, mode, asked);
        if issued.is_empty() {
            // The body may hold an unknown token.
            let quote = Quote::status(reply.status.as_u16());
            return Err(reply.unclear(quote, "the answer sets no token in its cookies"));
        }
        return Ok(issued);
    }
    let complaint = Complaint::read(&reply, secrets);
    if reply.status == StatusCode::UNPROCESSABLE_ENTITY {
        return Err(EndpointError::rejected("").with_quote(Quote {
            code: complaint.code.or_else(|| Some("422".to_owned())),
            description: complaint.message,
            ..Quote::status(422)
        }));
    }
    let missing = "the answer holds neither a token nor a refusal";
    Err(complaint.not_done(reply, secrets, missing))
}

/// The outcome of a logout.
///
/// A 422 decides nothing. The authorization server may have failed; or, in Eureka, the request carried no access token that
/// names the session, and then the session lives on. Another attempt does no harm, and a refusal would prevent it.
pub(in crate::endpoint) fn logout(reply: Reply, secrets: &Secrets) -> Result<(), EndpointError> {
    if reply.status.is_success() {
        return Ok(());
    }
    let missing = "the answer does not report that the session ended";
    let complaint = Complaint::read(&reply, secrets);
    Err(match reply.status {
        StatusCode::UNPROCESSABLE_ENTITY => {
            let quote = complaint.quote(&reply, secrets);
            reply.unclear(quote, missing)
        }
        _ => complaint.not_done(reply, secrets, missing),
    })
}

/// The reason of a refusal: the first error of the list, or a line of text.
#[derive(Default)]
struct Complaint {
    /// The code, or the status if the code must not be quoted.
    code: Option<String>,
    message: Option<String>,
}

impl Complaint {
    /// The quote of the answer: the statement of the service, or else the first words of a page.
    fn quote(self, reply: &Reply, secrets: &Secrets) -> Quote {
        match self.code {
            None => reply.quote(secrets),
            Some(code) => reply.quote_code(code, self.message),
        }
    }

    /// The error of an answer that does not call the token dead.
    fn not_done(self, reply: Reply, secrets: &Secrets, missing: &'static str) -> EndpointError {
        let has_code = self.code.is_some();
        let quote = self.quote(&reply, secrets);
        reply.not_done(None, has_code, quote, missing)
    }

    fn read(reply: &Reply, secrets: &Secrets) -> Self {
        let mut complaint = Self::default();
        let Some(members) = Members::of(&reply.body) else {
            let text = String::from_utf8_lossy(&reply.body);
            // A page is not a statement of FOLIO.
            if !text.trim_start().starts_with(['<', '[']) {
                complaint.message = secrets.redact(&Zeroizing::new(text.into_owned()));
            }
            return complaint;
        };
        let mut errors = members.iter().filter_map(|(name, value)| match value {
            Value::Array(elements) if *name == "errors" => Some(elements),
            _ => None,
        });
        if let Some(Value::Object(error)) = errors.next().and_then(|list| list.iter().next()) {
            for (name, value) in error.iter() {
                let Value::Text(text) = value else { continue };
                match name.as_str() {
                    "code" if !text.trim().is_empty() => {
                        let status = || reply.status.as_str().to_owned();
                        complaint.code = Some(secrets.redact(&text).unwrap_or_else(status));
                    }
                    "message" => complaint.message = secrets.redact(&text),
                    _ => {}
                }
            }
        }
        complaint
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::{RETRY_AFTER, SET_COOKIE};
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::*;
    use crate::endpoint::reply::Broken;

    const UNPROCESSABLE: &str = r#"{"errors":[{"message":"Authorization server unable to process token refresh request","type":"error","code":"token.refresh.unprocessable","parameters":[]}]}"#;
    const PARSE: &str = r#"{"errors":[{"message":"Bad request","type":"error","code":"token.parse.failure"}],"total_records":1}"#;
    const FAILURE: &str = r#"{"errors":[{"message":"Token refresh failed","type":"error","code":"token.refresh.failure"}]}"#;

    const UNAUTHORIZED: &str = r#"{"errors":[{"message":"Unauthorized","type":"UnauthorizedException","code":"authorization_error"}],"total_records":1}"#;
    const ROUTE: &str = r#"{"errors":[{"message":"Route is not found","type":"NotFoundException","code":"route_not_found_error"}],"total_records":1}"#;
    const TENANT: &str = r#"{"errors":[{"message":"Application is not enabled for tenant: diku","type":"TenantNotEnabledException","code":"tenant_not_enabled"}],"total_records":1}"#;
    const TIMEOUT: &str = r#"{"errors":[{"message":"Request Timeout","type":"TimeoutException","code":"read_timeout_error"}],"total_records":1}"#;
    const KONG: &str = r#"{"message":"no Route matched with those values","request_id":"7"}"#;

    fn reply(status: u16, body: &[u8]) -> Reply {
        let body = Zeroizing::new(body.into());
        let status = StatusCode::from_u16(status).unwrap();
        Reply::new(status, HeaderMap::new(), body, None, Duration::ZERO)
    }

    fn refreshed(reply: Reply) -> Result<Issued, EndpointError> {
        exchange(reply, Mode::Okapi, Asked::Refresh, &Secrets::default())
    }

    fn class(error: &EndpointError) -> &'static str {
        match error {
            EndpointError::NotSent { .. } => "not sent",
            EndpointError::Later { .. } => "later",
            EndpointError::Rejected { .. } => "rejected",
            EndpointError::UserNeeded { .. } => "user needed",
            EndpointError::Refused { .. } => "refused",
            EndpointError::Page { .. } => "page",
            EndpointError::Unavailable { .. } => "unavailable",
            EndpointError::Unknown { .. } => "unknown",
        }
    }

    #[test]
    fn each_answer_has_one_meaning_for_the_token() {
        for (status, body, expected) in [
            (422, UNPROCESSABLE, "rejected"),
            (422, "", "rejected"),
            (422, "<html>", "rejected"),
            (400, PARSE, "refused"),
            (400, TENANT, "refused"),
            (400, "Unable to process request: tenant", "page"),
            (400, "<html>", "page"),
            (400, "", "page"),
            (401, UNAUTHORIZED, "refused"),
            (401, "Invalid token", "page"),
            (401, "", "page"),
            (403, UNAUTHORIZED, "refused"),
            (403, "<html>", "page"),
            (404, ROUTE, "refused"),
            (404, "No suitable module found", "page"),
            (404, KONG, "page"),
            (408, TIMEOUT, "unavailable"),
            (408, "", "unavailable"),
            (413, "", "page"),
            (425, "", "later"),
            (429, KONG, "later"),
            (500, FAILURE, "unknown"),
            (500, "", "unknown"),
            (501, "", "unknown"),
            (502, UNPROCESSABLE, "unavailable"),
            (503, "", "unavailable"),
            (503, KONG, "unavailable"),
            (504, "", "unavailable"),
            (301, "", "page"),
            (307, PARSE, "page"),
            (200, "", "unknown"),
            (
                201,
                r#"{"accessTokenExpiration":"2024-10-24T14:33:28Z"}"#,
                "unknown",
            ),
            (204, "", "unknown"),
        ] {
            let error = refreshed(reply(status, body.as_bytes())).unwrap_err();
            assert_eq!(class(&error), expected, "{status} {body}");
        }
    }

    #[test]
    fn q9_a_refusal_carries_message_and_code() {
        let error = refreshed(reply(422, UNPROCESSABLE.as_bytes())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the token endpoint rejected the grant: token.refresh.unprocessable: Authorization server unable to process token refresh request (422)"
        );
        let error = refreshed(reply(400, PARSE.as_bytes())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the token endpoint refuses this client: token.parse.failure: Bad request (400)"
        );
        let error = refreshed(reply(500, FAILURE.as_bytes())).unwrap_err();
        let EndpointError::Unknown { source, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(
            source.to_string(),
            "the answer holds neither a token nor a refusal: token.refresh.failure: Token refresh failed (500)"
        );
    }

    #[test]
    fn q9_a_refusal_with_an_unreadable_body_is_a_refusal() {
        for body in [
            &b""[..],
            b"{}",
            b"<html>",
            b"[]",
            br#"{"errors":[]}"#,
            br#"{"errors":[7]}"#,
            br#"{"errors":{"code":"x"}}"#,
            br#"{"errors":[{"code":7,"message":null}]}"#,
            br#"{"errors":[{"code":"tok"#,
            br#"{"errors":[x"]"]}"#,
            br#"{"errors":[x"]",]"#,
        ] {
            let error = refreshed(reply(422, body)).unwrap_err();
            assert_eq!(
                error.to_string(),
                "the token endpoint rejected the grant: 422"
            );
        }
        let error = refreshed(reply(422, b"no\xff way")).unwrap_err();
        assert!(error.to_string().contains("no\u{fffd} way"));
    }

    #[test]
    fn i8_the_wait_that_a_gateway_asks_for_is_kept() {
        let after = |status| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            let read = Reply::new(status, headers, Zeroizing::default(), None, Duration::ZERO);
            let error = refreshed(read).unwrap_err();
            (class(&error), error.retry_after())
        };
        let second = Some(Duration::from_secs(1));
        assert_eq!(after(StatusCode::TOO_MANY_REQUESTS), ("later", second));
        assert_eq!(
            after(StatusCode::SERVICE_UNAVAILABLE),
            ("unavailable", second)
        );
        assert_eq!(
            after(StatusCode::INTERNAL_SERVER_ERROR),
            ("unknown", second)
        );
    }

    #[test]
    fn a_page_is_quoted() {
        let error = refreshed(reply(
            404,
            b"No suitable module\nfound for path /authn/refresh",
        ));
        assert_eq!(
            error.unwrap_err().to_string(),
            r#"the token endpoint answered with a page: 404, "No suitable module found for path /authn/refresh""#
        );
    }

    #[test]
    fn only_an_explicit_answer_decides_a_logout() {
        for (status, body, expected) in [
            (204, "", "done"),
            (200, "", "done"),
            (422, UNPROCESSABLE, "unknown"),
            (400, PARSE, "refused"),
            (401, UNAUTHORIZED, "refused"),
            (401, "Invalid token", "page"),
            (404, "No suitable module found", "page"),
            (302, "", "page"),
            (429, "", "later"),
            (408, "", "unavailable"),
            (503, "", "unavailable"),
            (500, FAILURE, "unknown"),
        ] {
            let ended = logout(reply(status, body.as_bytes()), &Secrets::default());
            let shown = ended.as_ref().map_or_else(class, |()| "done");
            assert_eq!(shown, expected, "{status} {body}");
        }
    }

    #[test]
    fn tokens_are_kept_whatever_the_body_holds() {
        let mut cut = reply(201, br#"{"accessTokenExp"#);
        let cookie = HeaderValue::from_static("folioRefreshToken=r2; Max-Age=60");
        cut.headers.append(SET_COOKIE, cookie);
        cut.broken = Some(Broken::TooLong { limit: 65_536 });
        let issued = refreshed(cut).unwrap();
        assert_eq!(issued.refresh, Some("r2".into()));
    }

    #[test]
    fn no_secret_is_quoted() {
        let mut secrets = Secrets::default();
        secrets.add("sesame-refresh-token");
        for body in [
            "cannot read folioRefreshToken=sesame-refresh-token",
            r#"{"errors":[{"code":"sesame-refresh-token","message":"sesame-refresh-token?"}]}"#,
        ] {
            for status in [400, 422, 500] {
                let reply = reply(status, body.as_bytes());
                let outcome = exchange(reply, Mode::Eureka, Asked::Refresh, &secrets);
                let shown = format!("{:?}", outcome.unwrap_err());
                assert!(!shown.contains("sesame"), "{shown}");
            }
        }
        // An unreadable success is not quoted at all.
        let odd = refreshed(reply(200, br#"token: unknown-to-us"#)).unwrap_err();
        assert!(!format!("{odd:?}").contains("unknown-to-us"));
    }

    proptest! {
        #[test]
        fn q9_no_answer_makes_the_judge_panic(
            status in 100_u16..1000,
            body: Vec<u8>,
            odd in r#"(\{|\}|\[|\]|:|,|"|"errors":|"code":|"message":|9|a){0,30}"#,
        ) {
            for body in [body.as_slice(), odd.as_bytes()] {
                let _ = refreshed(reply(status, body));
                let _ = logout(reply(status, body), &Secrets::default());
            }
        }
    }
}
