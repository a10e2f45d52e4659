//! One import with one strategy: all that an application needs of evertoken, from the build of a manager to its shutdown.

use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use reqwest::Client;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::arguments::Arguments;
use crate::batches::{self, Batches, Stop};
use crate::command::Strategy;
use crate::journal::{Books, Journal};
use crate::patience::Stopped;
use crate::progress::Progress;
use crate::site::{Counters, Site};
use crate::tally::{Counts, Tally};
use crate::worker::{Access, Job, Notices};

/// A batch takes less time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// After this time without a connection, the API counts as not available.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The time that requests under way have to finish when the import is interrupted.
const GRACE: Duration = Duration::from_secs(5);

/// The result of an import.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) strategy: Strategy,
    /// The counts, with all rotations of this import's manager.
    pub(crate) counts: Counts,
    /// Records that an earlier run imported or rejected.
    pub(crate) done_before: u64,
    /// Records that an earlier run rejected.
    pub(crate) rejected_before: u64,
    /// Why the import stopped itself before its end.
    pub(crate) stopped: Option<Stopped>,
    /// What the servers counted during the import, if they report it.
    pub(crate) counters: Option<Counters>,
    pub(crate) elapsed: Duration,
    pub(crate) wait_p50: Duration,
    pub(crate) wait_p99: Duration,
    /// The error that ended the input early.
    pub(crate) broken_input: Option<anyhow::Error>,
    pub(crate) interrupted: bool,
}

impl Outcome {
    /// Records that this run imported or that failed in this run.
    pub(crate) fn records(&self) -> u64 {
        self.counts.ok + self.counts.failed
    }

    /// Records that failed in this run or in an earlier one.
    pub(crate) fn lost(&self) -> u64 {
        self.counts.failed + self.rejected_before
    }

    pub(crate) fn is_complete(&self) -> bool {
        let to_the_end = self.broken_input.is_none() && self.stopped.is_none();
        to_the_end && !self.interrupted && self.counts.failed == 0
    }
}

/// Imports all batches that are not done yet, until `interrupt` resolves or the import stops itself. Notices of what the
/// import waits for go to `err`.
pub(crate) async fn run(
    strategy: Strategy,
    arguments: &Arguments,
    books: Books,
    site: Arc<Site>,
    progress: &Progress,
    err: &mut impl Write,
    mut interrupt: Pin<&mut impl Future<Output = ()>>,
) -> anyhow::Result<Outcome> {
    let done_before = books.checkpoint.records();
    let rejected_before = books.checkpoint.rejected;
    let Batches { receiver, reader } = batches::read(arguments, books.checkpoint.done.clone())?;
    let bar = progress.bar(strategy, &books.checkpoint);
    let run = books.checkpoint.run().to_owned();
    let journal = Journal::start(books)?;
    let http = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .build()?;
    let before = site.counters().await?;
    let builder = site.builder(strategy).await?;
    // The sign-in is the last step before the start, as if a user had signed in and pressed the button.
    let first = site.sign_in();
    let (access, tokens) = match (builder, first) {
        (Some(mut builder), first) => {
            if let Some(pair) = first {
                builder = builder.seed(pair);
            }
            let tokens = builder.build()?;
            (Access::Managed(tokens.clone()), Some(tokens))
        }
        (None, first) => {
            let token = first.and_then(|pair| pair.access);
            let token = token.context("the server issued no access token")?;
            (Access::Fixed(token), None)
        }
    };
    let tally = Arc::new(Tally::start()?);
    let follower = tokens
        .as_ref()
        .map(|tokens| tokio::spawn(Arc::clone(&tally).follow(tokens.subscribe())));
    let faults = tokens
        .as_ref()
        .and_then(|tokens| site.faults(tokens.subscribe(), &tally));
    let stop = Arc::new(Stop::default());
    let (notices, mut noticed) = Notices::new();
    let job = Arc::new(Job {
        batches: Mutex::new(receiver),
        http,
        site: Arc::clone(&site),
        method: arguments.action.method(),
        access,
        run,
        pen: journal.pen(),
        stop: Arc::clone(&stop),
        tally: Arc::clone(&tally),
        bar,
        notices,
        api_wait: arguments.api_wait,
    });

    let mut workers = JoinSet::new();
    for _ in 0..arguments.workers {
        let job = Arc::clone(&job);
        workers.spawn(async move { job.work().await });
    }
    drop(job);
    let mut note = |notice: &str| progress.note(err, &format!("{strategy}: {notice}"));
    let interrupted = loop {
        tokio::select! {
            finished = all(&mut workers) => break finished.map(|()| false)?,
            () = &mut interrupt => break true,
            // A notice that cannot be written does not stop the import.
            Some(notice) = noticed.recv() => drop(note(&notice)),
        }
    };
    if interrupted {
        stop.request();
        // Requests that take longer are cut off; the run that resumes the import sends their batches again.
        if let Ok(finished) = timeout(GRACE, all(&mut workers)).await {
            finished?;
        }
    }
    workers.shutdown().await;
    let elapsed = tally.elapsed();
    while let Ok(notice) = noticed.try_recv() {
        drop(note(&notice));
    }
    drop(faults);

    // A shutdown waits for a rotation under way, so that its pair is stored and counted.
    let (shut_down, rotations) = match tokens {
        Some(tokens) => (tokens.shutdown().await, tokens.status().rotations),
        None => (Ok(()), 0),
    };
    // The reader of a stopped import may wait for input for ever.
    let read = match stop.is_requested() {
        true => Ok(None),
        false => reader.join().map_err(|_| anyhow!("the reader panicked"))?,
    };
    journal.close(read.as_ref().ok().copied().flatten())?;
    shut_down?;
    if let Some(follower) = follower {
        follower.await?;
    }
    // The import is finished: counters that can no longer be read do not make it fail.
    let after = site.counters().await.unwrap_or_default();
    Ok(Outcome {
        strategy,
        counts: Counts {
            rotations,
            ..tally.counts().clone()
        },
        done_before,
        rejected_before,
        stopped: stop.why().cloned(),
        counters: before.zip(after).map(|(before, after)| after.since(before)),
        elapsed,
        wait_p50: tally.wait(0.5),
        wait_p99: tally.wait(0.99),
        broken_input: read.err(),
        interrupted,
    })
}

async fn all(workers: &mut JoinSet<()>) -> anyhow::Result<()> {
    while let Some(worker) = workers.join_next().await {
        worker.context("a worker panicked")?;
    }
    Ok(())
}
