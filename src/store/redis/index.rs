//! The index: from a token's digest to the session that has the token or had it, and from a provider's session or user to all
//! sessions that it has.
//!
//! Each entry is a key of its own, which in a cluster lies on any node. So an entry cannot be written in one step with
//! the record. The entry is written first, and the swap of the record may be lost. That is why an entry is a hint, which
//! the record has to confirm.
//!
//! An entry that is marked as past is believed without the record. It is written for a token that is about to leave the
//! record. A swap that is lost writes the mark too, and rightly so: the record that the swap was made from had the token
//! among its past ones. Seeds and tokens that a new sign-in brought have hints only, because the record itself keeps
//! them.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use redis::{Pipeline, RedisResult, Value, cmd, from_redis_value};
use zeroize::Zeroizing;

use super::script::{self, bytes};
use super::{MARGIN, RedisStore};
use crate::record::Record;
use crate::record::past::REFRESHED_LIMIT;
use crate::store::codec::{Outline, Parts};
use crate::store::{StoreError, StoreTime, whole_millis};
use crate::token::{Digest, Key};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = HOUR.saturating_mul(24);

/// How many past tokens are marked as past when a pair is committed: of a full list the oldest, which leaves the record
/// with the next pair, and the second oldest, because two may leave at once. This also repairs an entry that failed.
const LEAVING: usize = 2;

/// How many of the newest past tokens get their hint again if it is missing.
const RECENT: usize = 2;

/// For how long the current token is found where its record never expires. A session that no instance wrote to for a
/// year is found by its key only.
const CURRENT_FOR: Duration = DAY.saturating_mul(365);

/// For how many lifetimes of an access token a past refresh token is found; then the shortest and the longest time.
/// Without limits, the entries of a busy session would grow without end.
const LIFETIMES: u32 = 256;
const PAST_FOR: [Duration; 2] = [HOUR, DAY.saturating_mul(2)];

/// For how long an access token is found after it has expired, and for how long one of unknown expiry.
const ACCESS_MARGIN: Duration = HOUR;
const ACCESS_FOR: Duration = DAY.saturating_mul(30);

/// Enters a session in the sorted set of a provider's session or user, by the time at which its record expires. Arguments: the
/// session, and how long its record is kept from now on, in milliseconds.
///
/// Sessions whose time is over leave the set, and the set expires with the last one.
const ENTER: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', last))
";

/// How many records are read at once.
const AT_ONCE: usize = 16;

/// The mark at the start of a past token's entry. The digest of the session follows it; in other entries it stands alone.
const IS_PAST: &str = "past:";

/// Enters the tokens of a record: the current ones, those that are about to leave the record, and those whose entry may
/// be missing.
///
/// A swap that only leases enters nothing, unless it creates the record: the entries were written when the pair was
/// committed.
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
    for mark in record.upstream() {
        let entry = commands.cmd("EVAL").arg(ENTER).arg(1);
        entry.arg(store.upstream_entry(mark));
        entry
            .arg(session.to_string())
            .arg(whole_millis(current_for));
    }
    let mut set = |name: String, is_past: bool, span: Duration, unless_there: bool| {
        let mark = if is_past { IS_PAST } else { "" };
        let entry = commands.cmd("SET").arg(name);
        entry.arg(format!("{mark}{session}"));
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
    // These were entered while they were current. An entry that is still there is left as it is.
    let recent = refreshed.iter().rev().take(RECENT);
    let brought = [past.seeds.0.last(), past.replaced.0.last()];
    for digest in recent.chain(brought.into_iter().flatten()) {
        set(store.entry(digest), false, current_for, true);
    }
}

/// For how long a past token is found from `now` on: as long as the token can matter, and hardly longer than the server
/// may accept it.
fn past_for(record: &Record, now: StoreTime) -> Duration {
    let [least, most] = PAST_FOR;
    let times = record.access_expires_at().zip(record.issued_at());
    let known = times.map_or(most, |(until, issued_at)| {
        let lifetime = until.since(issued_at);
        lifetime.saturating_mul(LIFETIMES).clamp(least, most)
    });
    match record.past.until() {
        Some(until) => until.since(now).min(known).max(least),
        None => known,
    }
}

impl RedisStore {
    /// The session that the entry leads to, if `is_it` confirms that by the record, and by whether the entry is marked as
    /// past.
    pub(super) async fn session_of(
        &self,
        entry: &str,
        is_it: impl Fn(&Outline, bool) -> bool + Send,
    ) -> Result<Option<Key>, StoreError> {
        let mut question = cmd("GET");
        question.arg(entry);
        let Value::BulkString(found) = self.ask(question).await? else {
            return Ok(None);
        };
        let found = String::from_utf8_lossy(&found);
        let marked = found.strip_prefix(IS_PAST);
        let session = marked.unwrap_or(&found).parse::<Digest>();
        let session =
            session.map_err(|error| StoreError::with_source(self.untouched(entry), error))?;
        let is_past = marked.is_some();
        self.confirmed(session, move |outline| is_it(outline, is_past))
            .await
    }

    /// The sessions in the set `entry` whose records have the mark.
    pub(super) async fn sessions_of(
        &self,
        entry: &str,
        mark: &Digest,
    ) -> Result<Vec<Key>, StoreError> {
        let mut question = cmd("ZRANGE");
        question.arg(entry).arg(0).arg(-1);
        let answer = self.ask(question).await?;
        let sessions: RedisResult<Vec<String>> = from_redis_value(answer).map_err(Into::into);
        let sessions = sessions.map_err(|error| self.reading(&error))?;
        let sessions = stream::iter(sessions).map(|session| async move {
            let session = session.parse::<Digest>();
            let session =
                session.map_err(|error| StoreError::with_source(self.untouched(entry), error))?;
            let has_mark = |outline: &Outline| outline.record.upstream().any(|its| its == mark);
            self.confirmed(session, has_mark).await
        });
        let found = sessions.buffered(AT_ONCE);
        found
            .try_filter_map(|key| async { Ok(key) })
            .try_collect()
            .await
    }

    /// The key of the session, if `is_it` confirms the entry by the record.
    async fn confirmed(
        &self,
        session: Digest,
        is_it: impl Fn(&Outline) -> bool + Send,
    ) -> Result<Option<Key>, StoreError> {
        let name = self.name(&session);
        let mut question = cmd("HMGET");
        question.arg(&name).arg(&["record", "lease", "past"]);
        let answer = self.ask(question).await?;
        let parts = script::parts(answer).and_then(|[rest, lease, past]| {
            // A part that is there and empty is damaged, and the outline reports that.
            let there = |part: Value| match part {
                Value::BulkString(bytes) => Ok(Some(bytes)),
                part => bytes(part),
            };
            Ok((
                there(rest)?,
                there(lease)?,
                bytes(past)?.unwrap_or_default(),
            ))
        });
        let (Some(rest), Some(lease), past) = parts.map_err(|error| self.reading(&error))? else {
            return Ok(None);
        };
        let parts = Parts {
            pair: None,
            past,
            lease: Zeroizing::new(lease),
            rest: Zeroizing::new(rest),
        };
        let outline = parts.outline();
        let outline = outline.map_err(|flaw| flaw.of(self.untouched(&name)))?;
        // A copy of a record under another name does not belong to a session.
        let is_its = outline.record.key.digest() == session && is_it(&outline);
        Ok(is_its.then_some(outline.record.key))
    }
}
