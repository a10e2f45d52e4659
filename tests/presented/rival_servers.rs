//! Servers that answer a used refresh token in ways of their own, and instances that share the browser alone.

use evertoken::testing::{AuthorizationServer, CallFault, EndpointCall, Reuse};
use evertoken::{BrowserPair, Coordination, EndpointError, MemoryStore, Presented, Sessions};

use crate::support::{MINUTE, SECOND, World, end_of, settle};
use crate::world::{Service, page, request};

/// The server links an old refresh token to the new pair for one to five minutes.
#[tokio::test(start_paused = true)]
async fn n15_instances_without_a_common_store_get_one_pair_for_one_token_inside_the_servers_window()
{
    for minutes in [1, 5] {
        let window = minutes * MINUTE;
        let service = Service::at(|server| server.reuse(Reuse::Linked { window }));
        let [one, other, late] = [(); 3].map(|()| service.alone(page()));
        let cookie = service.cookie_at(&one).await;
        service.world.expire().await;
        let first = one.present(&cookie).await.unwrap();
        service.pass(window - SECOND).await;
        let again = other.present(&cookie).await.unwrap();
        let (first, again) = (first.renewal().unwrap(), again.renewal().unwrap());
        assert_eq!(first.pair().refresh, again.pair().refresh);
        assert_eq!(first.pair().access, again.pair().access);
        assert_eq!(
            (
                service.world.server.rotations(),
                service.world.server.replays()
            ),
            (1, 1)
        );
        service.pass(SECOND).await;
        // Too late: this instance alone does not know the newer pair.
        assert!(end_of(late.present(&cookie).await).is_rejected());
        assert_eq!(service.world.server.families_revoked(), 0);
        // The browser that has the newer pair lives on, wherever it goes, and whichever copy of the pair it has.
        for sessions in [&one, &other, &late] {
            for cookie in [&first, &again] {
                let presented = sessions.present(cookie).await.unwrap();
                assert!(service.world.is_live(presented.token()));
            }
        }
        service.world.expire().await;
        let presented = late.present(&again).await.unwrap();
        assert!(service.world.is_live(presented.token()));
        let next = presented.renewal().unwrap();
        for sessions in [&one, &other, &late] {
            sessions.present(&next).await.unwrap();
        }
    }
}

/// The request with the old token is on its way for longer than the access token of the next pair lives, so that the instance has
/// no token to go on with when the server refuses the old one.
#[tokio::test(start_paused = true)]
async fn n15_a_late_refusal_of_the_old_token_does_not_end_the_session_whose_newer_pair_a_browser_has_brought()
 {
    let service = Service::at(|server| server.access_ttl(10 * SECOND).reuse(Reuse::Refuse));
    let store = || MemoryStore::with_clock(service.world.clock.clone());
    let [one, other] = [(); 2].map(|()| {
        service.node_with(page(), |builder| {
            builder.coordination(Coordination::None).store(store())
        })
    });
    let old = service.cookie_at(&one.sessions).await;
    service.pass(11 * SECOND).await;
    let hang = Some(CallFault::HangBefore);
    other.endpoint.fail_always(EndpointCall::Refresh, hang);
    let waiting = request(&other.sessions, &old);
    settle().await;
    let newer = one.sessions.present(&old).await.unwrap().renewal().unwrap();
    // The other instance goes on with what the browser brings, while its own request is on its way.
    let presented = other.sessions.present(&newer).await.unwrap();
    assert!(service.world.is_live(presented.token()));
    service.pass(11 * SECOND).await;
    other.endpoint.fail_always(EndpointCall::Refresh, None);
    other.endpoint.release();
    settle().await;
    let presented = other.sessions.present(&newer).await.unwrap();
    assert!(service.world.is_live(presented.token()));
    let next = presented.renewal().expect("the newer pair was rotated");
    assert!(waiting.await.unwrap().is_ok());
    one.sessions.present(&next).await.unwrap();
    // The old token alone was sent twice.
    assert_eq!(service.world.server.replays(), 1);
}

/// A service at light-oauth2, with two instances that are configured as the client `gateway`, and as another client.
fn at_light_oauth2(id: &str, secret: &str) -> (Service, Sessions, Sessions) {
    let server = AuthorizationServer::light_oauth2()
        .client("gateway", "secret")
        .another_client("other", "secret");
    let service = Service::in_world(World::of(server));
    let instance = |id: &str, secret: &str| {
        let endpoint = service.world.endpoint().with_client(id, secret);
        let builder = service.builder_at(endpoint, page());
        builder.store(service.world.store.clone()).build().unwrap()
    };
    let (right, wrong) = (instance("gateway", "secret"), instance(id, secret));
    (service, right, wrong)
}

async fn assert_is_no_verdict(wrong: &Sessions, cookie: &BrowserPair, code: &str) {
    for presented in [Presented::from(cookie), Presented::from(cookie.id())] {
        let error = wrong.present(presented).await.unwrap_err();
        assert!(!error.needs_sign_in(), "{error:?}");
        let answer = error.endpoint().expect("the server answers");
        assert!(matches!(answer, EndpointError::Refused { .. }), "{error:?}");
        assert_eq!(answer.code(), Some(code));
    }
}

/// A wrong secret is refused without a look at the token.
#[tokio::test(start_paused = true)]
async fn n16_a_4xx_for_an_unknown_client_signs_no_browser_out() {
    let (service, right, wrong) = at_light_oauth2("gateway", "typo");
    let cookie = service.cookie_at(&right).await;
    service.world.expire().await;
    assert_is_no_verdict(&wrong, &cookie, "ERR12007").await;
    service.pass(MINUTE).await;
    let presented = right.present(&cookie).await.unwrap();
    assert!(service.world.is_live(presented.token()));
    // The wrong instance has the pair too, as long as its token lives.
    wrong.present(&cookie).await.unwrap();
}

/// The refresh token that another client presents is gone. The refusal of that client is no verdict about the session, and what
/// the server then says to the right client is one.
#[tokio::test(start_paused = true)]
async fn n16_a_4xx_for_a_wrong_client_that_burns_the_token_is_no_verdict() {
    let (service, right, wrong) = at_light_oauth2("other", "secret");
    let cookie = service.cookie_at(&right).await;
    let newer = service.cookie_at(&right).await;
    service.world.expire().await;
    assert_is_no_verdict(&wrong, &cookie, "ERR12028").await;
    // The right instance keeps the pause, and signs no user out in it.
    service.pass(SECOND).await;
    let access = cookie.pair().access.as_ref().unwrap();
    assert!(right.find_by_access(access).await.unwrap().is_some());
    service.pass(MINUTE).await;
    assert!(end_of(right.present(&cookie).await).is_rejected());
    assert_eq!(service.world.server.replays(), 0);
    // Another session is not touched.
    let presented = right.present(&newer).await.unwrap();
    assert!(service.world.is_live(presented.token()));
}
