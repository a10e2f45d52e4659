//! A pair that another library signed in for: what a token response means, and that it means the same as the answer of a
//! token endpoint.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

#[path = "support/exchanges.rs"]
mod exchanges;
#[allow(dead_code, reason = "other tests need the rest")]
#[path = "support/raw_server.rs"]
mod raw_server;

use std::cell::Cell;
use std::collections::HashMap;
use std::time::Duration;

use evertoken::testing::AuthorizationServer;
use evertoken::{Issued, OAuth2, ResponseError, Scope, TokenManager, TokenPair, Validity};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::{Value, json};

use crate::exchanges::{answer, chain, sign_in};
use crate::raw_server::RawServer;

const MINUTE: Duration = Duration::from_secs(60);

fn pair(response: Value) -> TokenPair {
    let shown = response.to_string();
    TokenPair::from_response(&response).expect(&shown)
}

fn access(expires_in: Value) -> Validity {
    pair(json!({ "access_token": "a", "expires_in": expires_in }))
        .lifetime
        .access
}

#[test]
fn a_token_response_is_the_pair_with_everything_that_it_states() {
    let response = json!({
        "access_token": "a1", "token_type": "bearer", "expires_in": 300, "refresh_token": "r1",
        "refresh_expires_in": 1800, "scope": "write read", "refresh_in": 150,
    });
    let mut expected = TokenPair::new("a1")
        .refresh_token("r1")
        .expires_in(5 * MINUTE)
        .refresh_expires_in(30 * MINUTE)
        .scope("read write")
        .token_type("bearer");
    expected.lifetime.refresh_in = Some(Duration::from_secs(150));
    assert_eq!(pair(response), expected);
}

/// The fields of RFC 6749 section 5.1, as a program of its own declares them.
#[test]
fn a_type_of_the_programs_own_is_a_token_response() {
    #[derive(serde::Serialize)]
    struct Own<'a> {
        access_token: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        refresh_token: Option<&'a str>,
        expires_in: u64,
        issued_to: Option<&'a str>,
    }
    let own = Own {
        access_token: "a1",
        refresh_token: Some("r1"),
        expires_in: 60,
        issued_to: None,
    };
    let expected = TokenPair::new("a1").refresh_token("r1").expires_in(MINUTE);
    assert_eq!(TokenPair::from_response(&own), Ok(expected));
    let map = HashMap::from([("refresh_token", "r1")]);
    let expected = TokenPair::from_refresh_token("r1");
    assert_eq!(TokenPair::from_response(&map), Ok(expected));
}

#[test]
fn an_odd_lifetime_costs_no_token() {
    assert_eq!(access(json!(0)), Duration::ZERO.into());
    assert_eq!(access(json!("60")), MINUTE.into());
    assert_eq!(access(json!(60.5)), Duration::from_millis(60_500).into());
    let ten_years = Duration::from_secs(315_360_000);
    assert_eq!(access(json!(315_360_000)), ten_years.into());
    for unreadable in [
        json!(315_360_001),
        json!(1_700_000_000_000_u64),
        json!(1e300),
        json!(-1),
        json!("-60"),
        json!("soon"),
        json!(null),
        json!(true),
        json!([60]),
        json!({ "secs": 60, "nanos": 0 }),
    ] {
        let read = access(unreadable.clone());
        assert_eq!(read, Validity::Unknown, "{unreadable}");
    }
}

#[test]
fn a_part_that_is_missing_stays_missing() {
    assert_eq!(pair(json!({ "access_token": "a" })), TokenPair::new("a"));
    let only_refresh = json!({ "access_token": "", "refresh_token": "r" });
    assert_eq!(pair(only_refresh), TokenPair::from_refresh_token("r"));
    let without_refresh = json!({ "access_token": "a", "refresh_token": null });
    assert_eq!(pair(without_refresh), TokenPair::new("a"));
}

/// Keycloak writes 0 for an offline token, which has no expiry of its own (keycloak/keycloak#8919).
#[test]
fn the_lifetime_of_a_refresh_token_is_read_under_the_names_of_keycloak_github_and_intuit() {
    let read = |name: &str, lifetime: u64| {
        let response = json!({ "access_token": "a", "refresh_token": "r", name: lifetime });
        pair(response).lifetime.refresh
    };
    for name in [
        "refresh_expires_in",
        "refresh_token_expires_in",
        "x_refresh_token_expires_in",
    ] {
        assert_eq!(read(name, 60), MINUTE.into(), "{name}");
        assert_eq!(read(name, 0), Validity::Unknown, "{name}");
    }
}

#[test]
fn a_scope_may_be_a_list() {
    for scope in [json!("b a"), json!(["a", "b"]), json!(["b a", 5])] {
        let expected = TokenPair::new("a").scope(Scope::from_iter(["a", "b"]));
        let read = pair(json!({ "access_token": "a", "scope": scope }));
        assert_eq!(read, expected);
    }
}

