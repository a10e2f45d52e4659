//! The questions to the tables, their answers, and the columns of a record.

use std::fmt;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments as _, Row as _};

use super::connection::{Borrowed, Repeat};
use super::{Failure, PostgresStore};
use crate::record::{Record, RecordState};
use crate::store::codec::Parts;
use crate::store::{Loaded, Revision, StoreError, StoreTime, Swap, Zeroizing, whole_millis};
use crate::token::{Digest, Key};

/// The end of the year 9999, in milliseconds. A server may report any lifetime, and the type of the column has an end.
const LAST_TIME: u64 = 253_402_300_799_999;

/// A thousand years, in milliseconds. A time further back is before the database's calendar.
const LONGEST_SPAN: u64 = 31_557_600_000_000;

/// In bytes. A longer `jti` is left out: the database would accept it, but every row would carry it.
const LONGEST_JTI: usize = 1_000;

impl PostgresStore {
    pub(super) async fn read(&self, key: &Key) -> Result<Loaded, Failure> {
        let digest = key.digest();
        let load = &self.shared.statements.load;
        let asked = self.ask(load, Repeat::Freely, || of_digest(&digest));
        let (rows, _) = asked.await?;
        let row = rows.first().ok_or(Failure::Unreadable)?;
        Ok(Loaded {
            entry: self.entry(key, row, 0).await?,
            now: store_time(row.try_get(4)?),
        })
    }

    /// The record and its revision, whose four columns begin at `column`.
    async fn entry(
        &self,
        key: &Key,
        row: &PgRow,
        column: usize,
    ) -> Result<Option<(Record, Revision)>, Failure> {
        let part = |at: usize| row.try_get::<Option<&[u8]>, _>(column + at);
        let Some(record) = part(0)? else {
            return Ok(None);
        };
        let past = part(1)?.unwrap_or_default().to_vec();
        let pair = part(2)?.map(|pair| Zeroizing::new(pair.to_vec()));
        let parts = Parts::of_record(record, past, pair);
        let revision = to_revision(row.try_get(column + 3)?);
        let decoding = self.codec.decode_parts_async(key, parts, untouched(key));
        let record = decoding.await.map_err(Failure::Record)?;
        Ok(Some((record, revision)))
    }

