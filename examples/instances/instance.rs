//! One of the instances: its tasks send requests until it is told to stop.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use evertoken::{Error, Event, Events, TokenManager};
use parking_lot::Mutex;
use reqwest::Client;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::message::{News, Requests, micros, now};
use crate::setup::Setup;
use crate::telling::Voice;

/// Ends an instance in good order.
pub(crate) const STOP: &str = "stop";

/// How often an instance says what became of its requests: what a killed one had not said is not counted.
const SAY_EVERY: Duration = Duration::from_millis(50);

pub(crate) fn main() -> anyhow::Result<()> {
    // First of all: until then, one that is stopped could outlive whoever started it.
    end_with_parent()?;
    run()
}

#[tokio::main]
async fn run() -> anyhow::Result<()> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let setup: Setup = serde_json::from_str(&line).context("no setup on standard input")?;
    let voice = Voice::new(setup.in_detail);
    if setup.in_detail {
        trace_into(voice.clone());
    }
    let tokens = setup.manager(&voice).await?;
    listen(tokens.subscribe(), voice.clone());
    let stop = listen_for_stop();

    let requests = Arc::<Mutex<Requests>>::default();
    let saying = tokio::spawn(say(Arc::clone(&requests), voice.clone()));
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
    saying.abort();
    voice.say(News::Requests(std::mem::take(&mut *requests.lock())));
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
        // Whoever waited for a token does not make up for it.
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
        // Read to its end, so that the connection can be used again.
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

async fn say(requests: Arc<Mutex<Requests>>, voice: Voice) {
    let mut ticks = interval(SAY_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let requests = std::mem::take(&mut *requests.lock());
        if requests.ok + requests.failed + requests.told > 0 {
            voice.say(News::Requests(requests));
        }
    }
}

/// Says what happens to the session, from a thread of its own: the moments are to be right also while a
/// hundred tasks want the others.
fn listen(mut events: Events, voice: Voice) {
    let runtime = Handle::current();
    std::thread::spawn(move || {
        while let Some(event) = runtime.block_on(events.recv()) {
            match event {
                Event::Rotated { pair_id, .. } => voice.say(News::Rotated {
                    version: pair_id.version,
                }),
                Event::Adopted {
                    pair_id, waited, ..
                } => voice.say(News::Adopted {
                    version: pair_id.version,
                    waited: micros(waited),
                }),
                Event::Ended { reason, .. } => voice.say(News::Ended {
                    reason: reason.to_string(),
                }),
                event => voice.detail(|| format!("{event:?}")),
            }
        }
    });
}

/// Turns true when it is told to stop; whoever closes the pipe instead is gone, and so is the process then.
fn listen_for_stop() -> watch::Receiver<bool> {
    let (stop, told) = watch::channel(false);
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            stop.send_replace(line == STOP);
        }
        std::process::exit(1);
    });
    told
}

/// An instance that is stopped sees no pipe being closed.
#[cfg(target_os = "linux")]
fn end_with_parent() -> anyhow::Result<()> {
    use rustix::process::{Signal, set_parent_process_death_signal};
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

#[cfg(not(target_os = "linux"))]
fn end_with_parent() -> anyhow::Result<()> {
    Ok(())
}

/// What the library logs, as details.
fn trace_into(voice: Voice) {
    let lines = tracing_subscriber::fmt::layer()
        .without_time()
        .with_ansi(false)
        .with_writer(move || Lines(voice.clone()));
    let evertoken = Targets::new().with_target("evertoken", LevelFilter::DEBUG);
    tracing_subscriber::registry()
        .with(evertoken)
        .with(lines)
        .init();
}

struct Lines(Voice);

/// Whole lines are written at once.
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
