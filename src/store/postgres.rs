//! Records in PostgreSQL: a row for each pair, of which one is its session's current one and has the record.
//!
//! - [`access`]: where the database is, and how many connections it is asked through
//! - [`schema`]: the tables, and how they get there
//! - [`row`]: a record as columns, and in parts
//! - [`queries`]: what is asked, and what the answers mean
//! - [`ask`]: one statement, in its time, and once more where that can do no harm
//! - [`listen`]: hearing of changes
//! - [`sending`]: whether statements have names
//! - [`check`]: whether what is sent later can be carried out
//! - [`failure`]: why the database did not do what it was asked

mod access;
mod ask;
mod check;
mod failure;
mod listen;
mod queries;
mod row;
mod schema;
mod sending;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Connection as _, PgPool, Row as _};

use self::failure::Failure;
use self::listen::{Deaf, Listener};
use self::queries::Replaced;
use self::schema::Statements;
use self::sending::Sending;
use super::{Codec, Loaded, Revision, Sealer, StoreError, StoreTime, Swap, TokenStore};
use crate::record::Record;
use crate::token::{Digest, Key};

/// How long a pair that gave way keeps its row.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3_600);

/// How often a waiter looks while it hears of changes: only for what was not told, a connection that died
/// unnoticed for example.
const POLL_WITH_LISTEN: Duration = Duration::from_secs(1);

/// The same while it does not.
const POLL_WITHOUT_LISTEN: Duration = Duration::from_millis(50);

/// Keeps records in a PostgreSQL database, for instances on many machines, and for those who want to see
/// in SQL which session has which pair.
///
/// Each pair has a row of its own in the table `evertoken_pair`. At most one row of a session is `ACTIVE`,
/// which a unique index holds. A rotation is one transaction, of one statement: the old row becomes
/// `INACTIVE` (`EXPIRED`, if its access token had run out by the database's clock) and loses its tokens, while
/// the digests of both tokens, the `jti` and the times stay; and the new row comes. A session that ended has a
/// row that is `REVOKED` (refused by the server, or logged out) or `EXPIRED` (run out, idle, or of unknown
/// outcome).
///
/// A lease updates the row in place: it touches no index, and the pair stays where it is. With a pair of 1.2 KB a
/// rotation adds 4.3 KB to the write-ahead log, of which 0.5 KB are the lease's, however many rotations there were; what
/// the server adds after a checkpoint (`full_page_writes`) comes on top. With a [`Sealer`] a lease writes the whole
/// sealed record again.
///
/// Clones are cheap and share connections. Every call ends in less time than a manager gives its
/// [store](crate::Builder::store_timeout), with an error if need be: within 4 s of the 5 s that are the default.
///
/// ```no_run
/// use evertoken::PostgresStore;
///
/// # async fn example() -> Result<(), evertoken::StoreError> {
/// let url = "postgres://importer@db.example.org/tokens?sslmode=verify-full";
/// let store = PostgresStore::connect(url).await?;
/// // TokenManager::builder(endpoint).store(store)
/// # Ok(())
/// # }
/// ```
///
/// # The tables, and who may use them
///
/// The tables are created on the first connection, in the schema that is first in the search path, by
/// however many instances at once. A user who may not do that can use tables that are there: have
/// somebody else run [`SCHEMA`](Self::SCHEMA), and grant `SELECT` on `evertoken_schema` and
/// `SELECT, INSERT, UPDATE, DELETE` on `evertoken_pair`. Two schemas are two stores (by
/// `?options[search_path]=name` in the URL, or the search path of the role). Tables of another version are
/// refused. The database has to be in UTF-8, and not to be a standby.
///
/// The column `pair` is the only one with a secret, as long as the row is its session's current one. With
/// a [`Sealer`] it is encrypted. Without one the tokens are as safe as the database: they are in its backups,
/// in its write-ahead log and, until they are vacuumed, in the remains of replaced rows; and in its log if
/// that is told to contain the parameters of statements (by `log_statement` or `log_min_duration_statement`,
/// unless `log_parameter_max_length` is 0). In this process they pass through buffers of sqlx, which are not
/// zeroized.
///
/// # Changes, and poolers
///
/// After a swap the channel `evertoken` is notified, with the digest of the key and a number, and instances
/// that wait for one another hear of it within milliseconds. For that a store listens on a connection of
/// its own, from its first wait until its last clone is dropped. Where notifications do not arrive it looks
/// every 50 ms instead, and every second even if they do: an instance may be killed between the two. A
/// lease is not told: those who wait, wait for one to go.
///
/// Behind PgBouncer in session mode everything works. In transaction mode notifications do not arrive, which is
/// logged once, and the names of prepared statements are mixed up, unless PgBouncer keeps them apart (version 1.21
/// or later, with `max_prepared_statements` above zero). Where it does not, put `statement-cache-capacity=0` into
/// the URL: each statement is sent without a name and in a transaction of its own then, which takes three round
/// trips more, and nothing is listened to. Connecting finds out which it is, by carrying out every statement for a session that does not exist,
/// and by two connections that use names at once; a pooler that is busy may let that pass.
///
/// # Failover
///
/// The store counts on what was acknowledged. So it asks for `synchronous_commit` where that is `off` by
/// default, and changes no other setting of it. A standby that replays behind its primary and is promoted
/// has lost the last writes: a lost lease can make two instances spend one token, and a lost pair is written
/// again by the instance that holds it. `synchronous_standby_names` prevents both. Revisions are microseconds
/// of the database's clock, but at least one more than before, so they do not come again after such a loss,
/// nor after a deletion, unless the clock was stepped back.
///
/// # What can be searched for in SQL
///
/// `digest` and `access_digest` are the first 16 bytes of the SHA-256 of the refresh token and of the access token, as
/// [`Digest`] has them; each has an index. [`find`](TokenStore::find) and
/// [`find_by_access`](TokenStore::find_by_access) ask by them. For whose session an access token is:
///
/// ```sql
/// SELECT key, state, issued_at, access_expires_at FROM evertoken_pair
/// WHERE access_digest = substr(sha256(convert_to('the token', 'UTF8')), 1, 16);
/// ```
///
/// `key_digest` is that of the key, `jti` and the times are those of the pair. `record` is JSON, read by
/// `convert_from(record, 'UTF8')::json`: what has no column of its own, the lease for one. `past` has the digests of
/// the last past tokens, one after the other.
///
/// # How long rows stay
///
/// Rows of pairs that gave way are deleted 30 days after that ([`retention`](Self::retention)): some with each
/// rotation of their session, and all of them by [`purge`](Self::purge). [`find`](TokenStore::find) and
/// [`find_by_access`](TokenStore::find_by_access) know past tokens by them, long after the record of the session has
/// forgotten them. As long as the record has a refresh token among the past ones, rotations leave its row, or bring one
/// with its digest back.
#[derive(Clone)]
pub struct PostgresStore {
    shared: Arc<Shared>,
    codec: Codec,
    retention: Duration,
}

