//! An import that is killed again and again continues without a duplicate or a gap. The import keeps its session
//! wherever the server's rules permit it.
//!
//! `EVERTOKEN_KILLS` sets the number of kills (5), and `EVERTOKEN_SEED` the seed of their random moments.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::processes::{Process, Servers};

const KILLS: u32 = 5;

/// More records than an import takes between two kills: 80 batches of 10 records a second, mostly for 0.7 s.
const RECORDS_PER_KILL: u32 = 700;

/// The records of the last run, which is not killed.
const RECORDS_LEFT: u32 = 1_000;

/// The time between two polls: a small part of a rotation.
const LOOK: Duration = Duration::from_millis(1);

/// A time that is longer than a lease duration and an import of the remaining records together.
const PATIENCE: Duration = Duration::from_secs(300);

/// The exit status of an import whose session has ended.
const SESSION_ENDED: i32 = 3;

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a number"))
}

/// A SplitMix64 generator.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) % limit
    }
}

/// The moment at which an import is killed, as a delay after an event.
#[derive(Debug, Clone, Copy)]
enum Moment {
    Start(Duration),
    /// Either server has received a request. From then on the import rotates several times a second.
    FirstRequest(Duration),
    /// The import has leased a token in the store. The kill comes before the request is sent, during the request, or
    /// before the pair is stored.
    Lease(Duration),
}

impl Moment {
    fn draw(random: &mut Random) -> Self {
        match random.below(6) {
            0 => Self::Start(Duration::from_millis(random.below(1_500))),
            // A third of these kills come without a delay: a token is sent a few milliseconds after its lease.
            1 | 2 => Self::Lease(Duration::from_millis(random.below(60).saturating_sub(20))),
            _ => Self::FirstRequest(Duration::from_millis(random.below(700))),
        }
    }
}

/// The observations of a test.
#[derive(Debug, Default)]
struct Seen {
    kills: u32,
    /// The number of kills that left a lease of the killed import in the store.
    in_rotations: u32,
    ends: BTreeMap<String, u32>,
}

/// The servers, and the files of an import that is resumed.
struct Import {
    directory: TempDir,
    servers: Servers,
    records: u32,
    /// The number of the lease that the last kill left.
    left: Option<u64>,
    seen: Seen,
}

impl Import {
    fn new(arguments: &str, kills: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let usual = "--remember-records --access-ttl 400ms --refresh-ttl 10m --latency 30ms --time-per-record 5ms";
        let servers = Servers::start(directory.path(), &format!("{usual} {arguments}"));
        Self {
            directory,
            servers,
            records: kills * RECORDS_PER_KILL + RECORDS_LEFT,
            left: None,
            seen: Seen::default(),
        }
    }

    fn start(&self) -> Process {
        let arguments = format!("--batch 10 --workers 4 --records {}", self.records);
        Process::import(&self.servers, self.directory.path(), &arguments)
    }

    /// Returns the next moment. A kill never aims at the lease of an import that takes another lease over: after
    /// several such kills in a row, the lease durations together are longer than callers wait.
    fn moment(&self, random: &mut Random) -> Moment {
        match Moment::draw(random) {
            Moment::Lease(_) if self.left.is_some() => self.moment(random),
            moment => moment,
        }
    }

    /// Waits for the moment, and returns the status if the run has ended before that.
    async fn at(&self, moment: Moment, run: &mut Process) -> Option<ExitStatus> {
        let after = match moment {
            Moment::Start(after) => after,
            Moment::FirstRequest(after) => {
                let before = self.requests().await;
                if let Some(status) = until(run, async || self.requests().await != before).await {
                    return Some(status);
                }
                after
            }
            Moment::Lease(after) => {
                let before = self.lease();
                let is_new = async || {
                    // The thread itself sleeps, for as long as `until` pauses: a timer of the runtime is too coarse to
                    // see a token before the request.
                    let started = Instant::now();
                    loop {
                        if self.lease().is_some_and(|lease| Some(lease) != before) {
                            return true;
                        }
                        if started.elapsed() > 20 * LOOK {
                            return false;
                        }
                        std::thread::sleep(LOOK / 10);
                    }
                };
                if let Some(status) = until(run, is_new).await {
                    return Some(status);
                }
                after
            }
        };
        let moment = Instant::now() + after;
        until(run, async || Instant::now() >= moment).await
    }

    async fn requests(&self) -> u64 {
        let counters = self.servers.counters().await;
        count(&counters, "calls") + count(&counters, "exchanges")
    }

