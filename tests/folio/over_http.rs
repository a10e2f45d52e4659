//! FOLIO over HTTP: sign-in, an API behind the gateway, and each place for a token.

use std::time::Duration;

use evertoken::testing::{Answer, Fault, FolioServer};
use evertoken::{
    ApiProfile, Builder, EndpointError, Folio, OnRequest, TokenEndpoint, TokenManager, TokenPair,
};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use reqwest::Client;

type Change = fn(Builder) -> Builder;

const CHANNELS: [(&str, Change); 3] = [
    ("x-okapi-token", |builder| builder),
    ("authorization", |builder| builder.header(AUTHORIZATION)),
    ("folioAccessToken", |it| it.cookie("folioAccessToken")),
];

fn tenant() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("x-okapi-tenant", "diku".parse().unwrap());
    headers
}

/// A record arrives over each channel, and each request carries one token in one place.
#[tokio::test]
async fn a5_a_request_through_each_channel_carries_one_token() {
    for is_eureka in [false, true] {
        let folio = match is_eureka {
            false => FolioServer::okapi().okapi_path("/okapi").build(),
            true => FolioServer::eureka().build(),
        };
        let http = folio.listen().await.unwrap();
        for (channel, change) in CHANNELS {
            let (endpoint, api) = match is_eureka {
                false => (Folio::okapi(http.url(), "diku"), ApiProfile::okapi()),
                true => (Folio::eureka(http.url(), "diku"), ApiProfile::eureka()),
            };
            let endpoint = endpoint.unwrap();
            let endpoint = endpoint.sign_in_with_password("diku_admin", "admin");
            let builder = TokenManager::builder(endpoint).strategy(OnRequest::default());
            let builder = builder.origin(http.origin()).api(api);
            let tokens = change(builder).build().unwrap();
            let client = tokens.client(|| Client::builder().default_headers(tenant()));
            let client = client.unwrap();
            let record = client.http().post(format!("{}/records", http.url()));
            let response = client.send(record.body("record\x1d")).await.unwrap();
            assert_eq!(response.status(), 200, "{channel}");
            assert_eq!(folio.seen().last().unwrap().carried, [channel]);
            tokens.rotate().await.unwrap();
            assert_eq!(folio.seen().last().unwrap().carried, ["folioRefreshToken"]);
            assert!(tokens.logout().await.is_complete());
            // The login service takes the cookie, whatever the channel of the API.
            let carried = folio.seen().last().unwrap().carried.clone();
            let expected = ["x-okapi-token", "folioRefreshToken"];
            assert_eq!(carried, expected[usize::from(!is_eureka)..]);
        }
        let counters = folio.counters();
        assert_eq!((counters.records, counters.unauthorized), (3, 0));
        assert_eq!((counters.logouts, counters.logout_alls), (3, 0));
    }
}

/// A token that the gateway reports as missing is replaced, and the record sent once more.
#[tokio::test]
async fn q6_a_missing_token_is_replaced_and_the_record_is_sent_once_more() {
    let folio = FolioServer::okapi().build();
    let http = folio.listen().await.unwrap();
    // The token is not fresh: the manager would ignore the rejection of a fresh token.
    let seed = folio.issue("diku", "diku_admin").unwrap();
    let tokens = TokenManager::builder(Folio::okapi(http.url(), "diku").unwrap())
        .seed(seed)
        .origin(http.origin())
        .api(ApiProfile::okapi())
        .build()
        .unwrap();
    let client = tokens.client(|| Client::builder().default_headers(tenant()));
    let client = client.unwrap();
    let missing = "Token missing, access requires permission: records.post";
    let answer = Answer::status(400).header("content-type", "text/plain");
    folio.answer_next(answer.body(missing));
    let record = client.http().post(format!("{}/records", http.url()));
    let response = client.send(record.body("record\x1d")).await.unwrap();
    assert_eq!(response.status(), 200);
    let counters = folio.counters();
    assert_eq!((counters.refreshes, counters.replays), (1, 0));
    assert_eq!((counters.calls, counters.records), (2, 1));
}

/// Tokenless paths are called without a session, also by a manager that cannot get one.
#[tokio::test]
async fn q12_tokenless_paths_are_called_without_a_session() {
    let folio = FolioServer::okapi().build();
    let http = folio.listen().await.unwrap();
    let endpoint = Folio::okapi(http.url(), "diku").unwrap();
    let tokens = TokenManager::builder(endpoint)
        .origin(http.origin())
        .api(ApiProfile::okapi())
        .build()
        .unwrap();
    let client = Client::builder().default_headers(tenant()).build().unwrap();
    for path in ["/saml/check", "/bl-users/forgotten/password"] {
        let request = client.get(format!("{}{path}", http.url()));
        assert_eq!(tokens.send(request).await.unwrap().status(), 200);
    }
    let login = client.post(format!("{}/authn/login-with-expiry", http.url()));
    let login = login.body(r#"{"username":"diku_admin","password":"admin"}"#);
    assert_eq!(tokens.send(login).await.unwrap().status(), 201);
    assert!(folio.seen().iter().all(|seen| seen.carried.is_empty()));
}

#[tokio::test]
async fn both_requests_of_a_logout_in_eureka_share_one_timeout() {
    let folio = FolioServer::eureka().build();
    let http = folio.listen().await.unwrap();
    let endpoint = Folio::eureka(http.url(), "diku").unwrap();
    let endpoint = endpoint.timeout(Duration::from_millis(600));
    let pair = folio.issue("diku", "diku_admin").unwrap();
    let pair = TokenPair::new("unknown").refresh_token(pair.refresh.unwrap());
    // Each of the two requests alone would be in time.
    for _ in 0..2 {
        folio.fail_next(Fault::Delay(Duration::from_millis(400)));
    }
    let error = endpoint.revoke(&pair).await.unwrap_err();
    let EndpointError::Unknown { source, .. } = error else {
        panic!("{error}");
    };
    assert!(source.to_string().contains("the timeout of"), "{source}");
}
