//! What a manager holds beside its tokens, and how many tasks it keeps.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use allocation_counter::measure;
use evertoken::{
    BackgroundTimer, Events, MemoryStore, OnRequest, TokenEndpoint as _, TokenManager,
};
use futures_util::FutureExt;
use tokio::runtime::Runtime;

use crate::issuer::{ACCESS, Issuer, REFRESH, token};
use crate::{by_hand, float, here, table};

const COUNT: usize = 1_000;

/// Longer than what a first use leaves behind goes on.
pub(crate) const SETTLING: Duration = Duration::from_millis(100);

/// How the managers are made.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// With a store of its own, as `build()` makes one.
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

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OnRequest => "OnRequest",
            Self::SharedStore => "OnRequest, one store for all",
            Self::Subscribed => "OnRequest, a subscriber each",
            Self::BackgroundTimer => "BackgroundTimer",
        }
    }
}

/// Managers on a runtime of their own, and what they did to it.
pub(crate) struct Fleet {
    runtime: Runtime,
    kind: Kind,
    issuer: Arc<Issuer>,
    store: MemoryStore,
    managers: Vec<TokenManager>,
    events: Vec<Events>,
    tasks: usize,
    /// Of the heap, on this thread.
    bytes: i64,
}

impl Fleet {
    pub(crate) fn new(kind: Kind) -> Self {
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
        // What all of them share is there before anything is counted.
        fleet.build(1);
        fleet.use_first();
        fleet.rotate();
        fleet.drop_all();
        // In the other one the first session is there already, with another pair.
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

    pub(crate) fn build(&mut self, count: usize) {
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

    pub(crate) fn use_first(&mut self) {
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

    /// A second thread asks for the header of each.
    fn read_elsewhere(&mut self) {
        let managers = &self.managers;
        let counted = thread::scope(|scope| {
            let other = scope.spawn(|| {
                measure(|| {
                    for tokens in managers {
                        let header = tokens.authorization().now_or_never();
                        assert!(header.is_some_and(|header| header.is_ok()), "it is warm");
                    }
                })
            });
            other.join().expect("no panic")
        });
        self.bytes += counted.bytes_current;
    }

    pub(crate) fn drop_all(&mut self) {
        self.counted(|fleet| {
            fleet.managers = Vec::new();
            fleet.events = Vec::new();
            fleet
                .runtime
                .block_on(async { tokio::time::sleep(SETTLING).await });
        });
    }

    /// Nothing is asked of the managers meanwhile.
    pub(crate) fn idle(&self, span: Duration) {
        self.runtime
            .block_on(async { tokio::time::sleep(span).await });
    }

    fn counted(&mut self, work: impl FnOnce(&mut Self)) {
        let counted = measure(|| work(self));
        self.bytes += counted.bytes_current;
    }

    pub(crate) fn bytes_over_tokens(&self) -> i64 {
        let tokens = self.managers.len() * (ACCESS + REFRESH);
        self.bytes - i64::try_from(tokens).expect("it is small")
    }

    pub(crate) fn tasks(&self) -> usize {
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
    let header = [
        "a manager",
        "built, bytes",
        "first use",
        "rotated",
        "two threads",
        "left",
        "tasks",
        "left",
    ];
    let mut table = table(&header);
    table.add_row(by_hand());
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

fn by_hand() -> Vec<String> {
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
    let used = measure(|| {
        for session in &sessions {
            assert!(session.authorization().is_some(), "it is fresh");
        }
    });
    let rotated = measure(|| {
        runtime.block_on(async {
            for session in &sessions {
                let refresh = |old: &str| old.chars().rev().collect();
                session.refresh(&token(0, ACCESS), refresh).await;
            }
        });
    });
    let read = thread::scope(|scope| {
        let other = scope.spawn(|| {
            measure(|| {
                for session in &sessions {
                    assert!(session.authorization().is_some(), "it is fresh");
                }
            })
        });
        other.join().expect("no panic")
    });
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
