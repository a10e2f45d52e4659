//! An import in the form of the README survives every failure between the import and its token endpoint. Calls do not
//! fail, on default settings and with each strategy. A failure that cannot pass by itself ends the import at once, with
//! the server's words.
//!
//! The tests use real sockets and real time. The imports of one test run at the same time.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]
#![cfg(all(feature = "testing", unix))]

mod at_once;
mod grace;
mod import;
#[path = "../support/reasons.rs"]
mod reasons;
#[cfg(any(feature = "redis", feature = "postgres"))]
mod restarts;
#[cfg(any(feature = "redis", feature = "postgres"))]
#[path = "../support/services.rs"]
mod services;
mod simulated;
mod store;
mod table;

use std::time::Duration;

/// The length of an outage of the token endpoint or of the store.
const OUTAGE: Duration = Duration::from_secs(20);

/// The time that an import through an outage of the token endpoint takes.
const IMPORT: Duration = Duration::from_secs(120);

/// The number of rotations after the outage at which an import ends.
const ROTATIONS: u64 = 5;

/// The time after which an import that does not reach its rotations counts as stopped.
const GIVE_UP: Duration = Duration::from_secs(120);

/// The lifetime of an access token.
const TTL: Duration = Duration::from_secs(3);
