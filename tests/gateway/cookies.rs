//! What a browser is given to keep, and what it is not given again.

use axum::http::header::{CACHE_CONTROL, COOKIE, VARY};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use evertoken::gateway::{GatewayError, Mode, SameSite};
use evertoken::testing::browser::{Call, Kind};

use crate::world::{
    ACCESS_TTL, MINUTE, SECOND, World, header, lines, longer, page, set_and_deleted, to_http,
};

#[tokio::test(start_paused = true)]
async fn a_sign_in_sets_a_host_cookie_that_scripts_do_not_see() {
    let world = World::new(1);
    let browser = world.browser();
    let answer = world.instances[0]
        .send(&browser, Call::navigation("/sign-in"))
        .await;
    let [line] = &lines(&answer)[..] else {
        panic!("{:?}", lines(&answer));
    };
    assert!(line.starts_with("__Host-Http-session-"), "{line}");
    for attribute in ["; HttpOnly", "; Secure", "; SameSite=Lax", "; Path=/"] {
        assert!(line.contains(attribute), "{line}");
    }
    assert!(!line.contains("Domain"), "{line}");
    assert_eq!(browser.names().len(), 1);
    assert_eq!(browser.document_cookie("/"), "");
    // What was loaded ahead is for the user before.
    let cleared = header(&answer, HeaderName::from_static("clear-site-data"));
    assert_eq!(cleared, Some("\"prefetchCache\", \"prerenderCache\""));
}

#[tokio::test(start_paused = true)]
async fn a_strict_gateway_sets_strict_cookies() {
    let mut world = World::new(0);
    let builder = world.builder(page());
    let strict = world.add_built(builder, |gateway| gateway.same_site(SameSite::Strict));
    let answer = strict
        .send(&world.browser(), Call::navigation("/sign-in"))
        .await;
    assert!(lines(&answer)[0].contains("; SameSite=Strict"));
}