#[test]
fn other_members_are_ignored_and_a_pair_may_be_one_level_down() {
    let response = json!({
        "id_token": "e30.e30.x", "not-before-policy": 0, "session_state": "s", "access_token": "a",
        "nested": { "access_token": "other" },
    });
    assert_eq!(pair(response), TokenPair::new("a"));
    // Slack.
    let response =
        json!({ "ok": true, "authed_user": { "access_token": "a", "refresh_token": "r" } });
    assert_eq!(pair(response), TokenPair::new("a").refresh_token("r"));
    // A server that issued a pair has issued a pair, whatever else it says.
    let response = json!({ "error": "none", "access_token": "a", "refresh_token": "r" });
    assert_eq!(pair(response), TokenPair::new("a").refresh_token("r"));
}

#[test]
fn the_lifetimes_of_an_answer_count_from_its_receipt() {
    let response = json!({
        "access_token": "a", "refresh_token": "r", "expires_in": 60, "refresh_expires_in": 600,
        "refresh_in": 30,
    });
    for (ago, access, refresh, refresh_in) in [
        (0, 60, 600, 30),
        (20, 40, 580, 10),
        (60, 0, 540, 0),
        (599, 0, 1, 0),
        (u64::MAX, 0, 0, 0),
    ] {
        let ago = Duration::from_secs(ago);
        let pair = TokenPair::from_response_received(&response, ago).unwrap();
        let seconds = Duration::from_secs;
        assert_eq!(pair.lifetime.access, seconds(access).into(), "{ago:?}");
        assert_eq!(pair.lifetime.refresh, seconds(refresh).into(), "{ago:?}");
        assert_eq!(pair.lifetime.refresh_in, Some(seconds(refresh_in)));
        assert_eq!(pair.access, Some("a".into()));
        assert_eq!(pair.refresh, Some("r".into()));
    }
    let unknown = json!({ "access_token": "a" });
    let pair = TokenPair::from_response_received(&unknown, MINUTE);
    assert_eq!(pair, Ok(TokenPair::new("a")));
}

/// The pair of an answer that this server gave some time ago.
fn received(server: &AuthorizationServer, has_refresh: bool, ago: Duration) -> TokenPair {
    let pair = server.issue();
    let refresh = pair.refresh.filter(|_| has_refresh);
    let response = json!({
        "access_token": pair.access.unwrap().expose(),
        "refresh_token": refresh.as_ref().map(|token| token.expose()),
        "expires_in": 600,
    });
    TokenPair::from_response_received(&response, ago).unwrap()
}

#[tokio::test]
async fn the_first_call_rotates_a_pair_that_expired_before_it_was_handed_over() {
    let server = AuthorizationServer::builder().build();
    for (ago, exchanges) in [(0, 0), (600, 1)] {
        let pair = received(&server, true, Duration::from_secs(ago));
        let old = pair.access.clone().unwrap();
        let builder = TokenManager::builder(server.endpoint()).seed(pair);
        let token = builder.build().unwrap().token().await.unwrap();
        assert_eq!(server.exchanges(), exchanges, "{ago}");
        assert_eq!(token.expose() == old.expose(), exchanges == 0, "{ago}");
    }
    assert_eq!(server.replays(), 0);
}

#[tokio::test]
async fn an_access_token_alone_that_expired_before_it_was_handed_over_needs_a_sign_in() {
    let server = AuthorizationServer::builder().build();
    let pair = received(&server, false, Duration::from_secs(600));
    let builder = TokenManager::builder(server.endpoint()).seed(pair);
    let error = builder.build().unwrap().token().await.unwrap_err();
    assert!(error.needs_sign_in(), "{error:?}");
    assert_eq!(server.exchanges(), 0);
}

/// A `Serialize` that fails with a token in its error.
struct Failing;

impl Serialize for Failing {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("sesame cannot be serialized"))
    }
}

