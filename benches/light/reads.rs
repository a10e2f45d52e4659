//! A call of a warm manager, on one thread and on several, beside the floor.

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use evertoken::BackgroundTimer;
use futures_util::FutureExt;
use tokio::time::Instant;

use crate::by_hand::{Floor, Striped, header};
use crate::here;
use crate::shared::{ACCESS, Sample, Samples, processor_time, table, token, warm};

/// How long each candidate runs for a sample. The candidates take turns.
const TURN: Duration = Duration::from_millis(50);

/// Calls between two looks at the clock.
const CALLS: u32 = 1_000;

const THREADS: [usize; 3] = [1, 2, 8];

type Call<'a> = Box<dyn Fn(usize) -> Sample + 'a>;

fn call<'a>(call: impl AsyncFn() -> bool + Sync + 'a) -> Call<'a> {
    Box::new(move |threads| sample(threads, &call))
}

pub(crate) fn run() {
    let runtime = here();
    let text = token(0, ACCESS);
    let floor = Floor::new(header(&text));
    let shared = Floor::new(Arc::<str>::from(text.as_str()));
    let striped = Striped::new(&text);
    let tokens = runtime.block_on(warm(|builder| builder.strategy(BackgroundTimer::default())));
    let floor = call(async || floor.get().is_some());
    let striped = call(async || striped.get().is_some());
    let shared = call(async || shared.get().is_some());
    let header = call(async || tokens.authorization().await.is_ok());
    let token = call(async || tokens.token().await.is_ok());
    let candidates = [
        ("floor: one header", floor),
        ("striped floor: a header a thread", striped),
        ("by hand: one shared text", shared),
        ("authorization()", header),
        ("token()", token),
    ];
    let mut samples: Vec<[Samples; 3]> = candidates.iter().map(|_| Default::default()).collect();
    while !samples.iter().flatten().all(Samples::are_enough) {
        for ((_, call), samples) in candidates.iter().zip(&mut samples) {
            for (threads, samples) in THREADS.into_iter().zip(samples) {
                if !samples.are_enough() {
                    samples.add(call(threads));
                }
            }
        }
    }
    let mut table = table(
        "a call | one thread, ns | of the floor's | of the striped floor's | two over one | eight over one | samples",
    );
    let [floor, striped] = [0, 1].map(|candidate: usize| samples[candidate][0].median());
    for ((name, _), samples) in candidates.iter().zip(&samples) {
        let [one, two, eight] = samples;
        let rate = one.median();
        table.add_row([
            (*name).to_owned(),
            format!("{:.1}", 1e9 / rate),
            format!("{:.2}x", floor / rate),
            format!("{:.2}x", striped / rate),
            format!("{:.2}x", two.median() / rate),
            format!("{:.2}x", eight.median() / rate),
            format!("{}; {}; {}", one.count(), two.count(), eight.count()),
        ]);
    }
    println!(
        "A call of a warm manager, awaited; calls a second of two and eight threads, over those of one.\n{table}"
    );
}

/// Calls from so many threads for a while, each in its own task, as users do. The value is the number of calls in a second of
/// the processors: time that other processes had is not counted, unless the threads had to take turns because of it.
pub(crate) fn sample(threads: usize, call: &(impl AsyncFn() -> bool + Sync)) -> Sample {
    let start = Barrier::new(threads + 1);
    let task = async || {
        let (began, mut calls) = (Instant::now(), 0.0);
        while began.elapsed() < TURN {
            for _ in 0..CALLS {
                assert!(black_box(call().await), "it is warm");
            }
            calls += f64::from(CALLS);
        }
        calls
    };
    let (calls, used, took) = thread::scope(|scope| {
        let worker = || {
            start.wait();
            task().now_or_never().expect("nothing waits")
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let used = processor_time();
        start.wait();
        let since = Instant::now();
        let joined = workers.into_iter().map(|worker| worker.join());
        let calls: f64 = joined.map(|calls| calls.expect("no panic")).sum();
        (calls, processor_time() - used, since.elapsed())
    });
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let usable = u32::try_from(threads.min(processors)).expect("there are few");
    let share = used.as_secs_f64() / (took * usable).as_secs_f64();
    // Threads that take turns end one after the other, and leave processors idle.
    let least = if threads > processors { 0.9 } else { 0.95 };
    Sample {
        value: calls / used.as_secs_f64() * f64::from(usable),
        disturbance: 1.0 - share,
        is_quiet: share >= least,
    }
}
