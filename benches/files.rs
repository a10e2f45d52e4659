//! The cost of the file store with many sessions: managers that wait for another instance, and the search for the session of a
//! token. Times differ from machine to machine.
//!
//! `cargo bench --bench files`, on Unix.

#![allow(missing_docs)]
#![expect(
    clippy::expect_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]
#![expect(clippy::print_stdout, reason = "a bench reports what it measured")]

#[allow(dead_code)]
#[path = "light/shared.rs"]
mod shared;

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use evertoken::protocol::{Digest, Record};
use evertoken::testing::AuthorizationServer;
use evertoken::{FileStore, Key, TokenManager, TokenStore};
use serde_json::json;
use tokio::time::{Instant, sleep};

use self::shared::processor_time;

const WAITERS: usize = 1_000;
const SESSIONS: usize = 10_000;

/// After this time the threads of the start have ended: tokio keeps idle threads for 10 s.
const SETTLING: Duration = Duration::from_secs(12);

/// How long the waiters are measured: less than the endpoint's timeout of 30 s.
const WATCHED: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() {
    waiting(1).await;
    waiting(WAITERS).await;
    finding().await;
}

/// Each session has two managers with a store each: one holds the lease, and one waits for it.
async fn waiting(sessions: usize) {
    let directory = tempfile::tempdir().expect("a directory");
    let open = || FileStore::new(directory.path().join("session")).expect("a directory of ours");
    let server = AuthorizationServer::builder().build();
    let hold = server.hold();
    let seeds: Vec<_> = (0..sessions).map(|_| server.issue()).collect();
    let mut rotations = Vec::new();
    for _ in ["holders", "waiters"] {
        for (session, seed) in seeds.iter().enumerate() {
            let endpoint = server.endpoint();
            let key = evertoken::TokenEndpoint::key(&endpoint).label(session.to_string());
            let tokens = TokenManager::builder(endpoint)
                .key(key)
                .store(open())
                .seed(seed.clone())
                .wait(Duration::from_secs(600))
                .build()
                .expect("it holds");
            rotations.push(tokio::spawn(async move { tokens.rotate().await }));
        }
        server.arrived(sessions as u64).await;
    }
    sleep(SETTLING).await;
    let (used, since) = (processor_time(), Instant::now());
    sleep(WATCHED).await;
    let used = processor_time() - used;
    let share = used.as_secs_f64() / since.elapsed().as_secs_f64();
    println!(
        "{sessions} managers that wait use {:.1} % of a core",
        share * 100.0
    );
    drop(hold);
    for rotation in rotations {
        let rotated = rotation.await.expect("it does not panic");
        rotated.expect("it rotates");
    }
}

async fn finding() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = || FileStore::new(directory.path().join("session")).expect("a directory of ours");
    let store = open();
    for session in 0..SESSIONS {
        let record = record(session, 1);
        let swapped = store.swap(record.key(), None, &record).await;
        swapped.expect("it is written");
    }
    let store = open();
    let written = record(SESSIONS / 2, 1);
    search(&store, "the first search", &written.digest()).await;
    search(&store, "the next one", &written.digest()).await;
    let unknown = Digest::of("unknown");
    search(&store, "one for a token of no session", &unknown).await;
    let loaded = store.load(record(7, 1).key()).await;
    let (_, revision) = loaded.expect("it is there").entry.expect("it is there");
    let next = record(7, 2);
    let swapped = open().swap(next.key(), Some(revision), &next).await;
    swapped.expect("it is written");
    let what = "one for a token that another store has just written";
    search(&store, what, &next.digest()).await;
}

async fn search(store: &FileStore, what: &str, digest: &Digest) {
    let since = Instant::now();
    let found = store.find(digest).await.expect("it can be searched");
    let took = since.elapsed();
    assert_eq!(found.is_none(), *digest == Digest::of("unknown"));
    println!("{what} among {SESSIONS} sessions takes {took:.1?}");
}

/// A record after at least ten rotations.
fn record(session: usize, version: u64) -> Record {
    let key = Key::new("https://id.example.org/token", "bench").label(session.to_string());
    let names = (0..8).flat_map(|past| *Digest::of(format!("{session} {past}")).as_bytes());
    let names = BASE64_URL_SAFE_NO_PAD.encode(names.collect::<Vec<_>>());
    let form = json!({
        "format": 3, "key": key, "family": "0123456789abcdef0123456789abcdef", "version": version,
        "pair": {
            "issued_at": 1_700_000_000_000_u64,
            "access_token": "a".repeat(900),
            "refresh_token": format!("{session} {version} {}", "r".repeat(600)),
        },
        "state": { "is": "active" }, "lease": null, "next_number": 1, "committed_number": 0,
        "past": { "refreshed": names },
    });
    serde_json::from_value(form).expect("a record")
}
