//! Tests of the whole command: its output and its exit status.

mod configured;
mod outages;
mod resume;
mod stops;

use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use evertoken::testing::{Answer, AuthorizationServer, ImportApi};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::*;

/// A run of the command.
struct Ran {
    status: u8,
    out: String,
    err: String,
}

impl Ran {
    /// The JSON objects on standard output, one a line.
    fn lines(&self) -> Vec<Value> {
        let parsed = |line| serde_json::from_str(line).unwrap();
        self.out.lines().map(parsed).collect()
    }

    /// The row of a strategy in the table.
    fn row(&self, strategy: &str) -> Option<&str> {
        let mut lines = self.out.lines().map(str::trim);
        lines.find(|line| line.starts_with(strategy))
    }

    /// Checks that this is on standard error.
    #[track_caller]
    fn assert_said(&self, part: &str) {
        assert!(self.err.contains(part), "{part}: {}", self.err);
    }

    fn verdict(&self, strategy: &str) -> &str {
        let words = self.row(strategy).and_then(|row| row.rsplit("  ").next());
        words.unwrap_or("(no row)").trim()
    }
}

/// Runs the command with arguments that are separated by blanks.
async fn ran(arguments: &str) -> Ran {
    ran_until(arguments, pending()).await
}

async fn ran_until(arguments: &str, interrupt: impl Future<Output = ()>) -> Ran {
    let arguments = parsed(arguments);
    let site = async || Site::open(&arguments).await.map(Arc::new);
    ran_at(&arguments, interrupt, site).await.unwrap()
}

async fn ran_at(
    arguments: &Arguments,
    interrupt: impl Future<Output = ()>,
    site: impl AsyncFn() -> anyhow::Result<Arc<Site>>,
) -> anyhow::Result<Ran> {
    let progress = Progress::new(arguments, false);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = run(arguments, &progress, &mut out, &mut err, interrupt, site).await?;
    Ok(Ran {
        status,
        out: String::from_utf8(out)?,
        err: String::from_utf8(err)?,
    })
}

fn parsed(arguments: &str) -> Arguments {
    let program = ["data_import"].into_iter();
    Arguments::try_parse_from(program.chain(arguments.split_whitespace())).unwrap()
}

/// A site that outlives its imports, with an API that remembers each record.
struct Place {
    server: AuthorizationServer,
    api: ImportApi,
    site: Arc<Site>,
}

impl Place {
    async fn open(access_ttl: Duration) -> Self {
        Self::with(access_ttl, Duration::from_millis(1)).await
    }

    async fn with(access_ttl: Duration, time_per_record: Duration) -> Self {
        let server = AuthorizationServer::builder()
            .client(site::CLIENT_ID, site::CLIENT_SECRET)
            .access_ttl(access_ttl)
            .build();
        let api = ImportApi::builder(&server)
            .time_per_record(time_per_record)
            .remember_records(true)
            .build();
        let site = Site::embedded(server.clone(), api.clone(), None, None);
        let site = site.await.unwrap();
        Self {
            server,
            api,
            site: Arc::new(site),
        }
    }

    /// Runs the command after a sign-in.
    async fn ran(&self, arguments: &str) -> Ran {
        self.ran_until(arguments, pending()).await.unwrap()
    }

    async fn ran_until(
        &self,
        arguments: &str,
        interrupt: impl Future<Output = ()>,
    ) -> anyhow::Result<Ran> {
        let site = async || Ok(Arc::clone(&self.site));
        ran_at(&parsed(arguments), interrupt, site).await
    }

    /// The error that ends the command.
    async fn error(&self, arguments: &str) -> anyhow::Error {
        let ran = self.ran_until(arguments, pending()).await;
        ran.err().expect("the command fails")
    }

    /// Resolves when the API has taken this number of records.
    async fn taken(&self, records: u64) {
        while self.api.records() < records {
            sleep(Duration::from_millis(2)).await;
        }
    }
}

fn number(line: &Value, key: &str) -> u64 {
    line[key].as_u64().unwrap()
}

/// A file with records and then garbage, deleted when the value is dropped.
struct Broken {
    path: PathBuf,
    /// The end of the records.
    end: usize,
}

