//! Two holders of one session, or two sessions of one user: the effect of one on the other.

use evertoken::testing::{AccessCheck, FolioServer, TestClock};
use evertoken::{EndReason, TokenEndpoint, TokenManager, TokenPair};

use crate::browser::{Browser, both, eureka, okapi};
use crate::{HOUR, MINUTE, SECOND, copy, reason, seeded, shared, signing_in};

/// A job that took over the browser's pair and has rotated it.
async fn took_over(folio: &FolioServer, browser: &Browser, clock: &TestClock) -> TokenManager {
    let tokens = seeded(folio, copy(browser), clock);
    let token = tokens.rotate().await.unwrap();
    assert_eq!(folio.check(token.expose()), AccessCheck::Live);
    tokens
}

/// A job with its own session.
async fn signed_in(folio: &FolioServer, clock: &TestClock) -> TokenManager {
    let tokens = signing_in(folio, clock);
    tokens.token().await.unwrap();
    tokens
}

/// Whether the session can still be rotated.
async fn goes_on(tokens: &TokenManager, clock: &TestClock) -> bool {
    clock.advance(2 * SECOND).await;
    tokens.rotate().await.is_ok()
}

/// A pair that a job takes over from a browser is the job's own from the first request.
#[tokio::test(start_paused = true)]
async fn i12_a_seeded_pair_belongs_to_the_job_from_its_first_request() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let browser = Browser::signed_in(&folio).await;
        let job = took_over(&folio, &browser, &clock).await;
        assert!(!browser.is_live());
        for _ in 0..30 {
            clock.advance(MINUTE).await;
            let token = job.token().await.unwrap();
            assert_eq!(folio.check(token.expose()), AccessCheck::Live);
        }
        let counters = folio.counters();
        assert_eq!((counters.logins, counters.replays), (1, 0));
    }
}

/// Behind Okapi a replay ends the session, and the manager makes no further call.
#[tokio::test(start_paused = true)]
async fn t3_a_replay_behind_okapi_is_reported_as_the_end_of_the_session_without_further_calls() {
    let clock = TestClock::new();
    let folio = okapi(&clock);
    let browser = Browser::signed_in(&folio).await;
    let job = took_over(&folio, &browser, &clock).await;
    assert_eq!(browser.refreshed().await.unwrap().status(), 422);
    clock.advance(MINUTE).await;
    let before = folio.counters();
    for _ in 0..10 {
        let error = job.token().await.unwrap_err();
        assert!(error.needs_sign_in());
        assert!(reason(error).is_rejected());
        clock.advance(SECOND).await;
    }
    let after = folio.counters();
    assert_eq!(after.refreshes, before.refreshes + 1);
    assert_eq!(after.logins, before.logins);
}

/// A browser that rotates its old copy of a shared session ends the job, and is refused itself.
#[tokio::test(start_paused = true)]
async fn t7_a_browser_that_rotates_its_old_copy_ends_the_job_and_is_refused() {
    let clock = TestClock::new();
    let folio = okapi(&clock);
    let mut browser = Browser::signed_in(&folio).await;
    let job = took_over(&folio, &browser, &clock).await;
    // The browser refreshes by its own timer.
    clock.advance(48 * SECOND).await;
    assert_eq!(browser.refresh().await.status(), 422);
    assert!(!goes_on(&job, &clock).await);
    assert_eq!(folio.counters().replays, 1);
}

/// A job that signs in for itself recovers when a browser replays a token.
#[tokio::test(start_paused = true)]
async fn t7_a_job_that_signs_in_for_itself_recovers_from_a_browsers_replay() {
    let clock = TestClock::new();
    let folio = okapi(&clock);
    let browser = Browser::signed_in(&folio).await;
    let job = signed_in(&folio, &clock).await;
    // A replay of one of the user's tokens ends all of the user's sessions.
    let thief = browser.clone();
    let mut browser = browser;
    assert_eq!(browser.refresh().await.status(), 201);
    assert_eq!(thief.refreshed().await.unwrap().status(), 422);
    assert!(goes_on(&job, &clock).await);
    assert_eq!(folio.counters().logins, 3);
}

/// Behind Okapi a separate session survives the logout of another session.
#[tokio::test(start_paused = true)]
async fn t5_behind_okapi_a_jobs_own_session_survives_the_logout_of_another() {
    let clock = TestClock::new();
    let folio = okapi(&clock);
    let browser = Browser::signed_in(&folio).await;
    let by_login = signed_in(&folio, &clock).await;
    let shared = Browser::signed_in(&folio).await;
    let by_refresh = took_over(&folio, &shared, &clock).await;
    assert_eq!(browser.log_out().await.status(), 204);
    assert_eq!(shared.log_out().await.status(), 204);
    for job in [&by_login, &by_refresh] {
        assert!(goes_on(job, &clock).await);
        let token = job.token().await.unwrap();
        assert_eq!(folio.check(token.expose()), AccessCheck::Live);
    }
    assert_eq!(folio.counters().logins, 3);
}

