//! One import with one strategy: what an application needs of evertoken, from the manager's start to its
//! end.

use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use evertoken::{Builder, Event, Events, TokenPair};
use reqwest::Client;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::arguments::{Arguments, Strategy};
use crate::batches::{self, Batches};
use crate::journal::{Books, Journal};
use crate::notices::Notices;
use crate::progress::Progress;
use crate::site::{Counters, Site};
use crate::stop::Stop;
use crate::stopped::Stopped;
use crate::tally::{Failure, Tally};
use crate::timeline::Timeline;
use crate::worker::{Access, Job};

/// Longer than any batch takes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Then the API counts as not available.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// For the requests that are under way when the import is interrupted.
const GRACE: Duration = Duration::from_secs(5);

/// What became of an import.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) strategy: Strategy,
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<Failure>,
    /// Records that were done with before it began.
    pub(crate) done_before: u64,
    /// Of these, the ones that failed then.
    pub(crate) rejected_before: u64,
    /// Why it stopped by itself before its end.
    pub(crate) stopped: Option<Stopped>,
    /// Pairs that this import's manager rotated to.
    pub(crate) rotations: u64,
    /// What the servers saw of it, if they tell.
    pub(crate) counters: Option<Counters>,
    pub(crate) elapsed: Duration,
    pub(crate) wait_p50: Duration,
    pub(crate) wait_p99: Duration,
    /// Why the input was not read to its end.
    pub(crate) broken_input: Option<anyhow::Error>,
    pub(crate) interrupted: bool,
    pub(crate) timeline: Timeline,
}

impl Outcome {
    /// Records that were tried.
    pub(crate) fn records(&self) -> u64 {
        self.ok + self.failed
    }

    /// Records that failed, now or before.
    pub(crate) fn lost(&self) -> u64 {
        self.failed + self.rejected_before
    }

    pub(crate) fn is_complete(&self) -> bool {
        let to_the_end = self.broken_input.is_none() && self.stopped.is_none();
        to_the_end && !self.interrupted && self.failed == 0
    }
}

/// Imports everything that is not done yet, or what is done when `interrupt` resolves or the import stops by
/// itself. What it waits for meanwhile goes to `err`.
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
    // As if somebody had signed in and pressed the button: the last thing before the start.
    let first = site.sign_in();
    let (access, tokens) = match (builder, first) {
        (Some(builder), first) => {
            let tokens = seeded(builder, first).build()?;
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
        .map(|tokens| tokio::spawn(follow(tokens.subscribe(), Arc::clone(&tally))));
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
            // An import goes on though its words reach no reader.
            Some(notice) = noticed.recv() => drop(note(&notice)),
        }
    };
    if interrupted {
        stop.request();
        // Those that take longer are cut off: their batches are sent again by the run that goes on.
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

    // A rotation may be under way: its pair is neither lost nor left out of the count.
    let (shut_down, rotations) = match tokens {
        Some(tokens) => (tokens.shutdown().await, tokens.status().rotations),
        None => (Ok(()), 0),
    };
    // If the import was stopped, it may wait for input that does not come.
    let read = match stop.is_requested() {
        true => Ok(None),
        false => reader.join().map_err(|_| anyhow!("the reader panicked"))?,
    };
    journal.close(read.as_ref().ok().copied().flatten())?;
    shut_down?;
    if let Some(follower) = follower {
        follower.await?;
    }
    // Servers that do not tell any more have been imported into all the same.
    let after = site.counters().await.unwrap_or_default();
    Ok(Outcome {
        strategy,
        ok: tally.ok(),
        failed: tally.failed(),
        first_failure: tally.first_failure().cloned(),
        done_before,
        rejected_before,
        stopped: stop.why().cloned(),
        rotations,
        counters: before.zip(after).map(|(before, after)| after.since(before)),
        elapsed,
        wait_p50: tally.wait(0.5),
        wait_p99: tally.wait(0.99),
        broken_input: read.err(),
        interrupted,
        timeline: tally.timeline(),
    })
}

fn seeded(builder: Builder, first: Option<TokenPair>) -> Builder {
    match first {
        Some(pair) => builder.seed(pair),
        None => builder,
    }
}

/// Notes when the manager rotates, until it is gone.
async fn follow(mut events: Events, tally: Arc<Tally>) {
    while let Some(event) = events.recv().await {
        if let Event::Rotated { .. } = event {
            tally.rotated();
        }
    }
}

async fn all(workers: &mut JoinSet<()>) -> anyhow::Result<()> {
    while let Some(worker) = workers.join_next().await {
        worker.context("a worker panicked")?;
    }
    Ok(())
}
