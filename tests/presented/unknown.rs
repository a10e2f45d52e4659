//! Pairs that no session knows: of a store that lost them, of another instance, and of unknown origin.

use std::net::{IpAddr, Ipv4Addr};

use evertoken::testing::{Fault, FaultyStore, GraceAnswer, Reuse};
use evertoken::{Error, PairRefusal, Presented, TokenPair};

use crate::support::{MINUTE, SECOND, World};
use crate::world::{Service, assert_refused, page};

fn peer(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, number).into()
}

/// Without a shared store, the browser is what instances share.
#[tokio::test(start_paused = true)]
async fn instances_without_a_common_store_go_on_with_what_the_browser_brings() {
    let service = Service::of(0, page());
    let instances = [0, 1, 2].map(|_| service.alone(page()));
    let pair = service.world.server.issue();
    let id = instances[0].sign_in(pair).policy("page").await.unwrap();
    let mut cookie = instances[0].present(&id).await.unwrap().pair().unwrap();
    for round in 0..20 {
        service.world.expire().await;
        let presented = instances[round % 3].present(&cookie).await.unwrap();
        assert!(service.world.is_live(presented.token()));
        cookie = presented.renewal().unwrap();
        // The same cookie at the next instance, and back.
        for round in [round + 1, round] {
            let presented = instances[round % 3].present(&cookie).await.unwrap();
            assert!(presented.renewal().is_none());
        }
    }
    service.assert_exchanges(20);
}

/// An instance that sent a token twice has counted one lease more than the one that brings the next pair.
#[tokio::test(start_paused = true)]
async fn an_instance_that_has_counted_more_leases_goes_on_with_the_pair_of_another_one() {
    let grace = Reuse::Grace {
        window: MINUTE,
        answer: GraceAnswer::SamePair,
    };
    let mut service = Service::of(0, page());
    service.world = World::with(|server| server.reuse(grace)).with_store(FaultyStore::new);
    let [one, other] = [(); 2].map(|()| service.alone(page()));
    let pair = service.world.server.issue();
    let id = one.sign_in(pair).policy("page").await.unwrap();
    let first = one.present(&id).await.unwrap().pair().unwrap();
    other.present(&first).await.unwrap();
    service.world.expire().await;
    one.present(&first).await.unwrap();
    service.world.server.fail_next(Fault::status(503));
    let second = other.present(&first).await.unwrap().renewal().unwrap();
    service.world.expire().await;
    let third = one.present(&second).await.unwrap().renewal().unwrap();
    let presented = other.present(&third).await.unwrap();
    assert!(service.world.is_live(presented.token()));
    assert!(presented.renewal().is_none());
    service.world.expire().await;
    let fourth = other.present(&third).await.unwrap().renewal().unwrap();
    one.present(&fourth).await.unwrap();
    assert_eq!(service.world.counts().families_revoked, 0);
}

