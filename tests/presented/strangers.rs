//! What strangers and careless programs present: made-up pairs, names of policies, tokens of other services, pins.

use evertoken::testing::{AuthorizationServer, FaultyStore, StoreCall};
use evertoken::{Error, PairRefusal, Presented, SessionPolicy, Sessions, TokenPair};

use crate::support::{HOUR, MINUTE, TTL, World};
use crate::world::{Service, assert_refused, page};

/// An endpoint that can sign in for the service would otherwise begin the session.
#[tokio::test(start_paused = true)]
async fn a_policy_that_the_builder_does_not_have_begins_no_session_for_a_stranger() {
    let world = World::of(AuthorizationServer::builder().sign_in(true).access_ttl(TTL));
    let sessions = Sessions::builder(world.endpoint())
        .clock(world.clock.clone())
        .build()
        .unwrap();
    let garbage = TokenPair::from_refresh_token("garbage");
    let ok = sessions
        .present(Presented::from(garbage.clone()).policy("page"))
        .await;
    assert!(ok.is_err());
    drop(garbage);
    let bad = sessions
        .present(Presented::from(TokenPair::from_refresh_token("other")).policy("Page"))
        .await;
    assert!(matches!(bad, Err(Error::UnknownPolicy)), "{bad:?}");
    assert_eq!(world.server.exchanges(), 0);
}

/// It would have no limits.
#[tokio::test(start_paused = true)]
async fn a_sign_in_under_a_misspelt_policy_is_refused() {
    let service = Service::of(1, page().absolute(HOUR));
    let signing_in = service.instances[0].sign_in(service.world.server.issue());
    let error = signing_in.policy("pgae").await.unwrap_err();
    assert!(
        matches!(error, evertoken::Error::UnknownPolicy),
        "{error:?}"
    );
}

/// Its id could not be read back.
#[tokio::test(start_paused = true)]
async fn a_sign_in_under_a_name_that_is_none_is_refused() {
    let service = Service::of(1, page());
    let signing_in = service.instances[0].sign_in(service.world.server.issue());
    let error = signing_in.policy("Page").await.unwrap_err();
    assert!(
        matches!(error, evertoken::Error::UnknownPolicy),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn g5_an_access_token_of_another_service_in_the_same_store_finds_nothing() {
    let service = Service::of(1, page());
    let key = evertoken::Key::new("https://other.example", "other");
    let other = evertoken::testing::AuthorizationServer::builder()
        .clock(service.world.clock.clone())
        .access_ttl(TTL)
        .build();
    let theirs = Sessions::builder(other.endpoint().with_key(key))
        .clock(service.world.clock.clone())
        .store(service.world.store.clone())
        .policy("page", page())
        .build()
        .unwrap();
    let id = theirs.sign_in(other.issue()).policy("page").await.unwrap();
    let access = theirs
        .present(&id)
        .await
        .unwrap()
        .pair()
        .unwrap()
        .pair()
        .access
        .clone()
        .unwrap();
    service.world.expire().await;
    let found = service.instances[0].find_by_access(&access).await.unwrap();
    assert!(found.is_none());
    assert!(theirs.find_by_access(&access).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_pair_of_unknown_origin_has_one_session_whichever_policy_it_is_presented_under() {
    let service = Service::with(1, page(), |builder| {
        builder.policy("app", page()).kept_for(HOUR)
    });
    let bare = service.world.server.issue();
    service
        .present(Presented::from(bare.clone()).policy("page"))
        .await
        .unwrap();
    let again = Presented::from(bare.clone()).policy("app");
    assert_refused(service.present(again).await, PairRefusal::Retired);
    service.world.expire().await;
    for policy in ["page", "app"] {
        let again = Presented::from(bare.clone()).policy(policy);
        assert_refused(service.present(again).await, PairRefusal::Retired);
    }
    service.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_with_a_pair_that_was_presented_before_is_refused_and_the_session_goes_on() {
    let service = Service::new();
    let bare = service.world.server.issue();
    let p = service.present(bare.clone()).await.unwrap();
    let cookie = p.renewal().unwrap();
    let signed_in = service.instances[0].sign_in(bare).policy("page").await;
    assert!(
        matches!(signed_in, Err(Error::AlreadyUsed)),
        "{signed_in:?}"
    );
    service.world.expire().await;
    service.present(&cookie).await.unwrap();
    service.assert_exchanges(2);
}

#[tokio::test(start_paused = true)]
async fn a_made_up_pair_with_an_access_token_is_exchanged_before_it_is_accepted() {
    let service = Service::new();
    let p = service
        .present(TokenPair::new("garbage").refresh_token("junk"))
        .await;
    assert!(matches!(p, Err(Error::Ended { .. })), "{p:?}");
    assert_eq!(service.world.server.exchanges(), 1);
}

#[tokio::test(start_paused = true)]
async fn unknown_pairs_over_the_limit_do_not_search_the_store() {
    let service = Service::of(0, page());
    let store = FaultyStore::new(evertoken::MemoryStore::with_clock(
        service.world.clock.clone(),
    ));
    let s = service
        .builder(page())
        .store(store.clone())
        .unknown_pairs(1)
        .build()
        .unwrap();
    for _ in 0..300 {
        s.sign_in(service.world.server.issue()).await.unwrap();
    }
    let before = store.calls(StoreCall::Find);
    for n in 0..100 {
        let unknown = TokenPair::from_refresh_token(format!("x{n}"));
        assert!(s.present(unknown).await.is_err());
    }
    assert!(store.calls(StoreCall::Find) - before < 10);
}

#[tokio::test(start_paused = true)]
async fn g7_a_shorter_pin_does_not_end_a_longer_one() {
    let service = Service::of(1, SessionPolicy::new().pinned(3 * HOUR));
    let first = service.cookie().await;
    service
        .present(&first)
        .await
        .unwrap()
        .pin(3 * HOUR)
        .await
        .unwrap();
    service
        .present(&first)
        .await
        .unwrap()
        .pin(MINUTE)
        .await
        .unwrap();
    service.rotate(&first).await;
    service.pass(2 * MINUTE).await;
    service.present(&first).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn g7_a_pair_that_the_store_does_not_have_can_be_pinned() {
    let policy = || page().pinned(HOUR);
    let service = Service::of(1, policy());
    let cookie = service.cookie().await;
    let other = service.alone(policy());
    let p = other.present(&cookie).await.unwrap();
    p.pin(MINUTE).await.unwrap();
}
