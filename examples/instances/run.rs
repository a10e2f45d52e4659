//! One run: its counts and its course.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use evertoken::EndReason;
use evertoken::testing::{AuthorizationServer, ImportApi};
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::arguments::{Arguments, WINDOW};
use crate::command::{self, Random};
use crate::counts::{Adoptions, Sendings};
use crate::fleet::Fleet;
use crate::history::{Finding, History, View};
use crate::instance::{CLIENT_ID, Setup};
use crate::messages::{Message, Micros, News, now};
use crate::report::Outcome;
use crate::site::{CLIENT_SECRET, Servers, WEEK};
use crate::store::Location;
use crate::strikes::Striker;
use crate::watcher::{Trace, Watcher};

/// The time after the last kill or pause within which each instance must be served again: longer than two successive lease
/// durations.
const PATIENCE: Duration = Duration::from_secs(75);

/// What the parts of a run share.
pub(crate) struct Run {
    pub(crate) trace: Trace,
    /// The instance that leased a token last, for strikers that aim.
    pub(crate) leases: watch::Sender<Option<u64>>,
    tally: Mutex<Tally>,
}

/// What the report takes over as it is.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Counts {
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    pub(crate) told: u64,
    pub(crate) kills: u64,
    pub(crate) pauses: u64,
    pub(crate) sign_ins: u64,
    pub(crate) outcome_unknown: u64,
    pub(crate) lost: BTreeMap<String, u64>,
    pub(crate) errors: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) counts: Counts,
    pub(crate) overwritten: Vec<String>,
    pub(crate) adoptions: Adoptions,
    pub(crate) history: History,
    pub(crate) sendings: Sendings,
    /// The last success of each instance.
    last_ok: HashMap<u64, Micros>,
    /// For each new sign-in, the instances without a success since then.
    waiting: Vec<(Micros, BTreeSet<u64>)>,
    /// The longest time from a sign-in to the first success of an instance.
    pub(crate) back: Micros,
    highest_lease: u64,
}

impl Run {
    fn new(trace: Trace) -> Self {
        Self {
            trace,
            leases: watch::Sender::new(None),
            tally: Mutex::default(),
        }
    }

    /// Counts a message of an instance.
    pub(crate) fn heard(&self, instance: u64, message: Message) {
        let at = message.at;
        let mut tally = self.tally.lock();
        let note = |what: String| self.trace.note_at(at, instance, what);
        match message.news {
            News::Rotated { version } => {
                note(format!("rotated to version {version}"));
                tally.adoptions.committed(version, at);
            }
            News::Adopted { version, waited } => {
                note(format!("adopted version {version} after {waited} us"));
                tally.adoptions.adopted(instance, version, at, waited);
            }
            News::Leased { lease } => {
                if lease.number > tally.highest_lease {
                    tally.highest_lease = lease.number;
                    if lease.doubtful.is_none() {
                        self.leases.send_replace(Some(instance));
                    }
                }
            }
            News::Sends { token, is_second } => {
                tally.sendings.sent(instance, token, at, is_second);
            }
            News::Answered { token } => tally.sendings.answered(instance, token, at),
            News::Ended { reason } => note(format!("learns that the session ended: {reason}")),
            News::Detail { text } => note(text),
            News::Requests(requests) => {
                tally.counts.ok += requests.ok;
                tally.counts.failed += requests.failed;
                tally.counts.told += requests.told;
                for (error, count) in requests.errors {
                    note(format!("{count} requests failed: {error}"));
                    *tally.counts.errors.entry(error).or_default() += count;
                }
                if requests.last_ok > 0 {
                    tally.succeeded(instance, requests.last_ok);
                }
            }
        }
    }

    /// Counts a look at the record.
    pub(crate) fn saw(&self, view: Option<View>) -> Vec<Finding> {
        let mut tally = self.tally.lock();
        if tally.history.last() == view.as_ref() {
            return Vec::new();
        }
        let text = view.as_ref().map_or("none".to_owned(), View::to_string);
        self.trace.note("record", text);
        let findings = tally.history.saw(view);
        for finding in &findings {
            match finding {
                Finding::Rotated { version } => tally.adoptions.committed(*version, now()),
                Finding::SignedIn { version } => tally.adoptions.signed_in(*version),
                Finding::Ended(EndReason::LoggedOut) => {}
                Finding::Ended(reason) => {
                    tally.counts.outcome_unknown += u64::from(*reason == EndReason::OutcomeUnknown);
                    *tally.counts.lost.entry(reason.to_string()).or_default() += 1;
                }
                Finding::Overwritten(how) => {
                    self.trace.note("watcher", format!("overwritten: {how}"));
                    tally.overwritten.push(how.clone());
                }
            }
        }
        findings
    }

    pub(crate) fn started(&self, instance: u64) {
        self.trace.note(instance, "is started");
    }

    pub(crate) fn killed(&self, instance: u64) {
        self.struck(instance, "is killed").counts.kills += 1;
    }

