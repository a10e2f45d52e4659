//! The begin of a session at FOLIO: with a password, a code, or a legacy login.

use evertoken::testing::{AccessCheck, FolioServer, TestClock};
use evertoken::{BackgroundTimer, EndReason, EndpointError, Error, Event, OnRequest, TokenManager};

use crate::browser::{both, eureka};
use crate::{HOUR, SECOND, builder, own, reason, signing_in};

/// A sign-in yields both tokens and the expiry of each.
#[tokio::test(start_paused = true)]
async fn a1_a_sign_in_yields_both_tokens_and_their_expiries() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let tokens = signing_in(&folio, &clock);
        let token = tokens.token().await.unwrap();
        assert_eq!(folio.check(token.expose()), AccessCheck::Live);
        let status = tokens.status();
        // The manager does not serve a token in its last second.
        let access = status.access_expires_in.unwrap().as_secs();
        assert_eq!((access, status.refresh_expires_in), (59, Some(HOUR)));
        assert_eq!(folio.counters().logins, 1);
    }
}

/// The path of `X-Okapi-Url` precedes the path of each interface.
#[tokio::test(start_paused = true)]
async fn a4_the_refresh_token_goes_to_one_place_below_a_path_too() {
    let clock = TestClock::new();
    let folio = FolioServer::okapi().clock(clock.clone());
    let folio = folio.okapi_path("/okapi").build();
    let tokens = signing_in(&folio, &clock);
    tokens.token().await.unwrap();
    clock.advance(HOUR).await;
    tokens.token().await.unwrap();
    assert!(tokens.logout().await.is_complete());
    let seen = folio.seen().into_iter();
    let seen = seen.map(|it| format!("{} {}", it.path, it.carried.join(" ")));
    let expected = [
        "/authn/login-with-expiry ",
        "/authn/refresh folioRefreshToken",
        "/authn/logout folioRefreshToken",
    ];
    assert_eq!(seen.collect::<Vec<_>>(), expected);
}

/// In a legacy tenant a token never expires, and no timer runs.
#[tokio::test(start_paused = true)]
async fn a7_a_token_of_a_legacy_tenant_never_expires_and_starts_no_timer() {
    let clock = TestClock::new();
    let folio = FolioServer::okapi().clock(clock.clone());
    let folio = folio.legacy_tenants("diku").build();
    let tokens = builder(own(&folio), &clock, BackgroundTimer::default());
    let tokens = tokens.build().unwrap();
    let first = tokens.token().await.unwrap();
    for _ in 0..100 {
        clock.advance(24 * HOUR).await;
        let token = tokens.token().await.unwrap();
        assert_eq!(token.pair_id(), first.pair_id());
        assert_eq!(folio.check(token.expose()), AccessCheck::Live);
    }
    let counters = folio.counters();
    assert_eq!((counters.logins, counters.refreshes), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_reported_and_not_retried() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let endpoint = folio.endpoint("diku").unwrap();
        let endpoint = endpoint.sign_in_with_password("diku_admin", "sesame");
        let tokens = builder(endpoint, &clock, OnRequest::default());
        let tokens = tokens.build().unwrap();
        let error = tokens.token().await.unwrap_err();
        let Error::SignInRefused { source, .. } = &error else {
            panic!("{error}");
        };
        use EndpointError::{Refused, Rejected};
        let is_folios = matches!(**source, Rejected { .. } | Refused { .. });
        assert!(is_folios, "{source}");
        assert!(error.needs_sign_in() && !format!("{error:?}").contains("sesame"));
        assert_eq!(folio.seen().len(), 1);
    }
}

/// A job that signs in with a code from the sign-in page.
fn with_code(folio: &FolioServer, clock: &TestClock) -> TokenManager {
    let uri = "https://folio.example.org/oidc-landing";
    let code = folio.code("diku", "diku_admin", uri).unwrap();
    let endpoint = folio.endpoint("diku").unwrap().sign_in_with_code(code, uri);
    let tokens = builder(endpoint, clock, OnRequest::default());
    tokens.build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_code_from_the_sign_in_page_begins_a_session_that_rotates() {
    let clock = TestClock::new();
    let folio = eureka(&clock);
    let tokens = with_code(&folio, &clock);
    for _ in 0..10 {
        let token = tokens.token().await.unwrap();
        assert_eq!(folio.check(token.expose()), AccessCheck::Live);
        clock.advance(HOUR / 20).await;
    }
    let counters = folio.counters();
    assert_eq!((counters.logins, counters.refreshes), (1, 9));
}

/// A used code cannot replace the session, so its end is reported like any other end.
#[tokio::test(start_paused = true)]
async fn r5_a_session_from_a_code_is_reported_as_expiring_and_as_ended() {
    let clock = TestClock::new();
    let folio = eureka(&clock);
    let tokens = with_code(&folio, &clock);
    let mut events = tokens.subscribe();
    tokens.token().await.unwrap();
    let (mut warned, mut ended) = (None, None);
    for second in 1..3_700 {
        clock.advance(SECOND).await;
        while let Some(event) = events.try_recv() {
            match event {
                Event::Expiring { .. } => assert_eq!(warned.replace(second), None),
                Event::Ended { reason, .. } => {
                    assert_eq!(reason, EndReason::Expired);
                    assert_eq!(ended.replace(second), None);
                }
                _ => {}
            }
        }
    }
    assert_eq!((warned, ended), (Some(3_540), Some(3_600)));
    let error = tokens.token().await.unwrap_err();
    assert_eq!(reason(error), EndReason::Expired);
    let counters = folio.counters();
    assert_eq!((counters.logins, counters.refreshes), (1, 0));
}

/// A password can replace the session, so no end is reported.
#[tokio::test(start_paused = true)]
async fn r5_no_end_is_reported_for_a_session_that_a_password_replaces() {
    let clock = TestClock::new();
    let folio = eureka(&clock);
    let tokens = signing_in(&folio, &clock);
    let mut events = tokens.subscribe();
    tokens.token().await.unwrap();
    clock.advance(2 * HOUR).await;
    while let Some(event) = events.try_recv() {
        let ends = matches!(event, Event::Expiring { .. } | Event::Ended { .. });
        assert!(!ends, "{event:?}");
    }
    tokens.token().await.unwrap();
    assert_eq!(folio.counters().logins, 2);
}
