//! The API has trouble of its own.

use std::fs;

use super::configured::{Elsewhere, config};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_not_available_for_a_while_is_waited_for() {
    for strategy in ["fixed", "on-request"] {
        let place = Place::open(Duration::from_secs(60)).await;
        for status in [503, 502, 429, 503, 503, 502, 429, 503] {
            place.api().answer_next(Answer::status(status));
        }
        let arguments =
            format!("--records 1000 --batch 25 --workers 4 --strategy {strategy} --json");
        let ran = place.ran(&arguments).await;
        let line = &ran.lines()[0];
        assert_eq!(ran.status, 0, "{line} {}", ran.err);
        assert_eq!((number(line, "ok"), number(line, "failed")), (1_000, 0));
        assert_eq!(place.api().distinct_records(), 1_000);
        let notice = format!("{strategy}: waits for the API: the API answered ");
        assert!(ran.err.starts_with(&notice), "{}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_busy_is_asked_again_when_it_says() {
    let place = Place::open(Duration::from_secs(60)).await;
    let busy = Answer::status(429).header("retry-after", "2");
    place.api().answer_next(busy);
    let ran = place
        .ran("--records 25 --batch 25 --strategy on-request --json")
        .await;
    let line = &ran.lines()[0];
    assert_eq!((ran.status, place.api().calls()), (0, 2), "{line}");
    assert!(number(line, "elapsed_ms") >= 2_000, "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_not_there_yet_is_waited_for() {
    let mut servers = Elsewhere::new().await;
    let file = servers.file(&servers.configuration(&servers.api_url()));
    let addr = servers.records.addr();
    // Anything that listens elsewhere: what listened here is gone.
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
    assert!(
        ran.err.contains("waits for the API: the request failed"),
        "{}",
        ran.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_stays_away_stops_the_import_and_no_record_fails() {
    let place = Place::open(Duration::from_secs(60)).await;
    let directory = tempfile::tempdir().unwrap();
    let checkpoint = directory.path().join("checkpoint");
    let arguments = format!(
        "--records 400 --batch 25 --workers 1 --api-wait 1s --json --resume {}",
        checkpoint.display()
    );
    // At once and after half a second; the next try would be too late.
    for _ in 0..2 {
        place.api().answer_next(Answer::status(503));
    }
    let ran = place.ran(&arguments).await;
    let line = &ran.lines()[0];
    assert_eq!(ran.status, API_UNAVAILABLE, "{line} {}", ran.err);
    assert_eq!((number(line, "ok"), number(line, "failed")), (0, 0));
    assert_eq!(line["stopped"]["kind"], "api_unavailable", "{line}");
    let told = format!(
        "optimistic-early: the API is not available: the API answered 503 Service Unavailable. 0 of 400 records \
         are done with. Wait until it is available, then run it again with --resume {}.\n",
        checkpoint.display()
    );
    assert!(ran.err.ends_with(&told), "{}", ran.err);
    assert_eq!(place.ran(&arguments).await.status, 0);
    assert_eq!(place.api().distinct_records(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_breaks_the_api_fails_alone() {
    let place = Place::open(Duration::from_secs(60)).await;
    let directory = tempfile::tempdir().unwrap();
    let rejects = directory.path().join("rejects.mrc");
    // With one worker, they are all for the first batch.
    for status in [500, 504, 500, 504, 500] {
        place.api().answer_next(Answer::status(status));
    }
    let arguments = format!(
        "--records 200 --batch 25 --workers 1 --json --rejects {}",
        rejects.display()
    );
    let ran = place.ran(&arguments).await;
    let line = &ran.lines()[0];
    assert_eq!(ran.status, RECORDS_LOST, "{line} {}", ran.err);
    assert_eq!((number(line, "ok"), number(line, "failed")), (175, 25));
    let first: Vec<_> = generate::records(25).map(Result::unwrap).collect();
    assert_eq!(fs::read(&rejects).unwrap(), first.concat());
}