    pub(crate) fn paused(&self, instance: u64) {
        self.struck(instance, "is stopped").counts.pauses += 1;
    }

    fn struck(&self, instance: u64, how: &str) -> MutexGuard<'_, Tally> {
        self.trace.note(instance, how);
        let mut tally = self.tally.lock();
        tally.excuse(instance);
        tally
    }

    pub(crate) fn resumed(&self, instance: u64) {
        self.trace.note(instance, "goes on");
        self.tally.lock().adoptions.resumed(instance, now());
    }

    fn version(&self) -> anyhow::Result<u64> {
        let tally = self.tally.lock();
        let version = tally.history.last().map(|view| view.version);
        version.context("there is no session")
    }

    /// Waits until a request of each instance has succeeded; returns the number of instances for which that took too long.
    async fn not_served(&self, instances: &[u64]) -> u64 {
        let since = now();
        let started = Instant::now();
        loop {
            let waiting = {
                let tally = self.tally.lock();
                let served = |instance| tally.last_ok.get(instance).is_some_and(|at| *at >= since);
                instances.iter().filter(|it| !served(it)).count()
            };
            if waiting == 0 || started.elapsed() > PATIENCE {
                return waiting as u64;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn signed_in(&self) {
        self.trace.note("user", "signed in");
        let mut tally = self.tally.lock();
        tally.counts.sign_ins += 1;
        let instances = tally.last_ok.keys().copied().collect();
        tally.waiting.push((now(), instances));
    }
}

impl Tally {
    fn succeeded(&mut self, instance: u64, at: Micros) {
        self.last_ok.insert(instance, at);
        for (since, waiting) in &mut self.waiting {
            if at >= *since && waiting.remove(&instance) {
                self.back = self.back.max(at - *since);
            }
        }
    }

    /// The instance is not expected to be served for the time being.
    fn excuse(&mut self, instance: u64) {
        self.last_ok.remove(&instance);
        for (_, waiting) in &mut self.waiting {
            waiting.remove(&instance);
        }
    }
}

/// Runs from the start of the first instance to the end of the last one.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let (location, _directory) = Location::or_scratch(arguments.store.as_ref())?;
    let kind = location.kind();
    let store = location.open().await?;
    let server = AuthorizationServer::builder()
        .client(CLIENT_ID, CLIENT_SECRET)
        .access_ttl(arguments.access_ttl)
        .refresh_ttl(WEEK)
        .latency(arguments.latency)
        .reuse(arguments.server.within(WINDOW))
        .build();
    let api = ImportApi::builder(&server).build();
    let site = Arc::new(Servers::open(server, api).await?);
    let run = Arc::new(Run::new(Trace::into(arguments.trace.as_deref())?));
    let setup = Setup {
        store: location,
        server: arguments.server,
        token_url: site.token_endpoint.url().to_owned(),
        api_url: site.records.url().to_owned(),
        api_origin: site.records.origin().to_owned(),
        tasks: arguments.tasks,
        interval: arguments.interval(),
        in_detail: run.trace.is_on(),
    };
    let tokens = setup.bystander(Arc::clone(&store))?;
    tokens.replace(site.server.issue()).await?;
    let watcher = Arc::new(Watcher {
        run: Arc::clone(&run),
        site: Arc::clone(&site),
        store,
        tokens,
    });
    watcher.look().await;
    let first = run.version()?;
    let watching = tokio::spawn({
        let watcher = Arc::clone(&watcher);
        async move { watcher.watch().await }
    });

    let fleet = Fleet::start(arguments.instances, setup, Arc::clone(&run))?;
    let fleet = Arc::new(Mutex::new(fleet));
    let seed = command::seed(arguments.seed);
    let until = Instant::now() + arguments.run_time();
    let striker = |salt| Striker {
        fleet: Arc::clone(&fleet),
        run: Arc::clone(&run),
        random: Random(seed.wrapping_add(salt)),
        aims: arguments.aim,
        until,
    };
    let kills = arguments.kill_every.map(|every| striker(0).kill(every));
    let pauses = arguments.pause_every.map(|every| striker(1).pause(every));
    tokio::try_join!(optional(kills), optional(pauses))?;
    sleep_until(until).await;

    let instances = fleet.lock().resume_all()?;
    let stuck = run.not_served(&instances).await;
    let hanging = Fleet::end(&fleet).await;
    watching.abort();
    watcher.look().await;

    let mut tally = run.tally.lock();
    let tally = std::mem::take(&mut *tally);
    let last = tally.history.last().context("the session is gone")?.version;
    Ok(Outcome {
        store: kind,
        server: arguments.server,
        seconds: arguments.run_time().as_secs(),
        seed,
        instances: arguments.instances,
        rotations: last - first - tally.counts.sign_ins,
        stuck: stuck + hanging,
        site,
        tally,
    })
}

async fn optional(
    striking: Option<impl Future<Output = anyhow::Result<()>>>,
) -> anyhow::Result<()> {
    match striking {
        Some(striking) => striking.await,
        None => Ok(()),
    }
}
