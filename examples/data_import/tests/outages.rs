//! Outages of the token endpoint and of the API: the import waits, and no record fails.

use std::fs;

use evertoken::testing::Fault;
use futures_util::future::join_all;

use super::configured::{Elsewhere, config};
use super::resume::Desk;
use super::*;

const HTML: &str = "<html><body>This service is being maintained.</body></html>";

/// A status, a body, and the part of the notice that names the cause.
const ANSWERS: [(u16, &str, &str); 5] = [
    (404, HTML, "answered with a page: 404"),
    (403, HTML, "answered with a page: 403"),
    (400, HTML, "answered with a page: 400"),
    (
        401,
        "{\"error\":\"invalid_client\"}",
        "refuses this client: invalid_client",
    ),
    (503, HTML, "is not available: 503"),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_record_fails_for_an_answer_that_is_not_of_the_authorization_server() {
    let mut imports = Vec::new();
    for strategy in Strategy::MANAGED {
        for (status, body, cause) in ANSWERS {
            imports.push(async move {
                let fault = Fault::Status {
                    status,
                    body: body.to_owned(),
                    retry_after: None,
                };
                assert_survived(strategy, fault, cause).await;
            });
        }
    }
    join_all(imports).await;
}

/// The fault begins after the first rotation and ends after two attempts: the first attempt may be early, and then no request
/// waits for it.
async fn assert_survived(strategy: Strategy, fault: Fault, cause: &str) {
    let place = Place::open(Duration::from_millis(500)).await;
    let server = &place.server;
    let ends = async {
        until(|| server.rotations() > 0).await;
        server.fail_always(Some(fault));
        let exchanges = server.exchanges();
        until(|| server.exchanges() >= exchanges + 2).await;
        server.fail_always(None);
        let rotations = server.rotations();
        until(|| server.rotations() > rotations).await;
    };
    let arguments =
        format!("--records 1000000 --batch 25 --workers 2 --strategy {strategy} --json");
    let ran = place.ran_until(&arguments, ends).await.unwrap();
    let line = &ran.lines()[0];
    let context = format!("{cause}: {line} {}", ran.err);
    assert_eq!((ran.status, number(line, "failed")), (INTERRUPTED, 0));
    assert_eq!(line["stopped"], Value::Null, "{context}");
    let failed = number(line, "exchanges") - number(line, "rotations");
    assert!((1..=3).contains(&failed), "{context}");
    let notice = format!("{strategy}: waits for a token: the token could not be refreshed: ");
    assert!(ran.err.starts_with(&notice), "{context}");
    assert!(ran.err.contains(cause), "{context}");
    let api = &place.api;
    assert!(api.records() > 0 && api.distinct_records() == api.records());
}

async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_outage_is_survived_and_counted() {
    let mut imports = Vec::new();
    for (name, strategy) in ["refused", "500", "reset", "301", "invalid_client"]
        .into_iter()
        .zip(Strategy::MANAGED.into_iter().cycle())
    {
        imports.push(async move {
            let arguments = format!(
                "--faults={name} --records 4000 --batch 25 --access-ttl 500ms --strategy {strategy} --json"
            );
            let ran = ran(&arguments).await;
            let line = &ran.lines()[0];
            assert_eq!(ran.status, 0, "{name}: {line} {}", ran.err);
            assert_eq!((number(line, "ok"), number(line, "failed")), (4_000, 0));
            assert_eq!(number(line, "outages"), 1, "{name}: {line}");
            // Requests that the front answers do not reach the server.
            assert_eq!(number(line, "exchanges"), number(line, "rotations"));
            assert_eq!(number(line, "families_revoked"), 0, "{name}: {line}");
        });
    }
    join_all(imports).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_an_import_that_waits_for_a_token() {
    let place = Place::open(Duration::from_millis(300)).await;
    place.server.fail_always(Some(Fault::status(503)));
    let interrupt = until(|| place.server.exchanges() >= 2);
    let arguments = "--records 1000000 --workers 4 --strategy on-request --json";
    let ran = place.ran_until(arguments, interrupt);
    let ran = timeout(Duration::from_secs(30), ran).await.unwrap();
    let ran = ran.unwrap();
    assert_eq!(ran.status, INTERRUPTED);
    let line = &ran.lines()[0];
    assert_eq!(number(line, "failed"), 0);
    // Workers that wait for a token end at once, before the grace of 5 s is over.
    assert!(number(line, "elapsed_ms") < 5_000, "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_waits_for_an_api_that_is_not_available_for_a_while() {
    for strategy in ["fixed", "on-request"] {
        let place = Place::open(Duration::from_secs(60)).await;
        for status in [503, 502, 429, 503, 503, 502, 429, 503] {
            place.api.answer_next(Answer::status(status));
        }
        let arguments =
            format!("--records 1000 --batch 25 --workers 4 --strategy {strategy} --json");
        let ran = place.ran(&arguments).await;
        let line = &ran.lines()[0];
        assert_eq!(ran.status, 0, "{line} {}", ran.err);
        assert_eq!((number(line, "ok"), number(line, "failed")), (1_000, 0));
        assert_eq!(place.api.distinct_records(), 1_000);
        let notice = format!("{strategy}: waits for the API: the API answered ");
        assert!(ran.err.starts_with(&notice), "{}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_api_is_asked_again_after_the_pause_that_it_asks_for() {
    let place = Place::open(Duration::from_secs(60)).await;
    let busy = Answer::status(429).header("retry-after", "2");
    place.api.answer_next(busy);
    let arguments = "--records 25 --batch 25 --strategy on-request --json";
    let ran = place.ran(arguments).await;
    let line = &ran.lines()[0];
    assert_eq!((ran.status, place.api.calls()), (0, 2), "{line}");
    assert!(number(line, "elapsed_ms") >= 2_000, "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_waits_for_an_api_that_does_not_listen_yet() {
    let mut servers = Elsewhere::new().await;
    let file = servers.file(&servers.configuration(&servers.api_url()));
    let addr = servers.records.addr();
    // The API listens elsewhere, so no server listens on this address.
    servers.records = servers.api.listen().await.unwrap();
    let arguments = format!("--records 400 --batch 25 --json {}", config(&file));
    let starts = async {
        sleep(Duration::from_millis(1_200)).await;
        servers.api.listen_on(addr).await.unwrap()
    };
    let (ran, _records) = tokio::join!(ran(&arguments), starts);
    let line = &ran.lines()[0];
    assert_eq!(ran.status, 0, "{line} {}", ran.err);
    assert_eq!((number(line, "ok"), number(line, "failed")), (400, 0));
    ran.assert_said("waits for the API: the caller's request could not be");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_stays_unavailable_stops_the_import_and_no_record_fails() {
    let place = Place::open(Duration::from_secs(60)).await;
    let desk = Desk::new();
    let checkpoint = desk.checkpoint();
    let arguments = format!(
        "--records 400 --batch 25 --workers 1 --api-wait 1s --json --resume {}",
        checkpoint.display()
    );
    // The attempts come at once and after half a second; a third attempt would come after the limit.
    for _ in 0..2 {
        place.api.answer_next(Answer::status(503));
    }
    let ran = place.ran(&arguments).await;
    let line = &ran.lines()[0];
    assert_eq!(ran.status, API_UNAVAILABLE, "{line} {}", ran.err);
    assert_eq!((number(line, "ok"), number(line, "failed")), (0, 0));
    assert_eq!(line["stopped"]["kind"], "api_unavailable", "{line}");
    let report = format!(
        "optimistic-early: the API is not available: the API answered 503 Service Unavailable. 0 of 400 records \
         are done with. Wait until it is available, then run it again with --resume {}.\n",
        checkpoint.display()
    );
    assert!(ran.err.ends_with(&report), "{}", ran.err);
    assert_eq!(place.ran(&arguments).await.status, 0);
    assert_eq!(place.api.distinct_records(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_breaks_the_api_fails_alone() {
    let place = Place::open(Duration::from_secs(60)).await;
    let desk = Desk::new();
    let rejects = desk.rejects();
    // With one worker, all five answers are for the first batch.
    for status in [500, 504, 500, 504, 500] {
        place.api.answer_next(Answer::status(status));
    }
    let arguments = format!(
        "--records 200 --batch 25 --workers 1 --json --rejects {}",
        rejects.display()
    );
    let ran = place.ran(&arguments).await;
    let line = &ran.lines()[0];
    assert_eq!(ran.status, RECORDS_LOST, "{line} {}", ran.err);
    assert_eq!((number(line, "ok"), number(line, "failed")), (175, 25));
    let first: Vec<_> = records::generated(25).map(Result::unwrap).collect();
    assert_eq!(fs::read(&rejects).unwrap(), first.concat());
}
