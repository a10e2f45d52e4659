//! The cost of a rotation in each store, and the gain of write-behind: the waits of callers and the rotations of a process with
//! write-through and with write-behind. Times differ from machine to machine; quote the ratios of one run.
//!
//! `cargo bench --features redis,postgres --bench stores`, with redis-server and PostgreSQL installed.

#![allow(missing_docs)]
#![expect(
    clippy::expect_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]
#![expect(clippy::print_stdout, reason = "a bench reports what it measured")]

#[path = "../tests/support/services.rs"]
mod services;
#[allow(dead_code)]
#[path = "light/shared.rs"]
mod shared;

use std::sync::Arc;
use std::time::Duration;

use evertoken::testing::AuthorizationServer;
use evertoken::{
    Coordination, FileStore, MemoryStore, Persistence, PostgresStore, RedisStore, TokenManager,
    TokenStore,
};
use hdrhistogram::Histogram;
use services::{Postgres, Redis};
use tokio::time::{Instant, sleep_until};

use self::shared::table;

/// Rotations of the session in each store.
const ROTATIONS: u32 = 300;

/// How long each candidate runs in a round. The candidates take turns.
const TURN: Duration = Duration::from_millis(1_500);
const ROUNDS: usize = 4;

/// The time of an exchange at a fast token endpoint: real ones were measured at 1 to 7 ms.
const EXCHANGE: Duration = Duration::from_millis(2);

/// The time between two rotations of a session that does not rotate all the time.
const PACE: Duration = Duration::from_millis(100);

type Store = Arc<dyn TokenStore>;

#[tokio::main]
async fn main() {
    let directory = tempfile::tempdir().expect("a directory");
    let redis = Redis::start_with(&["--save", "", "--appendonly", "yes"]).expect("Redis");
    let postgres = Postgres::durable().expect("PostgreSQL");
    let file = FileStore::new(directory.path().join("session")).expect("a directory of ours");
    let redis = RedisStore::connect(&redis.url()).await.expect("Redis");
    let pairs = PostgresStore::connect(&postgres.url()).await;
    let pairs = pairs.expect("PostgreSQL");
    let stores: [(&str, Store); 4] = [
        ("memory", Arc::new(MemoryStore::new())),
        ("file", Arc::new(file)),
        ("redis", Arc::new(redis)),
        ("postgres", Arc::new(pairs.clone())),
    ];
    one_rotation(&stores).await;
    println!();
    through_or_behind(&(Arc::new(pairs) as Store)).await;
}

/// New sessions at a new server, all in one store.
async fn sessions(
    store: &Store,
    count: usize,
    exchange: Duration,
    coordination: Coordination,
    persistence: &Persistence,
) -> Vec<TokenManager> {
    let server = AuthorizationServer::builder().latency(exchange).build();
    let mut sessions = Vec::new();
    for _ in 0..count {
        let endpoint = server.endpoint();
        // The store has never seen the sessions of a run.
        let key = evertoken::TokenEndpoint::key(&endpoint).label(label());
        let tokens = TokenManager::builder(endpoint)
            .key(key)
            .store(Arc::clone(store))
            .coordination(coordination)
            .persistence(persistence.clone())
            .seed(server.issue())
            .build()
            .expect("it holds");
        tokens.token().await.expect("it is seeded");
        sessions.push(tokens);
    }
    sessions
}

fn label() -> String {
    let name = tempfile::Builder::new().tempfile().expect("a name");
    name.path().display().to_string()
}

async fn one_rotation(stores: &[(&str, Store)]) {
    let mut table = table("store | rotation, us | p99, us | of memory's");
    let mut least = None;
    for (name, store) in stores {
        let through = Persistence::write_through();
        let session = sessions(store, 1, Duration::ZERO, Coordination::Lease, &through).await;
        let mut waits = histogram();
        for _ in 0..ROTATIONS {
            rotate(&session[0], &mut waits).await;
        }
        let median = waits.value_at_quantile(0.5);
        let least = *least.get_or_insert(median);
        table.add_row([
            (*name).to_owned(),
            median.to_string(),
            waits.value_at_quantile(0.99).to_string(),
            format!("{:.1}x", ratio(median, least)),
        ]);
    }
    println!("One session rotates again and again, at an endpoint that takes no time.\n{table}");
}

async fn rotate(tokens: &TokenManager, waits: &mut Histogram<u64>) {
    let asked = Instant::now();
    tokens.rotate().await.expect("it rotates");
    let waited = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
    waits.saturating_record(waited);
}

/// The rotations of a candidate.
struct Done {
    waits: Histogram<u64>,
    took: Duration,
}

impl Done {
    fn per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let rotations = self.waits.len() as f64;
        rotations / self.took.as_secs_f64()
    }
}

async fn through_or_behind(store: &Store) {
    let mut table = table(
        "sessions | rotating | through: per s | p50, us | p99, us | behind: per s | p50, us | p99, us | per s, behind/through | p50, behind/through",
    );
    for count in [1, 8, 64] {
        for pace in [None, Some(PACE)] {
            let persistences = [Persistence::write_through(), Persistence::write_behind(8)];
            let [through, behind] = compared(store, count, pace, persistences).await;
            let mut row = vec![
                count.to_string(),
                pace.map_or("always".to_owned(), |pace| format!("every {pace:?}")),
            ];
            for done in [&through, &behind] {
                row.push(format!("{:.0}", done.per_second()));
                row.push(done.waits.value_at_quantile(0.5).to_string());
                row.push(done.waits.value_at_quantile(0.99).to_string());
            }
            row.push(format!("{:.2}", behind.per_second() / through.per_second()));
            let [behind, through] =
                [&behind, &through].map(|done| done.waits.value_at_quantile(0.5));
            row.push(format!("{:.2}", ratio(behind, through)));
            table.add_row(row);
        }
    }
    println!("PostgreSQL, at an endpoint that takes {EXCHANGE:?}.\n{table}");
}

/// Both candidates take turns, so that the load of the machine meets both.
async fn compared(
    store: &Store,
    count: usize,
    pace: Option<Duration>,
    persistences: [Persistence; 2],
) -> [Done; 2] {
    let mut done = [(); 2].map(|()| Done {
        waits: histogram(),
        took: Duration::ZERO,
    });
    for _ in 0..ROUNDS {
        for (done, persistence) in done.iter_mut().zip(&persistences) {
            let sessions = sessions(store, count, EXCHANGE, Coordination::None, persistence).await;
            let started = Instant::now();
            let rotating = sessions.iter().map(|session| {
                let session = session.clone();
                tokio::spawn(async move {
                    let mut waits = histogram();
                    while started.elapsed() < TURN {
                        let next = Instant::now() + pace.unwrap_or_default();
                        rotate(&session, &mut waits).await;
                        if pace.is_some() {
                            sleep_until(next).await;
                        }
                    }
                    waits
                })
            });
            let rotating: Vec<_> = rotating.collect();
            for session in rotating {
                let waits = session.await.expect("it rotates");
                done.waits.add(&waits).expect("alike");
            }
            // A rotation counts when its pair is stored.
            for session in sessions {
                session.shutdown().await.expect("it is stored");
            }
            done.took += started.elapsed();
        }
    }
    done
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000, 3).expect("three digits")
}

#[expect(clippy::cast_precision_loss, reason = "microseconds")]
fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / other.max(1) as f64
}