#[tokio::test(start_paused = true)]
async fn no_answer_sets_what_the_browser_has() {
    let world = World::new(2);
    let browser = world.signed_in().await;
    for instance in &world.instances {
        for path in ["/token", "/public", "/presented", "/session", "/status/500"] {
            let answer = instance.send(&browser, path).await;
            assert_eq!(lines(&answer), [""; 0], "{path}");
        }
    }
    world.expire().await;
    let renewed = world.instances[0].send(&browser, "/token").await;
    assert_eq!(lines(&renewed).len(), 1);
    for instance in &world.instances {
        assert_eq!(lines(&instance.send(&browser, "/token").await), [""; 0]);
    }
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_every_status_brings_the_new_pair_and_no_cache_keeps_it() {
    let world = World::new(1);
    let browser = world.signed_in().await;
    for status in [200, 201, 204, 304, 401, 403, 404, 429, 500, 503] {
        world.expire().await;
        let answer = world.instances[0]
            .send(&browser, format!("/status/{status}"))
            .await;
        assert_eq!(answer.status(), status);
        let (set, deleted) = set_and_deleted(&answer);
        assert_eq!((set.len(), deleted.len()), (1, 0), "{status}");
        assert_eq!(header(&answer, CACHE_CONTROL), Some("no-store, private"));
    }
    world.assert_exchanges(10);
}

#[tokio::test(start_paused = true)]
async fn report_9_an_answer_with_a_cookie_is_not_cached_whatever_the_application_says() {
    let world = World::new(1);
    let browser = world.signed_in().await;
    let before = world.instances[0].send(&browser, "/cached").await;
    assert_eq!(
        header(&before, CACHE_CONTROL),
        Some("public, max-age=31536000")
    );
    world.expire().await;
    let renewed = world.instances[0].send(&browser, "/cached").await;
    assert_eq!(header(&renewed, CACHE_CONTROL), Some("no-store, private"));
}

/// `Authorization` would do this, which the browser's request does not have.
#[tokio::test(start_paused = true)]
async fn an_answer_of_a_session_is_kept_for_its_user_alone_and_a_page_of_it_not_at_all() {
    let world = World::new(1);
    let browser = world.signed_in().await;
    let caching = async |call: Call| {
        let answer = world.instances[0].send(&browser, call).await;
        let field = |name| header(&answer, name).unwrap_or_default().to_owned();
        [field(CACHE_CONTROL), field(VARY)]
    };
    let page = caching(Call::navigation("/token")).await;
    assert_eq!(page, ["no-store, private", ""]);
    let ahead = caching(Call::new(Kind::Prerender, "/token")).await;
    assert_eq!(ahead, ["no-store, private", ""]);
    assert_eq!(caching(Call::fetch("/token")).await, ["private", "cookie"]);
    // An answer that says so is for all, and one for which nothing asks for the session.
    let cached = caching(Call::fetch("/cached")).await;
    assert_eq!(cached, ["public, max-age=31536000", ""]);
    assert_eq!(caching(Call::navigation("/public")).await, ["", ""]);
    assert_eq!(caching(Call::fetch("/public")).await, ["", ""]);
}

#[tokio::test(start_paused = true)]
async fn a_long_pair_is_split_and_a_shorter_one_leaves_no_part_behind() {
    let world = World::new(1);
    let gateway = &world.instances[0].gateway;
    let browser = world.browser();
    let long = longer(world.server.issue(), 3_000);
    let mut set = HeaderMap::new();
    gateway
        .sign_in(&HeaderMap::new(), long)
        .await
        .unwrap()
        .apply(&mut set);
    browser.send("/").arrived(StatusCode::OK, &set);
    let names = browser.names();
    assert_eq!(names.len(), 2, "{names:?}");
    for name in &names {
        let length = name.len() + browser.value(name).unwrap().len();
        assert!(length <= 4096, "{length}");
    }
    world.expire().await;
    let answer = world.instances[0].send(&browser, "/token").await;
    let (set, deleted) = set_and_deleted(&answer);
    assert_eq!(
        (set, deleted),
        (vec![names[0].clone()], vec![names[1].clone()])
    );
    assert_eq!(browser.names(), names[..1]);
    assert_eq!(world.instances[0].status(&browser).await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_is_too_long_for_cookies_is_refused_at_the_sign_in_and_the_error_names_the_mode()
 {
    let world = World::new(1);
    let gateway = &world.instances[0].gateway;
    for by in [5_000, 20_000] {
        let pair = longer(world.server.issue(), by);
        let error = gateway.sign_in(&HeaderMap::new(), pair).await.unwrap_err();
        assert!(matches!(error, GatewayError::CookieTooLong), "{error}");
        assert!(error.to_string().contains("opaque"), "{error}");
    }
    let mut world = World::new(0);
    let opaque = world.add(Mode::Opaque, page());
    let pair = longer(world.server.issue(), 20_000);
    let mut set = HeaderMap::new();
    let signed_in = opaque.gateway.sign_in(&HeaderMap::new(), pair).await;
    signed_in.unwrap().apply(&mut set);
    assert!(set["set-cookie"].len() < 500);
}

#[tokio::test(start_paused = true)]
async fn report_12_the_cookies_last_as_long_as_the_session_and_not_as_the_access_token() {
    let mut world = World::new(0);
    let policy = page().absolute(8 * 60 * MINUTE).idle(60 * MINUTE);
    let instance = world.add(Mode::Synchronised, policy);
    let browser = world.browser();
    let answer = instance.send(&browser, Call::navigation("/sign-in")).await;
    assert!(
        lines(&answer)[0].contains("Max-Age=28800"),
        "{:?}",
        lines(&answer)
    );
    // Idle for two lifetimes of the access token.
    world.clock.advance(2 * ACCESS_TTL).await;
    assert_eq!(browser.names().len(), 1);
    let renewed = instance.send(&browser, "/token").await;
    assert_eq!(renewed.status(), StatusCode::OK);
    assert!(
        lines(&renewed)[0].contains("Max-Age=27600"),
        "{:?}",
        lines(&renewed)
    );
    for _ in 0..15 {
        world.clock.advance(30 * MINUTE).await;
        let status = instance.status(&browser).await;
        let is_over = browser.names().is_empty() || status != StatusCode::OK;
        let passed = 8 * 60 * MINUTE;
        assert!(!is_over || passed > 7 * 60 * MINUTE);
    }
    world.clock.advance(30 * MINUTE).await;
    assert_eq!(instance.status(&browser).await, StatusCode::UNAUTHORIZED);
    assert_eq!(browser.names(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_opaque_cookie_outlives_every_pair() {
    let mut world = World::new(0);
    let instance = world.add(Mode::Opaque, page());
    let browser = world.signed_in().await;
    let cookie = browser.value(&browser.names()[0]);
    // The refresh token of the sign-in lives for seven days, and each rotation brings one that does.
    for _ in 0..10 {
        world.clock.advance(3 * 24 * 60 * MINUTE).await;
        let answer = instance.send(&browser, "/token").await;
        assert_eq!(
            answer.status(),
            StatusCode::OK,
            "{}",
            crate::world::text(answer).await
        );
    }
    assert_eq!(browser.value(&browser.names()[0]), cookie);
}

#[tokio::test(start_paused = true)]
async fn of_two_sign_ins_in_one_browser_the_later_counts_and_a_sign_in_deletes_the_earlier() {
    let world = World::new(1);
    let browser = world.signed_in().await;
    let first = browser.names();
    let first_token = world.instances[0].serves(&browser).await;
    world.clock.advance(SECOND).await;
    for path in ["/sign-in", "/outside/sign-in"] {
        let before = browser.names();
        let answer = world.instances[0]
            .send(&browser, Call::navigation(path))
            .await;
        let (set, deleted) = set_and_deleted(&answer);
        assert_eq!(deleted, before, "{path}");
        assert_eq!(browser.names(), set, "{path}");
        world.clock.advance(SECOND).await;
    }
    assert_ne!(browser.names(), first);
    assert_ne!(world.instances[0].serves(&browser).await, first_token);
}

#[tokio::test(start_paused = true)]
async fn report_4_a_late_answer_of_the_last_sign_in_does_not_undo_the_next_one() {
    let world = World::new(1);
    let instance = &world.instances[0];
    let browser = world.signed_in().await;
    world.expire().await;
    // The answer with the new pair of the first sign-in is held back.
    let late = browser.send("/token");
    let late_answer = instance.answer(to_http(&late)).await;
    assert_eq!(lines(&late_answer).len(), 1);
    assert_eq!(
        instance.post(&browser, "/session/logout").await.status(),
        StatusCode::OK
    );
    world.clock.advance(SECOND).await;
    world.sign_in(&browser).await;
    let token = instance.serves(&browser).await;
    late.arrived(late_answer.status(), late_answer.headers());
    assert_eq!(browser.names().len(), 2, "both sign-ins have cookies");
    assert_eq!(instance.serves(&browser).await, token);
}

#[tokio::test(start_paused = true)]
async fn report_3_a_refusal_that_arrives_late_deletes_nothing_of_the_next_sign_in() {
    let world = World::new(1);
    let instance = &world.instances[0];
    let browser = world.signed_in().await;
    world.server.revoke_all();
    world.expire().await;
    let late = browser.send("/token");
    let refused = instance.answer(to_http(&late)).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(set_and_deleted(&refused).1, browser.names());
    world.sign_in(&browser).await;
    late.arrived(refused.status(), refused.headers());
    assert_eq!(instance.status(&browser).await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn handlers_see_neither_the_gateways_cookies_nor_an_authorization() {
    let world = World::new(1);
    let browser = world.signed_in().await;
    let request = browser.send("/seen");
    let mut request = to_http(&request);
    let own = request.headers()[COOKIE].to_str().unwrap().to_owned();
    let cookies = format!("theme=dark; {own}; lang=en");
    request
        .headers_mut()
        .insert(COOKIE, HeaderValue::try_from(cookies).unwrap());
    let bearer = HeaderValue::from_static("Bearer of-the-browser");
    request.headers_mut().insert("authorization", bearer);
    let seen = crate::world::text(world.instances[0].answer(request).await).await;
    assert!(seen.contains("cookie: theme=dark; lang=en\n"), "{seen}");
    assert!(!seen.contains("session"), "{seen}");
    assert!(!seen.contains("authorization"), "{seen}");
}
