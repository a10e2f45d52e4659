//! Whose token is this: from a token's digest to its session.
//!
//! Each entry is a key of its own, which in a cluster lies anywhere. So it cannot be written in one step with the
//! record, and is a hint: the record has the last word.

use std::time::Duration;

use redis::{Pipeline, Value, cmd};
use zeroize::Zeroizing;

use super::{MARGIN, RedisStore};
use crate::record::Record;
use crate::store::codec::Outline;
use crate::store::{StoreError, StoreTime};
use crate::token::{Digest, Key};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// For how many lifetimes of an access token a past refresh token is found.
const LIFETIMES: u32 = 256;

/// How many of the past tokens are entered with each swap. What a record goes through between two of them retires
/// two at most: the current token, and a seed.
const PAST: usize = 3;

/// For how long the current token is found where its record is kept for good. A session that nobody wrote to for a
/// year is found by its key only.
const CURRENT_FOR: Duration = DAY.saturating_mul(365);

/// For how long a past one is found, at least and at most. In between it is as long as a record knows it that is
/// rotated whenever its access token expires; there would be no end to the entries of a busy session otherwise.
const PAST_FOR: [Duration; 2] = [DAY.saturating_mul(2), DAY.saturating_mul(30)];

/// Enters the tokens of a record: its current one, and those that were current a moment ago.
pub(super) fn enter(
    commands: &mut Pipeline,
    record: &Record,
    name: impl Fn(&Digest) -> String,
    now: StoreTime,
) {
    let session = record.key().digest().to_string();
    let needed = record.needed_until().map(|until| until.since(now) + MARGIN);
    let [least, most] = PAST_FOR;
    let known = lifetime(record).map_or(most, |lifetime| {
        lifetime.saturating_mul(LIFETIMES).clamp(least, most)
    });
    let past: Vec<_> = record.retired().collect();
    let recent = past.into_iter().rev().take(PAST);
    let recent = recent.map(|digest| (*digest, needed.unwrap_or(most).min(known)));
    let current = (record.digest(), needed.unwrap_or(CURRENT_FOR));
    for (digest, span) in recent.chain([current]) {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let entry = commands.cmd("SET").arg(name(&digest));
        entry.arg(&session).arg("PX").arg(millis);
    }
}

impl RedisStore {
    /// What the index says, if the record says so too.
    pub(super) async fn whose(&self, token: &Digest) -> Result<Option<Key>, StoreError> {
        let entry = self.entry(token);
        let mut question = cmd("GET");
        question.arg(&entry);
        let Value::BulkString(session) = self.ask(question).await? else {
            return Ok(None);
        };
        let session = String::from_utf8_lossy(&session).parse();
        let session: Digest =
            session.map_err(|error| StoreError::with_source(self.untouched(&entry), error))?;
        let name = self.name(&session);
        let mut question = cmd("HGET");
        question.arg(&name).arg("record");
        let Value::BulkString(record) = self.ask(question).await? else {
            return Ok(None);
        };
        let outline = Outline::read(&Zeroizing::new(record));
        let outline = outline.map_err(|flaw| flaw.of(self.untouched(&name)))?;
        // A copy under another name is nobody's.
        let is_its = outline.knows(token) && outline.record.key.digest() == session;
        Ok(is_its.then_some(outline.record.key))
    }
}

/// Of the access token.
fn lifetime(record: &Record) -> Option<Duration> {
    Some(record.access_expires_at()?.since(record.issued_at()?))
}
