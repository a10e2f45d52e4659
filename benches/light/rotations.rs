//! The processor's time for a rotation of the timer, where very many sessions fall due at once.

use std::sync::Arc;
use std::time::Duration;

use evertoken::{BackgroundTimer, Sessions, TokenManager};
use tokio::time::Instant;

use crate::here;
use crate::shared::{Issuer, processor_time, table};

/// The time within which all sessions fall due.
const SPREAD: Duration = Duration::from_secs(2);

/// The time for the sign-in of a session, before any of them falls due.
const SIGN_IN: Duration = Duration::from_micros(100);

/// The time between two looks at how far the rotations are.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) fn run(count: usize) {
    let runtime = here();
    let issuer = Issuer::new();
    let row = runtime.block_on(rotated(&issuer, count));
    let mut table =
        table("sessions | tasks before | after | rotated within, s | us of processor for each");
    table.add_row(row);
    println!(
        "Rotations by the timer, of sessions with a manager that fall due within {SPREAD:?}; one memory store, one thread.\n{table}"
    );
}

async fn rotated(issuer: &Arc<Issuer>, count: usize) -> [String; 5] {
    // The moments are those of the pairs, so that they lie within the spread.
    let sessions = Sessions::builder(Arc::clone(issuer))
        .strategy(BackgroundTimer::default())
        .jitter(0.0)
        .build()
        .expect("it holds");
    let number = u32::try_from(count).expect("it is small");
    let due = Instant::now() + Duration::from_secs(1) + SIGN_IN * number;
    let mut managers: Vec<TokenManager> = Vec::with_capacity(count);
    for index in 0..number {
        let tokens = sessions.manager(sessions.key().tenant(index.to_string()));
        let mut seed = issuer.seed();
        let at = due + SPREAD * index / number;
        seed.lifetime.refresh_in = Some(at.saturating_duration_since(Instant::now()));
        tokens.replace(seed).await.expect("it is stored");
        managers.push(tokens);
    }
    let before = issuer.issued();
    assert!(
        Instant::now() < due,
        "the machine is too slow for the spread"
    );
    tokio::time::sleep_until(due).await;
    let tasks = tokio::runtime::Handle::current().metrics();
    let tasks_before = tasks.num_alive_tasks();
    let used = processor_time();
    while issuer.issued() < before + u64::from(number) {
        tokio::time::sleep(LOOK).await;
    }
    let within = Instant::now() - due;
    tokio::time::sleep(LOOK).await;
    let used = processor_time() - used;
    let each = used.as_secs_f64() * 1e6 / f64::from(number);
    [
        count.to_string(),
        tasks_before.to_string(),
        tasks.num_alive_tasks().to_string(),
        format!("{:.2}", within.as_secs_f64()),
        format!("{each:.1}"),
    ]
}
