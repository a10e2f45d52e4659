//! How a session begins.

use evertoken::testing::{AccessCheck, FolioServer, TestClock};
use evertoken::{BackgroundTimer, EndpointError, Error, OnRequest};

use crate::browser::{both, eureka};
use crate::{HOUR, builder, own};

#[tokio::test(start_paused = true)]
async fn a1_a_sign_in_of_ones_own_holds_both_tokens_and_their_ends() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let tokens = builder(own(&folio), &clock, OnRequest::default());
        let tokens = tokens.build().unwrap();
        let token = tokens.token().await.unwrap();
        assert_eq!(folio.check(token.expose()), AccessCheck::Live);
        let status = tokens.status();
        // Its last second is not served.
        let access = status.access_expires_in.unwrap().as_secs();
        assert_eq!((access, status.refresh_expires_in), (59, Some(HOUR)));
        assert_eq!(folio.counters().logins, 1);
    }
}

/// With the path of `X-Okapi-Url` before each of its own.
#[tokio::test(start_paused = true)]
async fn a4_below_a_path_too_the_refresh_token_goes_to_one_place() {
    let clock = TestClock::new();
    let folio = FolioServer::okapi()
        .clock(clock.clone())
        .okapi_path("/okapi")
        .build();
    let tokens = builder(own(&folio), &clock, OnRequest::default());
    let tokens = tokens.build().unwrap();
    tokens.token().await.unwrap();
    clock.advance(HOUR).await;
    tokens.token().await.unwrap();
    assert!(tokens.logout().await.is_complete());
    let seen: Vec<_> = folio
        .seen()
        .into_iter()
        .map(|it| (it.path, it.carried.join(" ")))
        .collect();
    let expected = [
        ("/authn/login-with-expiry", ""),
        ("/authn/refresh", "folioRefreshToken"),
        ("/authn/logout", "folioRefreshToken"),
    ];
    assert_eq!(
        seen,
        expected.map(|(path, carried)| (path.to_owned(), carried.to_owned()))
    );
}

#[tokio::test(start_paused = true)]
async fn a7_in_a_legacy_tenant_a_token_never_expires_and_nothing_is_timed() {
    let clock = TestClock::new();
    let folio = FolioServer::okapi()
        .clock(clock.clone())
        .legacy_tenants("diku")
        .build();
    let tokens = builder(own(&folio), &clock, BackgroundTimer::default());
    let tokens = tokens.build().unwrap();
    let first = tokens.token().await.unwrap();
    for _ in 0..100 {
        clock.advance(24 * HOUR).await;
        let token = tokens.token().await.unwrap();
        assert_eq!(token.identity(), first.identity());
        assert_eq!(folio.check(token.expose()), AccessCheck::Live);
    }
    let counters = folio.counters();
    assert_eq!((counters.logins, counters.refreshes), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_told_and_not_tried_again_by_itself() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let endpoint = folio.endpoint("diku").unwrap();
        let endpoint = endpoint.sign_in_with_password("diku_admin", "sesame");
        let tokens = builder(endpoint, &clock, OnRequest::default());
        let tokens = tokens.build().unwrap();
        let error = tokens.token().await.unwrap_err();
        let Error::Endpoint { source, .. } = &error else {
            panic!("{error}");
        };
        assert!(matches!(**source, EndpointError::Misconfigured { .. }));
        assert!(!error.is_retryable() && !format!("{error:?}").contains("sesame"));
        assert_eq!(folio.seen().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_code_from_the_sign_in_page_begins_a_session_that_goes_on_by_itself() {
    let clock = TestClock::new();
    let folio = eureka(&clock);
    let uri = "https://folio.example.org/oidc-landing";
    let code = folio.code("diku", "diku_admin", uri).unwrap();
    let endpoint = folio.endpoint("diku").unwrap().sign_in_with_code(code, uri);
    let tokens = builder(endpoint, &clock, OnRequest::default());
    let tokens = tokens.build().unwrap();
    for _ in 0..10 {
        let token = tokens.token().await.unwrap();
        assert_eq!(folio.check(token.expose()), AccessCheck::Live);
        clock.advance(HOUR / 20).await;
    }
    let counters = folio.counters();
    assert_eq!((counters.logins, counters.refreshes), (1, 9));
}