    /// The record of the session in the store.
    fn record(&self) -> Option<Value> {
        let store = fs::read_dir(self.directory.path().join("session")).ok()?;
        let files = store.map(|file| file.unwrap().path());
        let mut records = files.filter(|path| path.extension().is_some_and(|kind| kind == "json"));
        let path: PathBuf = records.next()?;
        assert!(records.next().is_none(), "the store holds one session");
        let mut content: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        Some(content["record"].take())
    }

    /// The number of the lease in the store, if the store holds one.
    fn lease(&self) -> Option<u64> {
        self.record()?["lease"]["number"].as_u64()
    }

    /// The number of pairs that the server issued and the store never got. Each version of the record stands for one
    /// pair, which a rotation or a sign-in brought.
    async fn lost_pairs(&self) -> u64 {
        let rotations = count(&self.servers.counters().await, "rotations");
        let version = self.record().unwrap()["version"].as_u64().unwrap();
        rotations - (version - u64::from(self.sign_ins()))
    }

    fn sign_ins(&self) -> u32 {
        1 + self.seen.ends.values().sum::<u32>()
    }

    /// Handles an import that reports the end of its session. The report is true only if a kill kept an issued pair
    /// from the store.
    async fn ended(&mut self, status: ExitStatus, run: &mut Process) {
        let told = run.told();
        assert_eq!(status.code(), Some(SESSION_ENDED), "{told}");
        let line: Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
        let reason = line["session_ended"].as_str().expect("a reason").to_owned();
        let lost = self.lost_pairs().await;
        let each = "each session ended for one lost pair";
        assert_eq!(lost, u64::from(self.sign_ins()), "{each}: {told}");
        *self.seen.ends.entry(reason).or_default() += 1;
        self.servers.ask("/sign-in").await;
    }

    fn kill(&mut self, mut run: Process) {
        run.kill();
        self.seen.kills += 1;
        let lease = self.lease();
        let is_new = lease.is_some() && lease != self.left;
        self.seen.in_rotations += u32::from(is_new);
        self.left = lease;
    }

    async fn killed(mut self, kills: u32, mut random: Random) -> (Seen, Value) {
        while self.seen.kills < kills {
            let mut run = self.start();
            let moment = self.moment(&mut random);
            match self.at(moment, &mut run).await {
                None => self.kill(run),
                Some(status) => self.ended(status, &mut run).await,
            }
        }
        loop {
            let mut run = self.start();
            let status = until(&mut run, async || false).await;
            let status = status.expect("the import ends in time");
            if status.success() {
                break;
            }
            self.ended(status, &mut run).await;
        }
        let counters = self.servers.counters().await;
        let records = u64::from(self.records);
        for name in ["records", "distinct_records"] {
            let once = "the API does not have each record exactly once";
            assert_eq!(count(&counters, name), records, "{once}: {name}");
        }
        (self.seen, counters)
    }
}

fn count(counters: &Value, name: &str) -> u64 {
    counters[name].as_u64().unwrap()
}

/// Waits until the condition is true, and returns the status if the run has ended before that.
async fn until(run: &mut Process, is_so: impl AsyncFn() -> bool) -> Option<ExitStatus> {
    let started = Instant::now();
    while !is_so().await {
        if let Some(status) = run.ended() {
            return Some(status);
        }
        let is_in_time = started.elapsed() <= PATIENCE;
        assert!(is_in_time, "the condition does not become true in time");
        sleep(LOOK).await;
    }
    None
}

async fn killed(arguments: &str) -> (Seen, Value) {
    let kills = number("EVERTOKEN_KILLS").map_or(KILLS, |kills| u32::try_from(kills).unwrap());
    let seed = number("EVERTOKEN_SEED").unwrap_or(3);
    println!("seed {seed}, {arguments}");
    let import = Import::new(arguments, kills);
    let (seen, counters) = import.killed(kills, Random(seed)).await;
    let resumes = seen.kills + seen.ends.values().sum::<u32>();
    println!("{arguments}: {resumes} resumes, {seen:?}\n{counters}");
    (seen, counters)
}

/// A killed import loses its session only with a pair that it did not receive.
#[tokio::test(flavor = "multi_thread")]
async fn fm8_a_killed_import_loses_its_session_only_with_a_pair_that_it_did_not_receive() {
    let (seen, counters) = killed("--reuse strict").await;
    let ends: u32 = seen.ends.values().sum();
    assert!(count(&counters, "families_revoked") <= u64::from(ends));
}

/// On a server that answers a used token again a killed import loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn fm8_on_a_server_that_answers_a_token_again_a_killed_import_loses_nothing() {
    let (seen, counters) = killed("--reuse grace --grace 60s").await;
    assert_eq!(seen.ends, BTreeMap::new());
    assert_eq!(count(&counters, "families_revoked"), 0);
}
