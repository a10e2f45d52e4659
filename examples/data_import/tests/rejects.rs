//! Records that finally failed.

use std::fs;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn rejects_are_records_as_they_were_read_and_can_be_imported() {
    let place = Place::open(Duration::from_secs(60)).await;
    let directory = tempfile::tempdir().unwrap();
    let rejects = directory.path().join("rejects.mrc");
    for _ in 0..2 {
        place.api().answer_next(Answer::status(400));
    }
    let path = rejects.display();
    let ran = place
        .ran(&format!("--records 210 --batch 20 --rejects {path}"))
        .await;
    assert_eq!(ran.status, RECORDS_LOST);
    assert!(
        ran.out
            .contains(&format!("The records that failed are in {path}."))
    );
    let api = place.api();
    assert_eq!((api.records(), api.distinct_records()), (170, 170));

    let again = place
        .ran(&format!("--input {path} --strategy on-request"))
        .await;
    assert_eq!(again.status, 0);
    assert_eq!((api.records(), api.distinct_records()), (210, 210));
    let generated = generate::records(210).map(Result::unwrap);
    for record in generated {
        assert_eq!(api.times_taken(&record), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rejects_there_is_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let rejects = directory.path().join("rejects.mrc");
    let place = Place::open(Duration::from_secs(60)).await;
    let arguments = format!("--records 100 --rejects {}", rejects.display());
    assert_eq!(place.ran(&arguments).await.status, 0);
    assert!(!rejects.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_s_losses_can_be_imported_by_a_managed_strategy() {
    let place = Place::open(Duration::from_millis(200)).await;
    let directory = tempfile::tempdir().unwrap();
    let rejects = directory.path().join("rejects.mrc");
    let path = rejects.display();
    place
        .ran(&format!(
            "--strategy fixed --workers 2 --records 1000 --rejects {path}"
        ))
        .await;
    let taken = place.api().records();
    assert!((1..1_000).contains(&taken), "{taken}");
    assert_eq!(
        place
            .ran(&format!("--strategy on-request --input {path}"))
            .await
            .status,
        0
    );
    let api = place.api();
    assert_eq!((api.records(), api.distinct_records()), (1_000, 1_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_written_or_is_not_ours_ends_the_import_at_once() {
    let place = Place::open(Duration::from_secs(60)).await;
    let directory = tempfile::tempdir().unwrap();
    let others = directory.path().join("others.mrc");
    fs::write(&others, "of somebody else\x1D").unwrap();
    let nowhere = directory.path().join("no/such/directory.mrc");
    for (path, calls, problem) in [
        (&others, 0, "holds records already"),
        (&nowhere, 4, "cannot write"),
    ] {
        place.api().answer_next(Answer::status(400));
        let before = place.api().calls();
        let arguments = format!("--records 2000 --workers 4 --rejects {}", path.display());
        let error = place.ran_until(&arguments, pending()).await.err().unwrap();
        assert!(error.to_string().contains(problem), "{error:#}");
        let calls_made = place.api().calls() - before;
        assert!(calls_made <= calls, "{calls_made}");
    }
    assert_eq!(fs::read(&others).unwrap(), b"of somebody else\x1D");
}