impl Broken {
    fn after(records: u64) -> Self {
        let mut content = Vec::new();
        for record in records::generated(records) {
            content.extend_from_slice(&record.unwrap());
        }
        let end = content.len();
        content.extend_from_slice(b"invalid marc file\n");
        let name = format!("evertoken-{}-{records}.mrc", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        Self { path, end }
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_managed_strategy_imports_all_records_and_one_token_does_not() {
    let ran = ran("--records 1600 --batch 25 --workers 4 --access-ttl 300ms --json").await;
    let lines = ran.lines();
    let names: Vec<_> = lines.iter().map(|line| &line["strategy"]).collect();
    let managed = Strategy::MANAGED.map(Strategy::name);
    assert_eq!(names, [&["fixed"], &managed[..]].concat());
    let (fixed, managed) = lines.split_first().unwrap();
    assert!(number(fixed, "failed") > 0, "{fixed}");
    assert!(number(fixed, "unauthorized") > 0, "{fixed}");
    assert_eq!(number(fixed, "exchanges"), 0, "{fixed}");
    assert_eq!(number(fixed, "ok") + number(fixed, "failed"), 1600);
    for line in managed {
        assert_eq!(number(line, "records"), 1600, "{line}");
        assert_eq!(number(line, "ok"), 1600, "{line}");
        assert_eq!(number(line, "failed"), 0, "{line}");
        assert!(number(line, "rotations") >= 2, "{line}");
        assert_eq!(number(line, "exchanges"), number(line, "rotations"));
        assert_eq!(number(line, "replays"), 0, "{line}");
        assert_eq!(number(line, "families_revoked"), 0, "{line}");
        assert!(number(line, "wait_p50_us") <= number(line, "wait_p99_us"));
        assert!(number(line, "elapsed_ms") >= 16 * 75, "{line}");
    }
    assert_eq!(ran.status, 0, "the baseline may fail");
}

#[tokio::test(flavor = "multi_thread")]
async fn okapi_accepts_an_expired_token_that_it_accepted_before() {
    let arguments = "--records 800 --workers 2 --strategy fixed --gateway okapi --access-ttl 500ms";
    let ran = ran(&format!("{arguments} --json")).await;
    let line = &ran.lines()[0];
    assert_eq!((number(line, "ok"), number(line, "failed")), (800, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_records_of_a_managed_strategy_set_the_exit_status() {
    let place = Place::open(Duration::from_secs(60)).await;
    place.api.answer_next(Answer::status(400));
    let ran = place
        .ran("--records 800 --workers 2 --strategy on-request")
        .await;
    assert_eq!(ran.status, RECORDS_LOST);
    assert_eq!(ran.verdict("on-request"), "FAILED");
    let lost = ran.out.contains("on-request lost 50 of 800 records");
    assert!(lost, "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_created_by_post_and_updated_by_put() {
    for (action, method) in [("create", "POST"), ("update", "PUT")] {
        let place = Place::open(Duration::from_secs(60)).await;
        let arguments = format!("--records 100 --strategy on-request --action {action}");
        assert_eq!(place.ran(&arguments).await.status, 0);
        let seen = place.api.seen();
        assert_eq!(seen.len(), 2);
        assert!(seen.iter().all(|seen| seen.method == method), "{seen:?}");
        assert_eq!(place.api.distinct_records(), 100);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_answer_is_lost_is_sent_again_and_counted_once() {
    let place = Place::open(Duration::from_secs(60)).await;
    // A body that is not JSON counts as a lost answer.
    place.api.answer_next(Answer::status(200).body("{\"rec"));
    let ran = place.ran("--records 100 --strategy on-request").await;
    assert_eq!(ran.status, 0);
    assert_eq!((place.api.calls(), place.api.records()), (3, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_names_the_failed_import_and_its_reason() {
    let ran = ran("--records 400 --workers 2 --strategy fixed,on-request --access-ttl 250ms").await;
    assert_eq!(ran.verdict("fixed"), "FAILED");
    assert_eq!(ran.verdict("on-request"), "complete");
    assert!(ran.out.contains("the API answered 401 Unauthorized"));
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_before_a_broken_record_are_imported_and_the_broken_one_is_reported() {
    let file = Broken::after(60);
    let input = file.path.display();
    let ran = ran(&format!("--strategy on-request --json --input {input}")).await;
    let line = &ran.lines()[0];
    assert_eq!((number(line, "ok"), number(line, "failed")), (60, 0));
    let said = format!(
        "error: cannot read {input}: record 61 at byte {}: it starts with \"inval\" instead of its \
         length in five digits\n\
         on-request: of the 60 records before it, 60 were imported\n",
        file.end
    );
    assert_eq!(ran.err, said);
    assert_eq!(ran.status, BAD_INPUT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_records_is_reported_at_its_first_byte() {
    let file = Broken::after(0);
    let ran = ran(&format!("--input {}", file.path.display())).await;
    ran.assert_said("record 1 at byte 0");
    assert_eq!(ran.verdict("fixed"), "broken input");
    assert_eq!(ran.status, BAD_INPUT);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_the_command_with_a_report() {
    let interrupt = sleep(Duration::from_millis(500));
    let ran = ran_until("--strategy on-request,fixed --records 1000000", interrupt).await;
    assert_eq!(ran.verdict("on-request"), "interrupted");
    assert_eq!(ran.row("fixed"), None);
    assert_eq!(ran.status, INTERRUPTED);
}
