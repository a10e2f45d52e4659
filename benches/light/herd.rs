//! Very many tasks that wait for one token: how soon the last one runs again.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use evertoken::testing::{AuthorizationServer, InProcessEndpoint};
use evertoken::{
    EndpointError, Grant, Issued, Key, ServerProfile, TokenEndpoint, TokenManager, async_trait,
};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use http::HeaderValue;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep};

use crate::shared::{Sample, Samples, table, waited_for_processor};

const WAITERS: usize = 10_000;
const TAKES: Duration = Duration::from_millis(20);

/// The longest time that all threads of a quiet round together wait for a processor.
const DISTURBED: Duration = Duration::from_millis(2);

/// The source of the token in a round.
#[derive(Debug, Clone, Default)]
struct Source(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    begun: AtomicUsize,
    /// The time of the answer, and the number of waiters at that time.
    answered: Mutex<Option<(Instant, usize)>>,
}

impl Source {
    /// The answer for the ways that are written by hand.
    async fn answer(&self) -> HeaderValue {
        sleep(TAKES).await;
        let header = crate::by_hand::header("token");
        self.note();
        header
    }

    fn note(&self) {
        let begun = self.0.begun.load(Ordering::Relaxed);
        *self.0.answered.lock() = Some((Instant::now(), begun));
    }
}

/// The endpoint of a manager. It notes the time of its answer.
#[derive(Debug)]
struct Noting(InProcessEndpoint, Source);

#[async_trait]
impl TokenEndpoint for Noting {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        let issued = self.0.exchange(grant).await;
        self.1.note();
        issued
    }

    fn profile(&self) -> ServerProfile {
        self.0.profile()
    }

    fn key(&self) -> Key {
        self.0.key()
    }
}

/// Makes a waiter.
type Waiter = Box<dyn Fn() -> BoxFuture<'static, bool> + Send>;

/// A way to wait for a token of this source.
type Way = fn(&Source) -> Waiter;

fn waiter<T, F>(shared: T, wait: fn(T) -> F) -> Waiter
where
    T: Clone + Send + 'static,
    F: Future<Output = bool> + Send + 'static,
{
    Box::new(move || wait(shared.clone()).boxed())
}

const OURS: usize = 2;
const WAYS: [(&str, Way); 6] = [
    ("token()", |source| {
        waiter(expired(source), |tokens| async move {
            tokens.token().await.is_ok()
        })
    }),
    ("authorization()", |source| {
        waiter(expired(source), |tokens| async move {
            tokens.authorization().await.is_ok()
        })
    }),
    ("by hand: leader, oneshot", |source| {
        waiter(Leader::new(source), |leader| async move {
            leader.header().await.is_some()
        })
    }),
    ("by hand: the same, a deadline each", |source| {
        waiter(Leader::new(source), |leader| {
            let header = async move { leader.header().await };
            let limited = tokio::time::timeout(Duration::from_secs(35), header);
            limited.map(|header| matches!(header, Ok(Some(_))))
        })
    }),
    ("by hand: futures' Shared", |source| {
        waiter(SharedFuture::new(source), |shared| async move {
            !shared.header().await.is_empty()
        })
    }),
    ("by hand: Notify, pointer", |source| {
        waiter(Notified::new(source), |notified| async move {
            notified.header().await.is_some()
        })
    }),
];

/// A manager whose token has expired.
fn expired(source: &Source) -> TokenManager {
    let server = AuthorizationServer::builder().latency(TAKES).build();
    let seed = server.issue().expires_in(Duration::ZERO);
    TokenManager::builder(Noting(server.endpoint(), source.clone()))
        .seed(seed)
        .build()
        .expect("it holds")
}

pub(crate) fn run() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut samples: Vec<Samples> = WAYS.iter().map(|_| Samples::default()).collect();
    while !samples.iter().all(Samples::are_enough) {
        for ((_, way), samples) in WAYS.iter().zip(&mut samples) {
            if !samples.are_enough() {
                samples.add(runtime.block_on(round(*way)));
            }
        }
    }
    let medians: Vec<f64> = samples.iter().map(Samples::median).collect();
    let best = medians[OURS..].iter().copied().fold(f64::MAX, f64::min);
    let mut table = table("a herd | last one awake, ms | of the best by hand | samples");
    for (((name, _), samples), median) in WAYS.iter().zip(&samples).zip(&medians) {
        table.add_row([
            (*name).to_owned(),
            format!("{median:.2}"),
            format!("{:.2}x", median / best),
            samples.count(),
        ]);
    }
    println!(
        "{WAITERS} tasks wait for a token that takes {TAKES:?}; from the answer until the last one runs.\n{table}"
    );
}

