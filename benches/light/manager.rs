//! The memory of a manager beside its tokens and the tasks of a manager, for 1,000 and for very many managers; and the size of a
//! record.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use evertoken::{
    BackgroundTimer, Events, MemoryStore, OnRequest, TokenEndpoint as _, TokenManager,
    TokenStore as _,
};
use futures_util::FutureExt;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::by_hand;
use crate::here;
use crate::shared::{ACCESS, Issuer, REFRESH, float, processor_time, table, token, warm};

const COUNT: usize = 1_000;

/// Tasks that a first use starts end within this time.
const SETTLING: Duration = Duration::from_millis(100);

/// How the managers are built.
#[derive(Clone, Copy)]
enum Kind {
    /// With its own store, as `build()` creates one.
    OnRequest,
    SharedStore,
    Subscribed,
    BackgroundTimer,
}

impl Kind {
    const ALL: [Self; 4] = [
        Self::OnRequest,
        Self::SharedStore,
        Self::Subscribed,
        Self::BackgroundTimer,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::OnRequest => "OnRequest",
            Self::SharedStore => "OnRequest, one store for all",
            Self::Subscribed => "OnRequest, a subscriber each",
            Self::BackgroundTimer => "BackgroundTimer",
        }
    }
}

/// Managers on their own runtime, with their memory and their tasks.
struct Fleet {
    runtime: Runtime,
    kind: Kind,
    issuer: Arc<Issuer>,
    store: MemoryStore,
    managers: Vec<TokenManager>,
    events: Vec<Events>,
    tasks: usize,
    /// Bytes of heap that this thread holds.
    bytes: i64,
}

impl Fleet {
    fn new(kind: Kind) -> Self {
        let runtime = here();
        let mut fleet = Self {
            kind,
            issuer: Issuer::new(),
            store: MemoryStore::new(),
            managers: Vec::new(),
            events: Vec::new(),
            tasks: 0,
            bytes: 0,
            runtime,
        };
        // What all managers share exists before the first count.
        fleet.build(1);
        fleet.use_first();
        fleet.rotate();
        fleet.drop_all();
        // The old store already has the first session, with another pair.
        fleet.store = MemoryStore::new();
        fleet.tasks = fleet.runtime.metrics().num_alive_tasks();
        fleet.bytes = 0;
        fleet
    }

    fn make(&self, number: usize) -> TokenManager {
        let builder = TokenManager::builder(Arc::clone(&self.issuer)).seed(self.issuer.seed());
        let builder = match self.kind {
            Kind::OnRequest | Kind::Subscribed => builder.strategy(OnRequest::default()),
            Kind::SharedStore => builder
                .key(self.issuer.key().label(number.to_string()))
                .store(self.store.clone()),
            Kind::BackgroundTimer => builder.strategy(BackgroundTimer::default()),
        };
        builder.build().expect("it holds")
    }

    fn build(&mut self, count: usize) {
        self.counted(|fleet| {
            let runtime = fleet.runtime.handle().clone();
            let _entered = runtime.enter();
            fleet.managers = Vec::with_capacity(count);
            for number in 0..count {
                fleet.managers.push(fleet.make(number));
            }
            if matches!(fleet.kind, Kind::Subscribed) {
                fleet.events = fleet.managers.iter().map(TokenManager::subscribe).collect();
            }
        });
    }

    fn use_first(&mut self) {
        self.each(async |tokens| tokens.token().await.is_ok());
    }

    fn rotate(&mut self) {
        self.each(async |tokens| tokens.rotate().await.is_ok());
    }

    fn each(&mut self, work: impl AsyncFn(&TokenManager) -> bool) {
        self.counted(|fleet| {
            fleet.runtime.block_on(async {
                for tokens in &fleet.managers {
                    assert!(work(tokens).await, "it has a token");
                }
                tokio::time::sleep(SETTLING).await;
            });
        });
    }

