//! The acceptance facts of a gateway, g1 to g7, as a browser meets them.

use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use evertoken::gateway::Mode;
use evertoken::testing::browser::Call;
use evertoken::{BackgroundTimer, OptimisticEarly, TokenPair};
use std::time::Duration;

use crate::world::{
    ACCESS_TTL, MINUTE, OTHER_KINDS, SECOND, World, header, json, page, set_and_deleted,
};

#[tokio::test(start_paused = true)]
async fn g1_a_dead_session_leads_a_page_to_the_login_and_everything_else_gets_401_without_its_cookies()
 {
    let world = World::new(1);
    for kind in OTHER_KINDS.into_iter().map(Some).chain([None]) {
        let browser = world.signed_in().await;
        let names = browser.names();
        world.server.revoke_all();
        world.expire().await;
        let call = match kind {
            Some(kind) => Call::new(kind, "/token"),
            None => Call::navigation("/token"),
        };
        let answer = world.instances[0].send(&browser, call).await;
        assert_eq!(set_and_deleted(&answer), (vec![], names), "{kind:?}");
        let location = header(&answer, LOCATION).map(str::to_owned);
        match kind {
            None => {
                assert_eq!(answer.status(), StatusCode::SEE_OTHER);
                assert_eq!(location.as_deref(), Some("/login?to=%2Ftoken"));
            }
            Some(_) => {
                assert_eq!(
                    (answer.status(), location),
                    (StatusCode::UNAUTHORIZED, None)
                );
                assert_eq!(json(answer).await["error"], "signed_out");
            }
        }
        assert_eq!(browser.names(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn g2_heartbeats_at_the_interval_that_the_strategy_asks_for_keep_an_idle_page_alive() {
    let window = Duration::from_secs(60);
    let early = OptimisticEarly::default().window(window);
    for (policy, expected) in [
        (page(), (ACCESS_TTL - Duration::from_secs(10)).as_secs()),
        (page().strategy(early), (ACCESS_TTL - window).as_secs()),
        (page().idle(4 * MINUTE), 120),
        (page().strategy(BackgroundTimer::default()), 590),
    ] {
        let mut world = World::new(0);
        let instance = world.add(Mode::Synchronised, policy);
        let browser = world.signed_in().await;
        let first = json(instance.send(&browser, "/session").await).await;
        let mut next = first["next_heartbeat_in"].as_u64().unwrap();
        assert!(next.abs_diff(expected) <= 15, "{next} {expected}");
        let began = evertoken::clock::Clock::now(&world.clock);
        let day = Duration::from_secs(24 * 3_600);
        while evertoken::clock::Clock::now(&world.clock).since(began) < day {
            world.clock.advance(Duration::from_secs(next)).await;
            let answer = instance.post(&browser, "/session/heartbeat").await;
            assert_eq!(answer.status(), StatusCode::OK);
            next = json(answer).await["next_heartbeat_in"].as_u64().unwrap();
            assert!(next >= 1);
        }
        assert_eq!(instance.status(&browser).await, StatusCode::OK);
        assert_eq!(world.server.replays(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn g2_the_answer_to_a_heartbeat_has_the_pair_of_the_rotation_that_it_began() {
    let mut world = World::new(0);
    let early = OptimisticEarly::default().window(60 * SECOND);
    let instance = world.add(Mode::Synchronised, page().strategy(early));
    let browser = world.signed_in().await;
    world.clock.advance(ACCESS_TTL - 30 * SECOND).await;
    let answer = instance.post(&browser, "/session/heartbeat").await;
    assert_eq!(set_and_deleted(&answer).0.len(), 1);
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn g3_an_opaque_cookie_has_no_token_and_serves_on_every_instance() {
    let world = World::of(3, Mode::Opaque);
    let browser = world.browser();
    let pair = world.server.issue();
    let access = pair.access.as_ref().unwrap().expose().to_owned();
    let mut set = HeaderMap::new();
    let gateway = &world.instances[0].gateway;
    gateway.sign_in(&set, pair).await.unwrap().apply(&mut set);
    browser.send("/").arrived(StatusCode::OK, &set);
    assert_eq!(browser.names().len(), 1);
    for instance in &world.instances {
        assert_eq!(instance.serves(&browser).await, access);
    }
    world.assert_exchanges(0);
}

#[tokio::test(start_paused = true)]
async fn g4_each_kind_of_client_has_its_own_grace_and_strategy() {
    let mut world = World::new(0);
    let early = OptimisticEarly::default().window(60 * SECOND);
    let builder = world
        .builder(page())
        .policy("phone", page().retired_for(5 * MINUTE).strategy(early));
    let pages = world.add_built(builder, |gateway| gateway);
    let phones = evertoken::Gateway::builder(&pages.sessions)
        .sealer(world.keys.clone())
        .cookie("phone")
        .policy("phone")
        .build()
        .unwrap();
    let phones = crate::world::Instance::new(pages.sessions.clone(), phones, &world.server);
    for (instance, is_early, grace) in [(&pages, false, 30 * SECOND), (&phones, true, 5 * MINUTE)] {
        let browser = world.browser();
        instance.send(&browser, Call::navigation("/sign-in")).await;
        world.clock.advance(ACCESS_TTL - 30 * SECOND).await;
        let exchanges = world.server.exchanges();
        let old = browser.send("/token");
        instance.post(&browser, "/session/heartbeat").await;
        assert_eq!(world.server.exchanges() - exchanges, u64::from(is_early));
        if !is_early {
            world.expire().await;
            instance.serves(&browser).await;
        }
        instance.serves(&browser).await;
        world.clock.advance(grace - SECOND).await;
        assert_eq!(
            instance.answer(crate::world::to_http(&old)).await.status(),
            StatusCode::OK
        );
        world.clock.advance(2 * SECOND).await;
        let over = instance.answer(crate::world::to_http(&old)).await;
        assert_eq!(over.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test(start_paused = true)]
async fn g5_a_session_is_found_by_the_access_token_that_a_browsers_request_got() {
    let world = World::new(2);
    let browser = world.signed_in().await;
    world.expire().await;
    let access = world.instances[0].serves(&browser).await;
    let found = world.instances[1]
        .sessions
        .find_by_access(&access.as_str().into())
        .await;
    let tokens = found.unwrap().unwrap();
    assert_eq!(tokens.token().await.unwrap().expose(), access);
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn g6_instances_with_one_key_open_each_others_cookies_and_nobody_else_does() {
    let world = World::new(3);
    let browser = world.signed_in().await;
    let value = browser.value(&browser.names()[0]).unwrap();
    for instance in &world.instances {
        let token = instance.serves(&browser).await;
        assert!(!value.contains(&token));
    }
    let mut other = World::new(0);
    other.store = world.store.clone();
    let foreign = other.add(Mode::Synchronised, page());
    assert_eq!(foreign.status(&browser).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn g7_a_job_that_a_request_has_pinned_goes_on_with_its_cookie_through_ten_rotations() {
    let mut world = World::new(0);
    let instance = world.add(Mode::Synchronised, page().pinned(6 * 60 * MINUTE));
    let browser = world.signed_in().await;
    // The job keeps the cookies of the request that started it.
    let job = browser.send("/token");
    let id: evertoken::SessionId = {
        let answer = instance.send(&browser, "/presented").await;
        crate::world::text(answer).await.parse().unwrap()
    };
    let presented = instance.sessions.present(&id).await.unwrap();
    let copy = presented.pair().unwrap();
    let pinned = instance.sessions.present(copy).await.unwrap();
    assert_eq!(pinned.pin(6 * 60 * MINUTE).await.unwrap(), 6 * 60 * MINUTE);
    for _ in 0..10 {
        world.expire().await;
        instance.serves(&browser).await;
        world.clock.advance(31 * SECOND).await;
        instance.serves(&browser).await;
        let answer = instance.answer(crate::world::to_http(&job)).await;
        assert_eq!(answer.status(), StatusCode::OK);
    }
    world.assert_exchanges(10);
    world.clock.advance(6 * 60 * MINUTE).await;
    instance.serves(&browser).await;
    let over = instance.answer(crate::world::to_http(&job)).await;
    assert_eq!(over.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_expired_before_the_sign_in_is_rotated_with_the_first_request() {
    let world = World::new(1);
    let issued = world.server.issue();
    let refresh = issued.refresh.unwrap();
    let pair = TokenPair::from_refresh_token(refresh.expose());
    let mut set = HeaderMap::new();
    let gateway = &world.instances[0].gateway;
    gateway.sign_in(&set, pair).await.unwrap().apply(&mut set);
    let browser = world.browser();
    browser.send("/").arrived(StatusCode::OK, &set);
    assert_eq!(world.instances[0].status(&browser).await, StatusCode::OK);
    world.assert_exchanges(1);
}