    /// The swap, and the server's time of the swap. If waiters are to be notified, the connection for that.
    pub(super) async fn replace(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<(Swap, StoreTime, Option<Borrowed>), Failure> {
        let statements = &self.shared.statements;
        let parts = self.codec.encode_parts_async(next).await;
        let parts = parts.map_err(Failure::Record)?;
        let statement = match seen {
            None => &statements.first,
            Some(_) => &statements.swap,
        };
        let arguments = || {
            let mut arguments = columns(next, &parts)?;
            if let Some(seen) = seen {
                // A revision of another store may be too large, and -1 equals none.
                arguments.add(i64::try_from(seen.number()).unwrap_or(-1))?;
                arguments.add(to_millis(self.retention))?;
            }
            Ok(arguments)
        };
        let asked = self.ask(statement, Repeat::Undone, arguments);
        let (rows, connection) = asked.await?;
        let row = rows.first().ok_or(Failure::Unreadable)?;
        let now = store_time(row.try_get(6)?);
        let Some(revision) = row.try_get::<Option<i64>, _>(0)? else {
            drop(connection);
            let Loaded { entry, now } = match self.entry(key, row, 2).await? {
                // Another instance wrote while the statement ran, or there is no row.
                None => self.read(key).await?,
                entry => Loaded { entry, now },
            };
            return Ok((Swap::Lost(entry), now, None));
        };
        let is_another_pair: bool = row.try_get(1)?;
        // A new lease is not notified: waiters wait for a lease to end.
        let is_news = is_another_pair || next.lease.as_ref().is_none_or(|lease| lease.released);
        let swap = Swap::Swapped(to_revision(revision));
        Ok((swap, now, is_news.then_some(connection)))
    }

    pub(super) async fn revision(&self, digest: &Digest) -> Result<Option<Revision>, Failure> {
        let revision = &self.shared.statements.revision;
        let asked = self.ask(revision, Repeat::Freely, || of_digest(digest));
        let (rows, _) = asked.await?;
        let revision = rows.first().map(|row| row.try_get(0)).transpose()?;
        Ok(revision.map(to_revision))
    }

    /// The session of the first row that `statement` finds by this digest.
    ///
    /// A row that cannot be read is an error only if the other rows do not have the session: "not found" would be a
    /// guess then.
    pub(super) async fn search(
        &self,
        statement: &str,
        digest: &Digest,
    ) -> Result<Option<Key>, Failure> {
        let asked = self.ask(statement, Repeat::Freely, || of_digest(digest));
        let (rows, _) = asked.await?;
        let mut unread = None;
        for row in rows {
            match key_of(&row) {
                Ok(Some(key)) => return Ok(Some(key)),
                Ok(None) => {}
                Err(failure) => unread = Some(failure),
            }
        }
        unread.map_or(Ok(None), Err)
    }

    /// The sessions with this mark of a provider's session or user. A row that cannot be read may be one of them.
    pub(super) async fn search_all(&self, mark: &Digest) -> Result<Vec<Key>, Failure> {
        let statement = &self.shared.statements.find_by_upstream;
        let asked = self.ask(statement, Repeat::Freely, || of_digest(mark));
        let (rows, _) = asked.await?;
        rows.iter()
            .filter_map(|row| key_of(row).transpose())
            .collect()
    }
}

/// The key of a row with `key_digest` and `key`. A copy of a row under another key does not belong to a session.
fn key_of(row: &PgRow) -> Result<Option<Key>, Failure> {
    let (session, key): (&[u8], &str) = (row.try_get(0)?, row.try_get(1)?);
    let Ok(key) = serde_json::from_str::<Key>(key) else {
        let hex: String = session.iter().map(|byte| format!("{byte:02x}")).collect();
        let row = untouched(format_args!("key_digest \\x{hex}"));
        return Err(Failure::Record(StoreError::new(format!(
            "{row}: its key cannot be read; delete the row or repair it"
        ))));
    };
    let is_its = key.digest().as_bytes() == session;
    Ok(is_its.then_some(key))
}

/// The subject of an error about the row of a session.
fn untouched(session: impl fmt::Display) -> String {
    format!("the row of {session} in evertoken_pair was left as it is")
}

pub(super) fn of_digest(digest: &Digest) -> Result<PgArguments, Failure> {
    let mut arguments = PgArguments::default();
    arguments.add(digest.as_bytes().as_slice())?;
    Ok(arguments)
}

/// The arguments `$1` to `$18` of the statements that write: the columns of a record, whose parts are `parts`.
pub(super) fn columns(record: &Record, parts: &Parts) -> Result<PgArguments, Failure> {
    let key = serde_json::to_string(&record.key)
        .map_err(|_| Failure::Record(StoreError::new("the key cannot be written as JSON")))?;
    // A name that PostgreSQL refuses as a text must not prevent the pair from being stored.
    let is_storable = |name: &String| name.len() <= LONGEST_JTI && !name.contains('\0');
    let mut arguments = of_digest(&record.key.digest())?;
    arguments.add(key)?;
    arguments.add(state(&record.state))?;
    arguments.add(record.family.to_string())?;
    arguments.add(capped(record.version))?;
    let digest = record.pair.as_ref().map(|_| record.digest());
    for digest in [digest, record.access_digest()] {
        arguments.add(digest.as_ref().map(|digest| digest.as_bytes().as_slice()))?;
    }
    arguments.add(record.jti().filter(is_storable))?;
    for time in [
        record.issued_at(),
        record.access_expires_at(),
        record.refresh_expires_at(),
        record.needed_until(),
    ] {
        arguments.add(time.map(|time| capped(time.as_millis().min(LAST_TIME))))?;
    }
    arguments.add(parts.record().as_slice())?;
    arguments.add(parts.past.as_slice())?;
    arguments.add(parts.pair.as_ref().map(|pair| pair.as_slice()))?;
    let retired = record.retired().map(|digest| digest.as_bytes().as_slice());
    arguments.add(retired.collect::<Vec<&[u8]>>())?;
    let marks = record.upstream;
    let [session, subject] = [
        marks.and_then(|it| it.session),
        marks.and_then(|it| it.subject),
    ];
    for mark in [session, subject] {
        arguments.add(mark.as_ref().map(|mark| mark.as_bytes().as_slice()))?;
    }
    Ok(arguments)
}

/// The state of a row. At most one row of a session is ACTIVE.
fn state(state: &RecordState) -> &'static str {
    match state {
        RecordState::Active => "ACTIVE",
        RecordState::Rejected { .. } | RecordState::LoggedOut => "REVOKED",
        RecordState::OutcomeUnknown { .. } | RecordState::Expired | RecordState::Idle => "EXPIRED",
    }
}

pub(super) fn to_millis(span: Duration) -> i64 {
    capped(whole_millis(span).min(LONGEST_SPAN))
}

/// A time by the database's clock.
fn store_time(millis: i64) -> StoreTime {
    StoreTime::from_millis(millis.unsigned_abs())
}

fn to_revision(number: i64) -> Revision {
    Revision::new(number.unsigned_abs())
}

fn capped(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
