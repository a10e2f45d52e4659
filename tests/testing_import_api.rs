//! The import API, called in this process and over HTTP with tokens of the authorization server.

#![expect(
    clippy::unwrap_used,
    reason = "helpers fail as the tests do: by panicking"
)]

use std::time::Duration;

use evertoken::TokenPair;
use evertoken::testing::{
    Answer, AuthorizationServer, Gateway, HttpServer, ImportApi, ImportApiBuilder, TestClock,
};
use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

fn server() -> (AuthorizationServer, TestClock) {
    let clock = TestClock::new();
    let server = AuthorizationServer::builder().clock(clock.clone());
    (server.access_ttl(60 * SECOND).build(), clock)
}

fn access(pair: &TokenPair) -> &str {
    pair.access.as_ref().unwrap().expose()
}

/// An API with a listener, and an access token that it accepts.
async fn listening(
    describe: impl FnOnce(ImportApiBuilder) -> ImportApiBuilder,
) -> (ImportApi, HttpServer, String) {
    let (server, _) = server();
    let api = describe(ImportApi::builder(&server)).build();
    let http = api.listen().await.unwrap();
    (api, http, access(&server.issue()).to_owned())
}

async fn status(http: &HttpServer, bearer: &str) -> u16 {
    let request = Client::new().post(http.url()).bearer_auth(bearer);
    request.body("one").send().await.unwrap().status().as_u16()
}

#[tokio::test(start_paused = true)]
async fn eureka_refuses_a_token_from_its_expiry_on() {
    let (server, clock) = server();
    let api = ImportApi::builder(&server).build();
    let http = api.listen().await.unwrap();
    let pair = server.issue();
    clock.advance(60 * SECOND - Duration::from_millis(1)).await;
    assert_eq!(api.call(access(&pair), 10).await, 200);
    assert_eq!(status(&http, access(&pair)).await, 200);
    clock.advance(Duration::from_millis(1)).await;
    assert_eq!(api.call(access(&pair), 10).await, 401);
    assert_eq!(status(&http, access(&pair)).await, 401);
    assert_eq!((api.calls(), api.records(), api.unauthorized()), (4, 11, 2));
}