/// How long the last waiter slept after the answer, in ms.
async fn round(way: Way) -> Sample {
    let source = Source::default();
    let waiter = way(&source);
    let waited = waited_for_processor();
    let since = Instant::now();
    let last = Arc::new(AtomicU64::new(0));
    let left = Arc::new(AtomicUsize::new(WAITERS));
    let done = Arc::new(Notify::new());
    // A worker spawns the tasks, as in a server, so that no other thread takes part.
    let spawning = {
        let (source, last, done) = (source.clone(), Arc::clone(&last), Arc::clone(&done));
        async move {
            for _ in 0..WAITERS {
                let (seen, last, left) = (source.0.clone(), Arc::clone(&last), Arc::clone(&left));
                let (done, waiting) = (Arc::clone(&done), waiter());
                tokio::spawn(async move {
                    seen.begun.fetch_add(1, Ordering::Relaxed);
                    assert!(waiting.await, "it gets a token");
                    let now = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    last.fetch_max(now, Ordering::Relaxed);
                    if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                        done.notify_one();
                    }
                });
            }
        }
    };
    tokio::spawn(spawning).await.expect("it does not panic");
    done.notified().await;
    let waited = waited_for_processor().saturating_sub(waited);
    let (answered, begun) = source.0.answered.lock().expect("it answered");
    let last = Duration::from_nanos(last.load(Ordering::Relaxed));
    let took = last.saturating_sub(answered - since);
    // A task that did not wait at the time of the answer was not woken.
    let late = WAITERS - begun;
    let disturbance = if late > 0 {
        f64::MAX
    } else {
        waited.as_secs_f64()
    };
    Sample {
        value: took.as_secs_f64() * 1e3,
        disturbance,
        is_quiet: late == 0 && waited < DISTURBED,
    }
}

/// The first waiter starts a task, which answers each waiter. This and the next two types are the best known ways to let many
/// tasks wait for one, written by hand.
struct Leader {
    source: Source,
    current: ArcSwapOption<HeaderValue>,
    waiting: Mutex<Vec<oneshot::Sender<HeaderValue>>>,
}

impl Leader {
    fn new(source: &Source) -> Arc<Self> {
        Arc::new(Self {
            source: source.clone(),
            current: ArcSwapOption::empty(),
            waiting: Mutex::default(),
        })
    }

    async fn header(self: &Arc<Self>) -> Option<HeaderValue> {
        let mine = {
            let mut waiting = self.waiting.lock();
            if let Some(current) = &*self.current.load() {
                return Some(HeaderValue::clone(current));
            }
            let (answer, mine) = oneshot::channel();
            if waiting.is_empty() {
                tokio::spawn(Arc::clone(self).lead());
            }
            waiting.push(answer);
            mine
        };
        mine.await.ok()
    }

    async fn lead(self: Arc<Self>) {
        let header = self.source.answer().await;
        let waiting = {
            let mut waiting = self.waiting.lock();
            self.current.store(Some(Arc::new(header.clone())));
            std::mem::take(&mut *waiting)
        };
        for waiter in waiting {
            // An error means that this task does not wait any more.
            let _ = waiter.send(header.clone());
        }
    }
}

/// All tasks await one future.
struct SharedFuture(Shared<BoxFuture<'static, HeaderValue>>);

impl SharedFuture {
    fn new(source: &Source) -> Arc<Self> {
        let source = source.clone();
        let future = async move { source.answer().await };
        Arc::new(Self(future.boxed().shared()))
    }

    async fn header(&self) -> HeaderValue {
        self.0.clone().await
    }
}

/// The first waiter starts a task, which stores the header and wakes all waiters.
struct Notified {
    source: Source,
    current: ArcSwapOption<HeaderValue>,
    is_led: Mutex<bool>,
    committed: Notify,
}

impl Notified {
    fn new(source: &Source) -> Arc<Self> {
        Arc::new(Self {
            source: source.clone(),
            current: ArcSwapOption::empty(),
            is_led: Mutex::new(false),
            committed: Notify::new(),
        })
    }

    async fn header(self: &Arc<Self>) -> Option<HeaderValue> {
        let mut committed = pin!(self.committed.notified());
        // Enabled before the load: otherwise a header that is stored in between would be missed.
        committed.as_mut().enable();
        if self.current.load().is_none() {
            if !std::mem::replace(&mut *self.is_led.lock(), true) {
                tokio::spawn(Arc::clone(self).lead());
            }
            committed.await;
        }
        let current = self.current.load();
        current.as_deref().cloned()
    }

    async fn lead(self: Arc<Self>) {
        let header = self.source.answer().await;
        self.current.store(Some(Arc::new(header)));
        self.committed.notify_waiters();
    }
}