struct Shared {
    pool: PgPool,
    statements: Statements,
    listener: Listener,
}

impl PostgresStore {
    /// The SQL that creates the tables, for whoever may do that where the store's own user may not.
    pub const SCHEMA: &'static str = schema::SCHEMA;

    /// A store in the database at `postgres://user:password@host:port/database`.
    ///
    /// The parameters of the URL are those of sqlx 0.8: `sslmode` (`prefer`, unless said otherwise; use
    /// `verify-full` on a network that is not yours alone), `sslrootcert`, `sslcert`, `sslkey`, `host`,
    /// `hostaddr`, `port`, `dbname`, `user`, `password`, `application_name`, `options` and `statement-cache-capacity`
    /// (or `statement_cache_capacity`; 0 for [poolers](Self#changes-and-poolers)). What is not said is
    /// taken from `PGHOST`, `PGUSER`, `PGPASSWORD` and so on, as by PostgreSQL's own programs. TLS comes with
    /// the feature `rustls`.
    ///
    /// There are 8 connections at most, and one to listen. Give [`from_pool`](Self::from_pool) a pool of your
    /// own where thousands of sessions may rotate at once.
    ///
    /// # Errors
    ///
    /// If the URL is none, or the database cannot be reached, does not let the user in or cannot be used, see
    /// above. No error repeats a password.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let options = access::options(url)?;
        let sending = Sending::of(&options);
        let preparing = async {
            // Not by the pool, which would try again until its time is over, and then not say why.
            let mut connection = access::connection(&options).await?;
            let statements = schema::prepare(&mut connection, sending).await?;
            // It was good for this, and what comes of closing it is of no interest.
            let _ = connection.close().await;
            let is_shared = check::is_shared(&options, sending).await?;
            Ok((statements, is_shared))
        };
        let prepared = access::in_time(preparing).await;
        let prepared = prepared.map_err(|failure| failure.of("connect to PostgreSQL"))?;
        Ok(Self::over(access::pool(options), prepared))
    }

    /// A store that uses the connections of a pool of sqlx 0.8, and one more to listen.
    ///
    /// The pool's settings are yours: `test_before_acquire` costs a round trip for each call, and its absence
    /// an error of a swap when a connection has died.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    pub async fn from_pool(pool: PgPool) -> Result<Self, StoreError> {
        let preparing = async {
            let options = pool.connect_options();
            let sending = Sending::of(&options);
            let is_shared = check::is_shared(&options, sending).await?;
            let mut connection = pool.acquire().await.map_err(Failure::from)?;
            let statements = schema::prepare(&mut connection, sending).await?;
            Ok((statements, is_shared))
        };
        let prepared = access::in_time(preparing).await;
        let prepared = prepared.map_err(|failure| failure.of("use PostgreSQL"))?;
        Ok(Self::over(pool, prepared))
    }

    fn over(pool: PgPool, (statements, is_shared): (Statements, bool)) -> Self {
        let deaf = match statements.sending {
            _ if is_shared => Some(Deaf::SharedPooler),
            Sending::Unnamed => Some(Deaf::UnnamedStatements),
            Sending::Named => None,
        };
        let listener = Listener::new(pool.clone(), deaf);
        Self {
            shared: Arc::new(Shared {
                pool,
                statements,
                listener,
            }),
            codec: Codec::plain(),
            retention: RETENTION,
        }
    }

    /// Seals the records, and refuses plain ones, see [`Codec`].
    #[must_use]
    pub fn sealed(mut self, sealer: impl Sealer) -> Self {
        self.codec = self.codec.with_sealer(sealer);
        self
    }

    /// Accepts plain records although there is a sealer, and seals them when they are written next: for the time in
    /// which a store that was used without a sealer is given one. Default: no.
    #[must_use]
    pub fn accept_plain(mut self, accept: bool) -> Self {
        self.codec = self.codec.accept_plain(accept);
        self
    }

    /// How long the row of a pair that gave way is kept. Default: 30 days.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Deletes every row whose pair gave way longer ago than the [retention](Self::retention), and the sessions
    /// of which every token has expired as long ago. Returns the number of rows.
    ///
    /// Rotations delete old rows of their own session, so this is for those that rotate no more: now and then,
    /// from one instance or from all of them.
    ///
    /// # Errors
    ///
    /// If the database cannot be asked. There is no limit to the time it may take.
    pub async fn purge(&self) -> Result<u64, StoreError> {
        let Shared {
            pool, statements, ..
        } = &*self.shared;
        let purging = async {
            let mut connection = pool.acquire().await?;
            let purge = sqlx::query(&statements.purge).bind(row::millis(self.retention));
            let purge = purge.bind(true);
            let rows = statements.sending.rows(&mut connection, purge).await?;
            let purged: i64 = rows.first().ok_or(Failure::Unreadable)?.try_get(0)?;
            Ok(purged.unsigned_abs())
        };
        let purged: Result<u64, Failure> = purging.await;
        purged.map_err(|failure| failure.of("delete old rows from PostgreSQL"))
    }
}

