//! Answers that are lost, and answers of a gateway.

use evertoken::EndReason;
use evertoken::clock::Clock as _;
use evertoken::testing::{Fault, TestClock};

use crate::browser::{Browser, both, eureka, okapi};
use crate::{MINUTE, SECOND, reason, shared, signing_in};

/// The server consumes the token, and the answer has this status.
fn consumed(status: u16) -> Fault {
    let body = r#"{"errors":[{"message":"Token refresh failed","type":"error","code":"token.refresh.failure"}]}"#.to_owned();
    Fault::Body { status, body }
}

/// Behind Okapi a refresh token that may be spent is not sent again.
#[tokio::test(start_paused = true)]
async fn t12_t14_behind_okapi_a_token_that_may_be_spent_is_not_sent_again() {
    for fault in [
        Fault::DropAfter,
        Fault::DropBefore,
        Fault::Truncate,
        Fault::status(500),
        consumed(500),
    ] {
        let clock = TestClock::new();
        let folio = okapi(&clock);
        let (_, tokens) = shared(&folio, &clock).await;
        let bystander = Browser::signed_in(&folio).await;
        folio.fail_next(fault.clone());
        clock.advance(MINUTE).await;
        for _ in 0..300 {
            let error = tokens.token().await.unwrap_err();
            assert_eq!(reason(error), EndReason::OutcomeUnknown, "{fault:?}");
            clock.advance(SECOND).await;
        }
        let counters = folio.counters();
        assert_eq!((counters.refreshes, counters.replays), (1, 0), "{fault:?}");
        assert!(bystander.is_live());
    }
}

/// A job that can sign in replaces its lost session, and no other session is harmed.
#[tokio::test(start_paused = true)]
async fn t12_t14_a_job_that_can_sign_in_replaces_its_lost_session_and_harms_no_other() {
    for fault in [
        Fault::DropAfter,
        Fault::DropBefore,
        Fault::status(500),
        consumed(500),
        Fault::status(422),
    ] {
        let clock = TestClock::new();
        for folio in both(&clock) {
            let bystander = Browser::signed_in(&folio).await;
            let tokens = signing_in(&folio, &clock);
            tokens.token().await.unwrap();
            clock.advance(MINUTE).await;
            folio.fail_next(fault.clone());
            tokens.token().await.unwrap();
            let counters = folio.counters();
            assert_eq!((counters.logins, counters.replays), (3, 0), "{fault:?}");
            assert!(bystander.is_live());
        }
    }
}

/// In Eureka a token that may be spent is sent once more. A second use ends only this session, which would be lost
/// anyway.
#[tokio::test(start_paused = true)]
async fn t14_in_eureka_a_token_that_may_be_spent_is_sent_once_more_after_a_pause() {
    for (fault, survives) in [
        (Fault::status(500), true),
        (consumed(500), false),
        (Fault::DropBefore, true),
        (Fault::DropAfter, false),
    ] {
        let clock = TestClock::new();
        let folio = eureka(&clock);
        let (_, tokens) = shared(&folio, &clock).await;
        let bystander = Browser::signed_in(&folio).await;
        folio.fail_next(fault.clone());
        clock.advance(MINUTE).await;
        let begun = clock.now();
        let token = tokens.token().await;
        // The manager reads the store every 20 ms.
        let paused = clock.now().since(begun);
        assert_eq!(paused.as_secs(), 2, "{fault:?}");
        assert_eq!(token.is_ok(), survives, "{fault:?}");
        if let Err(error) = token {
            assert!(reason(error).is_rejected());
        }
        let counters = folio.counters();
        assert_eq!(counters.refreshes, 2);
        assert_eq!(counters.replays, u64::from(!survives));
        assert!(bystander.is_live());
    }
}

/// A program in front of the login service has most probably not passed the token on, so the token is sent again.
#[tokio::test(start_paused = true)]
async fn t14_behind_okapi_too_a_token_is_sent_again_after_a_page_or_a_gateways_failure() {
    for status in [301, 400, 401, 403, 404, 408, 413, 502, 503, 504] {
        let clock = TestClock::new();
        for folio in both(&clock) {
            let (_, tokens) = shared(&folio, &clock).await;
            // This client has received a pair here before, so its configuration is not the cause of the page.
            tokens.rotate().await.unwrap();
            clock.advance(MINUTE).await;
            folio.fail_next(Fault::status(status));
            tokens.token().await.unwrap();
            let counters = folio.counters();
            assert_eq!((counters.refreshes, counters.replays), (3, 0), "{status}");
        }
    }
}

/// After a refused connection the same token is sent again.
#[tokio::test(start_paused = true)]
async fn t13_a_refused_connection_is_tried_again_with_the_same_token() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let (_, tokens) = shared(&folio, &clock).await;
        clock.advance(MINUTE).await;
        folio.set_reachable(false);
        let returns = async {
            clock.advance(20 * SECOND).await;
            folio.set_reachable(true);
        };
        let (token, ()) = tokio::join!(tokens.token(), returns);
        token.unwrap();
        let counters = folio.counters();
        assert_eq!((counters.refreshes, counters.replays), (1, 0));
    }
}

/// A busy gateway is asked again after its `Retry-After`.
#[tokio::test(start_paused = true)]
async fn i8_a_busy_gateway_is_asked_again_after_its_retry_after() {
    let clock = TestClock::new();
    let folio = eureka(&clock);
    let (_, tokens) = shared(&folio, &clock).await;
    clock.advance(MINUTE).await;
    folio.fail_next(Fault::Status {
        status: 503,
        body: String::new(),
        retry_after: Some(10 * SECOND),
    });
    let begun = clock.now();
    tokens.token().await.unwrap();
    assert_eq!(clock.now().since(begun).as_secs(), 10);
    let counters = folio.counters();
    assert_eq!((counters.refreshes, counters.replays), (2, 0));
}

/// A refresh that takes 15 s is one exchange.
#[tokio::test(start_paused = true)]
async fn r12_a_refresh_that_takes_15_s_is_sent_once() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let (_, tokens) = shared(&folio, &clock).await;
        clock.advance(MINUTE).await;
        folio.fail_next(Fault::Delay(15 * SECOND));
        let asked = (0..20).map(|_| tokens.token());
        let answers = futures_util::future::join_all(asked).await;
        assert!(answers.iter().all(Result::is_ok));
        let counters = folio.counters();
        assert_eq!((counters.refreshes, counters.replays), (1, 0));
    }
}
