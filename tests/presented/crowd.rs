//! Ten thousand presentations at once, and ten thousand that mean no good.

use std::net::{IpAddr, Ipv4Addr};

use evertoken::{Error, PairRefusal, Presented, TokenPair};
use futures_util::future::join_all;

use crate::support::settle;
use crate::world::{Service, assert_refused, page};

const CROWD: usize = 10_000;

/// One expired pair, at instances that hold it, and at instances that have never seen it.
async fn is_served_with_one_call(instances: usize, is_known: bool) {
    let service = Service::of(instances + 1, page());
    let crowded = &service.instances[1..];
    let cookie = service.cookie().await;
    if is_known {
        for sessions in crowded {
            sessions.present(&cookie).await.unwrap();
        }
    }
    service.world.expire().await;
    let requests = (0..CROWD).map(|number| crowded[number % instances].present(&cookie));
    let mut tokens = std::collections::HashSet::new();
    for answer in join_all(requests).await {
        let presented = answer.unwrap();
        let renewal = presented.renewal().unwrap();
        assert_eq!(renewal.pair_id(), presented.token().pair_id());
        tokens.insert(presented.token().expose().to_owned());
    }
    assert_eq!(tokens.len(), 1);
    service.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_presentations_of_one_expired_pair_make_one_call_on_one_instance() {
    is_served_with_one_call(1, true).await;
    is_served_with_one_call(1, false).await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_presentations_of_one_expired_pair_make_one_call_on_three_instances() {
    is_served_with_one_call(3, true).await;
    is_served_with_one_call(3, false).await;
}

/// All in one process and at once, so that none profits from what another one found out.
#[tokio::test(start_paused = true)]
async fn ten_thousand_pairs_of_another_session_and_of_the_past_make_no_call_and_change_no_session()
{
    let service = Service::of(3, page());
    let other = service.cookie().await;
    let first = service.cookie().await;
    let second = service.rotate(&first).await;
    let live = service.rotate(&second).await;
    service.present(&live).await.unwrap();
    settle().await;
    service.pass(crate::world::GRACE).await;
    let exchanges = service.world.counts().exchanges;
    let mut form = serde_json::to_value(&other).unwrap();
    form["id"] = serde_json::to_value(live.id()).unwrap();
    let foreign: evertoken::BrowserPair = serde_json::from_value(form).unwrap();
    let requests = (0..CROWD).map(|number| {
        let sessions = &service.instances[number % 3];
        let (what, why): (Presented, _) = match number % 4 {
            0 => ((&first).into(), PairRefusal::Retired),
            1 => ((&second).into(), PairRefusal::Retired),
            2 => ((&foreign).into(), PairRefusal::OfAnotherSession),
            _ => (live.pair().clone().into(), PairRefusal::OfAnotherSession),
        };
        async move { (sessions.present(what).await, why) }
    });
    let mut limited = 0;
    for (answer, why) in join_all(requests).await {
        match answer {
            // A pair without its session is counted before the store is searched for it.
            Err(Error::TooManyUnknownPairs { .. }) => limited += 1,
            answer => assert_refused(answer, why),
        }
    }
    assert_eq!(limited, CROWD / 4 - 30);
    service.assert_exchanges(exchanges);
    // Nothing has changed for the live sessions.
    for sessions in &service.instances {
        let presented = sessions.present(&live).await.unwrap();
        assert!(presented.renewal().is_none());
    }
    let presented = service.present(&other).await.unwrap();
    assert_eq!(presented.id(), other.id());
}

/// One unknown token, ten thousand times, from ten thousand addresses: it is sent once, and known from then on.
#[tokio::test(start_paused = true)]
async fn one_unknown_token_ten_thousand_times_makes_one_call_and_no_live_session_notices() {
    let service = Service::of(3, page());
    let cookie = service.cookie().await;
    let unknown = TokenPair::from_refresh_token("an unknown token".to_owned());
    let requests = (0_u32..).zip(0..CROWD).map(|(address, number)| {
        let peer = IpAddr::from(Ipv4Addr::from_bits(address));
        let presented = Presented::from(unknown.clone()).peer(peer);
        service.instances[number % 3].present(presented)
    });
    for answer in join_all(requests).await {
        let error = answer.unwrap_err();
        assert!(matches!(error, Error::Ended { .. }), "{error:?}");
    }
    assert_eq!(service.world.server.exchanges(), 1);
    assert_eq!(service.world.server.families_revoked(), 0);
    for sessions in &service.instances {
        let presented = sessions.present(&cookie).await.unwrap();
        assert!(presented.renewal().is_none());
    }
    service.rotate(&cookie).await;
}
