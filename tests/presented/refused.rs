//! Pairs of other sessions, garbage and old pairs: nothing is sent, and no session changes.

use evertoken::{BrowserPair, Error, PairRefusal};

use crate::support::settle;
use crate::world::{Service, assert_refused, page};

/// A cookie whose id is that of another one: a service that mixes up its cookies.
fn under(id: &BrowserPair, pair: &BrowserPair) -> BrowserPair {
    let mut form = serde_json::to_value(pair).unwrap();
    form["id"] = serde_json::to_value(id.id()).unwrap();
    serde_json::from_value(form).unwrap()
}

#[tokio::test(start_paused = true)]
async fn n13_a_pair_of_another_session_is_refused_and_neither_session_changes() {
    let service = Service::of(2, page());
    let (ada, bob) = (service.cookie().await, service.cookie().await);
    for expired in [false, true] {
        if expired {
            service.world.expire().await;
        }
        for sessions in &service.instances {
            let mixed_up = under(&ada, &bob);
            let refusal = PairRefusal::OfAnotherSession;
            assert_refused(sessions.present(mixed_up).await, refusal);
        }
    }
    service.assert_exchanges(0);
    let of_ada = service.present(&ada).await.unwrap();
    let of_bob = service.present(&bob).await.unwrap();
    service.assert_exchanges(2);
    assert_ne!(of_ada.token().pair_id(), of_bob.token().pair_id());
    assert_eq!(of_ada.renewal().unwrap().id(), ada.id());
    assert_eq!(of_bob.renewal().unwrap().id(), bob.id());
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_was_retired_long_ago_is_never_sent_and_ends_nothing() {
    let service = Service::of(2, page());
    let first = service.cookie().await;
    let mut cookie = first.clone();
    for _ in 0..30 {
        cookie = service.rotate(&cookie).await;
    }
    service.assert_exchanges(30);
    for round in 0..1_000 {
        let presented = service.instances[round % 2].present(&first).await;
        assert_refused(presented, PairRefusal::Retired);
    }
    service.assert_exchanges(30);
    service.rotate(&cookie).await;
}

/// The record has forgotten it, and the store of an instance that has never seen the session is all there is to know of it.
#[tokio::test(start_paused = true)]
async fn a_pair_of_the_token_endpoint_that_was_retired_long_ago_is_refused_on_every_instance() {
    let service = Service::of(2, page());
    let second = service.rotate(&service.cookie().await).await;
    let mut cookie = second.clone();
    for _ in 0..30 {
        cookie = service.rotate(&cookie).await;
    }
    let restarted = service.node(page()).sessions;
    for sessions in service.instances.iter().chain([&restarted]) {
        let refused = sessions.present(&second).await;
        assert_refused(refused, PairRefusal::Retired);
        sessions.present(&cookie).await.unwrap();
    }
    service.assert_exchanges(31);
}

#[tokio::test(start_paused = true)]
async fn after_a_logout_no_cookie_of_the_session_gets_a_token() {
    let service = Service::of(2, page());
    let first = service.cookie().await;
    let second = service.rotate(&first).await;
    let presented = service.instances[1].present(&second).await.unwrap();
    let leaving = service.present(&second).await.unwrap();
    assert!(leaving.tokens().logout().await.stored.is_ok());
    settle().await;
    for sessions in &service.instances {
        for cookie in [&first, &second] {
            let error = match sessions.present(cookie).await {
                // The other instance still holds the access token, which the server has revoked.
                Ok(presented) => presented.tokens().rotate().await.unwrap_err(),
                Err(error) => error,
            };
            assert!(error.needs_sign_in(), "{error}");
        }
    }
    assert!(!service.world.is_live(presented.token()));
    service.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_nobody_is_signed_out() {
    let service = Service::of(2, page());
    let first = service.cookie().await;
    let second = service.rotate(&first).await;
    service.world.store.set_down(true);
    service.request(&second).await;
    for (instance, cookie) in [(0, &first), (1, &first), (1, &second)] {
        let error = service.instances[instance].present(cookie).await;
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Store { .. }), "{error:?}");
        assert!(error.is_retryable() && !error.needs_sign_in());
    }
    service.world.store.set_down(false);
    for sessions in &service.instances {
        sessions.present(&first).await.unwrap();
        sessions.present(&second).await.unwrap();
    }
    service.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn no_output_has_a_token_or_an_id() {
    let service = Service::new();
    let cookie = service.cookie().await;
    let presented = service.present(&cookie).await.unwrap();
    let shown = format!("{cookie:?} {presented:?} {:?}", service.instances[0]);
    let tokens = cookie.pair();
    let access = tokens.access.as_ref().unwrap().expose();
    let refresh = tokens.refresh.as_ref().unwrap().expose();
    let id = cookie.id().to_string();
    let digits = id.strip_prefix("page.").unwrap();
    for secret in [access, refresh, digits] {
        assert!(!shown.contains(secret), "{shown}");
    }
    for form in [
        serde_json::json!({ "id": id, "pair": { "refresh_token": "sesame" } }),
        serde_json::json!({ "sesame": "sesame" }),
        serde_json::json!("sesame"),
    ] {
        let error = serde_json::from_value::<BrowserPair>(form).unwrap_err();
        assert!(!error.to_string().contains("sesame"), "{error}");
    }
}