#[async_trait]
impl TokenStore for PostgresStore {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        let loaded = ask::in_time(self.read(key)).await;
        loaded.map_err(|failure| failure.of("load a session from PostgreSQL"))
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        let (swap, _) = self.swap_timed(key, seen, next).await?;
        Ok(swap)
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        let digest = key.digest();
        // Listens before it looks, or a change between the two would be missed.
        let mut notifications = self.shared.listener.notifications();
        loop {
            let pause = match notifications.are_heard() {
                true => POLL_WITH_LISTEN,
                false => POLL_WITHOUT_LISTEN,
            };
            // What cannot be read may be mended; whoever waits has a limit.
            if let Ok(revision) = ask::in_time(self.revision(&digest)).await
                && revision != seen
            {
                return;
            }
            // Who was told need not look, unless it was of what is known.
            let told = tokio::time::timeout(pause, notifications.of(&digest)).await;
            if let Ok(Some(revision)) = told
                && seen.is_none_or(|seen| revision.number() > seen.number())
            {
                return;
            }
        }
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let statement = &self.shared.statements.find;
        let found = ask::in_time(self.search(statement, digest)).await;
        found.map_err(|failure| failure.of("search PostgreSQL for a token"))
    }

    async fn find_by_access(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let statement = &self.shared.statements.find_by_access;
        let found = ask::in_time(self.search(statement, digest)).await;
        found.map_err(|failure| failure.of("search PostgreSQL for an access token"))
    }

    async fn swap_timed(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<(Swap, Option<StoreTime>), StoreError> {
        if next.key != *key {
            let problem = "the record of another session cannot be written to this one's row";
            return Err(StoreError::new(problem));
        }
        let swapped = ask::in_time(self.replace(key, seen, next)).await;
        let Replaced { swap, now, news } =
            swapped.map_err(|failure| failure.of("store a session in PostgreSQL"))?;
        // Not in the swap's own transaction: one that notifies holds a lock of the whole server until it is
        // on the disk, so that 64 writers made 1,400 swaps a second instead of 6,800.
        if let Some((change, connection)) = news {
            connection.notify(change).await;
        }
        Ok((swap, Some(now)))
    }
}

/// Shows nothing of where the database is, and of how it is entered.
impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("schema", &self.shared.statements.schema)
            .field("codec", &self.codec)
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}