    /// A second thread takes the header of each manager.
    fn read_elsewhere(&mut self) {
        let managers = &self.managers;
        let counted = measured_elsewhere(|| {
            for tokens in managers {
                let header = tokens.authorization().now_or_never();
                assert!(header.is_some_and(|header| header.is_ok()), "it is warm");
            }
        });
        self.bytes += counted.bytes_current;
    }

    fn drop_all(&mut self) {
        self.counted(|fleet| {
            fleet.managers = Vec::new();
            fleet.events = Vec::new();
            fleet.idle(SETTLING);
        });
    }

    /// Waits without requests.
    fn idle(&self, span: Duration) {
        let sleep = async { tokio::time::sleep(span).await };
        self.runtime.block_on(sleep);
    }

    fn counted(&mut self, work: impl FnOnce(&mut Self)) {
        let counted = measure(|| work(self));
        self.bytes += counted.bytes_current;
    }

    fn bytes_over_tokens(&self) -> i64 {
        let tokens = self.managers.len() * (ACCESS + REFRESH);
        self.bytes - i64::try_from(tokens).expect("it is small")
    }

    fn tasks(&self) -> usize {
        self.runtime.metrics().num_alive_tasks() - self.tasks
    }

    fn each_one(&self) -> String {
        per_one(self.bytes_over_tokens())
    }
}

fn per_one(bytes: i64) -> String {
    format!("{:.0}", float(bytes) / float(COUNT as i64))
}

pub(crate) fn run() {
    let mut table =
        table("a manager | built, bytes | first use | rotated | two threads | left | tasks | left");
    table.add_row(row_by_hand());
    for kind in Kind::ALL {
        let mut fleet = Fleet::new(kind);
        let mut row = vec![kind.name().to_owned()];
        fleet.build(COUNT);
        row.push(fleet.each_one());
        fleet.use_first();
        row.push(fleet.each_one());
        let tasks = fleet.tasks();
        fleet.rotate();
        row.push(fleet.each_one());
        fleet.read_elsewhere();
        row.push(fleet.each_one());
        fleet.drop_all();
        row.push(fleet.each_one());
        #[expect(clippy::cast_precision_loss, reason = "there are few")]
        let tasks = tasks as f64 / COUNT as f64;
        row.push(format!("{tasks:.3}"));
        row.push(fleet.tasks().to_string());
        table.add_row(row);
    }
    println!(
        "Bytes and tasks for each of {COUNT} managers, over tokens of {ACCESS} and {REFRESH} bytes.\n{table}"
    );
}

/// Measures the work on a second thread.
fn measured_elsewhere(work: impl FnOnce() + Send) -> AllocationInfo {
    thread::scope(|scope| {
        let other = scope.spawn(|| measure(work));
        other.join().expect("no panic")
    })
}

fn row_by_hand() -> Vec<String> {
    let runtime = here();
    let mut sessions = Vec::new();
    let tokens = i64::try_from(COUNT * (ACCESS + REFRESH)).expect("it is small");
    let built = measure(|| {
        sessions = Vec::with_capacity(COUNT);
        for number in 0..COUNT as u64 {
            let (access, refresh) = (token(number, ACCESS), token(number, REFRESH));
            sessions.push(by_hand::Session::new(&access, refresh));
        }
    });
    let read = || {
        for session in &sessions {
            assert!(session.authorization().is_some(), "it is fresh");
        }
    };
    let used = measure(read);
    let rotated = measure(|| {
        runtime.block_on(async {
            for session in &sessions {
                let refresh = |old: &str| old.chars().rev().collect();
                session.refresh(&token(0, ACCESS), refresh).await;
            }
        });
    });
    let read = measured_elsewhere(read);
    let dropped = measure(|| sessions = Vec::new());
    let mut row = vec!["by hand: pointer, header, lock".to_owned()];
    let mut bytes = -tokens;
    for counted in [built, used, rotated, read] {
        bytes += counted.bytes_current;
        row.push(per_one(bytes));
    }
    row.push(per_one(bytes + tokens + dropped.bytes_current));
    row.extend(["0".to_owned(), "0".to_owned()]);
    row
}

const MANY: usize = 100_000;

