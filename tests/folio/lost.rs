//! Answers that do not come, or are none.

use evertoken::testing::{Fault, FolioServer, TestClock};
use evertoken::{EndReason, EndpointError, OnRequest, TokenManager};

use crate::browser::{Browser, both, eureka, okapi};
use crate::{MINUTE, SECOND, builder, copy, own, reason};

fn seeded(folio: &FolioServer, browser: &Browser, clock: &TestClock) -> TokenManager {
    let endpoint = folio.endpoint("diku").unwrap();
    builder(endpoint, clock, OnRequest::default())
        .seed(copy(browser))
        .build()
        .unwrap()
}

/// Answered with this status, after the token was consumed.
fn consumed(status: u16) -> Fault {
    let body = r#"{"errors":[{"message":"Token refresh failed","type":"error","code":"token.refresh.failure"}]}"#;
    Fault::Body {
        status,
        body: body.to_owned(),
    }
}

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
        let browser = Browser::signed_in(&folio).await;
        let bystander = Browser::signed_in(&folio).await;
        let tokens = seeded(&folio, &browser, &clock);
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

#[tokio::test(start_paused = true)]
async fn t12_t14_a_job_that_can_sign_in_does_and_harms_no_other_session() {
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
            let tokens = builder(own(&folio), &clock, OnRequest::default());
            let tokens = tokens.build().unwrap();
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

/// In Eureka a second use ends this session at the most, which is lost otherwise.
#[tokio::test(start_paused = true)]
async fn t14_in_eureka_a_token_that_may_be_spent_is_tried_once_more_after_the_quarantine() {
    for (fault, survives) in [
        (Fault::status(500), true),
        (consumed(500), false),
        (Fault::DropBefore, true),
        (Fault::DropAfter, false),
    ] {
        let clock = TestClock::new();
        // What comes by a last resort may be as old as the first attempt.
        let folio = FolioServer::eureka().clock(clock.clone()).build();
        let browser = Browser::signed_in(&folio).await;
        let bystander = Browser::signed_in(&folio).await;
        let tokens = seeded(&folio, &browser, &clock);
        folio.fail_next(fault.clone());
        clock.advance(MINUTE).await;
        assert!(tokens.token().await.is_err());
        assert_eq!(folio.counters().refreshes, 1);
        clock.advance(2 * MINUTE).await;
        let token = tokens.token().await;
        assert_eq!(token.is_ok(), survives, "{fault:?}");
        let counters = folio.counters();
        assert_eq!(counters.refreshes, 2);
        assert_eq!(counters.replays, u64::from(!survives));
        assert!(bystander.is_live());
    }
}

#[tokio::test(start_paused = true)]
async fn t13_a_refused_connection_is_tried_again_with_the_same_token() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let browser = Browser::signed_in(&folio).await;
        let tokens = seeded(&folio, &browser, &clock);
        clock.advance(MINUTE).await;
        folio.set_reachable(false);
        let error = tokens.token().await.unwrap_err();
        assert!(error.is_retryable());
        folio.set_reachable(true);
        clock.advance(5 * SECOND).await;
        tokens.token().await.unwrap();
        let counters = folio.counters();
        assert_eq!((counters.refreshes, counters.replays), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn i8_a_gateway_that_is_busy_has_spent_nothing() {
    let clock = TestClock::new();
    let folio = eureka(&clock);
    let browser = Browser::signed_in(&folio).await;
    let tokens = seeded(&folio, &browser, &clock);
    clock.advance(MINUTE).await;
    folio.fail_next(Fault::Status {
        status: 503,
        body: String::new(),
        retry_after: Some(SECOND),
    });
    let error = tokens.token().await.unwrap_err();
    let busy = matches!(error.endpoint(), Some(EndpointError::Retry { .. }));
    assert!(busy && error.is_retryable(), "{error:?}");
    clock.advance(5 * SECOND).await;
    tokens.token().await.unwrap();
    assert_eq!(folio.counters().replays, 0);
}

#[tokio::test(start_paused = true)]
async fn r12_a_refresh_that_takes_15_s_is_one() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let browser = Browser::signed_in(&folio).await;
        let tokens = seeded(&folio, &browser, &clock);
        clock.advance(MINUTE).await;
        folio.fail_next(Fault::Delay(15 * SECOND));
        let asked = (0..20).map(|_| tokens.token());
        let answers = futures_util::future::join_all(asked).await;
        assert!(answers.iter().all(Result::is_ok));
        let counters = folio.counters();
        assert_eq!((counters.refreshes, counters.replays), (1, 0));
    }
}
