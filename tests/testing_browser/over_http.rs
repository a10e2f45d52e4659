//! A browser whose requests travel over HTTP, by reqwest to a server of axum.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::AppendHeaders;
use axum::routing::get;
use evertoken::testing::Browser;
use evertoken::testing::browser::{Arrival, Request};
use http::header::{LOCATION, SET_COOKIE};
use http::{HeaderMap, StatusCode, Version};
use reqwest::redirect::Policy;
use tokio::sync::watch;

type Gate = watch::Sender<u64>;

/// Counts the visits in a cookie.
async fn visit(headers: HeaderMap) -> AppendHeaders<[(http::HeaderName, String); 2]> {
    let cookie = headers.get("cookie").map_or("", |it| it.to_str().unwrap());
    let visits = cookie
        .split("; ")
        .find_map(|it| it.strip_prefix("__Host-Http-visits="));
    let visits: u32 = visits.map_or(0, |visits| visits.parse().unwrap());
    let line = format!(
        "__Host-Http-visits={}; Path=/; Secure; HttpOnly",
        visits + 1
    );
    let site = headers["sec-fetch-site"].to_str().unwrap();
    AppendHeaders([(SET_COOKIE, line), (SET_COOKIE, format!("site={site}"))])
}

/// Answers once the gate is at 2. Before, the gate is at 1.
async fn slow(
    State(gate): State<Gate>,
    headers: HeaderMap,
) -> AppendHeaders<[(http::HeaderName, String); 2]> {
    gate.send_replace(1);
    gate.subscribe().wait_for(|it| *it == 2).await.unwrap();
    visit(headers).await
}

async fn login() -> (
    StatusCode,
    AppendHeaders<[(http::HeaderName, &'static str); 2]>,
) {
    let headers = [(LOCATION, "/visit"), (SET_COOKIE, "flow=1; Path=/")];
    (StatusCode::SEE_OTHER, AppendHeaders(headers))
}

async fn serve(gate: &Gate) -> Browser {
    let app = Router::new()
        .route("/visit", get(visit))
        .route("/slow", get(slow))
        .route("/login", get(login))
        .with_state(gate.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    Browser::new(&origin).unwrap()
}

async fn exchange(request: &Request) -> reqwest::Response {
    let client = reqwest::Client::builder();
    let client = client.redirect(Policy::none()).build().unwrap();
    let call = client.request(request.method().clone(), request.url());
    let call = call.headers(request.headers(Version::HTTP_11));
    call.send().await.unwrap()
}

async fn arrive(request: Request) -> Arrival {
    let response = exchange(&request).await;
    request.arrived(response.status(), response.headers())
}

#[tokio::test]
async fn cookies_travel_over_http_on_the_loopback() {
    let browser = serve(&Gate::default()).await;
    for visits in ["1", "2", "3"] {
        let arrival = arrive(browser.send("/visit")).await;
        assert_eq!(arrival.verdicts().len(), 2);
        assert_eq!(browser.value("__Host-Http-visits").as_deref(), Some(visits));
    }
    assert_eq!(browser.value("site").as_deref(), Some("same-origin"));
}

#[tokio::test]
async fn a_redirect_is_followed_over_http() {
    let browser = serve(&Gate::default()).await;
    let login = browser.tab().navigate("/login");
    assert!(login.is_lost(), "its tab was dropped");
    let tab = browser.tab();
    let login = tab.navigate("/login");
    let response = exchange(&login).await;
    let location = response.headers()[LOCATION].to_str().unwrap();
    let (_, page) = login.redirected(response.status(), response.headers(), location);
    arrive(page).await;
    assert_eq!(browser.names(), ["flow", "__Host-Http-visits", "site"]);
    assert_eq!(browser.value("site").as_deref(), Some("none"));
}

#[tokio::test]
async fn the_server_has_answered_and_the_closed_tab_stores_nothing() {
    let gate = Gate::default();
    let browser = serve(&gate).await;
    let tab = browser.tab();
    let request = tab.send("/slow");
    let closes = async {
        gate.subscribe().wait_for(|it| *it == 1).await.unwrap();
        tab.close();
        gate.send_replace(2);
    };
    let (arrival, ()) = tokio::join!(arrive(request), closes);
    assert!(arrival.is_lost());
    assert!(browser.names().is_empty());
}

#[tokio::test]
async fn a_test_ends_the_exchange_of_a_lost_request_as_a_browser_does() {
    let gate = Gate::default();
    let browser = serve(&gate).await;
    let tab = browser.tab();
    let first = tab.navigate("/slow");
    let overtakes = async {
        gate.subscribe().wait_for(|it| *it == 1).await.unwrap();
        arrive(tab.navigate("/visit")).await
    };
    let ended = async {
        tokio::select! {
            _ = exchange(&first) => panic!("the server does not answer"),
            () = first.lost() => {}
            () = tokio::time::sleep(Duration::from_secs(10)) => panic!("the request is not lost"),
        }
    };
    let (arrival, ()) = tokio::join!(overtakes, ended);
    assert!(!arrival.is_lost());
    assert_eq!(browser.value("__Host-Http-visits").as_deref(), Some("1"));
}

#[test]
fn a_request_becomes_one_of_the_crate_http() {
    let browser = crate::browser();
    crate::set(&browser, "a=1");
    crate::set(&browser, "b=2");
    let request = browser.send("/api?c=d");
    let http = request.to_http(Version::HTTP_2, "body").unwrap();
    assert_eq!(http.uri(), "https://app.example.org/api?c=d");
    assert_eq!(http.version(), Version::HTTP_2);
    assert_eq!(http.headers().get_all("cookie").iter().count(), 2);
    assert_eq!(*http.body(), "body");
}
