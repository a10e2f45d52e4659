//! A manager's logout in Eureka, which ends a session only for a request with an access token of that session.

use evertoken::testing::{FolioServer, TestClock};
use evertoken::{EndReason, EndpointError, OnRequest, TokenEndpoint, TokenPair};

use crate::browser::{Browser, both, eureka};
use crate::{MINUTE, SECOND, builder, copy, reason, seeded, shared};

/// The tokens of each logout that arrived.
fn logouts(folio: &FolioServer) -> Vec<String> {
    let seen = folio.seen().into_iter();
    seen.filter(|seen| seen.path == "/authn/logout")
        .map(|seen| seen.carried.join(" "))
        .collect()
}

/// In Eureka a logout with a live access token ends that session and no other.
#[tokio::test(start_paused = true)]
async fn t4_q10_in_eureka_a_logout_with_a_live_access_token_ends_the_session_and_no_other() {
    let clock = TestClock::new();
    let folio = eureka(&clock);
    let (_, tokens) = shared(&folio, &clock).await;
    let bystander = Browser::signed_in(&folio).await;
    tokens.rotate().await.unwrap();
    let logout = tokens.logout().await;
    assert!(logout.is_complete(), "{logout:?}");
    assert_eq!(logouts(&folio), ["x-okapi-token folioRefreshToken"]);
    assert!(bystander.is_live());
    let counters = folio.counters();
    assert_eq!((counters.logouts, counters.logout_alls), (1, 0));
}

/// Behind Okapi a logout sends the refresh cookie alone.
#[tokio::test(start_paused = true)]
async fn t4_behind_okapi_a_logout_carries_the_cookie_alone() {
    let clock = TestClock::new();
    let [folio, _] = both(&clock);
    let (browser, tokens) = shared(&folio, &clock).await;
    clock.advance(MINUTE + SECOND).await;
    assert!(tokens.logout().await.is_complete());
    assert_eq!(logouts(&folio), ["folioRefreshToken"]);
    assert!(!browser.is_live());
}

/// In Eureka a logout with an expired access token fails and ends no session. The logout neither waits nor refreshes,
/// so the caller learns the outcome.
#[tokio::test(start_paused = true)]
async fn q10_in_eureka_a_logout_with_an_expired_access_token_fails_and_ends_no_session() {
    let clock = TestClock::new();
    for has_access in [true, false] {
        let folio = eureka(&clock);
        let browser = Browser::signed_in(&folio).await;
        let pair = match has_access {
            true => copy(&browser),
            false => TokenPair::from_refresh_token(browser.refresh.as_str()),
        };
        let tokens = seeded(&folio, pair, &clock);
        clock.advance(MINUTE).await;
        let logout = tokens.logout().await;
        assert!(logout.stored.is_ok() && !logout.is_complete());
        let Err(EndpointError::Unknown { source, .. }) = &logout.revoked else {
            panic!("{logout:?}");
        };
        let said = source.to_string();
        assert!(said.contains("token.logout.unprocessable"), "{said}");
        assert!(said.contains("(422)"), "{said}");
        let expected = ["x-okapi-token folioRefreshToken", "folioRefreshToken"];
        let expected = &expected[usize::from(!has_access)..];
        assert_eq!(logouts(&folio), expected);
        // The session has ended for this manager.
        let error = tokens.token().await.unwrap_err();
        assert_eq!(reason(error), EndReason::LoggedOut);
        assert!(browser.is_live());
        let counters = folio.counters();
        assert_eq!((counters.refreshes, counters.logout_alls), (0, 0));
    }
}

/// In Eureka a caller that must be sure of the logout requests a token first.
#[tokio::test(start_paused = true)]
async fn t4_in_eureka_a_late_logout_ends_the_session_after_a_token_was_requested() {
    let clock = TestClock::new();
    let folio = eureka(&clock);
    let (_, tokens) = shared(&folio, &clock).await;
    clock.advance(MINUTE).await;
    tokens.token().await.unwrap();
    assert!(tokens.logout().await.is_complete());
    assert_eq!(folio.counters().logouts, 1);
}

/// In Eureka a logout with a used refresh token ends the session, the newest pair with it.
#[tokio::test(start_paused = true)]
async fn t10_in_eureka_a_logout_with_a_used_token_ends_the_session_with_its_newest_pair() {
    let clock = TestClock::new();
    let folio = eureka(&clock);
    let mut browser = Browser::signed_in(&folio).await;
    let used = copy(&browser);
    browser.refresh().await;
    let endpoint = folio.endpoint("diku").unwrap();
    endpoint.revoke(&used).await.unwrap();
    assert!(!browser.is_live());
    assert_eq!(folio.counters().sessions_revoked, 0);
}

/// In Eureka a pair that an earlier process stored is revoked with its access token.
#[tokio::test(start_paused = true)]
async fn t4_in_eureka_a_pair_stored_by_an_earlier_process_is_revoked_with_its_access_token() {
    let clock = TestClock::new();
    let folio = eureka(&clock);
    let browser = Browser::signed_in(&folio).await;
    let store = evertoken::MemoryStore::new();
    let start = || {
        let endpoint = folio.endpoint("diku").unwrap();
        let tokens = builder(endpoint, &clock, OnRequest::default());
        tokens.store(store.clone())
    };
    let earlier = start().seed(copy(&browser)).build().unwrap();
    earlier.rotate().await.unwrap();
    earlier.shutdown().await.unwrap();
    assert!(start().build().unwrap().logout().await.is_complete());
    assert_eq!(logouts(&folio), ["x-okapi-token folioRefreshToken"]);
}
