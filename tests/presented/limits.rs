//! How long a session may be idle, and how long it lasts.

use evertoken::{EndReason, Error, SessionPolicy};

use crate::support::{HOUR, MINUTE, SECOND, settle};
use crate::world::{Service, page};

#[tokio::test(start_paused = true)]
async fn n9_a_session_that_is_idle_for_too_long_is_logged_out_everywhere() {
    let service = Service::of(2, page().idle(30 * MINUTE));
    for instance in [0, 1] {
        let mut cookie = service.cookie().await;
        for _ in 0..10 {
            service.pass(29 * MINUTE).await;
            cookie = service.request(&cookie).await;
            settle().await;
        }
        let exchanges = service.world.counts().exchanges;
        // An instance that did not see the last use allows for an eighth more.
        service.pass(34 * MINUTE).await;
        let error = service.instances[instance].present(&cookie).await;
        let error = error.unwrap_err();
        let is_idle = matches!(
            error,
            Error::Ended {
                reason: EndReason::IdleLimit,
                ..
            }
        );
        assert!(is_idle, "{error:?}");
        settle().await;
        for sessions in &service.instances {
            let error = sessions.present(&cookie).await.unwrap_err();
            assert!(error.needs_sign_in(), "{error}");
        }
        assert_eq!(service.world.counts().exchanges, exchanges);
        let refresh = cookie.pair().refresh.as_ref().unwrap();
        assert!(!service.world.server.is_live_refresh(refresh.expose()));
    }
}

/// A browser that uses another instance is not idle.
#[tokio::test(start_paused = true)]
async fn use_on_another_instance_counts() {
    let service = Service::with(2, page().idle(8 * MINUTE), |builder| builder.kept_for(HOUR));
    let cookie = service.cookie().await;
    settle().await;
    for _ in 0..4 {
        service.pass(2 * MINUTE).await;
        service.instances[1].present(&cookie).await.unwrap();
        settle().await;
    }
    service.pass(MINUTE).await;
    service.request(&cookie).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_it_has_lasted_long_enough_also_at_an_instance_that_has_never_seen_it()
{
    let policy = || page().absolute(2 * HOUR);
    let service = Service::of(2, policy());
    let mut cookie = service.cookie().await;
    for _ in 0..11 {
        cookie = service.rotate(&cookie).await;
    }
    service.pass(HOUR / 6).await;
    let stateless = service.alone(policy());
    let exchanges = service.world.counts().exchanges;
    for sessions in service.instances.iter().chain([&stateless]) {
        let error = sessions.present(&cookie).await.unwrap_err();
        assert!(error.needs_sign_in(), "{error}");
    }
    settle().await;
    assert_eq!(service.world.counts().exchanges, exchanges);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_makes_no_sense_is_refused() {
    let service = Service::of(0, page());
    let zero = SECOND - SECOND;
    let with = || service.builder(page());
    let strictest = SessionPolicy::new().absolute(zero);
    let builders = [
        (
            service.builder(page().idle(zero)),
            "page: `idle` must not be zero",
        ),
        (
            with().default_policy(strictest),
            "`default_policy`: `absolute` must not be zero",
        ),
        (
            with().policy("Pa.ge", page()),
            "must be named by 1 to 32 letters a to z, digits and hyphens, which \"Pa.ge\" is not",
        ),
        (with().kept_for(zero), "`kept_for`: must not be zero"),
    ];
    for (builder, problem) in builders {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}
