//! An import in the README's form goes through whatever stands between it and its token endpoint: no call fails, on
//! default settings and with each strategy. What cannot pass by itself ends it at once, with the server's words.
//!
//! On real sockets, in real time: the imports of a test run at once.
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

/// How long the token endpoint, or the store, is out.
const OUTAGE: Duration = Duration::from_secs(20);

/// How long an import through an outage of the token endpoint takes.
const IMPORT: Duration = Duration::from_secs(120);

/// How often an import rotates after the outage before it ends.
const ROTATIONS: u64 = 5;

/// After so long without that the import does not go on any more.
const GIVE_UP: Duration = Duration::from_secs(120);

/// The lifetime of an access token.
const TTL: Duration = Duration::from_secs(3);
