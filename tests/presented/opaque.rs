//! g3: the browser holds an id alone, and the pair stays in the store.

use evertoken::{Error, SessionId};
use tokio::runtime::Handle;

use crate::support::{HOUR, settle};
use crate::world::{Service, page};

#[tokio::test(start_paused = true)]
async fn g3_an_id_stays_the_same_through_rotations_and_a_sign_in_has_a_new_one() {
    let service = Service::of(2, page());
    let id = service.sign_in().await;
    for round in 0..5 {
        service.world.expire().await;
        let presented = service.instances[round % 2].present(&id).await.unwrap();
        assert!(service.world.is_live(presented.token()));
        assert_eq!(presented.id(), &id);
        assert!(presented.renewal().is_none());
    }
    service.assert_exchanges(5);
    assert_ne!(service.sign_in().await, id);
}

#[tokio::test(start_paused = true)]
async fn ids_that_strangers_make_up_cost_a_read_and_leave_nothing_behind() {
    let service = Service::new();
    let known = service.sign_in().await;
    for number in 0..100 {
        for kind in ["", "t-", "page.", "page.t-", "other."] {
            let id: SessionId = format!("{kind}{number:032x}").parse().unwrap();
            let error = service.present(&id).await.unwrap_err();
            assert!(matches!(error, Error::NoSession), "{error:?}");
        }
    }
    // The policy is a part of the id: a session under another policy is another session.
    let text = known.to_string();
    for other in [text.replace("page.", ""), text.replace("page.", "strict.")] {
        let id: SessionId = other.parse().unwrap();
        let error = service.present(&id).await.unwrap_err();
        assert!(matches!(error, Error::NoSession), "{error:?}");
    }
    settle().await;
    assert_eq!(service.instances[0].in_memory(), 0);
    service.assert_exchanges(0);
}

/// A session that is not presented leaves the memory, and a later request finds it in the store.
#[tokio::test(start_paused = true)]
async fn a_session_stays_in_memory_for_a_while_after_it_was_presented() {
    let service = Service::with(1, page(), |builder| builder.kept_for(HOUR));
    let ids = [service.sign_in().await, service.sign_in().await];
    for id in &ids {
        service.present(id).await.unwrap();
    }
    assert_eq!(service.instances[0].in_memory(), 2);
    service.pass(HOUR / 2).await;
    service.present(&ids[0]).await.unwrap();
    service.pass(HOUR * 9 / 10).await;
    assert_eq!(service.instances[0].in_memory(), 1);
    service.pass(HOUR).await;
    assert_eq!(service.instances[0].in_memory(), 0);
    service.present(&ids[1]).await.unwrap();
    assert_eq!(service.instances[0].in_memory(), 1);
    service.instances[0].shutdown().await.unwrap();
    assert_eq!(service.instances[0].in_memory(), 0);
}

/// An instance that is dropped without a shutdown, such as one that a test or a configuration replaces.
#[tokio::test(start_paused = true)]
async fn sessions_that_are_dropped_while_presented_sessions_are_kept_leave_no_task() {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let mut service = Service::with(1, page(), |builder| builder.kept_for(24 * HOUR));
    let id = service.sign_in().await;
    service.present(&id).await.unwrap();
    settle().await;
    assert_eq!(service.instances[0].in_memory(), 1);
    assert_eq!(tasks(), before + 1, "the timer's");
    service.instances.clear();
    settle().await;
    assert_eq!(tasks(), before);
}

/// g5: a request that brings an access token alone, also an expired one.
#[tokio::test(start_paused = true)]
async fn g5_a_session_is_found_by_the_digest_of_its_access_token() {
    let service = Service::of(2, page());
    let cookie = service.cookie().await;
    let access = cookie.pair().access.clone().unwrap();
    service.world.expire().await;
    for sessions in &service.instances {
        let tokens = sessions.find_by_access(&access).await.unwrap();
        if let Some(tokens) = tokens {
            assert!(service.world.is_live(&tokens.token().await.unwrap()));
        }
    }
    service.assert_exchanges(1);
    let unknown = service.instances[0].find_by_access(&access).await;
    assert!(unknown.unwrap().is_none(), "it is not the current one");
    // The session that was found has its policy.
    let renewed = service.request(&cookie).await;
    let access = renewed.pair().access.clone().unwrap();
    let found = service.instances[1].find_by_access(&access).await.unwrap();
    assert_eq!(
        found.unwrap().key(),
        service.present(&renewed).await.unwrap().tokens().key()
    );
    service.instances[1].present(&cookie).await.unwrap();
}
