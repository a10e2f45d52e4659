//! Requests that pages of other origins make.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use evertoken::testing::browser::{Call, Initiator, Kind};

use crate::world::{Instance, World, json, page};

async fn ask(instance: &Instance, method: &str, fields: &[(&'static str, &str)]) -> StatusCode {
    let request = Request::builder().method(method).uri("/seen");
    let mut request = request.body(Body::empty()).unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    *request.headers_mut() = headers;
    instance.answer(request).await.status()
}

const HOST: (&str, &str) = ("host", "app.example.org");
const OWN: (&str, &str) = ("origin", "https://app.example.org");
const CONNECTION: (&str, &str) = ("connection", "keep-alive, Upgrade");
const UPGRADE: (&str, &str) = ("upgrade", "websocket");

const OK: StatusCode = StatusCode::OK;
const REFUSED: StatusCode = StatusCode::FORBIDDEN;
/// The method is passed on, and no route takes it.
const PASSED: StatusCode = StatusCode::METHOD_NOT_ALLOWED;

/// A method, the fields of a request, and the status of the answer.
type Case = (
    &'static str,
    &'static [(&'static str, &'static str)],
    StatusCode,
);

#[tokio::test(start_paused = true)]
async fn what_may_change_something_has_to_come_from_the_services_own_pages_or_the_user() {
    let world = World::new(1);
    let instance = &world.instances[0];
    let cases: &[Case] = &[
        ("GET", &[HOST, ("sec-fetch-site", "cross-site")], OK),
        ("GET", &[HOST], OK),
        ("POST", &[HOST], REFUSED),
        ("POST", &[HOST, ("sec-fetch-site", "same-origin")], OK),
        ("POST", &[HOST, ("sec-fetch-site", "none")], OK),
        ("POST", &[HOST, ("sec-fetch-site", "same-site")], REFUSED),
        ("POST", &[HOST, ("sec-fetch-site", "cross-site")], REFUSED),
        ("POST", &[HOST, ("sec-fetch-site", "Same-Origin")], REFUSED),
        (
            "POST",
            &[
                HOST,
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-site", "cross-site"),
            ],
            REFUSED,
        ),
        ("POST", &[HOST, OWN], OK),
        (
            "POST",
            &[HOST, OWN, ("sec-fetch-site", "cross-site")],
            REFUSED,
        ),
        (
            "POST",
            &[HOST, ("origin", "https://app.example.org:8443")],
            REFUSED,
        ),
        ("POST", &[HOST, ("origin", "https://evil.example")], REFUSED),
        (
            "POST",
            &[HOST, ("origin", "https://app.example.org.evil.example")],
            REFUSED,
        ),
        ("POST", &[HOST, ("origin", "null")], REFUSED),
        ("POST", &[OWN], REFUSED),
        ("PUT", &[HOST], REFUSED),
        ("PUT", &[HOST, ("sec-fetch-site", "same-origin")], PASSED),
        ("DELETE", &[HOST, ("sec-fetch-site", "same-site")], REFUSED),
        ("PATCH", &[HOST], REFUSED),
        ("TRACE", &[HOST], REFUSED),
        ("OPTIONS", &[HOST, ("sec-fetch-site", "cross-site")], PASSED),
        ("GET", &[HOST, CONNECTION, UPGRADE], REFUSED),
        ("GET", &[HOST, UPGRADE], REFUSED),
        ("GET", &[HOST, CONNECTION, UPGRADE, OWN], OK),
        (
            "GET",
            &[
                HOST,
                CONNECTION,
                UPGRADE,
                ("origin", "http://app.example.org:81"),
            ],
            REFUSED,
        ),
        (
            "GET",
            &[
                HOST,
                CONNECTION,
                UPGRADE,
                ("origin", "https://evil.example"),
            ],
            REFUSED,
        ),
    ];
    for (method, fields, expected) in cases {
        let status = ask(instance, method, fields).await;
        assert_eq!(status, *expected, "{method} {fields:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_list_of_origins_only_those_count_and_not_the_host() {
    let mut world = World::new(0);
    let builder = world.builder(page());
    let instance = world.add_built(builder, |gateway| {
        gateway
            .origin("https://app.example.org")
            .origin("https://admin.example.org")
    });
    let host = ("host", "behind-a-proxy:8080");
    for (origin, site, expected) in [
        ("https://app.example.org", "same-origin", OK),
        ("https://admin.example.org", "same-site", OK),
        ("https://admin.example.org", "cross-site", OK),
        ("https://other.example.org", "same-site", REFUSED),
        ("http://app.example.org", "cross-site", REFUSED),
        ("https://behind-a-proxy:8080", "cross-site", REFUSED),
    ] {
        let fields = [host, ("origin", origin), ("sec-fetch-site", site)];
        assert_eq!(
            ask(&instance, "POST", &fields).await,
            expected,
            "{origin} {site}"
        );
        let without_site = [host, ("origin", origin)];
        let expected = if origin.starts_with("https://a") {
            OK
        } else {
            REFUSED
        };
        assert_eq!(
            ask(&instance, "POST", &without_site).await,
            expected,
            "{origin}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_has_the_reason_and_changes_nothing() {
    let world = World::new(1);
    let instance = &world.instances[0];
    let browser = world.signed_in().await;
    for initiator in [Initiator::SameSite, Initiator::CrossSite] {
        let call = Call::fetch("/session/logout").method(Method::POST);
        let refused = instance.send(&browser, call.initiator(initiator)).await;
        assert_eq!(refused.status(), REFUSED);
        let body = json(refused).await;
        assert_eq!(body["error"], "cross_site");
        assert!(
            body["message"].as_str().unwrap().contains("origin"),
            "{body}"
        );
    }
    let socket = Call::new(Kind::WebSocket, "/seen").initiator(Initiator::SameSite);
    let request = browser.send(socket);
    let mut request = crate::world::to_http(&request);
    let upgrade = HeaderValue::from_static("upgrade");
    request.headers_mut().insert("connection", upgrade);
    request
        .headers_mut()
        .insert("upgrade", HeaderValue::from_static("websocket"));
    assert_eq!(instance.answer(request).await.status(), REFUSED);
    assert_eq!(instance.status(&browser).await, OK);
    assert_eq!(browser.names().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_route_outside_the_layer_takes_the_post_of_another_site() {
    let world = World::new(1);
    let call = Call::fetch("/outside/post").method(Method::POST);
    let call = call.initiator(Initiator::CrossSite);
    let answer = world.instances[0].send(&world.browser(), call).await;
    assert_eq!(answer.status(), OK);
}
