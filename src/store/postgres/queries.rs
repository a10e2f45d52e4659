//! What is asked, and what the answers mean.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments as _, Row as _};

use super::PostgresStore;
use super::ask::{Ask, Borrowed, Repeat};
use super::failure::Failure;
use super::listen::Change;
use super::row::{self, Columns};
use crate::record::Record;
use crate::store::codec::Parts;
use crate::store::{Loaded, Revision, StoreError, StoreTime, Swap, Zeroizing};
use crate::token::{Digest, Key};

/// What an error about a record is about.
const UNTOUCHED: &str = "a row of evertoken_pair was left as it is";

impl PostgresStore {
    async fn ask(
        &self,
        statement: &str,
        repeat: Repeat,
        arguments: impl Fn() -> Result<PgArguments, Failure> + Send + Sync,
    ) -> Result<(Vec<PgRow>, Borrowed), Failure> {
        let pool = &self.shared.pool;
        let ask = Ask {
            pool,
            statement,
            repeat,
            sending: self.shared.statements.sending,
        };
        ask.rows(arguments).await
    }

    pub(super) async fn read(&self, key: &Key) -> Result<Loaded, Failure> {
        let digest = key.digest();
        let load = &self.shared.statements.load;
        let asked = self.ask(load, Repeat::Freely, || of_digest(&digest));
        let (rows, _) = asked.await?;
        let row = rows.first().ok_or(Failure::Unreadable)?;
        Ok(Loaded {
            entry: self.entry(key, row, 0).await?,
            now: row::time(row.try_get(4)?),
        })
    }

    /// The record and the revision whose four columns begin at `column`.
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
        let revision = row::revision(row.try_get(column + 3)?);
        let decoding = self
            .codec
            .decode_parts_aside(key, parts, UNTOUCHED.to_owned());
        let record = decoding.await.map_err(Failure::Record)?;
        Ok(Some((record, revision)))
    }

    pub(super) async fn replace(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Replaced, Failure> {
        let statements = &self.shared.statements;
        let parts = self.codec.encode_parts_aside(next).await;
        let columns = Columns::of(next, parts.map_err(Failure::Record)?)?;
        let (rows, connection) = match seen {
            None => {
                let first = || columns.arguments();
                self.ask(&statements.first, Repeat::Undone, first).await?
            }
            Some(revision) => {
                let swap = || {
                    let mut arguments = columns.arguments()?;
                    arguments.add(row::number(revision))?;
                    arguments.add(row::millis(self.retention))?;
                    Ok(arguments)
                };
                self.ask(&statements.swap, Repeat::Undone, swap).await?
            }
        };
        let row = rows.first().ok_or(Failure::Unreadable)?;
        let now = row::time(row.try_get(6)?);
        let Some(revision) = row.try_get::<Option<i64>, _>(0)? else {
            drop(connection);
            let (entry, now) = match self.entry(key, row, 2).await? {
                // Another writer was faster while this was under way; or there is nothing.
                None => {
                    let loaded = self.read(key).await?;
                    (loaded.entry, loaded.now)
                }
                entry => (entry, now),
            };
            return Ok(Replaced {
                swap: Swap::Lost(entry),
                now,
                news: None,
            });
        };
        let revision = row::revision(revision);
        let is_another_pair: bool = row.try_get(1)?;
        // A waiter waits for a lease to go.
        let is_news = is_another_pair || next.lease.as_ref().is_none_or(|lease| lease.released);
        let session = key.digest();
        Ok(Replaced {
            swap: Swap::Swapped(revision),
            now,
            news: is_news.then_some((Change { session, revision }, connection)),
        })
    }

    pub(super) async fn revision(&self, digest: &Digest) -> Result<Option<Revision>, Failure> {
        let revision = &self.shared.statements.revision;
        let asked = self.ask(revision, Repeat::Freely, || of_digest(digest));
        let (rows, _) = asked.await?;
        let revision = rows.first().map(|row| row.try_get(0)).transpose()?;
        Ok(revision.map(row::revision))
    }

    /// The session of the first row that `statement` finds by this digest.
    ///
    /// Every row that can be read is looked at before one that cannot is an error: the answer that the digest leads
    /// nowhere would be a guess then.
    pub(super) async fn search(
        &self,
        statement: &str,
        digest: &Digest,
    ) -> Result<Option<Key>, Failure> {
        let asked = self.ask(statement, Repeat::Freely, || of_digest(digest));
        let (rows, _) = asked.await?;
        let mut unread = None;
        for row in rows {
            let (session, key): (&[u8], &str) = (row.try_get(0)?, row.try_get(1)?);
            match serde_json::from_str::<Key>(key) {
                // A copy under another key belongs to no session.
                Ok(key) if key.digest().as_bytes() == session => return Ok(Some(key)),
                Ok(_) => {}
                Err(_) => unread = Some(StoreError::new(format!("{UNTOUCHED}: it has no key"))),
            }
        }
        unread.map_or(Ok(None), |error| Err(Failure::Record(error)))
    }
}

/// What a swap came to.
pub(super) struct Replaced {
    pub(super) swap: Swap,
    /// The server's time of it.
    pub(super) now: StoreTime,
    /// What others should be told of it, and the connection for that.
    pub(super) news: Option<(Change, Borrowed)>,
}

fn of_digest(digest: &Digest) -> Result<PgArguments, Failure> {
    let mut arguments = PgArguments::default();
    arguments.add(digest.as_bytes().as_slice())?;
    Ok(arguments)
}
