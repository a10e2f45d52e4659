//! Imports that are stopped, killed or refused and then resumed, and their files of rejects.

use std::fs;
use std::path::Path;

use super::*;

const RECORDS: u64 = 2_000;

/// The files of an import that is resumed.
pub(super) struct Desk {
    directory: tempfile::TempDir,
}

impl Desk {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    pub(super) fn checkpoint(&self) -> PathBuf {
        self.directory.path().join("checkpoint")
    }

    /// The file that an import locks while it runs.
    fn lock(&self) -> fs::File {
        fs::File::open(self.directory.path().join("checkpoint.lock")).unwrap()
    }

    pub(super) fn rejects(&self) -> PathBuf {
        self.directory.path().join("rejects.mrc")
    }

    pub(super) fn arguments(&self) -> String {
        let checkpoint = self.checkpoint();
        let resume = format!("--resume {}", checkpoint.display());
        format!("--records {RECORDS} --batch 25 --workers 4 {resume}")
    }

    fn arguments_with_rejects(&self) -> String {
        let rejects = self.rejects();
        format!("{} --rejects {}", self.arguments(), rejects.display())
    }
}

fn assert_each_once(place: &Place, records: u64) {
    let api = &place.api;
    assert_eq!((api.records(), api.distinct_records()), (records, records));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_import_is_resumed_without_a_duplicate_or_a_gap() {
    let place = Place::open(Duration::from_millis(500)).await;
    let desk = Desk::new();
    let arguments = desk.arguments();
    for records in [300, 900, 1_500] {
        let ran = place.ran_until(&arguments, place.taken(records));
        assert_eq!(ran.await.unwrap().status, INTERRUPTED);
        let taken = place.api.records();
        assert!((records..RECORDS).contains(&taken), "{taken}");
    }
    let last = place.ran(&desk.arguments()).await;
    assert_eq!(last.status, 0);
    assert!(last.out.contains("went on after 1,"), "{}", last.out);
    assert_each_once(&place, RECORDS);
    // The requests under way were finished and recorded.
    assert_eq!((place.api.duplicates(), place.api.conflicts()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_a_killed_import_did_not_record_are_sent_again_and_counted_once() {
    let place = Place::open(Duration::from_secs(60)).await;
    let desk = Desk::new();
    let arguments = desk.arguments();
    place.ran_until(&arguments, async {}).await.unwrap();
    let before = fs::read(desk.checkpoint()).unwrap();
    let taken = place.api.records();
    let ran = place.ran_until(&arguments, place.taken(taken + 500));
    assert_eq!(ran.await.unwrap().status, INTERRUPTED);
    // The old checkpoint is that of an import that was killed before a save.
    fs::write(desk.checkpoint(), before).unwrap();
    let batches = (place.api.records() - taken) / 25;
    assert_eq!(place.ran(&desk.arguments()).await.status, 0);
    assert_each_once(&place, RECORDS);
    assert_eq!(place.api.duplicates(), batches);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_import_waits_for_a_batch_that_the_api_still_works_on() {
    // The API works so long that the second run sends a batch before the first request is finished.
    let place = Place::with(Duration::from_secs(60), Duration::from_millis(60)).await;
    let desk = Desk::new();
    let arguments = desk.arguments().replace("2000", "100");
    let killed = place.ran_until(&arguments, pending());
    // The first run is cut off with four requests at the API.
    tokio::select! {
        _ = killed => panic!("the import must not end before it is cut off"),
        () = place.taken(100) => {}
    }
    // The process is not killed, so the journal of the first run needs a moment to end.
    let free = async {
        while desk.lock().try_lock().is_err() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(5), free).await.unwrap();
    assert_eq!(place.ran(&arguments).await.status, 0);
    assert_each_once(&place, 100);
    let api = &place.api;
    assert!(api.conflicts() > 0);
    assert_eq!((api.duplicates(), api.unauthorized()), (4, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_batch_is_rejected_once_in_all_runs() {
    let place = Place::open(Duration::from_secs(60)).await;
    let desk = Desk::new();
    let arguments = desk.arguments_with_rejects();
    place.api.answer_next(Answer::status(400));
    place.ran_until(&arguments, place.taken(300)).await.unwrap();
    place.api.answer_next(Answer::status(400));
    place.ran_until(&arguments, place.taken(900)).await.unwrap();
    let last = place.ran(&arguments).await;
    // Records that failed in an earlier run count.
    assert_eq!(last.status, RECORDS_LOST);
    assert_each_once(&place, RECORDS - 50);
    let rejects = format!("--strategy on-request --input {}", desk.rejects().display());
    place.ran(&rejects).await;
    assert_each_once(&place, RECORDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_that_the_checkpoint_does_not_count_are_sent_again() {
    let place = Place::open(Duration::from_secs(60)).await;
    let desk = Desk::new();
    let arguments = desk.arguments_with_rejects();
    place.ran_until(&arguments, async {}).await.unwrap();
    let before = fs::read(desk.checkpoint()).unwrap();
    place.api.answer_next(Answer::status(400));
    let taken = place.api.records();
    let ran = place.ran_until(&arguments, place.taken(taken + 300));
    ran.await.unwrap();
    assert!(fs::metadata(desk.rejects()).unwrap().len() > 0);
    fs::write(desk.checkpoint(), before).unwrap();
    assert_eq!(place.ran(&arguments).await.status, 0);
    assert_each_once(&place, RECORDS);
    assert_eq!(fs::metadata(desk.rejects()).unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_file_for_rejects_the_next_run_sends_a_failed_batch_again() {
    let place = Place::open(Duration::from_secs(60)).await;
    let desk = Desk::new();
    place.api.answer_next(Answer::status(400));
    assert_eq!(place.ran(&desk.arguments()).await.status, RECORDS_LOST);
    let calls = place.api.calls();
    assert_eq!(place.ran(&desk.arguments()).await.status, 0);
    assert_eq!(place.api.calls() - calls, 1);
    assert_each_once(&place, RECORDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_import_reports_that_and_sends_nothing() {
    let place = Place::open(Duration::from_secs(60)).await;
    let desk = Desk::new();
    let arguments = desk.arguments_with_rejects();
    place.api.answer_next(Answer::status(400));
    place.ran(&arguments).await;
    let calls = place.api.calls();
    let again = place.ran(&arguments).await;
    let said =
        "This import is complete: 1,975 records were imported and 25 rejected. Nothing was sent.\n";
    assert_eq!(again.out, said);
    assert_eq!(again.status, RECORDS_LOST);
    let json = place.ran(&format!("{arguments} --json")).await;
    let line = &json.lines()[0];
    assert_eq!(number(line, "records"), 0);
    assert_eq!(number(line, "done_before"), RECORDS);
    assert_eq!(place.api.calls(), calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checkpoint_of_another_import_is_refused_and_not_changed() {
    let place = Place::open(Duration::from_secs(60)).await;
    let desk = Desk::new();
    let input = desk.directory.path().join("input.mrc");
    let records: Vec<_> = records::generated(100).map(Result::unwrap).collect();
    fs::write(&input, records.concat()).unwrap();
    let resume = format!("--resume {}", desk.checkpoint().display());
    let of_file = format!("--input {} --batch 10 {resume}", input.display());
    place.ran_until(&of_file, async {}).await.unwrap();
    let checkpoint = fs::read(desk.checkpoint()).unwrap();
    let calls = place.api.calls();
    let refused = async |arguments: &str, problem: &str| {
        let error = format!("{:#}", place.error(arguments).await);
        assert!(error.contains(problem), "{arguments}: {error}");
        assert!(error.contains("left as it is"), "{error}");
    };
    for (arguments, problem) in [
        (resume.clone(), "another input"),
        (
            format!("{of_file} --records 50"),
            "`--records all` and not 50",
        ),
        (of_file.replace("10", "20"), "`--batch 10` and not 20"),
        (
            format!("{of_file} --action update"),
            "`--action create` and not update",
        ),
    ] {
        refused(&arguments, problem).await;
        assert_eq!(fs::read(desk.checkpoint()).unwrap(), checkpoint);
    }

    // The file has the same length and one other byte.
    let mut content = records.concat();
    let last = content.len() - 3;
    content[last] ^= 1;
    fs::write(&input, content).unwrap();
    refused(&of_file, "an input that was changed").await;
    fs::write(&input, records.concat()).unwrap();

    let torn = &checkpoint[..checkpoint.len() / 2];
    for (content, name) in [(torn, "torn"), (b"", "empty"), (b"[\"other\"]", "foreign")] {
        fs::write(desk.checkpoint(), content).unwrap();
        refused(&of_file, "is not a checkpoint of an import, or is damaged").await;
        assert_eq!(fs::read(desk.checkpoint()).unwrap(), content, "{name}");
    }
    assert_eq!(place.api.calls(), calls);

    fs::write(desk.checkpoint(), checkpoint).unwrap();
    assert_eq!(place.ran(&of_file).await.status, 0);
    assert_each_once(&place, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_with_rejects_is_resumed_only_with_its_file_of_rejects() {
    let place = Place::open(Duration::from_secs(60)).await;
    let desk = Desk::new();
    place.api.answer_next(Answer::status(400));
    let arguments = desk.arguments_with_rejects();
    place.ran_until(&arguments, place.taken(300)).await.unwrap();
    let elsewhere = desk.directory.path().join("elsewhere.mrc");
    for others in [
        desk.arguments(),
        format!("{} --rejects {}", desk.arguments(), elsewhere.display()),
    ] {
        let error = place.error(&others).await.to_string();
        let remedy = format!("resume it with `--rejects {}`", desk.rejects().display());
        assert_eq!(error, format!("this import has rejected records: {remedy}"));
    }
    fs::remove_file(desk.rejects()).unwrap();
    let error = place.error(&arguments).await.to_string();
    assert!(error.contains("were taken out of it"), "{error}");
}

#[tokio::test]
async fn a_file_for_two_options_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "").unwrap();
    let twice = |a: &str, b: &str, path: &Path| {
        let path = path.display();
        parsed(&format!("{a} {path} {b} {path}"))
    };
    for (a, b) in [
        ("--input", "--rejects"),
        ("--rejects", "--resume"),
        ("--input", "--resume"),
    ] {
        let error = journal::check_paths(&twice(a, b, &path)).unwrap_err();
        assert!(error.to_string().contains("is named for two options"));
    }
    // A file that does not exist yet is refused under two names too.
    let path = std::env::current_dir().unwrap().join("of-two-names");
    let arguments = format!("--rejects of-two-names --resume {}", path.display());
    let error = journal::check_paths(&parsed(&arguments)).unwrap_err();
    assert!(error.to_string().contains("is named for two options"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_imports_cannot_run_with_one_checkpoint() {
    let place = Place::open(Duration::from_secs(60)).await;
    let desk = Desk::new();
    let arguments = desk.arguments();
    let second = async {
        place.taken(100).await;
        place.ran_until(&arguments, pending()).await
    };
    let (first, second) = tokio::join!(place.ran(&arguments), second);
    let checkpoint = desk.checkpoint();
    let running = format!("another import is running with {}", checkpoint.display());
    let said = second.err().unwrap().to_string();
    assert_eq!(said, format!("{running}: wait for its end"));
    assert_eq!(first.status, 0);
    assert_each_once(&place, RECORDS);
    // The first import has ended.
    assert_eq!(place.ran(&arguments).await.status, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_are_the_unchanged_records_and_can_be_imported() {
    let place = Place::open(Duration::from_secs(60)).await;
    let desk = Desk::new();
    let rejects = desk.rejects();
    for _ in 0..2 {
        place.api.answer_next(Answer::status(400));
    }
    let path = rejects.display();
    let arguments = format!("--records 210 --batch 20 --rejects {path}");
    let ran = place.ran(&arguments).await;
    assert_eq!(ran.status, RECORDS_LOST);
    let said = format!("The records that failed are in {path}.");
    assert!(ran.out.contains(&said), "{}", ran.out);
    let api = &place.api;
    assert_eq!((api.records(), api.distinct_records()), (170, 170));

    let again = format!("--input {path} --strategy on-request");
    assert_eq!(place.ran(&again).await.status, 0);
    assert_eq!((api.records(), api.distinct_records()), (210, 210));
    for record in records::generated(210) {
        assert_eq!(api.times_taken(record.unwrap()), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_failure_no_file_of_rejects_is_created() {
    let desk = Desk::new();
    let rejects = desk.rejects();
    let place = Place::open(Duration::from_secs(60)).await;
    let arguments = format!("--records 100 --rejects {}", rejects.display());
    assert_eq!(place.ran(&arguments).await.status, 0);
    assert!(!rejects.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_one_token_lost_can_be_imported_by_a_managed_strategy() {
    let place = Place::open(Duration::from_millis(200)).await;
    let desk = Desk::new();
    let rejects = desk.rejects();
    let path = rejects.display();
    let arguments = format!("--strategy fixed --workers 2 --records 1000 --rejects {path}");
    place.ran(&arguments).await;
    let taken = place.api.records();
    assert!((1..1_000).contains(&taken), "{taken}");
    let arguments = format!("--strategy on-request --input {path}");
    assert_eq!(place.ran(&arguments).await.status, 0);
    let api = &place.api;
    assert_eq!((api.records(), api.distinct_records()), (1_000, 1_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_rejects_that_cannot_be_written_or_holds_other_records_ends_the_import_at_once() {
    let place = Place::open(Duration::from_secs(60)).await;
    let directory = tempfile::tempdir().unwrap();
    let others = directory.path().join("others.mrc");
    fs::write(&others, "of another import\x1D").unwrap();
    let nowhere = directory.path().join("no/such/directory.mrc");
    for (path, calls, problem) in [
        (&others, 0, "already holds records"),
        (&nowhere, 4, "cannot write"),
    ] {
        place.api.answer_next(Answer::status(400));
        let before = place.api.calls();
        let arguments = format!("--records 2000 --workers 4 --rejects {}", path.display());
        let error = place.error(&arguments).await;
        assert!(error.to_string().contains(problem), "{error:#}");
        let calls_made = place.api.calls() - before;
        assert!(calls_made <= calls, "{calls_made}");
    }
    assert_eq!(fs::read(&others).unwrap(), b"of another import\x1D");
}
