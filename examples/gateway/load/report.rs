//! What a load counts, and how it is written.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evertoken::testing::AuthorizationServer;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::Serialize;

use super::Run;
use crate::arguments::Arguments;
use crate::command::{json_line, table};

#[derive(Default)]
pub(super) struct Counts {
    pub(super) tabs: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) ok: AtomicU64,
    pub(super) unavailable: AtomicU64,
    pub(super) unauthorized: AtomicU64,
    pub(super) logged_out: AtomicU64,
    pub(super) lost_by_nature: AtomicU64,
    pub(super) late_served: AtomicU64,
    pub(super) late_refused: AtomicU64,
    took: Mutex<Option<Histogram<u64>>>,
}

impl Counts {
    /// Notes how long a request took, in microseconds.
    pub(super) fn took(&self, span: Duration) {
        let mut took = self.took.lock();
        let histogram = match &mut *took {
            Some(histogram) => histogram,
            None => match Histogram::new(3) {
                Ok(new) => took.insert(new),
                Err(_) => return,
            },
        };
        // The histogram grows with its values.
        let _ = histogram.record(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
    }
}

/// What the server has counted so far.
pub(super) struct Totals {
    exchanges: u64,
    replays: u64,
    families_revoked: u64,
}

impl Totals {
    pub(super) fn of(server: &AuthorizationServer) -> Self {
        Self {
            exchanges: server.exchanges(),
            replays: server.replays(),
            families_revoked: server.families_revoked(),
        }
    }
}

/// What a load has met.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Requests that were sent.
    requests: u64,
    /// Requests that were served.
    ok: u64,
    /// Requests that got another answer than that and a login: 503, mostly.
    unavailable: u64,
    /// Requests that were refused although their browser had the pair that is alive, or a store had it.
    unauthorized: u64,
    /// Users who had to sign in again for that.
    logged_out: u64,
    /// Users who had to sign in again in a mode without a store, because their browser did not have the pair that is alive.
    lost_by_nature: u64,
    /// Refresh tokens that arrived at the server.
    exchanges: u64,
    /// Pairs that were replaced by one that served a request, or by the one before that.
    expiries_used: u64,
    /// Refresh tokens that arrived at the server a second time.
    replays: u64,
    families_revoked: u64,
    /// Requests with a cookie older than the browser's newest that were served, and those that were refused.
    late_served: u64,
    late_refused: u64,
    p50_ms: f64,
    p99_ms: f64,
    #[serde(skip)]
    is_calm: bool,
    #[serde(skip)]
    is_strict: bool,
}

impl Run {
    pub(super) fn report(&self, began: &Totals, ended: &Totals, arguments: &Arguments) -> Report {
        let counts = &self.counts;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let took = counts.took.lock();
        let milliseconds = |quantile| {
            let micros = took
                .as_ref()
                .map_or(0, |took| took.value_at_quantile(quantile));
            f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1_000.0
        };
        Report {
            requests: count(&counts.requests),
            ok: count(&counts.ok),
            unavailable: count(&counts.unavailable),
            unauthorized: count(&counts.unauthorized),
            logged_out: count(&counts.logged_out),
            lost_by_nature: count(&counts.lost_by_nature),
            exchanges: ended.exchanges - began.exchanges,
            expiries_used: self.fleet.replaced(),
            replays: ended.replays - began.replays,
            families_revoked: ended.families_revoked - began.families_revoked,
            late_served: count(&counts.late_served),
            late_refused: count(&counts.late_refused),
            p50_ms: milliseconds(0.5),
            p99_ms: milliseconds(0.99),
            is_calm: arguments.kill_every.is_none() && !arguments.weather,
            is_strict: arguments.mode.shares_store(),
        }
    }
}

impl Report {
    /// Whether a rule of the mode is broken.
    pub(crate) fn is_broken(&self) -> bool {
        let is_out = self.unauthorized + self.logged_out > 0;
        let is_spent_twice = self.replays + self.families_revoked > 0;
        let is_uneven = self.exchanges != self.expiries_used;
        match (self.is_strict, self.is_calm) {
            (true, true) => is_out || is_spent_twice || is_uneven,
            // The server ends a session whose pair no instance got.
            (true, false) => self.logged_out > self.families_revoked,
            (false, _) => is_out,
        }
    }

    pub(crate) fn write(&self, out: &mut impl Write, as_json: bool) -> io::Result<()> {
        if as_json {
            return json_line(out, self);
        }
        let mut table = table("what | count", 1, 0);
        let value = serde_json::to_value(self)?;
        for (name, value) in value.as_object().into_iter().flatten() {
            table.add_row([name.replace('_', " "), value.to_string()]);
        }
        writeln!(out, "{table}")
    }
}