#[test]
fn what_holds_no_pair_is_refused_by_an_error_that_quotes_nothing() {
    let refused = |response: &dyn Fn() -> Result<TokenPair, ResponseError>, why| {
        let error = response().unwrap_err();
        assert_eq!(error, why);
        let shown = chain(&error);
        assert!(!shown.contains("sesame"), "{shown}");
    };
    for not_an_object in [
        json!(null),
        json!("sesame"),
        json!(r#"{"access_token":"sesame","expires_in":60}"#),
        json!("access_token=sesame"),
        json!(5),
        json!(true),
        json!([{ "access_token": "sesame", "refresh_token": "sesame", "expires_in": 60 }]),
    ] {
        let read = || TokenPair::from_response(&not_an_object);
        refused(&read, ResponseError::NotAnObject);
    }
    for error in [
        json!({ "error": "authorization_pending", "error_description": "sesame" }),
        json!({ "error": "sesame" }),
        json!({ "error": "invalid_grant", "access_token": null }),
        json!({ "error": "slow_down", "refresh_token": "" }),
        json!({ "error": "interaction_required" }),
        json!({ "error": { "code": "invalid_grant", "message": "sesame" } }),
    ] {
        refused(&|| TokenPair::from_response(&error), ResponseError::Refused);
    }
    for empty in [
        json!({}),
        json!({ "id_token": "sesame", "expires_in": 60 }),
        json!({ "access_token": "", "refresh_token": "" }),
        json!({ "access_token": 5, "refresh_token": ["sesame"] }),
        json!({ "token": "sesame" }),
    ] {
        refused(&|| TokenPair::from_response(&empty), ResponseError::NoToken);
    }
    let keyed_by_lists = HashMap::from([(vec![1_u8], "sesame")]);
    let unserializable = ResponseError::Unserializable;
    refused(&|| TokenPair::from_response(&Failing), unserializable);
    refused(
        &|| TokenPair::from_response(&keyed_by_lists),
        unserializable,
    );
}

#[test]
fn a_pair_that_was_handed_over_is_printed_without_its_tokens() {
    let response =
        json!({ "access_token": "sesame", "refresh_token": "sesame", "id_token": "sesame" });
    let shown = format!("{0:?} {0:#?}", TokenPair::from_response(&response));
    assert!(!shown.contains("sesame"), "{shown}");
    assert!(shown.contains("[REDACTED]"), "{shown}");
}

/// A text that a token or another member may be.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9._~+/-]{1,20}=?",
        "[\\PC\\\\\"\n\t]{0,8}",
        Just(String::new())
    ]
}

/// What stands in the place of a lifetime. A point in time would be read by a clock.
fn lifetime() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0..100_000_u64).prop_map(Value::from),
        (-1e12..1e12).prop_map(Value::from),
        (0..100_000_u64).prop_map(|number| number.to_string().into()),
        (315_359_990_u64..315_360_010).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        anything(),
    ]
}

fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
        prop::collection::vec(text(), 0..3).prop_map(Value::from),
        text().prop_map(|text| json!({ "access_token": text, "expires_in": 60 })),
    ]
}

fn member() -> impl Strategy<Value = (String, Value)> {
    let token = || prop_oneof![4 => text().prop_map(Value::from), 1 => anything()];
    prop_oneof![
        token().prop_map(|token| ("access_token".to_owned(), token)),
        token().prop_map(|token| ("refresh_token".to_owned(), token)),
        token().prop_map(|text| ("token_type".to_owned(), text)),
        token().prop_map(|text| ("scope".to_owned(), text)),
        (
            prop::sample::select(vec![
                "expires_in",
                "expiresIn",
                "refresh_expires_in",
                "refresh_token_expires_in",
                "refresh_in",
            ]),
            lifetime()
        )
            .prop_map(|(name, lifetime)| (name.to_owned(), lifetime)),
        (
            prop::sample::select(vec!["error", "id_token", "data", "message"]),
            anything()
        )
            .prop_map(|(name, value)| (name.to_owned(), value)),
    ]
}

/// A token response with a wrapper around it at times.
fn response() -> impl Strategy<Value = Value> {
    let object = prop::collection::vec(member(), 0..8)
        .prop_map(|members| Value::Object(members.into_iter().collect()));
    (object, 0..8).prop_map(|(object, wraps)| match wraps {
        0 => json!({ "data": object }),
        _ => object,
    })
}

/// The pair of what the endpoint issued for a sign-in. No token of these answers is a JWT.
fn pair_of(issued: Issued) -> TokenPair {
    let validity = |total: Option<Duration>| total.map_or(Validity::Unknown, Validity::from);
    let mut pair = TokenPair::default();
    pair.access = issued.access;
    pair.refresh = issued.refresh;
    pair.lifetime.access = validity(issued.expires_in);
    pair.lifetime.refresh = validity(issued.refresh_expires_in);
    pair.lifetime.refresh_in = issued.refresh_in;
    pair.token_type = issued.token_type;
    pair.scope = issued.scope;
    pair
}

#[test]
fn a_token_response_is_the_pair_that_the_endpoint_reads_in_the_same_answer() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let (pairs, refusals) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config::with_cases(256));
    let ran = runner.run(&response(), |response| {
        let issued = runtime.block_on(async {
            let body = serde_json::to_string(&response).unwrap();
            let server = RawServer::start([answer(200, &[], body)]).await;
            let endpoint = OAuth2::new(server.url("/token"), "importer").unwrap();
            sign_in(&endpoint.client_secret("s").sign_in_as_client()).await
        });
        match (TokenPair::from_response(&response), issued) {
            (Ok(pair), Ok(issued)) => {
                pairs.set(pairs.get() + 1);
                prop_assert_eq!(pair, pair_of(issued));
            }
            (Err(error), Err(refused)) => {
                refusals.set(refusals.get() + 1);
                let is_refusal = error == ResponseError::Refused;
                prop_assert_eq!(is_refusal, !refused.is_unclear(), "{:?}", refused);
            }
            (pair, issued) => prop_assert!(false, "{:?} {:?}", pair, issued),
        }
        Ok(())
    });
    ran.unwrap();
    assert!(
        pairs.get() > 64 && refusals.get() > 8,
        "{pairs:?} {refusals:?}"
    );
}
