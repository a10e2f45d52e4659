//! What users of other gateways have reported, one test each. Reports 2, 3, 4, 7, 8, 9, 12, 13 and 15 are with their behaviour.

use std::time::Duration;

use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use evertoken::gateway::Mode;
use evertoken::testing::browser::{Call, Kind};

use crate::world::{
    MINUTE, OTHER_KINDS, SECOND, World, header, json, lines, page, set_and_deleted, to_http,
};

#[tokio::test(start_paused = true)]
async fn report_1_a_request_that_is_late_by_40_ms_5_s_or_29_s_is_served_without_a_second_exchange()
{
    let world = World::new(2);
    let browser = world.signed_in().await;
    world.expire().await;
    let delays = [0, 40, 5_000, 29_000].map(Duration::from_millis);
    let late: Vec<_> = delays.iter().map(|_| browser.send("/token")).collect();
    assert_eq!(world.instances[0].status(&browser).await, StatusCode::OK);
    // The browser shows the new pair, from which on the old one counts for 30 s.
    assert_eq!(world.instances[0].status(&browser).await, StatusCode::OK);
    let mut passed = Duration::ZERO;
    for (request, delay) in late.into_iter().zip(delays) {
        world.clock.advance(delay - passed).await;
        passed = delay;
        for instance in &world.instances {
            let answer = instance.answer(to_http(&request)).await;
            assert_eq!(answer.status(), StatusCode::OK, "{delay:?}");
            assert_eq!(set_and_deleted(&answer).0.len(), 1, "{delay:?}");
        }
    }
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn report_5_a_browser_that_lost_the_answer_is_alive_after_1_s_31_min_and_1_day() {
    for delay in [SECOND, 31 * MINUTE, 24 * 60 * MINUTE] {
        let world = World::new(2);
        let browser = world.signed_in().await;
        world.expire().await;
        let lost = browser.send("/token");
        assert_eq!(
            world.instances[0].answer(to_http(&lost)).await.status(),
            StatusCode::OK
        );
        drop(lost);
        let old = browser.send("/token");
        world.clock.advance(delay).await;
        assert_eq!(
            world.instances[1].status(&browser).await,
            StatusCode::OK,
            "{delay:?}"
        );
        // The new pair is shown, and the old one is refused when the grace is over.
        assert_eq!(
            world.instances[1].status(&browser).await,
            StatusCode::OK,
            "{delay:?}"
        );
        world.clock.advance(31 * SECOND).await;
        for instance in &world.instances {
            let answer = instance.answer(to_http(&old)).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{delay:?}");
            assert_eq!(
                lines(&answer),
                [""; 0],
                "a newer cookie of this session may be there"
            );
        }
        assert_eq!(
            world.instances[0].status(&browser).await,
            StatusCode::OK,
            "{delay:?}"
        );
        assert_eq!(world.server.replays(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn report_6_a_stolen_refresh_token_without_its_cookie_opens_nothing() {
    let world = World::new(1);
    let browser = world.browser();
    let pair = world.server.issue();
    let mut set = axum::http::HeaderMap::new();
    let instance = &world.instances[0];
    instance
        .gateway
        .sign_in(&set, pair.clone())
        .await
        .unwrap()
        .apply(&mut set);
    browser.send("/").arrived(StatusCode::OK, &set);
    world.expire().await;
    instance.serves(&browser).await;
    let stolen = instance.sessions.present(pair).await;
    assert!(stolen.unwrap_err().needs_sign_in());
    assert_eq!(instance.status(&browser).await, StatusCode::OK);
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn report_10_a_hundred_requests_without_a_session_set_no_cookie_and_lead_nowhere() {
    let world = World::new(1);
    let browser = world.browser();
    for number in 0..100 {
        let kind = OTHER_KINDS[number % OTHER_KINDS.len()];
        let answer = world.instances[0]
            .send(&browser, Call::new(kind, "/token"))
            .await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{kind:?}");
        assert_eq!(header(&answer, LOCATION), None);
        assert_eq!(json(answer).await["error"], "signed_out");
    }
    assert_eq!(browser.names(), [""; 0]);
    world.assert_exchanges(0);
}

#[tokio::test(start_paused = true)]
async fn report_11_what_is_loaded_ahead_never_leads_to_a_login() {
    let world = World::new(1);
    for kind in [Kind::Prefetch, Kind::PrefetchedPage, Kind::Prerender] {
        let answer = world.instances[0]
            .send(&world.browser(), Call::new(kind, "/token"))
            .await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{kind:?}");
    }
    let page = world.instances[0]
        .send(&world.browser(), Call::navigation("/token"))
        .await;
    assert_eq!(page.status(), StatusCode::SEE_OTHER);
    assert_eq!(header(&page, LOCATION), Some("/login?to=%2Ftoken"));
}

#[tokio::test(start_paused = true)]
async fn report_14_nothing_depends_on_the_host_of_a_request() {
    let world = World::new(1);
    let browser = world.signed_in().await;
    for host in ["app.example.org", "internal:8080", "[::1]:9", ""] {
        let request = browser.send("/token");
        let mut request = to_http(&request);
        request
            .headers_mut()
            .insert("host", HeaderValue::from_str(host).unwrap());
        *request.uri_mut() = "/token".parse().unwrap();
        let answer = world.instances[0].answer(request).await;
        assert_eq!(answer.status(), StatusCode::OK, "{host}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_returns_to_its_own_path_and_never_to_another_host() {
    let world = World::new(1);
    for (path, to) in [
        ("/token?a=1&b=%2F", "%2Ftoken%3Fa%3D1%26b%3D%252F"),
        ("//evil.example/token", "%2F"),
        ("/\\evil.example/", "%2F"),
    ] {
        let request = axum::http::Request::get(path)
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document")
            .body(axum::body::Body::empty());
        let Ok(request) = request else { continue };
        let answer = world.instances[0].answer(request).await;
        if answer.status() == StatusCode::NOT_FOUND {
            continue;
        }
        let expected = format!("/login?to={to}");
        assert_eq!(header(&answer, LOCATION), Some(&*expected), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_users_whose_requests_alternate_get_their_own_tokens() {
    for mode in [Mode::Synchronised, Mode::Opaque] {
        let world = World::of(2, mode);
        let [ada, grace] = [world.signed_in().await, world.signed_in().await];
        let of = async |browser: &evertoken::testing::Browser, at: usize| {
            let answer = world.instances[at].send(browser, "/presented").await;
            crate::world::text(answer).await
        };
        let (first, second) = (of(&ada, 0).await, of(&grace, 0).await);
        assert_ne!(first, second);
        for turn in 0..200 {
            assert_eq!(of(&ada, turn % 2).await, first);
            assert_eq!(of(&grace, (turn + 1) % 2).await, second);
            world.clock.advance(10 * SECOND).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_idle_for_too_long_or_too_old_is_over_with_its_cookies() {
    for policy in [page().idle(10 * MINUTE), page().absolute(10 * MINUTE)] {
        let mut world = World::new(0);
        let instance = world.add(Mode::Synchronised, policy.clone());
        let browser = world.signed_in().await;
        instance.serves(&browser).await;
        let presented = browser.send("/token");
        // The instance has let the session go, so the record speaks, to an eighth of the limit.
        world.clock.advance(12 * MINUTE).await;
        let answer = instance.answer(to_http(&presented)).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{policy:?}");
        assert_eq!(set_and_deleted(&answer).1.len(), 1);
    }
}
