//! One of the instances: its tasks send requests until it gets the order to stop. [`Setup`] builds its manager.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use evertoken::{
    Error, Event, Events, OAuth2, OptimisticEarly, TokenEndpoint, TokenManager, TokenStore,
};
use parking_lot::Mutex;
use reqwest::Client;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::arguments::profile;
use crate::messages::{News, Reporter, ReportingEndpoint, ReportingStore, Requests, micros, now};
use crate::site::{CLIENT_SECRET, ReuseChoice};
use crate::store::Location;

/// The order to an instance to end cleanly.
pub(crate) const STOP: &str = "stop";

/// How often an instance reports its requests. Requests that a killed instance has not reported are not counted.
const REPORT_EVERY: Duration = Duration::from_millis(50);

pub(crate) fn main() -> anyhow::Result<()> {
    // Before this call, a stopped instance could outlive the process that started it.
    end_with_parent()?;
    run()
}

#[tokio::main]
async fn run() -> anyhow::Result<()> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let setup: Setup = serde_json::from_str(&line)
        .context("standard input has no setup: only `instances` itself starts an instance")?;
    let reporter = Reporter::new(setup.in_detail);
    if setup.in_detail {
        trace_into(reporter.clone());
    }
    let tokens = setup.manager(&reporter).await?;
    listen(tokens.subscribe(), reporter.clone());
    let stop = listen_for_stop();

    let requests = Arc::<Mutex<Requests>>::default();
    let reporting = tokio::spawn(report(Arc::clone(&requests), reporter.clone()));
    let http = Client::new();
    let tasks: Vec<_> = (0..setup.tasks)
        .map(|number| {
            let task = Task {
                tokens: tokens.clone(),
                http: http.clone(),
                url: setup.api_url.clone(),
                interval: setup.interval,
                requests: Arc::clone(&requests),
                stop: stop.clone(),
            };
            let share = number as f64 / setup.tasks as f64;
            tokio::spawn(task.run(setup.interval.mul_f64(share)))
        })
        .collect();
    for task in tasks {
        task.await?;
    }
    tokens.shutdown().await?;
    reporting.abort();
    reporter.report(News::Requests(std::mem::take(&mut *requests.lock())));
    Ok(())
}

struct Task {
    tokens: TokenManager,
    http: Client,
    url: String,
    interval: Duration,
    requests: Arc<Mutex<Requests>>,
    stop: watch::Receiver<bool>,
}

impl Task {
    async fn run(mut self, after: Duration) {
        let mut ticks = interval_at(Instant::now() + after, self.interval);
        // A task does not catch up on requests that it missed while it waited for a token.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = self.stop.wait_for(|stop| *stop) => return,
                _ = ticks.tick() => {}
            }
            let answer = self.ask().await;
            self.count(answer);
        }
    }

    async fn ask(&self) -> anyhow::Result<()> {
        let answer = self.tokens.send(self.http.get(&self.url)).await?;
        let status = answer.status();
        // A body that is read to its end frees its connection.
        answer.bytes().await?;
        anyhow::ensure!(status.is_success(), "the API answered {status}");
        Ok(())
    }

    fn count(&self, answer: anyhow::Result<()>) {
        let mut requests = self.requests.lock();
        let Err(error) = answer else {
            requests.ok += 1;
            requests.last_ok = now();
            return;
        };
        if error.downcast_ref().is_some_and(Error::needs_sign_in) {
            requests.told += 1;
            return;
        }
        requests.failed += 1;
        *requests.errors.entry(format!("{error:#}")).or_default() += 1;
    }
}

async fn report(requests: Arc<Mutex<Requests>>, reporter: Reporter) {
    let mut ticks = interval(REPORT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let requests = std::mem::take(&mut *requests.lock());
        if requests.ok + requests.failed + requests.told > 0 {
            reporter.report(News::Requests(requests));
        }
    }
}

