//! The memory of an idle session of `Sessions` beside its tokens: in the store alone, and with a manager.

use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use evertoken::{Sessions, TokenManager};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::here;
use crate::manager::resident;
use crate::shared::{ACCESS, Issuer, REFRESH, float, table};

const COUNT: usize = 10_000;

/// The lengths of the tokens of a session at rest: 1 KB together.
const SMALL: (usize, usize) = (800, 200);

/// How many rotations an old session has behind it: its record keeps as many past tokens as it can.
const ROTATIONS: usize = 10;

/// Tasks that a call started end within this time.
const SETTLING: Duration = Duration::from_millis(100);

/// Sessions, with what all of them share.
fn made(runtime: &Runtime, issuer: &Arc<Issuer>) -> Sessions {
    runtime.block_on(async {
        let sessions = Sessions::builder(Arc::clone(issuer))
            .build()
            .expect("it holds");
        // What all sessions share exists before the first count.
        let tokens = sessions.manager(sessions.key().tenant("the first one"));
        tokens.replace(issuer.seed()).await.expect("it is stored");
        tokens.rotate().await.expect("it rotates");
        sessions
    })
}

pub(crate) fn run() {
    let runtime = here();
    let issuer = Issuer::new();
    let sessions = made(&runtime, &issuer);
    let mut bytes = 0;
    let mut managers: Vec<TokenManager> = Vec::with_capacity(COUNT);
    let mut table = table("sessions | state | in memory | bytes for each one");
    let mut row = |state: &str, bytes: i64| {
        let tokens = i64::try_from(COUNT * (ACCESS + REFRESH)).expect("it is small");
        let each = float(bytes - tokens) / float(COUNT as i64);
        let in_memory = sessions.in_memory().to_string();
        table.add_row([
            COUNT.to_string(),
            state.to_owned(),
            in_memory,
            format!("{each:.0}"),
        ]);
    };
    let mut counted = |work: &mut dyn FnMut(usize) -> Option<TokenManager>| {
        let counted = measure(|| {
            let kept: Vec<_> = (0..COUNT).filter_map(&mut *work).collect();
            managers.extend(kept);
        });
        bytes += counted.bytes_current;
        bytes
    };
    let manager = |number: usize| sessions.manager(sessions.key().tenant(number.to_string()));
    let after_sign_in = counted(&mut |number| {
        let stored = runtime.block_on(manager(number).replace(issuer.seed()));
        stored.expect("it is stored");
        None
    });
    row("signed in, no manager", after_sign_in);
    let after_rotation = counted(&mut |number| {
        runtime
            .block_on(manager(number).rotate())
            .expect("it rotates");
        None
    });
    row("rotated, no manager", after_rotation);
    let live = counted(&mut |number| {
        let tokens = manager(number);
        runtime.block_on(tokens.token()).expect("it is stored");
        Some(tokens)
    });
    row("a manager each", live);
    println!(
        "Bytes of heap for each session over its tokens of {ACCESS} and {REFRESH} bytes, one memory store.\n{table}"
    );
}

/// Measures sessions without a manager: so many of them, and fewer of them after several rotations.
pub(crate) fn run_at_rest(count: usize) {
    let mut table = table(
        "sessions | rotations | in memory | tasks | bytes for each one | resident, MB | sign-in, us",
    );
    for (count, rotations) in [(count, 0), (count.min(COUNT), ROTATIONS)] {
        table.add_row(at_rest(count, rotations));
    }
    let (access, refresh) = SMALL;
    println!(
        "Sessions at rest in one memory store, over their tokens of {access} and {refresh} bytes. *resident* is the whole process.\n{table}"
    );
}

fn at_rest(count: usize, rotations: usize) -> [String; 7] {
    let runtime = here();
    let issuer = Issuer::of(SMALL.0, SMALL.1);
    let sessions = made(&runtime, &issuer);
    let tasks = runtime.metrics().num_alive_tasks();
    let manager = |number: usize| sessions.manager(sessions.key().tenant(number.to_string()));
    let since = Instant::now();
    let mut signed_in = Duration::ZERO;
    let counted = measure(|| {
        runtime.block_on(async {
            for number in 0..count {
                let stored = manager(number).replace(issuer.seed()).await;
                stored.expect("it is stored");
            }
            signed_in = since.elapsed();
            for _ in 0..rotations {
                for number in 0..count {
                    manager(number).rotate().await.expect("it rotates");
                }
            }
            tokio::time::sleep(SETTLING).await;
        });
    });
    let tokens = i64::try_from(count * issuer.bytes_of_pair()).expect("it is small");
    let of_each = |bytes: i64| float(bytes) / float(i64::try_from(count).expect("it is small"));
    let tasks = runtime.metrics().num_alive_tasks().saturating_sub(tasks);
    let micros = i64::try_from(signed_in.as_micros()).expect("it is small");
    [
        count.to_string(),
        rotations.to_string(),
        sessions.in_memory().to_string(),
        tasks.to_string(),
        format!("{:.0}", of_each(counted.bytes_current - tokens)),
        resident().map_or("unknown".to_owned(), |bytes| {
            format!("{:.0}", float(bytes) / 1e6)
        }),
        format!("{:.1}", of_each(micros)),
    ]
}
