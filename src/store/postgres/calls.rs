//! What is asked, and what the answers mean.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments as _, Row as _};

use super::PostgresStore;
use super::ask::{Ask, Borrowed, Repeat};
use super::failure::Failure;
use super::listen::Change;
use super::row::{self, Columns};
use crate::record::Record;
use crate::store::codec::Outline;
use crate::store::{Loaded, Revision, StoreTime, Swap, Zeroizing};
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
        let now: i64 = row.try_get(2)?;
        Ok(Loaded {
            entry: self.entry(key, row, 0).await?,
            now: StoreTime::from_millis(now.unsigned_abs()),
        })
    }

    /// The record and the revision that stand at `column` and behind it.
    async fn entry(
        &self,
        key: &Key,
        row: &PgRow,
        column: usize,
    ) -> Result<Option<(Record, Revision)>, Failure> {
        let Some(record) = row.try_get::<Option<&[u8]>, _>(column)? else {
            return Ok(None);
        };
        let revision = row::revision(row.try_get(column + 1)?);
        let record = Zeroizing::new(record.to_vec());
        let decoding = self.codec.decode_aside(key, record, UNTOUCHED.to_owned());
        let record = decoding.await.map_err(Failure::Record)?;
        Ok(Some((record, revision)))
    }

    /// With what others should be told of it, and the connection for that.
    pub(super) async fn replace(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<(Swap, Option<(Change, Borrowed)>), Failure> {
        let statements = &self.shared.statements;
        let record = self.codec.encode_aside(next).await;
        let columns = Columns::of(next, record.map_err(Failure::Record)?)?;
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
        let Some(revision) = row.try_get::<Option<i64>, _>(0)? else {
            drop(connection);
            let entry = match self.entry(key, row, 2).await? {
                // Somebody was faster while this was under way; or there is nothing.
                None => self.read(key).await?.entry,
                entry => entry,
            };
            return Ok((Swap::Lost(entry), None));
        };
        let revision = row::revision(revision);
        let is_another_pair: bool = row.try_get(1)?;
        // Whoever waits, waits for a claim to go.
        let is_news = is_another_pair || next.claim.as_ref().is_none_or(|claim| claim.released);
        let session = key.digest();
        let news = is_news.then_some((Change { session, revision }, connection));
        Ok((Swap::Swapped(revision), news))
    }

    pub(super) async fn revision(&self, digest: &Digest) -> Result<Option<Revision>, Failure> {
        let revision = &self.shared.statements.revision;
        let asked = self.ask(revision, Repeat::Freely, || of_digest(digest));
        let (rows, _) = asked.await?;
        let revision = rows.first().map(|row| row.try_get(0)).transpose()?;
        Ok(revision.map(row::revision))
    }

    /// Every session that can be read is asked before one that cannot is an error: "nobody's" would be a guess
    /// then.
    pub(super) async fn search(&self, digest: &Digest) -> Result<Option<Key>, Failure> {
        let find = &self.shared.statements.find;
        let asked = self.ask(find, Repeat::Freely, || of_digest(digest));
        let (rows, _) = asked.await?;
        let mut unread = None;
        for row in rows {
            let (session, record): (&[u8], &[u8]) = (row.try_get(0)?, row.try_get(1)?);
            match Outline::read(record) {
                // A copy under another key is nobody's.
                Ok(outline)
                    if outline.knows(digest)
                        && outline.record.key.digest().as_bytes() == session =>
                {
                    return Ok(Some(outline.record.key));
                }
                Ok(_) => {}
                Err(flaw) => unread = Some(flaw.of(UNTOUCHED)),
            }
        }
        unread.map_or(Ok(None), |error| Err(Failure::Record(error)))
    }
}

fn of_digest(digest: &Digest) -> Result<PgArguments, Failure> {
    let mut arguments = PgArguments::default();
    arguments.add(digest.as_bytes().as_slice())?;
    Ok(arguments)
}
