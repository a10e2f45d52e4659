//! Imports that are stopped, killed or refused, and go on.

use std::fs;
use std::path::Path;

use super::*;

const RECORDS: u64 = 2_000;

/// Files of an import that goes on.
struct Desk {
    directory: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    fn checkpoint(&self) -> PathBuf {
        self.directory.path().join("checkpoint")
    }

    /// The file that an import locks while it runs.
    fn lock(&self) -> fs::File {
        fs::File::open(self.directory.path().join("checkpoint.lock")).unwrap()
    }

    fn rejects(&self) -> PathBuf {
        self.directory.path().join("rejects.mrc")
    }

    fn arguments(&self) -> String {
        let checkpoint = self.checkpoint();
        format!(
            "--records {RECORDS} --batch 25 --workers 4 --resume {}",
            checkpoint.display()
        )
    }

    fn arguments_with_rejects(&self) -> String {
        format!(
            "{} --rejects {}",
            self.arguments(),
            self.rejects().display()
        )
    }
}

fn assert_each_once(place: &Place, records: u64) {
    let api = place.api();
    assert_eq!((api.records(), api.distinct_records()), (records, records));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_import_goes_on_without_a_duplicate_or_a_gap() {
    let place = Place::open(Duration::from_millis(500)).await;
    let desk = Desk::new();
    for records in [300, 900, 1_500] {
        let ran = place
            .ran_until(&desk.arguments(), place.taken(records))
            .await;
        assert_eq!(ran.unwrap().status, INTERRUPTED);
        let taken = place.api().records();
        assert!((records..RECORDS).contains(&taken), "{taken}");
    }
    let last = place.ran(&desk.arguments()).await;
    assert_eq!(last.status, 0);
    assert!(last.out.contains("went on after 1,"), "{}", last.out);
    assert_each_once(&place, RECORDS);
    // What was under way was finished, and noted.
    assert_eq!((place.api().duplicates(), place.api().conflicts()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_import_could_not_note_is_sent_again_and_counted_once() {
    let place = Place::open(Duration::from_secs(60)).await;
    let desk = Desk::new();
    place.ran_until(&desk.arguments(), async {}).await.unwrap();
    let before = fs::read(desk.checkpoint()).unwrap();
    let taken = place.api().records();
    let ran = place
        .ran_until(&desk.arguments(), place.taken(taken + 500))
        .await;
    assert_eq!(ran.unwrap().status, INTERRUPTED);
    // As if it had been killed before it wrote anything.
    fs::write(desk.checkpoint(), before).unwrap();
    let batches = (place.api().records() - taken) / 25;
    assert_eq!(place.ran(&desk.arguments()).await.status, 0);
    assert_each_once(&place, RECORDS);
    assert_eq!(place.api().duplicates(), batches);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_the_api_still_works_on_is_waited_for() {
    // Long enough for the second run to come too early.
    let place = Place::with(Duration::from_secs(60), Duration::from_millis(60)).await;
    let desk = Desk::new();
    let arguments = desk.arguments().replace("2000", "100");
    let killed = place.ran_until(&arguments, pending());
    // Cut off with four requests at the API.
    tokio::select! {
        _ = killed => panic!("it is too early for the end"),
        () = place.taken(100) => {}
    }
    // In a process that is not killed, its journal needs a moment to end.
    let free = async {
        while desk.lock().try_lock().is_err() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(5), free).await.unwrap();
    assert_eq!(place.ran(&arguments).await.status, 0);
    assert_each_once(&place, 100);
    let api = place.api();
    assert!(api.conflicts() > 0);
    assert_eq!((api.duplicates(), api.unauthorized()), (4, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_batch_is_neither_forgotten_nor_rejected_twice() {
    let place = Place::open(Duration::from_secs(60)).await;
    let desk = Desk::new();
    let arguments = desk.arguments_with_rejects();
    place.api().answer_next(Answer::status(400));
    place.ran_until(&arguments, place.taken(300)).await.unwrap();
    place.api().answer_next(Answer::status(400));
    place.ran_until(&arguments, place.taken(900)).await.unwrap();
    let last = place.ran(&arguments).await;
    assert_eq!(
        last.status, RECORDS_LOST,
        "they failed before, but they did"
    );
    assert_each_once(&place, RECORDS - 50);
    let rejects = format!("--strategy on-request --input {}", desk.rejects().display());
    place.ran(&rejects).await;
    assert_each_once(&place, RECORDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_that_were_written_and_not_noted_are_tried_again() {
    let place = Place::open(Duration::from_secs(60)).await;
    let desk = Desk::new();
    let arguments = desk.arguments_with_rejects();
    place.ran_until(&arguments, async {}).await.unwrap();
    let before = fs::read(desk.checkpoint()).unwrap();
    place.api().answer_next(Answer::status(400));
    let taken = place.api().records();
    place
        .ran_until(&arguments, place.taken(taken + 300))
        .await
        .unwrap();
    assert!(fs::metadata(desk.rejects()).unwrap().len() > 0);
    fs::write(desk.checkpoint(), before).unwrap();
    assert_eq!(place.ran(&arguments).await.status, 0);
    assert_each_once(&place, RECORDS);
    assert_eq!(fs::metadata(desk.rejects()).unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_file_for_rejects_the_next_run_tries_the_failed_batch_again() {
    let place = Place::open(Duration::from_secs(60)).await;
    let desk = Desk::new();
    place.api().answer_next(Answer::status(400));
    assert_eq!(place.ran(&desk.arguments()).await.status, RECORDS_LOST);
    let calls = place.api().calls();
    assert_eq!(place.ran(&desk.arguments()).await.status, 0);
    assert_eq!(place.api().calls() - calls, 1);
    assert_each_once(&place, RECORDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_import_says_so_and_sends_nothing() {
    let place = Place::open(Duration::from_secs(60)).await;
    let desk = Desk::new();
    let arguments = desk.arguments_with_rejects();
    place.api().answer_next(Answer::status(400));
    place.ran(&arguments).await;
    let calls = place.api().calls();
    let again = place.ran(&arguments).await;
    assert_eq!(
        again.out,
        "This import is complete: 1,975 records were imported and 25 rejected. Nothing was sent.\n"
    );
    assert_eq!(again.status, RECORDS_LOST);
    let json = place.ran(&format!("{arguments} --json")).await;
    let line = &json.lines()[0];
    assert_eq!(
        (number(line, "records"), number(line, "done_before")),
        (0, RECORDS)
    );
    assert_eq!(place.api().calls(), calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checkpoint_of_another_import_is_refused_and_left_alone() {
    let place = Place::open(Duration::from_secs(60)).await;
    let desk = Desk::new();
    let input = desk.directory.path().join("input.mrc");
    let records: Vec<_> = generate::records(100).map(Result::unwrap).collect();
    fs::write(&input, records.concat()).unwrap();
    let resume = format!("--resume {}", desk.checkpoint().display());
    let of_file = format!("--input {} --batch 10 {resume}", input.display());
    place.ran_until(&of_file, async {}).await.unwrap();
    let checkpoint = fs::read(desk.checkpoint()).unwrap();
    let calls = place.api().calls();
    let refused = async |arguments: &str, problem: &str| {
        let error = place.ran_until(arguments, pending()).await.err().unwrap();
        assert!(
            format!("{error:#}").contains(problem),
            "{arguments}: {error:#}"
        );
        assert!(format!("{error:#}").contains("left as it is"), "{error:#}");
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

    // As long as before, and one byte another.
    let mut content = records.concat();
    let last = content.len() - 3;
    content[last] ^= 1;
    fs::write(&input, content).unwrap();
    refused(&of_file, "an input that was changed").await;
    fs::write(&input, records.concat()).unwrap();

    let torn = &checkpoint[..checkpoint.len() / 2];
    for (content, name) in [(torn, "torn"), (b"", "empty"), (b"[\"other\"]", "foreign")] {
        fs::write(desk.checkpoint(), content).unwrap();
        refused(&of_file, "no checkpoint of an import, or a damaged one").await;
        assert_eq!(fs::read(desk.checkpoint()).unwrap(), content, "{name}");
    }
    assert_eq!(place.api().calls(), calls);

    fs::write(desk.checkpoint(), checkpoint).unwrap();
    assert_eq!(place.ran(&of_file).await.status, 0);
    assert_each_once(&place, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_with_rejects_goes_on_only_with_the_file_that_holds_them() {
    let place = Place::open(Duration::from_secs(60)).await;
    let desk = Desk::new();
    place.api().answer_next(Answer::status(400));
    let arguments = desk.arguments_with_rejects();
    place.ran_until(&arguments, place.taken(300)).await.unwrap();
    let elsewhere = desk.directory.path().join("elsewhere.mrc");
    for others in [
        desk.arguments(),
        format!("{} --rejects {}", desk.arguments(), elsewhere.display()),
    ] {
        let error = place.ran_until(&others, pending()).await.err().unwrap();
        assert_eq!(
            error.to_string(),
            format!(
                "this import has rejected records: go on with `--rejects {}`",
                desk.rejects().display()
            )
        );
    }
    fs::remove_file(desk.rejects()).unwrap();
    let missing = place.ran_until(&arguments, pending());
    let error = missing.await.err().unwrap();
    assert!(
        error.to_string().contains("were taken out of it"),
        "{error}"
    );
}

#[tokio::test]
async fn files_for_two_purposes_are_refused() {
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
        assert!(error.to_string().contains("is named for two things"));
    }
    // Nor if it does not exist yet, whatever it is called.
    let path = std::env::current_dir().unwrap().join("of-two-names");
    let arguments = format!("--rejects of-two-names --resume {}", path.display());
    let error = journal::check_paths(&parsed(&arguments)).unwrap_err();
    assert!(error.to_string().contains("is named for two things"));
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
    assert_eq!(
        second.err().unwrap().to_string(),
        format!("another import is running with {}", checkpoint.display())
    );
    assert_eq!(first.status, 0);
    assert_each_once(&place, RECORDS);
    assert_eq!(place.ran(&arguments).await.status, 0, "it is over");
}
