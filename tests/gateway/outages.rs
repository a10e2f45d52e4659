//! While it is not known whether a session is alive, no user is signed out.

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER};
use evertoken::EndpointError;
use evertoken::testing::browser::{Call, Kind};
use evertoken::testing::{CallFault, EndpointCall};

use crate::world::{OTHER_KINDS, SECOND, World, header, json, lines};

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_a_server_that_comes_back() {
    let world = World::new(1);
    let browser = world.signed_in().await;
    world.expire().await;
    world.endpoint.set_down(true);
    let (instance, browser) = (world.instances[0].clone(), browser);
    let waiting = tokio::spawn(async move { instance.status(&browser).await });
    world.clock.advance(10 * SECOND).await;
    assert!(!waiting.is_finished());
    world.endpoint.set_down(false);
    assert_eq!(waiting.await.unwrap(), StatusCode::OK);
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn while_the_server_or_the_store_is_down_every_request_gets_503_and_keeps_its_cookies() {
    for is_store in [false, true] {
        let world = World::new(1);
        let browser = world.signed_in().await;
        world.expire().await;
        match is_store {
            true => world.store.set_down(true),
            false => world.endpoint.set_down(true),
        }
        let kinds = OTHER_KINDS
            .into_iter()
            .filter(|kind| *kind != Kind::EventSource);
        for kind in kinds.chain([Kind::Navigation]) {
            let answer = world.instances[0]
                .send(&browser, Call::new(kind, "/token"))
                .await;
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{kind:?}");
            assert_eq!(lines(&answer), [""; 0]);
            assert!(
                header(&answer, RETRY_AFTER)
                    .unwrap()
                    .parse::<u32>()
                    .unwrap()
                    >= 1
            );
            assert_eq!(header(&answer, CACHE_CONTROL), Some("no-store, private"));
            assert_eq!(json(answer).await["error"], "unavailable");
        }
        world.store.set_down(false);
        world.endpoint.set_down(false);
        world.clock.advance(120 * SECOND).await;
        assert_eq!(world.instances[0].status(&browser).await, StatusCode::OK);
    }
}

#[tokio::test(start_paused = true)]
async fn a_public_route_waits_for_nothing() {
    let world = World::new(1);
    let browser = world.signed_in().await;
    world.expire().await;
    world.endpoint.set_down(true);
    let before = world.clock.clone();
    let began = evertoken::clock::Clock::now(&before);
    let answer = world.instances[0].send(&browser, "/public").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(evertoken::clock::Clock::now(&before), began);
    assert_eq!(world.server.exchanges(), 0);
}

#[tokio::test(start_paused = true)]
async fn report_15_an_event_source_is_held_until_there_is_a_token() {
    let world = World::new(1);
    let browser = world.signed_in().await;
    world.expire().await;
    world.endpoint.set_down(true);
    let instance = world.instances[0].clone();
    let held = tokio::spawn(async move {
        let stream = Call::new(Kind::EventSource, "/token");
        instance.send(&browser, stream).await.status()
    });
    // Far longer than any other request is held.
    world.clock.advance(600 * SECOND).await;
    assert!(!held.is_finished());
    world.endpoint.set_down(false);
    assert_eq!(held.await.unwrap(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn only_the_servers_word_about_the_token_ends_a_session() {
    let errors: [fn() -> EndpointError; 6] = [
        || EndpointError::refused("invalid_client"),
        || EndpointError::refused("unauthorized_client"),
        || EndpointError::later(None),
        || EndpointError::unavailable(502, None),
        || EndpointError::page(200),
        || EndpointError::unknown("silence"),
    ];
    for error in errors {
        let world = World::new(1);
        let browser = world.signed_in().await;
        world.expire().await;
        let shown = error().to_string();
        let fault = CallFault::Error(error);
        world
            .endpoint
            .fail_always(EndpointCall::Refresh, Some(fault));
        let page = Call::navigation("/token");
        let answer = world.instances[0].send(&browser, page).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{shown}");
        assert_eq!(lines(&answer), [""; 0], "{shown}");
        world.endpoint.fail_always(EndpointCall::Refresh, None);
        world.clock.advance(700 * SECOND).await;
        assert_eq!(
            world.instances[0].status(&browser).await,
            StatusCode::OK,
            "{shown}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_leaves_while_it_waits_disturbs_nobody() {
    let world = World::new(1);
    let browser = world.signed_in().await;
    world.expire().await;
    let hold = world.server.hold();
    let request = browser.send("/token");
    let mut first = Box::pin(world.instances[0].answer(crate::world::to_http(&request)));
    let left = tokio::time::timeout(SECOND, &mut first).await;
    assert!(left.is_err());
    drop(first);
    drop(hold);
    assert_eq!(world.instances[0].status(&browser).await, StatusCode::OK);
    world.assert_exchanges(1);
}
