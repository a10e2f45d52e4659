//! The login service of FOLIO.

use evertoken::{AccessToken, ApiProfile, Folio, TokenEndpoint, TokenManager, TokenPair};

use crate::exchanges::sign_in;
use crate::known::*;
use crate::net;
use crate::raw_server::Step;
use crate::wire::{Server, answer, refresh};

fn cookies(access: &str, refresh: &str) -> Step {
    let access = format!("Set-Cookie: folioAccessToken={access}; Max-Age=600");
    let refresh = format!("Set-Cookie: folioRefreshToken={refresh}; Max-Age=604800");
    answer(201, &[&access, &refresh], "{}")
}

/// A refusal that repeats this text.
fn refused(status: u16, echo: &str) -> Step {
    let body = format!(r#"{{"errors":[{{"message":"what is {echo}?","code":"{echo}"}}]}}"#);
    answer(status, &[], &body)
}

pub(crate) async fn okapi() {
    let cookie = format!("Cookie: folioRefreshToken={FOLIO_REFRESH}");
    let server = Server::start([
        cookies(FOLIO_ACCESS, FOLIO_REFRESH),
        refused(422, FOLIO_REFRESH),
        refused(422, FOLIO_PASSWORD),
        answer(500, &[], FOLIO_REFRESH),
        answer(400, &[], &cookie),
        refused(400, FOLIO_REFRESH),
        refused(401, FOLIO_ACCESS),
    ])
    .await;
    let folio = || {
        let folio = Folio::okapi(server.url(""), "diku").unwrap();
        folio.sign_in_with_password("ada", FOLIO_PASSWORD)
    };
    net::debug(&folio());
    let builder = TokenManager::builder(folio()).origin(server.url(""));
    let builder = builder.api(ApiProfile::okapi());
    net::debug(&builder);
    let tokens = builder.build().unwrap();
    let token = tokens.token().await.unwrap();
    assert_eq!(token.expose(), FOLIO_ACCESS);
    net::debug(&tokens.client(reqwest::Client::builder).unwrap());
    net::outcome(tokens.rotate().await);
    net::debug(&tokens.status());
    let pair = TokenPair::new(FOLIO_ACCESS).refresh_token(FOLIO_REFRESH);
    for _ in 0..2 {
        net::outcome(refresh(&folio(), FOLIO_REFRESH).await);
    }
    net::outcome(folio().revoke(&pair).await);
    net::outcome(folio().logout_all(&AccessToken::new(FOLIO_ACCESS)).await);
    net::debug(&tokens.logout().await);
    drop(tokens);
    server.end().await;
}

pub(crate) async fn legacy() {
    let token = format!("x-okapi-token: {FOLIO_LEGACY}");
    let body = format!(r#"{{"okapiToken":"{FOLIO_LEGACY}"}}"#);
    let server = Server::start([
        answer(404, &[], "No suitable module found"),
        answer(201, &[&token], &body),
        answer(404, &[], ""),
        refused(400, FOLIO_PASSWORD),
    ])
    .await;
    let folio = Folio::okapi(server.url(""), "diku").unwrap();
    let folio = folio.sign_in_with_password("ada", FOLIO_PASSWORD);
    let issued = net::outcome(sign_in(&folio).await).unwrap();
    assert_eq!(issued.access, Some(FOLIO_LEGACY.into()));
    assert!(net::outcome(sign_in(&folio).await).is_none());
    assert_eq!(server.end().await.len(), 4);
}

pub(crate) async fn eureka() {
    for status in [400, 401, 422, 500] {
        let echo = format!("{EUREKA_ACCESS} {FOLIO_REFRESH} {FOLIO_CODE}");
        let echoes = (0..6).map(|_| refused(status, &echo));
        let server = Server::start(echoes).await;
        let folio = || {
            let folio = Folio::eureka(server.url(""), "diku").unwrap();
            folio.sign_in_with_code(FOLIO_CODE, "https://folio.example.org")
        };
        net::debug(&folio());
        net::outcome(sign_in(&folio()).await);
        let pair = TokenPair::new(EUREKA_ACCESS).refresh_token(FOLIO_REFRESH);
        net::outcome(folio().revoke(&pair).await);
        net::outcome(sign_in(&folio()).await);
        let requests = server.end().await;
        assert!(requests[0].line().contains("code="), "{status}");
    }
}
