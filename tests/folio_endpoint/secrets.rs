//! No output shows a token, a password or a code.

use evertoken::{Folio, TokenEndpoint, TokenPair};

use crate::exchanges::{answer, chain, refresh, sign_in};
use crate::raw_server::RawServer;
use crate::{eureka, okapi};

const PASSWORD: &str = "pw-S3same/0pen&th3 d00r";
const CODE: &str = "code-S3same/0pen&th3-d00r";
const TOKEN: &str = "rt-S3same.0pen_th3-d00r";

#[tokio::test]
async fn fm40_no_secret_in_any_debug_or_error() {
    let parts = [TOKEN, "Cookie: folioRefreshToken=rt-S3same.0pen_th3"];
    for status in [200, 302, 400, 404, 422, 429, 500] {
        for own in [PASSWORD, CODE] {
            for echo in parts.iter().copied().chain([own]) {
                let body = format!(r#"{{"errors":[{{"message":"{echo}","code":"{echo}"}}]}}"#);
                let steps = (0..4).flat_map(|_| {
                    let as_text = ["Content-Type: text/plain"];
                    [answer(status, &[], &body), answer(status, &as_text, echo)]
                });
                let server = RawServer::start(steps).await;
                let endpoint = match own {
                    CODE => eureka(&server).sign_in_with_code(CODE, "https://folio.example.org"),
                    _ => okapi(&server).sign_in_with_password("ada", PASSWORD),
                };
                let pair = TokenPair::new("a1").refresh_token(TOKEN);
                let errors = [
                    refresh(&endpoint, TOKEN).await.err(),
                    refresh(&endpoint, TOKEN).await.err(),
                    endpoint.revoke(&pair).await.err(),
                    endpoint.revoke(&pair).await.err(),
                    // This request knows no token.
                    match echo == own {
                        true => sign_in(&endpoint).await.err(),
                        false => None,
                    },
                ];
                for error in errors.iter().flatten() {
                    let shown = chain(error);
                    assert!(!shown.contains("S3same"), "{status}: {shown}");
                }
                let shown = format!("{endpoint:?} {:?}", endpoint.key());
                assert!(!shown.contains("S3same"), "{shown}");
            }
        }
    }
}

#[tokio::test]
async fn a_url_with_a_password_is_refused_without_quoting_it() {
    let error = Folio::okapi("https://u:S3same@folio.example.org", "diku").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("S3same"));
}

/// A logout in Eureka carries two tokens. Each of its requests treats both as secrets.
#[tokio::test]
async fn fm40_the_access_token_of_a_logout_is_not_quoted() {
    let echo = "who is at-0f.Its-0wn_w0rds?";
    for first in [400, 401, 422, 500] {
        let server = RawServer::start([first, 422].map(|status| answer(status, &[], echo))).await;
        let pair = TokenPair::new("at-0f.Its-0wn_w0rds").refresh_token(TOKEN);
        let error = eureka(&server).revoke(&pair).await.unwrap_err();
        let shown = chain(&error);
        assert!(!shown.contains("0wn_w0rds"), "{first}: {shown}");
    }
}
