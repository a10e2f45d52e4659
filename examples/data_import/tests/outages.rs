//! The token endpoint is out of order: the import waits, and no record fails.

use evertoken::testing::Fault;
use futures_util::future::join_all;

use super::ends::MANAGED;
use super::*;

const HTML: &str = "<html><body>This service is being maintained.</body></html>";

/// Status and body, and what the import says that it waits for.
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
async fn no_record_fails_through_an_answer_that_is_none_of_the_servers() {
    let mut imports = Vec::new();
    for strategy in MANAGED {
        for (status, body, said) in ANSWERS {
            imports.push(async move {
                let fault = Fault::Status {
                    status,
                    body: body.to_owned(),
                    retry_after: None,
                };
                goes_through(strategy, fault, said).await;
            });
        }
    }
    join_all(imports).await;
}

/// The fault comes after the first rotation, and goes when two attempts have met it: the first may be early, and then
/// costs nothing.
async fn goes_through(strategy: &str, fault: Fault, said: &str) {
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
    let context = format!("{said}: {line} {}", ran.err);
    assert_eq!((ran.status, number(line, "failed")), (INTERRUPTED, 0));
    assert_eq!(line["stopped"], Value::Null, "{context}");
    let failed = number(line, "exchanges") - number(line, "rotations");
    assert!((1..=3).contains(&failed), "{context}");
    let notice = format!("{strategy}: waits for a token: the token could not be refreshed: ");
    assert!(ran.err.starts_with(&notice), "{context}");
    assert!(ran.err.contains(said), "{context}");
    let api = place.api();
    assert!(api.records() > 0 && api.distinct_records() == api.records());
}

async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_outage_is_gone_through_and_counted() {
    let mut imports = Vec::new();
    for (name, strategy) in ["refused", "500", "reset", "301", "invalid_client"]
        .into_iter()
        .zip(MANAGED.into_iter().cycle())
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
            // What the front answers does not get to the server.
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
    let ran = timeout(
        Duration::from_secs(30),
        place.ran_until(arguments, interrupt),
    );
    let ran = ran.await.unwrap().unwrap();
    assert_eq!(ran.status, INTERRUPTED);
    let line = &ran.lines()[0];
    assert_eq!(number(line, "failed"), 0);
    // Those that wait are not cut off, which would take so long.
    assert!(number(line, "elapsed_ms") < 5_000, "{line}");
}
