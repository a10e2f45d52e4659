use evertoken::testing::TestClock;
use http::Method;

use super::browser::*;

/// A call with these headers that brings a record.
async fn call(
    folio: &evertoken::testing::FolioServer,
    headers: &[(&'static str, String)],
) -> http::Response<bytes::Bytes> {
    let call = request(Method::POST, "/records", "record");
    let call = headers
        .iter()
        .fold(call, |call, (name, value)| with(call, name, value));
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
            assert_eq!(call(&folio, &[way]).await.status(), 200);
        }
        assert_eq!(call(&folio, &ways).await.status(), 200, "the same token");
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
        assert_eq!(
            (last.method, last.path.as_str()),
            (Method::POST, "/records")
        );
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
        for (headers, message) in [
            (
                [header.clone(), ("authorization", format!("Bearer {other}"))],
                "X-Okapi-Token is not equal to Authorization token",
            ),
            (
                [header.clone(), ("cookie", cookie(ACCESS, &other))],
                "X-Okapi-Token conflicts with Cookie",
            ),
            (
                [header, ("cookie", same_cookies)],
                "Multiple folioAccessToken cookie names",
            ),
        ] {
            let response = call(&folio, &headers).await;
            assert_eq!(response.status(), 400);
            let body = std::str::from_utf8(response.body()).unwrap();
            assert!(body.contains(message), "{body}");
        }
        assert_eq!(folio.counters().records, 0);
    }
}
