//! Pairs and ids that browsers present to `Sessions`: which are accepted, on one instance and on several, and what each costs at the
//! server. Time is simulated.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod crowd;
mod current;
mod early;
mod every_strategy;
mod holders;
mod kept_in_memory;
mod lagging;
mod ledger;
mod limits;
mod limits_elsewhere;
mod long_sessions;
mod lost_answers;
mod one_call;
mod opaque;
mod random;
mod refused;
mod replaced;
mod rival_servers;
mod secrets;
mod strangers;
#[path = "../support/mod.rs"]
mod support;
mod unknown;
mod users;
mod verdicts;
mod waiting;
mod world;
