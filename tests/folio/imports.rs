//! Imports that outlive their access tokens, in simulated time.

use std::time::Duration;

use bytes::Bytes;
use evertoken::testing::{AccessCheck, FolioServer, FolioServerBuilder, TestClock};
use evertoken::{BackgroundTimer, TokenManager};
use http::{Method, StatusCode};

use crate::browser::{Browser, both, okapi, request, send, with};
use crate::{HOUR, MINUTE, SECOND, builder, own};

pub fn timed(folio: &FolioServer, clock: &TestClock) -> TokenManager {
    let tokens = builder(own(folio), clock, BackgroundTimer::default());
    tokens.build().unwrap()
}

/// A manager with a seeded pair and without a sign-in, so that no session replaces an ended one.
pub fn taken_over(folio: &FolioServer, clock: &TestClock) -> TokenManager {
    let seed = folio.issue("diku", "diku_admin").unwrap();
    let endpoint = folio.endpoint("diku").unwrap();
    let tokens = builder(endpoint, clock, BackgroundTimer::default());
    tokens.seed(seed).build().unwrap()
}

/// The status of a request that imports one record.
pub async fn import(folio: &FolioServer, token: &str) -> StatusCode {
    let record = request(Method::POST, "/records", Bytes::from_static(b"record\x1d"));
    let record = with(record, "x-okapi-token", token);
    send(folio, record).await.status()
}

/// A FOLIO of this kind with this `TOKEN_EXPIRATION`.
fn folio_of(kind: FolioServerBuilder, clock: &TestClock, expiration: &str) -> FolioServer {
    let tokens = kind.clock(clock.clone()).token_expiration(expiration);
    tokens.unwrap().build()
}

/// Behind Okapi an import of an hour with tokens of 60 s rotates every 48 s from the sign-in. The 75th rotation would
/// be due at 3,600 s, when the job has ended.
#[tokio::test(start_paused = true)]
async fn i1_behind_okapi_3600_requests_with_tokens_of_60_s_are_74_rotations_and_no_failure() {
    let clock = TestClock::new();
    let folio = okapi(&clock);
    let tokens = timed(&folio, &clock);
    for second in 0..3_600 {
        let token = tokens.token().await.unwrap();
        assert_eq!(folio.check(token.expose()), AccessCheck::Live);
        assert_eq!(import(&folio, token.expose()).await, 200);
        if second < 3_599 {
            clock.advance(SECOND).await;
        }
    }
    let counters = folio.counters();
    assert_eq!(counters.records, 3_600);
    assert_eq!((counters.logins, counters.replays), (1, 0));
    assert_eq!(counters.rotations, 74);
}

/// The jobs of the spike with tokens of 3,600 s rotate every 2,880 s.
#[tokio::test(start_paused = true)]
async fn i2_jobs_of_1h02_3h27_and_5h31_are_1_4_and_6_rotations() {
    for (minutes, rotations) in [(62, 1), (207, 4), (331, 6)] {
        let clock = TestClock::new();
        let folio = folio_of(FolioServer::okapi(), &clock, "accessToken:3600");
        let tokens = timed(&folio, &clock);
        for _ in 0..minutes {
            let token = tokens.token().await.unwrap();
            assert_eq!(import(&folio, token.expose()).await, 200);
            clock.advance(MINUTE).await;
        }
        let counters = folio.counters();
        assert_eq!(counters.records, minutes);
        assert_eq!(counters.rotations, rotations, "{minutes} min");
    }
}

/// In Eureka a managed session rotates every 144 s, and a fixed token fails at its expiry. The 25th rotation would be
/// due after one hour, when the job has ended.
#[tokio::test(start_paused = true)]
async fn i3_in_eureka_a_fixed_token_fails_from_180_s_on_and_a_managed_one_never() {
    let clock = TestClock::new();
    let folio = folio_of(FolioServer::eureka(), &clock, "accessToken:180");
    let fixed = Browser::signed_in(&folio).await;
    let tokens = timed(&folio, &clock);
    let mut failed_from = None;
    for second in 0..3_600 {
        let token = tokens.token().await.unwrap();
        assert_eq!(import(&folio, token.expose()).await, 200, "{second}");
        if import(&folio, &fixed.access).await == 401 {
            failed_from = failed_from.or(Some(second));
        }
        if second < 3_599 {
            clock.advance(SECOND).await;
        }
    }
    // A fixed token fails at its `exp`: the first second in which Eureka refuses the token, and the last in which Okapi
    // accepts it.
    assert_eq!(failed_from, Some(180));
    assert_eq!(folio.counters().rotations, 24);
}

