use std::sync::Arc;

use super::*;
use crate::clock::{Clock, Timestamp};
use crate::endpoint::SendWindow;
use crate::testing::{AccessCheck, AuthorizationServerBuilder, Fault, TestClock};

const SECOND: Duration = Duration::from_secs(1);

/// A server in paused time, and a client of it with a pair.
struct Setting {
    server: AuthorizationServer,
    endpoint: InProcessEndpoint,
    clock: TestClock,
    pair: TokenPair,
}

impl Setting {
    fn new(change: impl FnOnce(AuthorizationServerBuilder) -> AuthorizationServerBuilder) -> Self {
        let clock = TestClock::new();
        let server = change(AuthorizationServer::builder().clock(clock.clone())).build();
        Self {
            endpoint: server.endpoint(),
            pair: server.issue(),
            clock,
            server,
        }
    }

    fn token(&self) -> RefreshToken {
        self.pair.refresh.clone().unwrap()
    }

    async fn refresh(&self) -> Result<Issued, EndpointError> {
        exchange(self.endpoint.clone(), self.clock.clone(), self.token()).await
    }

    /// `[exchanges, rotations, replays, families revoked]`.
    fn counts(&self) -> [u64; 4] {
        let server = &self.server;
        [
            server.exchanges(),
            server.rotations(),
            server.replays(),
            server.families_revoked(),
        ]
    }
}

/// The class of an error; "issued" where there is none.
fn class<T>(answer: &Result<T, EndpointError>) -> &'static str {
    match answer {
        Ok(_) => "issued",
        Err(EndpointError::NotSent { .. }) => "not sent",
        Err(EndpointError::Rejected { .. }) => "rejected",
        Err(EndpointError::UserNeeded { .. }) => "user needed",
        Err(EndpointError::Refused { .. }) => "refused",
        Err(EndpointError::Page { .. }) => "page",
        Err(EndpointError::Later { .. }) => "later",
        Err(EndpointError::Unavailable { .. }) => "unavailable",
        Err(EndpointError::Unknown { .. }) => "unknown",
    }
}

async fn exchange(
    endpoint: InProcessEndpoint,
    clock: TestClock,
    token: RefreshToken,
) -> Result<Issued, EndpointError> {
    let ends_at = clock.now() + 60 * SECOND;
    let window = SendWindow::new(Arc::new(clock), ends_at);
    let grant = Grant::Refresh {
        token: &token,
        window: &window,
    };
    endpoint.exchange(grant).await
}

#[tokio::test(start_paused = true)]
async fn a_grant_is_answered_half_the_latency_after_it_was_decided() {
    let setting = Setting::new(|server| server.latency(2 * SECOND).scope("write read"));
    let start = setting.clock.now();
    let issued = setting.refresh().await.unwrap();
    assert_eq!(setting.clock.now().since(start), 2 * SECOND);
    assert_eq!(setting.counts(), [1, 1, 0, 0]);
    assert_eq!(issued.server_time, Some(setting.clock.wall()));
    assert_eq!(issued.scope, Some("read write".into()));

    let access = issued.access.unwrap();
    let last = 599 * SECOND - Duration::from_millis(1);
    setting.clock.advance(last).await;
    assert_eq!(setting.server.check(access.expose()), AccessCheck::Live);
    setting.clock.advance(Duration::from_millis(1)).await;
    assert_eq!(setting.server.check(access.expose()), AccessCheck::Expired);
}

#[tokio::test(start_paused = true)]
async fn an_odd_number_of_milliseconds_of_latency_takes_exactly_that_long() {
    let latency = Duration::from_millis(15);
    let setting = Setting::new(|server| server.latency(latency));
    let start = setting.clock.now();
    setting.refresh().await.unwrap();
    assert_eq!(setting.clock.now().since(start), latency);
}

