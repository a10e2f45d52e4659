use std::time::Duration;

use evertoken::testing::{Answer, FolioServer, TestClock};
use http::Method;
use serde_json::json;

use super::browser::*;

const SECOND: Duration = Duration::from_secs(1);

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_call_is_answered_with_its_user_and_its_records() {
    for folio in both(&TestClock::new()) {
        let browser = Browser::signed_in(&folio).await;
        let call = request(Method::POST, "/records", "one\x1dtwo\x1d");
        let response = send(&folio, with(call, "x-okapi-token", &browser.access)).await;
        let body = json!({ "records": 2, "tenant": "diku", "user": "diku_admin" });
        assert_eq!(response.status(), 200);
        assert_eq!(json_of(&response), body);
        assert_eq!(browser.call().await, 200);
        let counters = folio.counters();
        assert_eq!((counters.calls, counters.records), (2, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn q6_a_call_without_a_token_is_400_in_okapi_and_401_in_eureka() {
    let clock = TestClock::new();
    let call = || request(Method::POST, "/source-storage/records", "record");
    let folio = okapi(&clock);
    let response = send(&folio, call()).await;
    assert_eq!(response.status(), 400);
    let missing = "Token missing, access requires permission: source-storage.records.post";
    assert_eq!(text_of(&response), missing);
    let counters = folio.counters();
    assert_eq!((counters.token_missing, counters.unauthorized), (1, 0));

    let folio = eureka(&clock);
    assert_error(&send(&folio, call()).await, 401, "authorization_error");
    let counters = folio.counters();
    assert_eq!((counters.token_missing, counters.unauthorized), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn an_expired_or_unknown_token_is_invalid() {
    let clock = TestClock::new();
    let folio = okapi(&clock);
    let browser = Browser::signed_in(&folio).await;
    clock.advance(MINUTE + Duration::from_secs(1)).await;
    let response = browser.call_of("/records").await;
    assert_eq!(response.status(), 401);
    assert_eq!(text_of(&response), "Invalid token");
    let stranger = Browser::signed_in(&okapi(&clock)).await;
    let foreign = Browser {
        access: stranger.access,
        ..browser.clone()
    };
    assert_eq!(foreign.call().await, 401);
    assert_eq!(folio.counters().unauthorized, 2);
}

#[tokio::test(start_paused = true)]
async fn i3_eureka_judges_a_token_at_every_call() {
    let clock = TestClock::new();
    let folio = eureka(&clock);
    let browser = Browser::signed_in(&folio).await;
    assert_eq!(browser.call().await, 200);
    clock.advance(MINUTE - Duration::from_secs(1)).await;
    assert_eq!(browser.call().await, 200);
    clock.advance(Duration::from_secs(1)).await;
    assert_eq!(browser.call().await, 401);
}

#[tokio::test(start_paused = true)]
async fn i13_the_token_of_a_module_outlives_the_access_token_in_okapi_only() {
    let clock = TestClock::new();
    for (folio, status) in both(&clock).into_iter().zip([200, 401]) {
        let browser = Browser::signed_in(&folio).await;
        let module = Browser {
            access: folio.handed_on(&browser.access).unwrap(),
            ..browser
        };
        assert_eq!(module.call().await, 200);
        clock.advance(60 * MINUTE).await;
        assert_eq!(module.call().await, status);
    }
}

#[tokio::test(start_paused = true)]
async fn q12_some_paths_need_no_token_but_refuse_an_expired_one() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let mut browser = Browser::signed_in(&folio).await;
        clock.advance(2 * MINUTE).await;
        for path in [
            "/saml/check",
            "/bl-users/forgotten/password",
            "/bl-users/forgotten/username",
            "/bl-users/password-reset/validate",
            "/_/invoke/tenant/diku/saml/login",
        ] {
            let response = send(&folio, request(Method::GET, path, "")).await;
            assert_eq!(response.status(), 200, "{path}");
            assert_eq!(browser.call_of(path).await.status(), 401, "{path}");
        }
        assert_eq!(browser.refresh().await.status(), 201);
        assert_eq!(browser.call_of("/saml/check").await.status(), 200);
        let response = send(&folio, request(Method::GET, "/saml/checked", "")).await;
        assert_ne!(response.status(), 200);
        assert_eq!(folio.counters().records, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn i9_a_missing_permission_is_403() {
    for (builder, message) in [
        (FolioServer::okapi(), "requires permission: records.post"),
        (FolioServer::eureka(), "Access Denied"),
    ] {
        let folio = builder
            .clock(TestClock::new())
            .forbid("diku", "diku_admin", "/records")
            .build();
        let browser = Browser::signed_in(&folio).await;
        let response = browser.call_of("/records").await;
        assert_eq!(response.status(), 403);
        let body = std::str::from_utf8(response.body()).unwrap();
        assert!(body.contains(message), "{body}");
        assert_eq!(browser.call_of("/others").await.status(), 200);
        assert_eq!(folio.counters().forbidden, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_has_to_be_named_known_and_that_of_the_token() {
    for (builder, status) in [(FolioServer::okapi(), 403), (FolioServer::eureka(), 401)] {
        let folio = builder
            .clock(TestClock::new())
            .user("diku", "diku_admin", "admin")
            .user("b", "jane", "secret")
            .build();
        let browser = Browser::signed_in(&folio).await;
        let call = |tenant: Option<&'static str>| {
            let mut call = request(Method::POST, "/records", "record");
            call.headers_mut().remove("x-okapi-tenant");
            let call = with(call, "x-okapi-token", &browser.access);
            match tenant {
                Some(tenant) => with(call, "x-okapi-tenant", tenant),
                None => call,
            }
        };
        assert_eq!(send(&folio, call(None)).await.status(), 400);
        assert_eq!(send(&folio, call(Some("nobody"))).await.status(), 400);
        assert_eq!(send(&folio, call(Some("b"))).await.status(), status);
        assert_eq!(send(&folio, call(Some("diku"))).await.status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn i8_an_unavailable_gateway_can_be_scripted() {
    let folio = eureka(&TestClock::new());
    let browser = Browser::signed_in(&folio).await;
    folio.answer_next(Answer::unavailable(Duration::from_secs(1)));
    let response = browser.call_of("/records").await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(browser.call().await, 200);
    let counters = folio.counters();
    assert_eq!((counters.calls, counters.records), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn accepted_records_are_remembered_where_the_builder_says_so() {
    for remember in [true, false] {
        let folio = FolioServer::eureka()
            .clock(TestClock::new())
            .remember_records(remember)
            .build();
        let browser = Browser::signed_in(&folio).await;
        for body in ["one\x1dtwo\x1d", "two\x1d", "no MARC"] {
            let call = request(Method::POST, "/records", body);
            send(&folio, with(call, "x-okapi-token", &browser.access)).await;
            // The records of a refused call are not remembered.
            send(&folio, request(Method::POST, "/records", "three\x1d")).await;
        }
        assert_eq!(folio.counters().records, 4);
        let times =
            ["one\x1d", "two\x1d", "no MARC", "three\x1d"].map(|one| folio.times_taken(one));
        let expected = if remember { [1, 2, 1, 0] } else { [0; 4] };
        assert_eq!(times, expected);
        assert_eq!(folio.distinct_records(), if remember { 3 } else { 0 });
    }
}

#[tokio::test(start_paused = true)]
async fn records_take_their_time() {
    let folio = FolioServer::okapi()
        .clock(TestClock::new())
        .time_per_record(Duration::from_millis(20))
        .build();
    let browser = Browser::signed_in(&folio).await;
    let start = tokio::time::Instant::now();
    let call = request(Method::POST, "/records", "one\x1dtwo\x1dthree\x1d");
    send(&folio, with(call, "x-okapi-token", &browser.access)).await;
    assert_eq!(start.elapsed(), Duration::from_millis(60));
}

fn with_cache(clock: &TestClock, cache: Duration) -> FolioServer {
    let builder = FolioServer::okapi().clock(clock.clone());
    let builder = builder.token_expiration("accessToken:60").unwrap();
    builder.authorization_cache(cache).build()
}

#[tokio::test(start_paused = true)]
async fn okapi_admits_a_token_without_a_check_for_3_min() {
    let clock = TestClock::new();
    let folio = okapi(&clock);
    let browser = Browser::signed_in(&folio).await;
    assert_eq!(browser.call().await, 200);
    clock.advance(179 * SECOND).await;
    assert_eq!(browser.call().await, 200, "the token expired 2 min ago");
    assert_eq!(browser.call_of("/others").await.status(), 401);
    clock.advance(SECOND).await;
    let status = browser.call().await;
    assert_eq!(status, 401, "the calls did not prolong the pass");
}

#[tokio::test(start_paused = true)]
async fn okapi_without_the_cache_checks_a_token_at_every_call() {
    let clock = TestClock::new();
    let folio = with_cache(&clock, Duration::ZERO);
    let browser = Browser::signed_in(&folio).await;
    assert_eq!(browser.call().await, 200);
    clock.advance(60 * SECOND).await;
    let status = browser.call().await;
    assert_eq!(status, 200, "Okapi accepts a token in its last second");
    clock.advance(SECOND).await;
    assert_eq!(browser.call().await, 401);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_not_cached() {
    let clock = TestClock::new();
    let folio = with_cache(&clock, 180 * SECOND);
    let browser = Browser::signed_in(&folio).await;
    folio.set_active("diku", "diku_admin", false);
    assert_eq!(browser.call().await, 401);
    folio.set_active("diku", "diku_admin", true);
    clock.advance(61 * SECOND).await;
    assert_eq!(browser.call().await, 401);
}

/// A call with these headers that brings a record.
async fn call_with(
    folio: &FolioServer,
    headers: &[(&'static str, String)],
) -> http::Response<bytes::Bytes> {
    let call = request(Method::POST, "/records", "record");
    let parts = headers.iter();
    let call = parts.fold(call, |call, (name, value)| with(call, name, value));
    send(folio, call).await
}

#[tokio::test(start_paused = true)]
async fn a5_a_call_carries_its_token_in_one_of_three_ways() {
    for folio in both(&TestClock::new()) {
        let token = Browser::signed_in(&folio).await.access;
        let ways = [
            ("x-okapi-token", token.clone()),
            ("authorization", format!("Bearer {token}")),
            ("cookie", format!("a=b; {}", cookie(ACCESS, &token))),
        ];
        for way in ways.clone() {
            assert_eq!(call_with(&folio, &[way]).await.status(), 200);
        }
        let status = call_with(&folio, &ways).await.status();
        assert_eq!(status, 200, "the same token");
        let carried: Vec<_> = folio.seen().into_iter().map(|seen| seen.carried).collect();
        assert_eq!(
            carried[1..],
            [
                vec!["x-okapi-token"],
                vec!["authorization"],
                vec!["a", ACCESS],
                vec!["x-okapi-token", "authorization", "a", ACCESS],
            ]
        );
        let last = folio.seen().pop().unwrap();
        assert_eq!((last.method, &*last.path), (Method::POST, "/records"));
        assert_eq!(last.tenant.as_deref(), Some("diku"));
        assert_eq!(last.status, Some(http::StatusCode::OK));
    }
}

#[tokio::test(start_paused = true)]
async fn a5_two_different_tokens_are_a_bad_request() {
    let clock = TestClock::new();
    for folio in both(&clock) {
        let one = folio.issue("diku", "diku_admin").unwrap().access.unwrap();
        clock.advance(std::time::Duration::from_secs(1)).await;
        let other = folio.issue("diku", "diku_admin").unwrap().access.unwrap();
        let (one, other) = (one.expose().to_owned(), other.expose().to_owned());
        let header = ("x-okapi-token", one.clone());
        let same_cookies = format!("{}; {}", cookie(ACCESS, &one), cookie(ACCESS, &one));
        let bearer = format!("Bearer {other}");
        let not_equal = "X-Okapi-Token is not equal to Authorization token";
        let conflicts = "X-Okapi-Token conflicts with Cookie";
        for (second, message) in [
            (("authorization", bearer), not_equal),
            (("cookie", cookie(ACCESS, &other)), conflicts),
            (
                ("cookie", same_cookies),
                "Multiple folioAccessToken cookie names",
            ),
        ] {
            let response = call_with(&folio, &[header.clone(), second]).await;
            assert_eq!(response.status(), 400);
            let body = std::str::from_utf8(response.body()).unwrap();
            assert!(body.contains(message), "{body}");
        }
        assert_eq!(folio.counters().records, 0);
    }
}