/// Reports what happens to the session, from its own thread, so that the times are right while a hundred tasks keep the other
/// threads busy.
fn listen(mut events: Events, reporter: Reporter) {
    let runtime = Handle::current();
    std::thread::spawn(move || {
        while let Some(event) = runtime.block_on(events.recv()) {
            match event {
                Event::Rotated { pair_id, .. } => reporter.report(News::Rotated {
                    version: pair_id.version,
                }),
                Event::Adopted {
                    pair_id, waited, ..
                } => reporter.report(News::Adopted {
                    version: pair_id.version,
                    waited: micros(waited),
                }),
                Event::Ended { reason, .. } => reporter.report(News::Ended {
                    reason: reason.to_string(),
                }),
                event => reporter.detail(|| format!("{event:?}")),
            }
        }
    });
}

/// Turns true at the order to stop. A pipe that closes without the order means that the parent is gone; then this process ends.
fn listen_for_stop() -> watch::Receiver<bool> {
    let (stop, stopped) = watch::channel(false);
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            stop.send_replace(line == STOP);
        }
        std::process::exit(1);
    });
    stopped
}

/// Ends this process with its parent: a stopped instance does not notice a closed pipe.
#[cfg(target_os = "linux")]
fn end_with_parent() -> anyhow::Result<()> {
    use rustix::process::{Signal, set_parent_process_death_signal};
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

#[cfg(not(target_os = "linux"))]
fn end_with_parent() -> anyhow::Result<()> {
    Ok(())
}

/// Reports the log of the library as details.
fn trace_into(reporter: Reporter) {
    let lines = tracing_subscriber::fmt::layer()
        .without_time()
        .with_ansi(false)
        .with_writer(move || Lines(reporter.clone()));
    let evertoken = Targets::new().with_target("evertoken", LevelFilter::DEBUG);
    tracing_subscriber::registry()
        .with(evertoken)
        .with(lines)
        .init();
}

struct Lines(Reporter);

/// The layer writes a whole line in one call.
impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line).trim().to_owned();
        self.0.detail(|| text);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) const CLIENT_ID: &str = "instances";

/// The longest time of an exchange.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The duration of a lease: so short that a few leases expire in a run of two minutes, and shorter than a long pause.
const LEASE_DURATION: Duration = Duration::from_secs(15);

/// The longest time of a call of the store: the lease duration has room for two calls.
const STORE_TIMEOUT: Duration = Duration::from_secs(3);

/// The settings of an instance: the first line of its standard input.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) store: Location,
    pub(crate) server: ReuseChoice,
    pub(crate) token_url: String,
    pub(crate) api_url: String,
    pub(crate) api_origin: String,
    pub(crate) tasks: usize,
    /// The time between two requests of a task.
    pub(crate) interval: Duration,
    /// Whether the instance reports details for the trace.
    pub(crate) in_detail: bool,
}

impl Setup {
    /// The manager of an instance, with a store and an endpoint that report their calls.
    pub(crate) async fn manager(&self, reporter: &Reporter) -> anyhow::Result<TokenManager> {
        let store = ReportingStore {
            store: self.store.open().await?,
            reporter: reporter.clone(),
        };
        let endpoint = ReportingEndpoint {
            endpoint: Arc::new(self.endpoint()?),
            reporter: reporter.clone(),
        };
        self.managing(endpoint, store)
    }

    /// A manager for a user who signs in. It never rotates by itself.
    pub(crate) fn bystander(&self, store: impl TokenStore) -> anyhow::Result<TokenManager> {
        self.managing(self.endpoint()?, store)
    }

    fn endpoint(&self) -> anyhow::Result<OAuth2> {
        Ok(OAuth2::new(&self.token_url, CLIENT_ID)?
            .client_secret(CLIENT_SECRET)
            .timeout(TIMEOUT)
            .profile(profile(self.server))
            .revocation_url(self.token_url.replace("/token", "/revoke"))?)
    }

    fn managing(
        &self,
        endpoint: impl TokenEndpoint,
        store: impl TokenStore,
    ) -> anyhow::Result<TokenManager> {
        Ok(TokenManager::builder(endpoint)
            .store(store)
            .strategy(OptimisticEarly::default())
            .lease_duration(LEASE_DURATION)
            .store_timeout(STORE_TIMEOUT)
            .origin(&self.api_origin)
            .build()?)
    }
}
