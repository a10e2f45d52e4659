//! What an instance says, one JSON object a line on its standard output.

use std::collections::BTreeMap;
use std::time::Duration;

use evertoken::clock::{Clock as _, SystemClock};
use evertoken::protocol::{Digest, Lease};
use serde::{Deserialize, Serialize};

/// Microseconds of the machine's wall clock, since the Unix epoch: what the processes have in common.
pub(crate) type Micros = u64;

pub(crate) fn now() -> Micros {
    micros(SystemClock.wall())
}

pub(crate) fn micros(span: Duration) -> Micros {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) at: Micros,
    #[serde(flatten)]
    pub(crate) news: News,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum News {
    /// It committed this pair.
    Rotated { version: u64 },
    /// It took this one from the store, by a rotation that had been under way for so long.
    Adopted { version: u64, waited: Micros },
    /// Its lease is in the store.
    Leased { lease: Lease },
    /// It is about to send this token: for the first time, as far as its lease says, or for a second one.
    Sends { token: Digest, is_second: bool },
    /// It read a clear answer to that: a pair, or that the token is dead.
    Answered { token: Digest },
    /// It was told that the session is over.
    Ended { reason: String },
    /// Its requests since the last of these.
    Requests(Requests),
    /// Something for the trace.
    Detail { text: String },
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Requests {
    pub(crate) ok: u64,
    /// Without an answer, or with one that says no.
    pub(crate) failed: u64,
    /// Not sent, because the session was over.
    pub(crate) told: u64,
    /// When one succeeded last; 0 if none did.
    pub(crate) last_ok: Micros,
    /// Why some failed, and how many.
    pub(crate) errors: BTreeMap<String, u64>,
}
