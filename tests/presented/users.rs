//! Two users, and two sessions of one user: none gets what is the other's.

use std::time::Duration;

use evertoken::{BrowserPair, EndReason, PairRefusal, Sessions};

use crate::ledger::{Ledger, Noted};
use crate::support::{SECOND, end_of, settle};
use crate::world::{Service, assert_refused, page, request};

/// A cookie with the id of one user and the pair of another.
fn mixed_up(id: &BrowserPair, pair: &BrowserPair) -> BrowserPair {
    let mut form = serde_json::to_value(pair).unwrap();
    form["id"] = serde_json::to_value(id.id()).unwrap();
    serde_json::from_value(form).unwrap()
}

#[tokio::test(start_paused = true)]
async fn two_users_that_are_interleaved_a_thousand_times_never_get_each_others_token() {
    let service = Service::at(|server| server.latency(Duration::from_millis(20)));
    let ledger = Ledger::default();
    let endpoint = Noted {
        inner: service.world.endpoint(),
        ledger: ledger.clone(),
    };
    let instances: Vec<Sessions> = (0..2)
        .map(|_| {
            let builder = service.builder_at(endpoint.clone(), page());
            builder.store(service.world.store.clone()).build().unwrap()
        })
        .collect();
    let mut jars = Vec::new();
    for owner in 0..2 {
        let pair = service.world.server.issue();
        ledger.signed_in(owner, &pair);
        let id = instances[0].sign_in(pair).policy("page").await.unwrap();
        jars.push(instances[0].present(&id).await.unwrap().pair().unwrap());
    }
    for round in 0..1_000_usize {
        let mut requests = Vec::new();
        for number in 0..4 {
            let owner = (round / 3 + number) % 2;
            let sessions = &instances[(round + number / 2) % 2];
            requests.push((owner, request(sessions, &jars[owner])));
            requests.push((owner, request(sessions, jars[owner].id())));
        }
        for (owner, request) in requests {
            let presented = request.await.unwrap().unwrap();
            assert_eq!(ledger.find(presented.token().expose()).owner, owner);
            if let Some(renewal) = presented.renewal().filter(|_| round % 4 > 0) {
                assert_eq!(ledger.of(renewal.pair()).owner, owner);
                jars[owner] = renewal;
            }
        }
        if round % 10 == 0 {
            for (one, other) in [(0, 1), (1, 0)] {
                let cookie = mixed_up(&jars[one], &jars[other]);
                let refused = instances[round / 10 % 2].present(cookie).await;
                assert_refused(refused, PairRefusal::OfAnotherSession);
            }
        }
        service.pass(Duration::from_secs(round as u64 % 70)).await;
    }
    assert!(service.world.server.exchanges() > 50);
    service.world.assert_unharmed();
}

/// The user logs out while a rotation is under way, and signs in anew; then the rotation goes on.
#[tokio::test(start_paused = true)]
async fn a_rotation_that_is_held_back_over_a_logout_and_a_new_login_leaves_the_new_session_alone_and_the_old_one_dead()
 {
    for is_same_id in [false, true] {
        let service = Service::of(2, page());
        let [one, other] = [0, 1].map(|number| service.instances[number].clone());
        let old = service.cookie().await;
        service.world.expire().await;
        let hold = service.world.server.hold();
        let held_back = request(&one, &old);
        service.world.server.arrived(1).await;
        // The logout comes to the other instance, and so does the new sign-in.
        let leaving = other.open(old.id());
        assert!(leaving.logout().await.stored.is_ok());
        let pair = service.world.server.issue();
        let access = pair.access.clone().unwrap();
        let new = if is_same_id {
            leaving.replace(pair).await.unwrap();
            old.id().clone()
        } else {
            other.sign_in(pair).policy("page").await.unwrap()
        };
        let cookie = other.present(&new).await.unwrap().pair().unwrap();
        drop(hold);
        // The request that was held back may get the token of the new session, if that has its id, and none of the old one.
        match held_back.await.unwrap() {
            Ok(presented) => assert!(is_same_id && presented.token().expose() == access.expose()),
            Err(error) => assert!(error.needs_sign_in(), "{error:?}"),
        }
        settle().await;
        service.pass(SECOND).await;
        let restarted = service.node(page()).sessions;
        for sessions in [&one, &other, &restarted] {
            for cookie in [&old, &old] {
                let error = sessions.present(cookie).await.unwrap_err();
                assert!(error.needs_sign_in(), "{error:?}");
                if !is_same_id {
                    assert_eq!(end_of(Err::<(), _>(error)), EndReason::LoggedOut);
                }
            }
            let presented = sessions.present(&cookie).await.unwrap();
            assert_eq!(presented.token().expose(), access.expose());
            assert!(service.world.is_live(presented.token()));
        }
        // The pair of the rotation is dead at the server.
        assert_eq!(service.world.server.exchanges(), 1);
        let next = one.present(&cookie).await.unwrap();
        service.world.expire().await;
        assert!(service.world.is_live(&next.tokens().token().await.unwrap()));
        let refresh = old.pair().refresh.as_ref().unwrap();
        assert!(!service.world.server.is_live_refresh(refresh.expose()));
        assert_eq!(service.world.server.families_revoked(), 0);
    }
}