/// A backup that was put back shows a pair that is spent.
#[tokio::test(start_paused = true)]
async fn a_store_that_was_set_back_or_emptied_signs_no_browser_out() {
    use evertoken::TokenStore as _;
    for is_emptied in [false, true] {
        let service = Service::of(0, page());
        let before = service.alone(page());
        let pair = service.world.server.issue();
        let id = before.sign_in(pair).policy("page").await.unwrap();
        let mut cookie = before.present(&id).await.unwrap().pair().unwrap();
        let store = evertoken::MemoryStore::with_clock(service.world.clock.clone());
        let after = service
            .builder(page())
            .store(store.clone())
            .build()
            .unwrap();
        if !is_emptied {
            // The record of the first pair.
            let again = after.present(&cookie).await.unwrap();
            service.world.expire().await;
            cookie = after.present(&cookie).await.unwrap().renewal().unwrap();
            let key = again.tokens().key().clone();
            let loaded = store.load(&key).await.unwrap().entry.unwrap();
            service.world.expire().await;
            cookie = after.present(&cookie).await.unwrap().renewal().unwrap();
            drop(again);
            after.shutdown().await.unwrap();
            let revision = store.load(&key).await.unwrap().entry.unwrap().1;
            store.swap(&key, Some(revision), &loaded.0).await.unwrap();
        }
        let again = service.builder(page()).store(store).build().unwrap();
        let exchanges = service.world.counts().exchanges;
        again.present(&cookie).await.unwrap();
        service.world.expire().await;
        let presented = again.present(&cookie).await.unwrap();
        assert!(service.world.is_live(presented.token()));
        service.assert_exchanges(exchanges + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pair_of_unknown_origin_begins_a_session_of_its_own_and_is_renewed() {
    let service = Service::of(2, page());
    let bare = service.world.server.issue();
    let presented = service.present(bare.clone()).await.unwrap();
    assert!(service.world.is_live(presented.token()));
    let cookie = presented.renewal().unwrap();
    let next = service.rotate(&cookie).await;
    assert_refused(service.present(bare.clone()).await, PairRefusal::Retired);
    assert_refused(
        service.instances[1].present(bare).await,
        PairRefusal::Retired,
    );
    service.instances[1].present(&next).await.unwrap();
    // The id of such a session can be computed by those who had its first token.
    let error = service.present(next.id()).await.unwrap_err();
    assert!(matches!(error, Error::NoSession));
    // The first one is the proof.
    service.assert_exchanges(2);
}

/// A copy of the same pair, which the service has sealed, is still good then.
#[tokio::test(start_paused = true)]
async fn a_pair_of_unknown_origin_counts_as_long_as_it_is_current_under_a_policy_with_a_grace_too()
{
    let service = Service::of(2, page());
    let bare = service.world.server.issue();
    let presented = || Presented::from(bare.clone()).policy("page");
    let first = service.present(presented()).await.unwrap();
    let cookie = first.renewal().unwrap();
    let next = service.rotate(&cookie).await;
    for sessions in &service.instances {
        assert_refused(sessions.present(presented()).await, PairRefusal::Retired);
        let presented = sessions.present(&cookie).await.unwrap();
        assert_eq!(presented.renewal().unwrap().pair_id(), next.pair_id());
    }
    // The first one is the proof.
    service.assert_exchanges(2);
}

#[tokio::test(start_paused = true)]
async fn one_expired_pair_of_unknown_origin_makes_one_exchange_on_three_instances() {
    let service = Service::of(3, page());
    let bare = service.world.server.issue();
    let bare = TokenPair::from_refresh_token(bare.refresh.unwrap());
    let requests = (0..9).map(|number| {
        let presented = Presented::from(bare.clone()).peer(peer(1));
        service.instances[number % 3].present(presented)
    });
    for answer in futures_util::future::join_all(requests).await {
        assert!(service.world.is_live(answer.unwrap().token()));
    }
    service.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn unknown_tokens_are_limited_by_peer_and_a_refused_one_is_not_sent_again() {
    let service = Service::new();
    let cookie = service.cookie().await;
    let (mut refused, mut limited) = (0, 0);
    for number in 0..10_000 {
        let garbage = TokenPair::from_refresh_token(format!("garbage {}", number % 5_000));
        let presented = Presented::from(garbage).peer(peer(1));
        match service.present(presented).await.unwrap_err() {
            Error::Ended { .. } => refused += 1,
            Error::TooManyUnknownPairs { .. } => limited += 1,
            error => panic!("{error:?}"),
        }
    }
    // Each of the first ten comes once more, and is known by then.
    assert_eq!((refused, limited), (20, 9_980));
    assert_eq!(service.world.counts().exchanges, 10);
    // Another peer is not locked out, and this one is not for long.
    for number in [1, 2] {
        let bare = service.world.server.issue();
        let presented = service.present(Presented::from(bare).peer(peer(number)));
        assert_eq!(presented.await.is_ok(), number == 2);
    }
    service.pass(MINUTE).await;
    let bare = service.world.server.issue();
    let presented = service.present(Presented::from(bare).peer(peer(1))).await;
    presented.unwrap();
    service.pass(SECOND).await;
    service.request(&cookie).await;
}

#[tokio::test(start_paused = true)]
async fn garbage_makes_no_call_and_is_an_error() {
    let service = Service::new();
    let access_only = TokenPair::new("garbage");
    for garbage in [access_only, TokenPair::default()] {
        let error = service.present(garbage).await.unwrap_err();
        assert!(matches!(error, Error::NoSession), "{error:?}");
    }
    service.assert_exchanges(0);
}