#[tokio::test(start_paused = true)]
async fn okapi_accepts_a_token_for_ever_that_it_accepted_once() {
    let (server, clock) = server();
    let api = ImportApi::builder(&server).gateway(Gateway::Okapi).build();
    let (used, unused) = (server.issue(), server.issue());
    assert_eq!(api.call(access(&used), 1).await, 200);
    clock.advance(60 * SECOND).await;
    server.revoke_all();
    assert_eq!(api.call(access(&used), 1).await, 200);
    assert_eq!(api.call(access(&unused), 1).await, 401);
    assert_eq!(api.call("a guess", 1).await, 401);
    assert_eq!((api.records(), api.unauthorized()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_revoked_token_is_refused_before_its_expiry() {
    let (server, _) = server();
    let api = ImportApi::builder(&server).build();
    let pair = server.issue();
    server.revoke_all();
    assert_eq!(api.call(access(&pair), 1).await, 401);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_the_scheme_and_the_error() {
    let (server, _) = server();
    let http = ImportApi::builder(&server).build().listen().await.unwrap();
    let response = Client::new().post(http.url()).send().await.unwrap();
    assert_eq!(response.status(), 401);
    let challenge = &response.headers()["www-authenticate"];
    assert_eq!(challenge, "Bearer error=\"invalid_token\"");
    assert_eq!(response.headers()["content-type"], "text/plain");
    assert_eq!(response.headers()["date"], "Tue, 14 Nov 2023 22:13:20 GMT");
    assert_eq!(response.text().await.unwrap(), "Invalid token");
}

#[tokio::test(start_paused = true)]
async fn records_are_counted_by_their_terminators_and_take_their_time() {
    let (api, http, token) = listening(|api| api.time_per_record(SECOND)).await;
    for (body, records) in [("a\x1Db\x1Dc\x1D", 3), ("{}", 1), ("", 0)] {
        let start = tokio::time::Instant::now();
        let request = Client::new().post(http.url()).bearer_auth(&token);
        let response = request.body(body).send().await.unwrap();
        assert_eq!(start.elapsed(), records * SECOND);
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer, json!({ "records": records }));
    }
    assert_eq!(api.records(), 4);
}

#[tokio::test(start_paused = true)]
async fn any_method_and_path_is_served_with_either_header_and_recorded() {
    let (api, http, token) = listening(|api| api).await;
    let client = Client::new();
    let url = format!("{}/some/where?page=2", http.origin());
    let get = client.get(&url).header("x-okapi-token", &token);
    assert_eq!(get.send().await.unwrap().status(), 200);
    let put = client.put(&url).bearer_auth(&token).body("record");
    assert_eq!(put.send().await.unwrap().status(), 200);
    let basic = client.post(&url).basic_auth("importer", Some("secret"));
    assert_eq!(basic.send().await.unwrap().status(), 401);
    assert_eq!(client.delete(&url).send().await.unwrap().status(), 401);

    let seen = api.seen();
    let methods: Vec<_> = seen.iter().map(|seen| seen.method.clone()).collect();
    let sent = [Method::GET, Method::PUT, Method::POST, Method::DELETE];
    assert_eq!(methods, sent);
    assert!(seen.iter().all(|seen| seen.path == "/some/where"));
    let bearers: Vec<_> = seen.iter().map(|seen| seen.bearer).collect();
    assert_eq!(bearers, [true, true, false, false]);
    assert_eq!(seen[1].body, 6);
    assert_eq!((api.calls(), api.records()), (4, 1));
    assert_eq!((api.unauthorized(), api.anonymous()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn scripted_answers_come_before_the_token_is_checked() {
    let (api, http, token) = listening(|api| api).await;
    api.answer_next(Answer::status(503).header("retry-after", "1").body("busy"));
    api.answer_next(Answer::status(401));
    api.answer_path("/old", Answer::status(307).header("location", http.url()));
    let busy = Client::new().post(http.url()).send().await.unwrap();
    assert_eq!((busy.status().as_u16(), api.unauthorized()), (503, 0));
    assert_eq!(busy.headers()["retry-after"], "1");
    assert_eq!(busy.text().await.unwrap(), "busy");
    assert_eq!(api.call(&token, 1).await, 401);
    assert_eq!((api.records(), api.unauthorized()), (0, 1));

    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    for _ in 0..2 {
        let old = client.post(format!("{}/old", http.origin())).send().await;
        let old = old.unwrap();
        assert_eq!(old.status(), 307);
        assert_eq!(old.headers()["location"], http.url());
    }
    let nonsense = Answer::status(200).header("not a name", "x");
    api.answer_next(nonsense);
    assert_eq!(api.call(&token, 1).await, 500);
}

#[tokio::test(start_paused = true)]
async fn only_the_last_requests_of_a_long_import_are_kept() {
    let (server, _) = server();
    let api = ImportApi::builder(&server).build();
    let pair = server.issue();
    for _ in 0..1_000 {
        api.call(access(&pair), 500).await;
    }
    assert_eq!((api.seen().len(), api.records()), (64, 500_000));
}

/// Posts a body under a key, and returns the status and the body of the answer.
async fn keyed(http: &HttpServer, bearer: &str, key: &str, body: &'static str) -> (u16, Value) {
    let request = Client::new().post(http.url()).bearer_auth(bearer);
    let request = request.header("idempotency-key", key).body(body);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_request_under_a_known_key_is_answered_as_the_first_and_not_counted() {
    let (api, http, token) = listening(|api| api.time_per_record(SECOND)).await;
    let start = tokio::time::Instant::now();
    let first = keyed(&http, &token, "\"a\"", "x\x1Dy\x1D").await;
    assert_eq!(first, (200, json!({ "records": 2 })));
    for _ in 0..3 {
        let again = keyed(&http, &token, "\"a\"", "x\x1Dy\x1D").await;
        assert_eq!(again, first);
    }
    let took = start.elapsed();
    assert_eq!(took, 2 * SECOND, "a repeated request takes no time");
    keyed(&http, &token, "\"b\"", "x\x1Dy\x1D").await;
    assert_eq!((api.calls(), api.records()), (5, 4));
    assert_eq!((api.duplicates(), api.conflicts()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_key_of_a_refused_request_is_not_remembered() {
    let (api, http, token) = listening(|api| api).await;
    let refused = Client::new().post(http.url()).bearer_auth("a guess");
    let refused = refused.header("idempotency-key", "\"a\"").body("x\x1D");
    assert_eq!(refused.send().await.unwrap().status(), 401);
    api.answer_next(Answer::status(500).body("{}"));
    assert_eq!(keyed(&http, &token, "\"a\"", "x\x1D").await.0, 500);
    let first = keyed(&http, &token, "\"a\"", "x\x1D").await;
    assert_eq!(first, (200, json!({ "records": 1 })));
    assert_eq!((api.records(), api.duplicates()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_key_is_a_conflict_while_its_first_request_is_processed() {
    let (api, http, token) = listening(|api| api.time_per_record(SECOND)).await;
    let both = tokio::join!(
        keyed(&http, &token, "\"a\"", "x\x1D"),
        keyed(&http, &token, "\"a\"", "x\x1D"),
    );
    let mut statuses = [both.0.0, both.1.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let counts = [api.records(), api.duplicates(), api.conflicts()];
    assert_eq!(counts, [1, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn another_body_method_or_path_under_a_known_key_is_refused() {
    let (api, http, token) = listening(|api| api).await;
    keyed(&http, &token, "\"a\"", "x\x1D").await;
    assert_eq!(keyed(&http, &token, "\"a\"", "y\x1D").await.0, 422);
    let elsewhere = format!("{}/elsewhere", http.origin());
    let client = Client::new();
    for request in [client.put(http.url()), client.post(&elsewhere)] {
        let request = request.bearer_auth(&token).body("x\x1D");
        let response = request.header("idempotency-key", "\"a\"").send().await;
        assert_eq!(response.unwrap().status(), 422);
    }
    assert_eq!((api.records(), api.conflicts()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_request_with_a_key_is_processed_to_its_end_if_the_client_hangs_up() {
    let (api, http, token) = listening(|api| api.time_per_record(SECOND)).await;
    let impatient = keyed(&http, &token, "\"a\"", "x\x1D");
    let given_up = tokio::time::timeout(SECOND / 2, impatient).await;
    given_up.unwrap_err();
    tokio::time::sleep(SECOND).await;
    let again = keyed(&http, &token, "\"a\"", "x\x1D").await;
    assert_eq!(again, (200, json!({ "records": 1 })));
    let counts = [api.records(), api.duplicates(), api.conflicts()];
    assert_eq!(counts, [1, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn records_are_remembered_one_by_one_where_the_builder_says_so() {
    let (server, _) = server();
    let api = ImportApi::builder(&server).remember_records(true).build();
    let forgetful = ImportApi::builder(&server).build();
    let pair = server.issue();
    for api in [&api, &forgetful] {
        let http = api.listen().await.unwrap();
        keyed(&http, access(&pair), "\"1\"", "a\x1Db\x1D").await;
        keyed(&http, access(&pair), "\"1\"", "a\x1Db\x1D").await;
        keyed(&http, access(&pair), "\"2\"", "b\x1Dc\x1D").await;
        keyed(&http, access(&pair), "\"3\"", "plain").await;
    }
    assert_eq!((api.records(), api.distinct_records()), (5, 4));
    let times = ["a\x1D", "b\x1D", "c\x1D", "plain", "d\x1D"].map(|record| api.times_taken(record));
    assert_eq!(times, [1, 2, 1, 1, 0]);
    assert_eq!(forgetful.distinct_records(), 0);
    assert_eq!(forgetful.times_taken("plain"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_for_the_counters_is_not_counted() {
    let (_api, http, token) = listening(|api| api.remember_records(true)).await;
    keyed(&http, &token, "\"a\"", "x\x1Dy\x1D").await;
    keyed(&http, &token, "\"a\"", "x\x1Dy\x1D").await;
    keyed(&http, &token, "\"a\"", "z\x1D").await;
    status(&http, "a guess").await;
    Client::new().post(http.url()).send().await.unwrap();
    let url = format!("{}/counters", http.origin());
    let counters = Client::new().get(url).send().await.unwrap();
    let counters: Value = counters.json().await.unwrap();
    assert_eq!(
        counters,
        json!({
            "calls": 5, "records": 2, "distinct_records": 2, "duplicates": 1,
            "conflicts": 1, "unauthorized": 2, "anonymous": 1,
        })
    );
}
