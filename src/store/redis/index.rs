//! Whose token is this: from a token's digest to its session.
//!
//! Each entry is a key of its own, which in a cluster lies anywhere. So it cannot be written in one step with the
//! record, and is written before it: the swap may be lost. So an entry is a hint that the record has to confirm. Only
//! that of a token which is about to leave the record is believed: a swap that is lost enters it as well, and rightly,
//! for the record that the swap was made from had it among its past tokens. Seeds and tokens that a new sign-in brought
//! have hints only: the record itself keeps them.

use std::fmt;
use std::time::Duration;

use redis::{Pipeline, Value, cmd};
use zeroize::Zeroizing;

use super::{MARGIN, RedisStore};
use crate::record::Record;
use crate::record::past::REFRESHED_LIMIT;
use crate::store::codec::{Parts, Shown};
use crate::store::{StoreError, StoreTime, whole_millis};
use crate::token::{Digest, Key};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = HOUR.saturating_mul(24);

/// How many past tokens are entered as such when a pair is committed: of a full list the oldest, which leaves the record with
/// the next pair, and the one behind it, should two leave it at once. An entry that failed is made good like this, too.
const LEAVING: usize = 2;

/// How many of the newest have a hint again, if theirs is gone.
const RECENT: usize = 2;

/// For how long the current token is found where its record is kept for good. A session that no instance wrote to for
/// a year is found by its key only.
const CURRENT_FOR: Duration = DAY.saturating_mul(365);

/// For how many lifetimes of an access token a past refresh token is found, and for how long at least and at most.
/// There would be no end to the entries of a busy session otherwise.
const LIFETIMES: u32 = 256;
const PAST_FOR: [Duration; 2] = [HOUR, DAY.saturating_mul(2)];

/// For how long an access token is found after it has expired, and for how long one of unknown expiry.
const ACCESS_MARGIN: Duration = HOUR;
const ACCESS_FOR: Duration = DAY.saturating_mul(30);

/// What an entry of a past token begins with.
const IS_PAST: &str = "past:";

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    session: Digest,
    is_past: bool,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, is_past } = self;
        let mark = if *is_past { IS_PAST } else { "" };
        write!(f, "{mark}{session}")
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self, impl std::error::Error + Send + Sync + 'static> {
        let (session, is_past) = match text.strip_prefix(IS_PAST) {
            Some(session) => (session, true),
            None => (text, false),
        };
        session.parse().map(|session| Self { session, is_past })
    }
}

/// Enters the tokens of a record: its current ones, those that are about to leave it, and those whose entry may be gone.
///
/// A lease enters nothing, unless it makes the record: the entries were written when its pair was committed.
pub(super) fn enter(
    commands: &mut Pipeline,
    store: &RedisStore,
    record: &Record,
    is_first: bool,
    now: StoreTime,
) {
    let leased = record.lease.as_ref().map(|lease| lease.digest);
    let is_lease = leased == Some(record.digest()) && !is_first;
    if record.pair.is_none() || is_lease {
        return;
    }
    let needed = record.needed_until().map(|until| until.since(now) + MARGIN);
    let current_for = needed.unwrap_or(CURRENT_FOR);
    let past_for = past_for(record, now);
    let past = &record.past;
    let session = record.key().digest();
    let mut set = |name: String, is_past: bool, span: Duration, unless_there: bool| {
        let entry = Entry { session, is_past };
        let entry = commands.cmd("SET").arg(name).arg(entry.to_string());
        entry.arg("PX").arg(whole_millis(span));
        if unless_there {
            entry.arg("NX");
        }
    };
    let refreshed = &past.refreshed.0;
    let is_full = refreshed.len() >= REFRESHED_LIMIT;
    for digest in refreshed.iter().take(LEAVING).filter(|_| is_full) {
        set(store.entry(digest), true, past_for, false);
    }
    set(store.entry(&record.digest()), false, current_for, false);
    if let Some(digest) = record.access_digest() {
        let until = record.access_expires_at();
        let span = until.map_or(ACCESS_FOR, |until| until.since(now) + ACCESS_MARGIN);
        set(store.access_entry(&digest), false, span, false);
    }
    // They were entered when they were current, and that is written again only once it is gone.
    let recent = refreshed.iter().rev().take(RECENT);
    let brought = [past.seeds.0.last(), past.replaced.0.last()];
    for digest in recent.chain(brought.into_iter().flatten()) {
        set(store.entry(digest), false, current_for, true);
    }
}

/// For how long a past token is found from `now` on: as long as it can matter, and hardly longer than it may be alive.
fn past_for(record: &Record, now: StoreTime) -> Duration {
    let [least, most] = PAST_FOR;
    let known = lifetime(record).map_or(most, |lifetime| {
        lifetime.saturating_mul(LIFETIMES).clamp(least, most)
    });
    match record.past.until() {
        Some(until) => until.since(now).min(known).max(least),
        None => known,
    }
}

/// Of the access token.
fn lifetime(record: &Record) -> Option<Duration> {
    Some(record.access_expires_at()?.since(record.issued_at()?))
}

impl RedisStore {
    /// What the index says of a refresh token, if it says that it is a past one, or else if the record says so too.
    pub(super) async fn whose(&self, token: &Digest) -> Result<Option<Key>, StoreError> {
        let says_so = |shown: &Shown, entry: Entry| entry.is_past || shown.knows(token);
        self.confirmed(&self.entry(token), says_so).await
    }

    /// What the index says of an access token, if the record says so too.
    pub(super) async fn whose_access(&self, token: &Digest) -> Result<Option<Key>, StoreError> {
        let says_so = |shown: &Shown, _| shown.has_access(token);
        self.confirmed(&self.access_entry(token), says_so).await
    }

    async fn confirmed(
        &self,
        entry: &str,
        says_so: impl Fn(&Shown, Entry) -> bool + Send,
    ) -> Result<Option<Key>, StoreError> {
        let mut question = cmd("GET");
        question.arg(entry);
        let Value::BulkString(found) = self.ask(question).await? else {
            return Ok(None);
        };
        let found = Entry::parse(&String::from_utf8_lossy(&found));
        let found = found.map_err(|error| StoreError::with_source(self.untouched(entry), error))?;
        let name = self.name(&found.session);
        let mut question = cmd("HMGET");
        question.arg(&name).arg(&["record", "lease", "past"]);
        let Value::Array(parts) = self.ask(question).await? else {
            return Ok(None);
        };
        let mut parts = parts.into_iter().map(|part| match part {
            Value::BulkString(bytes) => Some(Zeroizing::new(bytes)),
            _ => None,
        });
        let [rest, lease, past] = [(); 3].map(|()| parts.next().flatten());
        let (Some(rest), Some(lease)) = (rest, lease) else {
            return Ok(None);
        };
        let parts = Parts {
            pair: None,
            past: past.unwrap_or_default().to_vec(),
            lease,
            rest,
        };
        let shown = Shown::read(&parts);
        let shown = shown.map_err(|flaw| flaw.of(self.untouched(&name)))?;
        // A copy under another name belongs to no session.
        let is_its = shown.key().digest() == found.session && says_so(&shown, found);
        Ok(is_its.then(|| shown.key().clone()))
    }
}
