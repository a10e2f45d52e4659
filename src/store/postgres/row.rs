//! A record as columns.

use std::time::Duration;

use sqlx::Arguments as _;
use sqlx::postgres::PgArguments;

use super::failure::Failure;
use crate::record::{Record, RecordState};
use crate::store::codec::Parts;
use crate::store::{Revision, StoreError, StoreTime, whole_millis};
use crate::token::Digest;

/// The end of the year 9999, in milliseconds. A server may name any lifetime, and the column has an end.
const LAST: u64 = 253_402_300_799_999;

/// A thousand years, in milliseconds: what lies further back is before the database's calendar.
const LONGEST: u64 = 31_557_600_000_000;

/// In bytes; a longer name is left out. The database would take it, and every row would have it.
const LONGEST_NAME: usize = 1_000;

/// What a row shows of a record, and the parts of the record.
pub(super) struct Columns {
    session: Digest,
    key: String,
    state: &'static str,
    family: String,
    version: i64,
    digest: Option<Digest>,
    access_digest: Option<Digest>,
    jti: Option<String>,
    /// Issued at, access token expires at, refresh token expires at, needed until.
    times: [Option<i64>; 4],
    parts: Parts,
    retired: Vec<Digest>,
}

impl Columns {
    /// `parts` are those of the record.
    pub(super) fn of(record: &Record, parts: Parts) -> Result<Self, Failure> {
        let key = serde_json::to_string(&record.key)
            .map_err(|_| Failure::Record(StoreError::new("the key cannot be written")))?;
        let is_a_name = |name: &String| name.len() <= LONGEST_NAME && !name.contains('\0');
        Ok(Self {
            session: record.key.digest(),
            key,
            state: state(&record.state),
            family: record.family.to_string(),
            version: capped(record.version),
            digest: record.pair.as_ref().map(|_| record.digest()),
            access_digest: record.access_digest(),
            // What PostgreSQL refuses as a text must not keep a pair from being stored.
            jti: record.jti().filter(is_a_name),
            times: [
                record.issued_at(),
                record.access_expires_at(),
                record.refresh_expires_at(),
                record.needed_until(),
            ]
            .map(|time| time.map(moment)),
            parts,
            retired: record.retired().copied().collect(),
        })
    }

    /// `$1` to `$16`.
    pub(super) fn arguments(&self) -> Result<PgArguments, Failure> {
        let mut arguments = PgArguments::default();
        arguments.add(self.session.as_bytes().as_slice())?;
        arguments.add(&self.key)?;
        arguments.add(self.state)?;
        arguments.add(&self.family)?;
        arguments.add(self.version)?;
        for digest in [&self.digest, &self.access_digest] {
            let digest = digest.as_ref().map(Digest::as_bytes);
            arguments.add(digest.map(<[u8; 16]>::as_slice))?;
        }
        arguments.add(self.jti.as_deref())?;
        for time in self.times {
            arguments.add(time)?;
        }
        arguments.add(self.parts.record().as_slice())?;
        arguments.add(self.parts.past.as_slice())?;
        arguments.add(self.parts.pair.as_ref().map(|pair| pair.as_slice()))?;
        let retired = self.retired.iter();
        let retired: Vec<&[u8]> = retired.map(|digest| digest.as_bytes().as_slice()).collect();
        arguments.add(retired)?;
        Ok(arguments)
    }
}

/// The states that the requirement of one active pair for a session has.
fn state(state: &RecordState) -> &'static str {
    match state {
        RecordState::Active => "ACTIVE",
        RecordState::Rejected { .. } | RecordState::LoggedOut => "REVOKED",
        RecordState::OutcomeUnknown { .. } | RecordState::Expired | RecordState::Idle => "EXPIRED",
    }
}

fn moment(time: StoreTime) -> i64 {
    capped(time.as_millis().min(LAST))
}

pub(super) fn millis(span: Duration) -> i64 {
    capped(whole_millis(span).min(LONGEST))
}

/// The database's time.
pub(super) fn time(millis: i64) -> StoreTime {
    StoreTime::from_millis(millis.unsigned_abs())
}

pub(super) fn revision(number: i64) -> Revision {
    Revision::new(number.unsigned_abs())
}

/// One that is not ours is nobody's.
pub(super) fn number(revision: Revision) -> i64 {
    i64::try_from(revision.number()).unwrap_or(-1)
}

fn capped(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