/// Behind Okapi the token of a module has no expiry, as the spike observed, and outlives the token of the request.
#[tokio::test(start_paused = true)]
async fn i13_behind_okapi_a_modules_token_outlives_the_token_of_the_request() {
    let clock = TestClock::new();
    let folio = okapi(&clock);
    let fixed = Browser::signed_in(&folio).await;
    let handed = folio.handed_on(&fixed.access).unwrap();
    clock.advance(HOUR).await;
    assert_eq!(import(&folio, &handed).await, 200);
    assert_eq!(folio.check(&fixed.access), AccessCheck::Expired);
}

/// The jobs of the spike, of 1h02, 3h27 and 5h31 with tokens of 3,600 s, pass behind Okapi and end after 3 min in
/// Eureka.
#[tokio::test(start_paused = true)]
async fn i13_the_spikes_jobs_pass_with_a_modules_token_in_okapi_and_end_in_eureka() {
    for (minutes, access) in [(62, 3_600), (207, 3_600), (331, 3_600), (60, 60), (60, 180)] {
        let clock = TestClock::new();
        let kinds = [FolioServer::okapi(), FolioServer::eureka()];
        let expiration = format!("accessToken:{access}");
        let [okapi, eureka] = kinds.map(|kind| folio_of(kind, &clock, &expiration));
        let tokens = [&okapi, &eureka].map(|folio| {
            let pair = folio.issue("diku", "diku_admin").unwrap();
            folio.handed_on(pair.access.unwrap().expose()).unwrap()
        });
        for minute in 0..minutes {
            // The last second of the token is within the minute.
            clock.advance(30 * SECOND).await;
            assert_eq!(import(&okapi, &tokens[0]).await, 200, "{minute} min");
            let lives = minute * 60 + 30 < access;
            let status = import(&eureka, &tokens[1]).await;
            assert_eq!(status, if lives { 200 } else { 401 }, "{minute} min");
            clock.advance(30 * SECOND).await;
        }
        assert_eq!(okapi.counters().records, minutes);
        assert_eq!(eureka.counters().records, minutes.min(access / 60));
    }
}

/// A logout of the user does not stop an import with a session of its own.
#[tokio::test(start_paused = true)]
async fn i4_a_logout_of_the_user_does_not_stop_an_import_with_its_own_session() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let mut user = Browser::signed_in(&folio).await;
        let tokens = timed(&folio, &clock);
        for second in 0..1_200 {
            if second == 600 {
                // The user interface requests an access token for the logout.
                assert_eq!(user.refresh().await.status(), 201);
                assert_eq!(user.log_out().await.status(), 204);
            }
            let token = tokens.token().await.unwrap();
            assert_eq!(import(&folio, token.expose()).await, 200);
            clock.advance(SECOND).await;
        }
        let counters = folio.counters();
        assert_eq!((counters.logins, counters.records), (2, 1_200));
    }
}

/// A fixed FOLIO session is not rotated at its end.
#[tokio::test(start_paused = true)]
async fn r5_an_absolute_session_ends_in_time_and_is_not_rotated_at_its_end() {
    let clock = TestClock::new();
    let expiration = "accessToken:600,refreshToken:1200";
    let folio = folio_of(FolioServer::eureka(), &clock, expiration);
    let tokens = taken_over(&folio, &clock);
    let mut served = Duration::ZERO;
    while tokens.token().await.is_ok() {
        served += SECOND;
        clock.advance(SECOND).await;
        assert!(served <= 21 * MINUTE);
    }
    assert!(served >= 1_198 * SECOND, "{served:?}");
    let rotations = folio.counters().rotations;
    clock.advance(HOUR).await;
    assert_eq!(folio.counters().rotations, rotations);
    // The manager rotates at 480 s and at 960 s, and not in the rest of the session.
    assert_eq!(rotations, 2);
}