/// In Eureka a logout ends the shared session and leaves a separate one alone.
#[tokio::test(start_paused = true)]
async fn t8_in_eureka_a_jobs_own_session_survives_a_logout_and_a_shared_one_ends() {
    let clock = TestClock::new();
    let folio = eureka(&clock);
    let browser = Browser::signed_in(&folio).await;
    let by_login = signed_in(&folio, &clock).await;
    let by_refresh = took_over(&folio, &browser, &clock).await;
    // The browser's refresh token is used, but still belongs to the session.
    assert_eq!(browser.log_out().await.status(), 204);
    assert!(goes_on(&by_login, &clock).await);
    assert!(!goes_on(&by_refresh, &clock).await);
    // The job serves its access token until the expiry, and then reports the end for good.
    clock.advance(MINUTE).await;
    let error = by_refresh.token().await.unwrap_err();
    assert!(reason(error).is_rejected());
}

/// In Eureka a replay ends that session and no other.
#[tokio::test(start_paused = true)]
async fn t9_in_eureka_a_replay_ends_its_session_and_no_other() {
    let clock = TestClock::new();
    let folio = eureka(&clock);
    let browser = Browser::signed_in(&folio).await;
    let other = signed_in(&folio, &clock).await;
    let job = took_over(&folio, &browser, &clock).await;
    assert_eq!(browser.refreshed().await.unwrap().status(), 422);
    assert!(!goes_on(&job, &clock).await);
    assert!(goes_on(&other, &clock).await);
}

/// After a logout the refresh token is dead, and the access token works until its expiry.
#[tokio::test(start_paused = true)]
async fn t4_after_a_logout_the_access_token_stays_valid_until_its_expiry() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let (browser, tokens) = shared(&folio, &clock).await;
        let token = tokens.token().await.unwrap();
        assert!(tokens.logout().await.is_complete());
        assert!(!browser.is_live());
        assert_eq!(folio.check(token.expose()), AccessCheck::Live);
        clock.advance(MINUTE + SECOND).await;
        assert_eq!(folio.check(token.expose()), AccessCheck::Expired);
        let counters = folio.counters();
        assert_eq!((counters.logouts, counters.logout_alls), (1, 0));
    }
}

/// A logout ends none of the user's other sessions.
#[tokio::test(start_paused = true)]
async fn t6_a_logout_ends_none_of_the_users_other_sessions() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let bystander = Browser::signed_in(&folio).await;
        let endpoint = folio.endpoint("diku").unwrap();
        let alone = TokenPair::new(bystander.access.as_str());
        for pair in [alone, TokenPair::default()] {
            let tokens = seeded(&folio, pair.clone(), &clock);
            tokens.logout().await;
            let _ = endpoint.revoke(&pair).await;
        }
        signed_in(&folio, &clock).await.logout().await;
        assert!(bystander.is_live());
        assert_eq!(folio.counters().logout_alls, 0);
        // An explicit logout everywhere ends all sessions.
        let access = bystander.access.as_str().into();
        endpoint.logout_all(&access).await.unwrap();
        assert!(!bystander.is_live());
        assert_eq!(folio.counters().logout_alls, 1);
    }
}

/// Behind Okapi a logout with a used token harms no session.
#[tokio::test(start_paused = true)]
async fn t10_behind_okapi_a_logout_with_a_used_token_harms_no_session() {
    let clock = TestClock::new();
    let folio = okapi(&clock);
    let browser = Browser::signed_in(&folio).await;
    let job = took_over(&folio, &browser, &clock).await;
    let endpoint = folio.endpoint("diku").unwrap();
    endpoint.revoke(&copy(&browser)).await.unwrap();
    assert!(goes_on(&job, &clock).await);
}

/// An expired refresh token ends its session and no other.
#[tokio::test(start_paused = true)]
async fn t11_an_expired_refresh_token_ends_its_session_and_no_other() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let stale = Browser::signed_in(&folio).await;
        clock.advance(HOUR + SECOND).await;
        let other = Browser::signed_in(&folio).await;
        // The job does not know the expiry of the refresh token.
        let seed = TokenPair::from_refresh_token(stale.refresh.as_str());
        let tokens = seeded(&folio, seed, &clock);
        let error = tokens.token().await.unwrap_err();
        assert!(reason(error).is_rejected());
        assert!(other.is_live());
        assert_eq!(folio.counters().sessions_revoked, 0);
    }
}

/// A session whose tokens have both expired ends without a call.
#[tokio::test(start_paused = true)]
async fn q3_two_expired_tokens_cost_no_call() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let (_, tokens) = shared(&folio, &clock).await;
        clock.advance(HOUR + SECOND).await;
        let error = tokens.token().await.unwrap_err();
        assert_eq!(reason(error), EndReason::Expired);
        assert_eq!(folio.counters().refreshes, 0);
    }
}