/// Managers that are measured first, to build fewer than [`MANY`] on a machine with too little memory.
const TRIED: usize = 1_000;

const IDLE: Duration = Duration::from_secs(10);

const MEGA: f64 = 1e6;

pub(crate) fn run_many() {
    let mut table = table(
        "strategy | managers | over their tokens, MB | resident, MB | first use, s | tasks | idle, % of a core",
    );
    for kind in [Kind::OnRequest, Kind::BackgroundTimer] {
        let count = fitting(kind);
        let mut fleet = Fleet::new(kind);
        fleet.build(count);
        let since = Instant::now();
        fleet.use_first();
        let first_use = since.elapsed();
        // Tasks of the first use may still run.
        fleet.idle(Duration::from_secs(1));
        let tasks = fleet.tasks();
        let (used, since) = (processor_time(), Instant::now());
        fleet.idle(IDLE);
        let idle = (processor_time() - used).as_secs_f64() / since.elapsed().as_secs_f64();
        let mega = |bytes| format!("{:.0}", float(bytes) / MEGA);
        let resident = resident().map_or("unknown".to_owned(), mega);
        table.add_row([
            kind.name().to_owned(),
            count.to_string(),
            format!("{:.1}", float(fleet.bytes_over_tokens()) / MEGA),
            resident,
            format!("{:.1}", first_use.as_secs_f64()),
            tasks.to_string(),
            format!("{:.2}", idle * 100.0),
        ]);
        fleet.drop_all();
    }
    println!(
        "A process with very many managers over one endpoint, each with a store of its own; idle for {IDLE:?}.\n{table}"
    );
}

/// The number of managers that the memory has room for.
fn fitting(kind: Kind) -> usize {
    let mut fleet = Fleet::new(kind);
    let before = resident();
    fleet.build(TRIED);
    fleet.use_first();
    let took = before.zip(resident()).map(|(before, now)| now - before);
    // The factor and the constant allow for the overhead of the allocator, and for memory that was free before.
    let each = fleet.bytes_over_tokens().max(took.unwrap_or(0)) * 2 / (TRIED as i64) + 1_200;
    match available() {
        Some(bytes) if bytes / each < MANY as i64 => {
            let fitting = usize::try_from(bytes / each).unwrap_or(TRIED);
            fitting / TRIED * TRIED
        }
        _ => MANY,
    }
}

/// The resident memory of this process, where the system reports it.
pub(crate) fn resident() -> Option<i64> {
    kilobytes("/proc/self/status", "VmRSS:")
}

/// The available memory of the machine, where the system reports it.
fn available() -> Option<i64> {
    kilobytes("/proc/meminfo", "MemAvailable:")
}

fn kilobytes(file: &str, name: &str) -> Option<i64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: i64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1_024)
}

const YOUNG: usize = 10;
const OLD: usize = 10_000;

pub(crate) fn run_record() {
    let [young, old] = here().block_on(sizes());
    let mut table = table("a record | bytes besides the tokens | of the young one's");
    for (rotations, bytes) in [(YOUNG, young), (OLD, old)] {
        table.add_row([
            format!("after {rotations} rotations"),
            bytes.to_string(),
            format!("{:.2}x", float(bytes) / float(young)),
        ]);
    }
    println!("A record as JSON, without its tokens of {ACCESS} and {REFRESH} bytes.\n{table}");
}

async fn sizes() -> [i64; 2] {
    let store = MemoryStore::new();
    let tokens = warm(|builder| builder.store(store.clone())).await;
    let mut sizes = [0; 2];
    let mut rotated = 0;
    for (size, rotations) in sizes.iter_mut().zip([YOUNG, OLD]) {
        while rotated < rotations {
            tokens.rotate().await.expect("it rotates");
            rotated += 1;
        }
        let loaded = store.load(tokens.key()).await.expect("it is there");
        let (record, _) = loaded.entry.expect("it is there");
        let text = serde_json::to_string(&record).expect("it is JSON");
        let tokens = ACCESS + REFRESH;
        *size = i64::try_from(text.len() - tokens).expect("it is small");
    }
    sizes
}
