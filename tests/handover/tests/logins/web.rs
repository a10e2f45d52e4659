//! Sign-ins of a web application, whose handlers then have the user's tokens.

use std::time::Duration;

use axum::http::header::{COOKIE, LOCATION, SET_COOKIE};
use axum::http::{Response, StatusCode, Version};
use axum::routing::get;
use axum::{Router, body::Body};
use evertoken::seal::SealingKeys;
use evertoken::testing::Browser;
use evertoken::testing::browser::Call;
use evertoken::{Gateway, GatewayError, OAuth2, SessionPolicy, Sessions, TokenManager};
use evertoken_handover::{http, own_sessions, web};
use tower_service::Service as _;
use tower_sessions::Session;

use crate::{passed_without_proxies, world};

const ORIGIN: &str = "http://127.0.0.1:8080";

fn sessions(endpoint: &str) -> Sessions {
    let policy = SessionPolicy::new().retired_for(Duration::from_secs(30));
    let endpoint = OAuth2::new(endpoint, "uploader").unwrap();
    let sessions = Sessions::builder(endpoint).default_policy(policy);
    sessions.build().unwrap()
}

/// A page that only a user who is signed in can see.
async fn orders(tokens: TokenManager) -> Result<String, GatewayError> {
    Ok(tokens.token().await?.expose().to_owned())
}

/// Sends a request of the browser to the application, and gives the browser the answer.
async fn send(app: &Router, browser: &Browser, call: Call) -> Response<Body> {
    let request = browser.send(call);
    let sent = request.to_http(Version::HTTP_11, Body::empty()).unwrap();
    let answer = app.clone().call(sent).await.unwrap();
    request.arrived(answer.status(), answer.headers());
    answer
}

fn location(answer: &Response<Body>) -> &str {
    answer.headers()[LOCATION].to_str().unwrap()
}

async fn text(answer: Response<Body>) -> String {
    let body = axum::body::to_bytes(answer.into_body(), 10_000).await;
    String::from_utf8(body.unwrap().into()).unwrap()
}

#[tokio::test]
async fn a_browser_sign_in_by_openidconnect_ends_in_the_gateways_cookies() {
    if passed_without_proxies(
        "web::a_browser_sign_in_by_openidconnect_ends_in_the_gateways_cookies",
    ) {
        return;
    }
    let (server, provider, _) = world().await;
    let sessions = sessions(&provider.url("/token"));
    let keys = SealingKeys::from_text(&SealingKeys::random_key().unwrap()).unwrap();
    let gateway = Gateway::builder(&sessions)
        .sealer(keys.clone())
        .on_signed_out(|page| format!("/login?to={}", page.return_to()))
        .build()
        .unwrap();
    let callback = format!("{ORIGIN}/callback");
    let login = web::login(&provider.url(""), &callback, gateway.clone(), keys).await;
    let app = Router::new()
        .route("/orders", get(orders))
        .merge(login.unwrap())
        .layer(gateway.layer());
    let browser = Browser::new(ORIGIN).unwrap();

    let page = send(&app, &browser, Call::navigation("/orders?page=2")).await;
    assert_eq!(page.status(), StatusCode::SEE_OTHER);
    let to_login = location(&page).to_owned();
    assert_eq!(to_login, "/login?to=%2Forders%3Fpage%3D2");

    let begun = send(&app, &browser, Call::navigation(to_login)).await;
    let at_provider = http::client()
        .unwrap()
        .get(location(&begun))
        .send()
        .await
        .unwrap();
    let back = at_provider.headers()[LOCATION].to_str().unwrap();
    let back = back.strip_prefix(ORIGIN).unwrap().to_owned();

    let signed_in = send(&app, &browser, Call::navigation(back.clone())).await;
    assert_eq!(signed_in.status(), StatusCode::SEE_OTHER);
    assert_eq!(location(&signed_in), "/orders?page=2");
    let names = browser.names();
    assert!(
        names
            .iter()
            .all(|name| name.starts_with("__Host-Http-session-")),
        "{names:?}"
    );
    assert_eq!(names.len(), 1, "the cookie of the login is gone");

    let page = send(&app, &browser, Call::navigation("/orders?page=2")).await;
    assert_eq!(page.status(), StatusCode::OK);
    let token = text(page).await;
    assert!(matches!(
        server.check(&token),
        evertoken::testing::AccessCheck::Live
    ));

    // The address of the callback is in the browser's history, and signs nobody in again.
    let again = send(&app, &browser, Call::navigation(back)).await;
    assert_eq!(again.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_application_with_its_own_sessions_keeps_the_id_in_them() {
    let (server, provider, _) = world().await;
    let sessions = sessions(&provider.url("/token"));
    let issued = server.clone();
    let for_login = sessions.clone();
    let login = async move |session: Session| {
        let signed_in = own_sessions::signed_in(&session, &for_login, issued.issue()).await;
        signed_in.map_err(|error| format!("{error:?}"))
    };
    let routes = Router::new()
        .route("/orders", get(orders))
        .route("/login", get(login));
    let app = own_sessions::with_sessions(routes, sessions);
    let browser = Browser::new(ORIGIN).unwrap();

    let before = send(&app, &browser, Call::fetch("/orders")).await;
    assert_eq!(before.status(), StatusCode::UNAUTHORIZED);

    let signed_in = send(&app, &browser, Call::navigation("/login")).await;
    assert_eq!(signed_in.status(), StatusCode::OK);
    assert!(signed_in.headers().contains_key(SET_COOKIE));

    let request = browser.send(Call::fetch("/orders"));
    let sent = request.headers(Version::HTTP_11);
    let cookies = sent[COOKIE].to_str().unwrap().to_owned();
    let page = send(&app, &browser, Call::fetch("/orders")).await;
    assert_eq!(page.status(), StatusCode::OK);
    let token = text(page).await;
    assert!(matches!(
        server.check(&token),
        evertoken::testing::AccessCheck::Live
    ));
    // The browser has the id of the application's session alone.
    assert!(!cookies.contains(&token));
    assert!(!cookies.contains("evertoken"));
}
