//! The cost of a warm `authorization()`, beside the floor: the cost of the same building blocks written by hand. Times differ from
//! machine to machine; quote the ratios of one run.
//!
//! `cargo bench --bench hot_path`; add `-- --ratios` for the ratios alone.

#![allow(missing_docs)]
#![expect(
    clippy::expect_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]
#![expect(clippy::print_stdout, reason = "a bench reports what it measured")]

#[allow(dead_code)]
#[path = "light/by_hand.rs"]
mod by_hand;

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use evertoken::testing::AuthorizationServer;
use evertoken::{TokenManager, TokenPair};
use futures_util::FutureExt;
use tokio::time::Instant;

use self::by_hand::{Floor, header};

const ROUNDS: u32 = 2_000_000;
const SAMPLES: usize = 15;

fn warm(runtime: &tokio::runtime::Runtime, token: &str) -> TokenManager {
    runtime.block_on(async {
        let server = AuthorizationServer::builder().build();
        let pair = TokenPair::new(token).expires_in(Duration::from_secs(3_600));
        let tokens = TokenManager::builder(server.endpoint())
            .seed(pair)
            .build()
            .expect("builds");
        tokens.token().await.expect("is seeded");
        tokens
    })
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let token = "x".repeat(1_000);
    let floor = Floor::new(header(&token));
    let tokens = warm(&runtime, &token);

    if !std::env::args().any(|argument| argument == "--ratios") {
        let mut criterion = Criterion::default().configure_from_args();
        let mut group = criterion.benchmark_group("ready header");
        group.throughput(Throughput::Elements(1));
        group.bench_function("floor", |b| b.iter(|| floor.get()));
        group.bench_function("authorization", |b| {
            b.iter(|| tokens.authorization().now_or_never())
        });
        group.bench_function("try_token", |b| b.iter(|| tokens.try_token()));
        group.finish();
        criterion.final_summary();
    }

    // The candidates take turns in one run, so that the load of the machine meets all of them.
    let mut samples: Vec<[f64; 3]> = (0..SAMPLES)
        .map(|_| {
            let by_hand = per_call(1, async || floor.get().is_some());
            let ours = per_call(1, async || tokens.authorization().await.is_ok());
            let two = per_call(2, async || tokens.authorization().await.is_ok());
            [by_hand, ours, two]
        })
        .collect();
    let [by_hand, ours, two] = [0, 1, 2].map(|column| {
        samples.sort_by(|a, b| a[column].total_cmp(&b[column]));
        samples[SAMPLES / 2][column]
    });
    println!("floor                       {by_hand:6.1} ns");
    println!(
        "authorization, one thread   {ours:6.1} ns   {:.2} x the floor",
        ours / by_hand
    );
    println!(
        "authorization, two threads  {two:6.1} ns   {:.2} x the throughput of one",
        2.0 * ours / two
    );
}

/// The nanoseconds of a call, awaited in a task as users do, with so many threads at once.
fn per_call(threads: usize, call: impl AsyncFn() -> bool + Sync) -> f64 {
    let start = Barrier::new(threads);
    let task = async || {
        for _ in 0..ROUNDS {
            assert!(black_box(call().await));
        }
    };
    let slowest = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    let began = Instant::now();
                    task().now_or_never().expect("nothing waits");
                    began.elapsed()
                })
            })
            .collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined.map(|done| done.expect("no panic")).max()
    });
    slowest.unwrap_or_default().as_secs_f64() * 1e9 / f64::from(ROUNDS)
}