#[tokio::test(start_paused = true)]
async fn every_fault_leaves_the_refresh_token_as_its_documentation_says() {
    let status = |status, body: &str, retry_after| Fault::Status {
        status,
        body: body.to_owned(),
        retry_after,
    };
    let error = |code, error| status(code, &format!(r#"{{"error":"{error}"}}"#), None);
    let replaced = |status| Fault::Body {
        status,
        body: "{}".to_owned(),
    };
    let cases = [
        (status(400, "", None), "page", 0),
        (status(401, "<html>", None), "page", 0),
        (error(401, "invalid_client"), "refused", 0),
        (error(400, "invalid_client"), "refused", 0),
        (error(403, "invalid_grant"), "rejected", 0),
        (error(400, "login_required"), "user needed", 0),
        (status(429, "", Some(SECOND)), "later", 0),
        (error(503, "temporarily_unavailable"), "later", 0),
        (status(503, "", Some(SECOND)), "unavailable", 0),
        (Fault::status(503), "unavailable", 0),
        (Fault::status(408), "unavailable", 0),
        (Fault::status(302), "page", 0),
        (Fault::status(404), "page", 0),
        (Fault::status(500), "unknown", 0),
        (Fault::status(9), "unknown", 0),
        (Fault::DropBefore, "unknown", 0),
        (Fault::DropAfter, "unknown", 1),
        (Fault::Truncate, "unknown", 1),
        (replaced(200), "unknown", 1),
        (replaced(500), "unknown", 1),
        (replaced(502), "unavailable", 1),
        (replaced(404), "page", 1),
    ];
    for (fault, expected, rotations) in cases {
        let setting = Setting::new(|server| server);
        setting.server.fail_next(fault.clone());
        let asked = match fault {
            Fault::Status { retry_after, .. } => retry_after,
            _ => None,
        };
        let answer = setting.refresh().await;
        assert_eq!(class(&answer), expected, "{fault:?}");
        let pause = answer.unwrap_err().retry_after();
        assert_eq!(pause, asked, "{fault:?}");
        assert_eq!(setting.counts(), [1, rotations, 0, 0], "{fault:?}");
        let live = setting.server.is_live_refresh(setting.token().expose());
        assert_eq!(live, rotations == 0, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_meets_a_fault_is_counted() {
    for (fault, revoked) in [
        (Fault::DropBefore, 0),
        (Fault::status(500), 0),
        (Fault::DropAfter, 1),
    ] {
        let setting = Setting::new(|server| server);
        setting.refresh().await.unwrap();
        setting.server.fail_next(fault);
        setting.refresh().await.unwrap_err();
        assert_eq!(setting.counts(), [2, 1, 1, revoked]);
    }
}

#[tokio::test(start_paused = true)]
async fn queued_faults_are_met_in_their_order_and_then_the_standing_fault() {
    let setting = Setting::new(|server| server);
    setting.server.fail_always(Some(Fault::status(500)));
    setting.server.fail_next(Fault::status(400));
    setting.server.fail_next(Fault::status(429));
    assert_eq!(class(&setting.refresh().await), "page");
    assert_eq!(class(&setting.refresh().await), "later");
    for _ in 0..2 {
        assert_eq!(class(&setting.refresh().await), "unknown");
    }
    setting.server.fail_always(None);
    setting.refresh().await.unwrap();
    assert_eq!(setting.counts(), [5, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_rotated_before_or_after_the_client_times_out() {
    for (fault, rotated_at_once) in [
        (Fault::Delay(20 * SECOND), true),
        (Fault::DelayBefore(20 * SECOND), false),
    ] {
        let mut setting = Setting::new(|server| server);
        setting.endpoint = setting.endpoint.with_timeout(10 * SECOND);
        setting.server.fail_next(fault);
        assert_eq!(class(&setting.refresh().await), "unknown");
        assert_eq!(setting.server.rotations() == 1, rotated_at_once);
        setting.clock.advance(10 * SECOND).await;
        assert_eq!(setting.counts(), [1, 1, 0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_drops_its_request_only_before_the_request_has_arrived() {
    for (leaves_after, arrived) in [(SECOND / 2, 0), (SECOND * 3 / 2, 1)] {
        let setting = Setting::new(|server| server.latency(2 * SECOND));
        let refresh = tokio::time::timeout(leaves_after, setting.refresh());
        assert!(refresh.await.is_err());
        setting.clock.advance(5 * SECOND).await;
        assert_eq!(setting.counts(), [arrived, arrived, 0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_grant_has_arrived_and_is_decided_at_the_release() {
    let setting = Setting::new(|server| server);
    let hold = setting.server.hold();
    let second_hold = setting.server.hold();
    let tasks = [(); 2].map(|()| {
        let (endpoint, clock) = (setting.endpoint.clone(), setting.clock.clone());
        tokio::spawn(exchange(endpoint, clock, setting.token()))
    });
    setting.server.arrived(2).await;
    assert_eq!(setting.counts(), [2, 0, 0, 0]);
    drop(second_hold);
    tasks[0].abort();
    setting.clock.advance(SECOND).await;
    assert_eq!(setting.counts(), [2, 0, 0, 0]);
    drop(hold);
    setting.clock.advance(SECOND).await;
    assert_eq!(setting.counts(), [2, 1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_cannot_be_sent_never_arrives() {
    let setting = Setting::new(|server| server);
    setting.server.set_reachable(false);
    assert_eq!(class(&setting.refresh().await), "not sent");
    let revoked = setting.endpoint.revoke(&setting.pair).await;
    assert_eq!(class(&revoked), "not sent");
    setting.server.set_reachable(true);

    let closed = SendWindow::new(Arc::new(setting.clock.clone()), Timestamp::from_nanos(0));
    let token = setting.token();
    let grant = Grant::Refresh {
        token: &token,
        window: &closed,
    };
    let answer = setting.endpoint.exchange(grant).await;
    assert_eq!(class(&answer), "not sent");
    assert_eq!(setting.counts(), [0; 4]);
    assert_eq!(setting.server.revocations(), 0);
}

#[tokio::test(start_paused = true)]
async fn sign_ins_and_revocations_take_the_same_path_as_refreshes() {
    let setting = Setting::new(|server| server.client("importer", "secret").sign_in(true));
    assert!(setting.endpoint.can_sign_in());
    assert_eq!(setting.endpoint.key().client_id, "importer");
    let window = SendWindow::new(
        Arc::new(setting.clock.clone()),
        setting.clock.now() + SECOND,
    );
    let grant = Grant::SignIn { window: &window };
    let stranger = setting.endpoint.clone().with_client("importer", "wrong");
    let refused = stranger.exchange(grant).await;
    assert_eq!(class(&refused), "refused");
    assert!(stranger.revoke(&setting.pair).await.is_err());
    setting.server.fail_next(Fault::DropBefore);
    assert!(setting.endpoint.exchange(grant).await.is_err());
    let issued = setting.endpoint.exchange(grant).await.unwrap();
    let counts = (setting.server.sign_ins(), setting.server.exchanges());
    assert_eq!(counts, (3, 0));

    setting.endpoint.revoke(&setting.pair).await.unwrap();
    assert!(!setting.server.is_live_refresh(setting.token().expose()));
    let other_family = issued.refresh.unwrap();
    assert!(setting.server.is_live_refresh(other_family.expose()));
    setting.server.revoke_all();
    assert!(!setting.server.is_live_refresh(other_family.expose()));
    assert_eq!(setting.server.families_revoked(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_debug_form_of_server_and_endpoint_holds_no_secret() {
    let setting = Setting::new(|server| server.client("importer", "sesame"));
    let shown = format!("{:?} {:?}", setting.server, setting.endpoint);
    assert!(!shown.contains("sesame"), "{shown}");
    assert!(!shown.contains(setting.token().expose()), "{shown}");
}
