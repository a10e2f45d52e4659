//! What ends a session, and what does not; and that all instances agree about that.

use evertoken::testing::Fault;
use evertoken::{EndReason, Presented};

use crate::support::{self, MINUTE, end_of, later, refusal, settle};
use crate::world::{Service, page};

/// The server has revoked the session. One instance learns of it, and the others do not ask the server any more.
#[tokio::test(start_paused = true)]
async fn a_session_that_the_server_rejected_is_over_at_the_next_call_on_every_instance() {
    let service = Service::of(3, page());
    let cookie = service.cookie().await;
    // The others have the pair in memory, or have never seen the session.
    service.instances[1].present(&cookie).await.unwrap();
    service.world.expire().await;
    service.world.server.revoke_all();
    assert!(end_of(service.present(&cookie).await).is_rejected());
    let restarted = service.node(page()).sessions;
    for sessions in service.instances.iter().chain([&restarted]) {
        let presented: [Presented; 2] = [(&cookie).into(), cookie.id().into()];
        for what in presented {
            assert!(end_of(sessions.present(what).await).is_rejected());
        }
    }
    assert_eq!(service.world.server.exchanges(), 1);
}

/// The access token seems valid, and an API refuses it. After that one request the id and the API say the same, everywhere.
#[tokio::test(start_paused = true)]
async fn the_session_id_and_the_api_agree_within_one_request_of_a_verdict() {
    let service = Service::of(3, page());
    let cookie = service.cookie().await;
    for sessions in &service.instances {
        sessions.present(&cookie).await.unwrap();
    }
    service.pass(MINUTE).await;
    service.world.server.revoke_all();
    for sessions in &service.instances {
        // The request of a browser, whose token the API refuses.
        let refused = match sessions.present(&cookie).await {
            Ok(presented) => {
                assert!(!service.world.is_live(presented.token()));
                presented.tokens().reject(presented.token());
                presented.tokens().token().await.unwrap_err()
            }
            Err(error) => error,
        };
        assert!(refused.needs_sign_in(), "{refused:?}");
        // The next one is refused by the session itself.
        let presented: [Presented; 2] = [cookie.id().into(), (&cookie).into()];
        for what in presented {
            assert!(end_of(sessions.present(what).await).is_rejected());
        }
    }
    assert_eq!(service.world.server.exchanges(), 1);
}

/// A logout on one instance: those that do not hold the session say so at once, and those that do after the API's word.
#[tokio::test(start_paused = true)]
async fn a_logout_is_known_everywhere_within_one_request() {
    let service = Service::of(2, page());
    let cookie = service.cookie().await;
    service.instances[1].present(&cookie).await.unwrap();
    let leaving = service.present(&cookie).await.unwrap();
    assert!(leaving.tokens().logout().await.stored.is_ok());
    settle().await;
    let restarted = service.node(page()).sessions;
    for sessions in [&service.instances[0], &restarted] {
        assert_eq!(
            end_of(sessions.present(&cookie).await),
            EndReason::LoggedOut
        );
        let id = sessions.present(cookie.id()).await;
        assert_eq!(end_of(id), EndReason::LoggedOut);
    }
    let held = &service.instances[1];
    if let Ok(presented) = held.present(&cookie).await {
        presented.tokens().reject(presented.token());
        presented.tokens().token().await.unwrap_err();
    }
    assert_eq!(end_of(held.present(&cookie).await), EndReason::LoggedOut);
    service.assert_exchanges(0);
}

/// Each of these refuses the client, or is no answer at all.
#[tokio::test(start_paused = true)]
async fn invalid_client_server_error_and_503_of_the_token_endpoint_never_sign_out() {
    for fault in [
        refusal(401, "invalid_client"),
        refusal(400, "invalid_client"),
        refusal(400, "unauthorized_client"),
        refusal(500, "server_error"),
        refusal(400, "server_error"),
        refusal(503, "temporarily_unavailable"),
        Fault::status(503),
        Fault::status(500),
        Fault::status(404),
        support::page(502),
        support::page(200),
        later(None),
        Fault::DropBefore,
    ] {
        // The browser has the current pair, or lost the answer with it.
        for is_lost in [false, true] {
            let service = Service::of(2, page());
            let first = service.cookie().await;
            let second = service.rotate(&first).await;
            let cookie = if is_lost { first } else { second };
            service.world.expire().await;
            service.world.server.fail_always(Some(fault.clone()));
            for _ in 0..3 {
                for sessions in &service.instances {
                    for what in [Presented::from(&cookie), cookie.id().into()] {
                        let error = sessions.present(what).await.unwrap_err();
                        assert!(!error.needs_sign_in(), "{fault:?}: {error:?}");
                    }
                }
                service.pass(MINUTE).await;
            }
            service.world.server.fail_always(None);
            service.pass(MINUTE).await;
            for sessions in &service.instances {
                let presented = sessions.present(&cookie).await.unwrap();
                assert!(service.world.is_live(presented.token()), "{fault:?}");
            }
            assert_eq!(service.world.server.families_revoked(), 0);
        }
    }
}
