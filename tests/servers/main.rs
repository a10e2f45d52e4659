//! Real authorization servers, and the embedded server, judge the crate. The tests are named `oidc_provider::..`,
//! `django_oauth_toolkit::..`, and `embedded_as_..` for the embedded server with the rules of each.
//!
//! The tests of a server that is not installed are ignored, and reported as skipped. With `EVERTOKEN_SERVICES=required`
//! in the environment a missing server is a failure.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::unwrap_used
)]

mod api;
mod cases;
#[path = "../support/examples.rs"]
mod examples;
mod judge;
#[path = "../support/recorder.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod recorder;
mod relay;
#[path = "../support/services.rs"]
mod services;
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

use self::cases::Case;
use self::judge::Judge;

/// The time after which a test counts as hanging. Every test is much shorter, also on a busy machine.
const LIMIT: Duration = Duration::from_secs(100);

/// The tests wait for tokens to expire rather than for processors.
const THREADS: usize = 6;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let judges = Judge::all();
    let missing: Vec<_> = judges.iter().filter_map(|judge| judge.missing()).collect();
    if !arguments.list && services::are_required() && !missing.is_empty() {
        for missing in missing {
            eprintln!("a required server is missing: {missing}");
        }
        return ExitCode::FAILURE;
    }
    let trials = cases::all().flat_map(|case| {
        let judges = judges.iter().filter(|judge| (case.applies)(judge));
        judges.map(|judge| trial(judge, case)).collect::<Vec<_>>()
    });
    let missed = Trial::test("a_server_that_cannot_be_loaded_is_missing", || {
        judge::a_server_that_cannot_be_loaded_is_missing();
        Ok(())
    });
    let conclusion = libtest_mimic::run(&arguments, trials.chain([missed]).collect());
    if !arguments.list {
        for missing in missing {
            eprintln!("skipped: the tests with {missing}; `tests/all.sh` runs them");
        }
    }
    // Statics are not dropped, so the servers are ended here.
    judges.iter().for_each(|judge| judge.end());
    conclusion.exit_code()
}

fn trial(judge: &Arc<Judge>, case: &'static Case) -> Trial {
    let name = format!("{}::{}", judge.name(), case.name);
    let ignored = judge.missing().is_some();
    let judge = Arc::clone(judge);
    Trial::test(name, move || run(judge, case)).with_ignored_flag(ignored)
}

fn run(judge: Arc<Judge>, case: &Case) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let done = runtime.block_on(async { tokio::time::timeout(LIMIT, (case.run)(judge)).await });
    runtime.shutdown_background();
    let limit = LIMIT.as_secs();
    done.map_err(|_| Failed::from(format!("the test hangs: not finished after {limit} s")))
}
