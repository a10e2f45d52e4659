//! The memory of an idle session of `Sessions` beside its tokens: in the store alone, and with a manager.

use std::sync::Arc;

use allocation_counter::measure;
use evertoken::{Sessions, TokenManager};

use crate::here;
use crate::shared::{ACCESS, Issuer, REFRESH, float, table};

const COUNT: usize = 10_000;

pub(crate) fn run() {
    let runtime = here();
    let issuer = Issuer::new();
    let sessions = runtime.block_on(async {
        let sessions = Sessions::builder(Arc::clone(&issuer))
            .build()
            .expect("it holds");
        // What all sessions share exists before the first count.
        let tokens = sessions.manager(sessions.key().tenant("the first one"));
        tokens.replace(issuer.seed()).await.expect("it is stored");
        tokens.rotate().await.expect("it rotates");
        sessions
    });
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
