use std::time::Duration;

use evertoken::testing::{Fault, FolioServer, HttpServer, TestClock};
use http::Method;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::json;

use super::browser::*;

fn post(http: &HttpServer, path: &str) -> RequestBuilder {
    let client = Client::builder().timeout(Duration::from_secs(30)).build();
    let request = client.unwrap().post(format!("{}{path}", http.url()));
    request.header("x-okapi-tenant", "diku")
}

async fn login(http: &HttpServer) -> Response {
    let body = json!({ "username": "diku_admin", "password": "admin" });
    let request = post(http, "/authn/login-with-expiry").json(&body);
    request.send().await.unwrap()
}

fn set_cookies(response: &Response) -> Vec<String> {
    let cookies = response.headers().get_all("set-cookie").into_iter();
    cookies
        .map(|cookie| cookie.to_str().unwrap().into())
        .collect()
}

/// `name=value` of the second cookie.
fn refresh_cookie(response: &Response) -> String {
    let cookies = set_cookies(response);
    cookies[1].split("; ").next().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a4_both_faces_share_one_state_and_cookies_are_scoped_below_okapis_path() {
    let folio = FolioServer::okapi()
        .clock(TestClock::new())
        .okapi_path("/okapi/")
        .build();
    let http = folio.listen().await.unwrap();
    assert_eq!(http.url(), format!("{}/okapi", http.origin()));
    let response = login(&http).await;
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["date"], "Tue, 14 Nov 2023 22:13:20 GMT");
    let cookies = set_cookies(&response);
    assert!(cookies[0].contains("; Path=/okapi/; "), "{}", cookies[0]);
    let path = "; Path=/okapi/authn; ";
    assert!(cookies[1].contains(path), "{}", cookies[1]);

    let refresh = post(&http, "/authn/refresh").header("cookie", refresh_cookie(&response));
    let response = refresh.send().await.unwrap();
    assert_eq!(response.status(), 201);
    let cookie = refresh_cookie(&response);
    assert!(folio.is_live_refresh(cookie.split_once('=').unwrap().1));
    let seen = folio.seen().pop().unwrap();
    assert_eq!(
        (&*seen.path, &*seen.carried),
        ("/authn/refresh", &[REFRESH.to_owned()][..])
    );

    for path in ["/authn/refresh", "/okapiary/authn/refresh", "/"] {
        let elsewhere = send(&folio, request(Method::POST, path, "")).await;
        assert_eq!(elsewhere.status(), 404, "{path}");
    }
    let here = send(&folio, request(Method::POST, "/okapi/authn/refresh", "")).await;
    assert_eq!(here.status(), 400);
    assert_eq!(here.headers()["date"], "Tue, 14 Nov 2023 22:13:20 GMT");
}

#[tokio::test(start_paused = true)]
async fn a_truncated_answer_has_its_cookies_and_half_its_body() {
    let folio = FolioServer::eureka().clock(TestClock::new()).build();
    let http = folio.listen().await.unwrap();
    let first = login(&http).await;
    let refresh = || post(&http, "/authn/refresh").header("cookie", refresh_cookie(&first));
    folio.fail_next(Fault::Truncate);
    let mut response = refresh().send().await.unwrap();
    assert_eq!(response.status(), 201);
    assert!(refresh_cookie(&response).starts_with("folioRefreshToken=ey"));
    response.chunk().await.unwrap().unwrap();
    assert!(response.chunk().await.is_err());

    folio.fail_next(Fault::DropAfter);
    let error = refresh().send().await.unwrap_err();
    assert!(!error.is_connect() && !error.is_timeout(), "{error:?}");
    assert_eq!(folio.counters().replays, 1);
}

#[tokio::test]
async fn an_http_face_stops_listening_when_dropped_and_its_address_can_be_used_again() {
    let folio = FolioServer::okapi().build();
    let http = folio.listen().await.unwrap();
    let (addr, first) = (http.addr(), login(&http).await);
    drop(http);
    let gone = Client::new().post(format!("http://{addr}/authn/refresh"));
    assert!(gone.send().await.unwrap_err().is_connect());
    let http = folio.listen_on(addr).await.unwrap();
    let refresh = post(&http, "/authn/refresh").header("cookie", refresh_cookie(&first));
    assert_eq!(refresh.send().await.unwrap().status(), 201);
}
