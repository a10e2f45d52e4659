//! The end of a session: for all instances, at the server, and in the browser.

use axum::http::header::HeaderName;
use axum::http::{Method, StatusCode};
use evertoken::gateway::Mode;
use evertoken::testing::browser::Call;

use crate::world::{ACCESS_TTL, SECOND, World, header, json, page, set_and_deleted, to_http};

const CLEAR: HeaderName = HeaderName::from_static("clear-site-data");

#[tokio::test(start_paused = true)]
async fn a_logout_ends_the_session_everywhere_and_deletes_the_cookies_and_the_cache() {
    for mode in [Mode::Synchronised, Mode::Opaque] {
        let world = World::of(2, mode);
        let browser = world.signed_in().await;
        let names = browser.names();
        let token = world.instances[1].serves(&browser).await;
        // A tab that sent its request before, and whose cookies nobody deletes.
        let before = browser.send("/token");
        let answer = world.instances[0].post(&browser, "/session/logout").await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(set_and_deleted(&answer), (vec![], names));
        assert_eq!(header(&answer, CLEAR), Some("\"cache\""));
        assert_eq!(json(answer).await["signed_in"], false);
        assert_eq!(browser.names(), [""; 0]);
        world.clock.advance(SECOND).await;
        assert_eq!(world.server.revocations(), 1);
        assert_ne!(
            world.server.check(&token),
            evertoken::testing::AccessCheck::Live
        );
        let late = world.instances[0].answer(to_http(&before)).await;
        assert_eq!(late.status(), StatusCode::UNAUTHORIZED, "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_logout_by_a_cookie_that_was_replaced_ends_the_session_too() {
    let world = World::new(1);
    let browser = world.signed_in().await;
    let old = browser.send(Call::fetch("/session/logout").method(Method::POST));
    for _ in 0..3 {
        world.expire().await;
        world.instances[0].serves(&browser).await;
        world.clock.advance(31 * SECOND).await;
        world.instances[0].serves(&browser).await;
    }
    let answer = world.instances[0].answer(to_http(&old)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(
        world.instances[0].status(&browser).await,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test(start_paused = true)]
async fn a_logout_while_the_store_is_down_counts_at_once_and_is_stored_later() {
    let world = World::new(2);
    let browser = world.signed_in().await;
    let before = browser.send("/token");
    world.store.set_down(true);
    let answer = world.instances[0].post(&browser, "/session/logout").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(browser.names(), [""; 0]);
    world.store.set_down(false);
    world.clock.advance(120 * SECOND).await;
    let late = world.instances[1].answer(to_http(&before)).await;
    assert_eq!(late.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn a_logout_without_a_session_is_no_error() {
    let world = World::new(1);
    let answer = world.instances[0]
        .post(&world.browser(), "/session/logout")
        .await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(json(answer).await["signed_in"], false);
}

#[tokio::test(start_paused = true)]
async fn the_routes_of_a_session_take_their_own_methods_alone() {
    let world = World::new(1);
    let browser = world.signed_in().await;
    let instance = &world.instances[0];
    for (path, allowed) in [("heartbeat", "POST"), ("logout", "POST")] {
        let answer = instance.send(&browser, format!("/session/{path}")).await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(header(&answer, axum::http::header::ALLOW), Some(allowed));
    }
    assert_eq!(instance.post(&browser, "/session").await.status(), 405);
    let other = instance.send(&browser, "/session/other").await;
    assert_eq!(other.status(), StatusCode::NOT_FOUND);
    assert_eq!(instance.status(&browser).await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn report_13_the_session_route_agrees_with_the_api_after_a_verdict() {
    let world = World::new(2);
    let browser = world.signed_in().await;
    let state = async |instance: usize| {
        let answer = world.instances[instance].send(&browser, "/session").await;
        assert_eq!(answer.status(), StatusCode::OK);
        json(answer).await["signed_in"].as_bool().unwrap()
    };
    assert!(state(0).await);
    world.server.revoke_all();
    world.clock.advance(ACCESS_TTL).await;
    // The verdict comes with a request of the API on one instance.
    let other = browser.send("/session");
    assert_eq!(
        world.instances[0].status(&browser).await,
        StatusCode::UNAUTHORIZED
    );
    let answer = world.instances[1].answer(to_http(&other)).await;
    assert_eq!(json(answer).await["signed_in"], false);
    assert!(!state(0).await && !state(1).await);
}

#[tokio::test(start_paused = true)]
async fn a_logout_of_the_provider_signs_the_browser_out() {
    let mut world = World::new(0);
    let instance = world.add(Mode::Synchronised, page());
    let browser = world.browser();
    let pair = world.server.issue();
    let mut set = axum::http::HeaderMap::new();
    let signed_in = instance
        .gateway
        .sign_in(&set, pair)
        .upstream("sid-1", "ada");
    signed_in.await.unwrap().apply(&mut set);
    browser.send("/").arrived(StatusCode::OK, &set);
    instance.serves(&browser).await;
    let upstream = evertoken::Upstream::from_claims("sid-1", "ada").unwrap();
    assert_eq!(instance.sessions.end_where(upstream).await.unwrap(), 1);
    assert_eq!(instance.status(&browser).await, StatusCode::UNAUTHORIZED);
    assert_eq!(browser.names(), [""; 0]);
}
