//! Records in PostgreSQL: a row for each token pair. One row of a session is its current one, and has the record.
//!
//! - [`connection`]: connections, how statements are sent, and in which time; listening for changes
//! - [`schema`]: the tables, the statements, and the checks at the start
//! - [`queries`]: the questions, the answers, and a record as columns
//!
//! This store never sends a statement that writes a second time unless the first one was certainly undone, and never
//! puts stored data into an error.

mod connection;
mod queries;
mod schema;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::{PgPool, Row as _};

use self::connection::{Sending, in_call_time, notification};
use self::schema::Statements;
use super::codec::sealing_settings;
use super::notify::Hub;
use super::{
    Codec, Loaded, Revision, Sealer, StoreError, StoreTime, Swap, TokenStore, refuse_other_key,
};
#[cfg(feature = "config")]
use crate::parameters::{ConfigError, FromParameters, Secret, Span, set};
use crate::record::Record;
use crate::token::{Digest, Key};

/// How long the row of a pair stays after another pair replaced it.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Keeps records in a PostgreSQL database, for instances on many machines, and for operators who want to see in SQL which
/// session has which pair.
///
/// Each pair has a row of its own in the table `evertoken_pair`. At most one row of a session is `ACTIVE`; a unique index
/// guarantees that. A rotation is one transaction, of one statement. The old row becomes `INACTIVE` (`EXPIRED`, if its
/// access token had expired by the database's clock) and loses its tokens; the digests of both tokens, the `jti` and the
/// times stay. The new row is inserted. A session that ended has a row that is `REVOKED` (refused by the server, or
/// logged out) or `EXPIRED` (expired, idle, or of unknown outcome).
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
/// # The tables, and the rights on them
///
/// The tables are created on the first connection, in the schema that is first in the search path. Any number of instances
/// may do that at once. A user who may not create tables can use existing ones: let another user run
/// [`SCHEMA`](Self::SCHEMA), and grant `SELECT` on `evertoken_schema` and `SELECT, INSERT, UPDATE, DELETE` on
/// `evertoken_pair`. Two schemas are two stores (by `?options[search_path]=name` in the URL, or by the search path of the
/// role). Tables of version 2 are brought to version 3 on the first connection, or by [`UPGRADE`](Self::UPGRADE); instances that
/// are running go on meanwhile. Tables of another version are refused. The database has to be in UTF-8, and must not be a standby.
///
/// The column `pair` is the only one with a secret, as long as the row is its session's current one. With a [`Sealer`] it
/// is encrypted. Without a sealer the tokens are as safe as the database. They are in its backups, in its write-ahead log
/// and, until a vacuum, in the remains of replaced rows. They are in its log if the log contains the parameters of
/// statements (by `log_statement` or `log_min_duration_statement`, unless `log_parameter_max_length` is 0). In this
/// process they pass through buffers of sqlx, which are not zeroized.
///
/// # Changes, and poolers
///
/// After a swap the channel `evertoken` is notified, with the digest of the key and a number, and instances that wait for
/// one another receive that within milliseconds. For that a store listens on a connection of its own, from its first wait
/// until its last clone is dropped. Where notifications do not arrive, waiters read the record every 50 ms instead, and
/// every second where they do: an instance may be killed between the swap and the notification. A new lease is not
/// notified: waiters wait for a lease to end.
///
/// Behind PgBouncer in session mode everything works. In transaction mode notifications do not arrive, which is logged
/// once, and the names of prepared statements are mixed up, unless PgBouncer keeps them apart (version 1.21 or later, with
/// `max_prepared_statements` above zero). Where PgBouncer does not, put `statement-cache-capacity=0` into the URL. Then
/// each statement is sent without a name and in a transaction of its own, which takes three more round trips, and the
/// store does not listen. Connecting finds out how the pooler works: it carries out every statement for a session that
/// does not exist, and uses names on two connections at once. A pooler that is busy may pass that check.
///
/// # Failover
///
/// The store relies on what was acknowledged. So it sets `synchronous_commit` where that is `off` by default, and changes
/// no other setting of it. A standby that replays behind its primary and is promoted has lost the last writes. A lost
/// lease can make two instances spend one token; a lost pair is written again by the instance that holds it.
/// `synchronous_standby_names` prevents both. Revisions are microseconds of the database's clock, but at least one more
/// than before. So they do not repeat after such a loss, nor after a deletion, unless the clock was stepped back.
///
/// # Searching in SQL
///
/// `digest` and `access_digest` are the first 16 bytes of the SHA-256 of the refresh token and of the access token, as
/// [`Digest`] has them; each has an index. [`find`](TokenStore::find) and
/// [`find_by_access`](TokenStore::find_by_access) use them. To find the session of an access token:
///
/// ```sql
/// SELECT key, state, issued_at, access_expires_at FROM evertoken_pair
/// WHERE access_digest = substr(sha256(convert_to('the token', 'UTF8')), 1, 16);
/// ```
///
/// `upstream_session` and `upstream_subject` are the digests of the [OpenID provider's session and user](Record::upstream).
/// `key_digest` is the digest of the key; `jti` and the times are those of the pair. `record` is JSON, read by
/// `convert_from(record, 'UTF8')::json`: everything without a column of its own, such as the lease. `past` has the digests
/// of the last past tokens, one after the other.
///
/// # How long rows stay
///
/// Rows of replaced pairs are deleted 30 days after the replacement ([`retention`](Self::retention)): some with each
/// rotation of their session, and all of them by [`purge`](Self::purge). By these rows, [`find`](TokenStore::find) and
/// [`find_by_access`](TokenStore::find_by_access) find past tokens long after the record of the session has forgotten
/// them. As long as the record has a refresh token among the past ones, rotations keep the token's row, or insert one with
/// its digest again.
#[derive(Clone)]
pub struct PostgresStore {
    shared: Arc<Shared>,
    codec: Codec,
    retention: Duration,
}

struct Shared {
    pool: PgPool,
    statements: Statements,
    changes: Hub,
}

impl PostgresStore {
    /// The SQL that creates the tables. Another user can run it where the store's own user may not create tables.
    pub const SCHEMA: &'static str = schema::SCHEMA;

    /// The SQL that brings the tables of version 2 to version 3, which [`SCHEMA`](Self::SCHEMA) creates. Their owner can run it
    /// where the store's own user is another one.
    pub const UPGRADE: &'static str = schema::UPGRADE;

    /// Connects to the database at `postgres://user:password@host:port/database`.
    ///
    /// The parameters of the URL are those of sqlx 0.8: `sslmode` (default `prefer`; use `verify-full` on a network
    /// that is not yours alone), `sslrootcert`, `sslcert`, `sslkey`, `host`,
    /// `hostaddr`, `port`, `dbname`, `user`, `password`, `application_name`, `options` and `statement-cache-capacity`
    /// (or `statement_cache_capacity`; 0 for [poolers](Self#changes-and-poolers)). A missing
    /// parameter is taken from `PGHOST`, `PGUSER`, `PGPASSWORD` and so on, as by PostgreSQL's own programs. TLS comes
    /// with the feature `rustls`.
    ///
    /// The store has at most 8 connections, and one to listen. Give [`from_pool`](Self::from_pool) a pool of your own
    /// where thousands of sessions may rotate at once.
    ///
    /// # Errors
    ///
    /// If the URL is wrong, or the database cannot be reached, does not accept the user or cannot be used, see above.
    /// An error never contains the password.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let pool = connection::pool(connection::options(url)?);
        Self::over(pool, "connect to PostgreSQL").await
    }

    /// Makes a store that uses the connections of a pool of sqlx 0.8, and one more to listen.
    ///
    /// The pool's settings stay as they are. `test_before_acquire` costs a round trip for each call; without it, a swap
    /// fails when it meets a connection that has died.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    pub async fn from_pool(pool: PgPool) -> Result<Self, StoreError> {
        Self::over(pool, "use PostgreSQL").await
    }

    async fn over(pool: PgPool, what: &str) -> Result<Self, StoreError> {
        let preparing = async {
            let options = pool.connect_options();
            let sending = Sending::of(&options);
            // First, and not by the pool, which tries again until its time is over, and does not report the reason.
            let is_shared = schema::is_shared(&options, sending).await?;
            let mut connection = pool.acquire().await?;
            let statements = schema::prepare(&mut connection, sending).await;
            // The store may be used on another runtime, and a transaction that failed keeps its locks on the tables. An
            // error of closing does not matter any more.
            let _ = connection.close().await;
            Ok((statements?, is_shared))
        };
        let prepared = connection::in_time(connection::START, preparing).await;
        let (statements, is_shared) = prepared.map_err(|failure| failure.of(what))?;
        let deaf = match statements.sending {
            _ if is_shared => Some(connection::SHARED_POOLER),
            Sending::Unnamed => Some(connection::UNNAMED_STATEMENTS),
            Sending::Named => None,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                changes: connection::hub(pool.clone(), deaf),
                pool,
                statements,
            }),
            codec: Codec::plain(),
            retention: RETENTION,
        })
    }

    sealing_settings!();

    /// Sets how long the row of a replaced pair is kept. Default: 30 days.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Deletes every row whose pair was replaced longer ago than the [retention](Self::retention), and the sessions of
    /// which every token expired as long ago. Returns the number of rows.
    ///
    /// A rotation deletes old rows of its own session. So call this for sessions that do not rotate any more: now and
    /// then, from one instance or from all of them. A call has no time limit.
    ///
    /// # Errors
    ///
    /// If the database cannot be reached, or refuses.
    pub async fn purge(&self) -> Result<u64, StoreError> {
        let Shared {
            pool, statements, ..
        } = &*self.shared;
        let purging = async {
            let mut connection = pool.acquire().await?;
            let purge = sqlx::query(&statements.purge).bind(queries::to_millis(self.retention));
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
        in_call_time("load a session from PostgreSQL", self.read(key)).await
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
        let read = || in_call_time("read a revision in PostgreSQL", self.revision(&digest));
        let changes = &self.shared.changes;
        changes.changed(&digest.to_string(), seen, read).await;
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let statement = &self.shared.statements.find;
        let search = self.search(statement, digest);
        in_call_time("search PostgreSQL for a token", search).await
    }

    async fn find_by_access(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let statement = &self.shared.statements.find_by_access;
        let search = self.search(statement, digest);
        in_call_time("search PostgreSQL for an access token", search).await
    }

    async fn find_by_upstream(&self, mark: &Digest) -> Result<Option<Vec<Key>>, StoreError> {
        let what = "search PostgreSQL for the sessions of a provider";
        in_call_time(what, self.search_all(mark)).await.map(Some)
    }

    async fn swap_timed(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<(Swap, Option<StoreTime>), StoreError> {
        refuse_other_key(key, next)?;
        let replacing = self.replace(key, seen, next);
        let (swap, now, connection) =
            in_call_time("store a session in PostgreSQL", replacing).await?;
        // Not in the swap's own transaction: a transaction that notifies holds a lock of the whole server until it is on
        // the disk. With that, 64 writers made 1,400 swaps a second instead of 6,800.
        if let (Swap::Swapped(revision), Some(connection)) = (&swap, connection) {
            let change = notification(&key.digest(), *revision);
            connection.notify(change).await;
        }
        Ok((swap, Some(now)))
    }
}

/// Does not show the address of the database, nor the user or the password.
impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("schema", &self.shared.statements.schema)
            .field("codec", &self.codec)
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}

/// Why a statement failed. A failure never contains stored data: sqlx's own errors show the row that a constraint
/// refused.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The server refused.
    #[error("{message} (SQLSTATE {code})")]
    Refused { code: String, message: String },
    #[error("the connection failed: {0}")]
    Lost(String),
    #[error(
        "no connection in time: the server accepts none, or all connections of the pool are in use; check the server, or use a \
         larger pool"
    )]
    NoConnection,
    #[error("PostgreSQL has not answered within {} s; check the server and the network", .0.as_secs_f64())]
    Late(Duration),
    /// A pooler sent a statement to a connection of the server that knows another statement by this name, or none.
    #[error(
        "a pooler in front of PostgreSQL does not know prepared statements (SQLSTATE {code}); put \
         `statement-cache-capacity=0` into the URL, or use PgBouncer 1.21 or later with `max_prepared_statements` \
         above zero, or session mode"
    )]
    Unprepared { code: String },
    #[error("{0}")]
    Other(String),
    #[error("PostgreSQL's answer has an unexpected form; check whether the tables were changed")]
    Unreadable,
    /// The error is about the record itself, and is complete.
    #[error("{0}")]
    Record(StoreError),
}

impl Failure {
    /// Whether two statements were in conflict, and this one was undone.
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if ["40001", "40P01"].contains(&code.as_str()))
    }

    /// Whether the server or the connection was lost before there was an answer.
    fn is_loss(&self) -> bool {
        match self {
            Self::Lost(_) => true,
            Self::Refused { code, .. } => code.starts_with("57P") || code.starts_with("08"),
            _ => false,
        }
    }

    /// The error of a store whose task was `what`.
    fn of(self, what: &str) -> StoreError {
        match self {
            Self::Record(error) => error,
            failure => StoreError::with_source(format!("cannot {what}"), failure),
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default().into_owned();
                // The prepared statement is missing, or another one has its name.
                if ["26000", "42P05"].contains(&code.as_str()) {
                    return Self::Unprepared { code };
                }
                let message = error.message().to_owned();
                Self::Refused { code, message }
            }
            sqlx::Error::Io(error) => Self::Lost(error.to_string()),
            sqlx::Error::PoolTimedOut => Self::NoConnection,
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Decode(_) => Self::Unreadable,
            error => Self::Other(error.to_string()),
        }
    }
}

/// The error of an argument that cannot be encoded.
impl From<sqlx::error::BoxDynError> for Failure {
    fn from(_: sqlx::error::BoxDynError) -> Self {
        Self::Unreadable
    }
}

/// What a configuration says of a PostgreSQL store.
#[cfg(feature = "config")]
#[derive(serde::Deserialize)]
pub(crate) struct Parameters {
    url: Secret,
    retention: Option<Span>,
    seal: Option<crate::seal::Keys>,
    seal_accepts_plain: Option<bool>,
}

#[cfg(feature = "config")]
impl FromParameters for PostgresStore {
    type Parameters = Parameters;

    async fn from_parameters(parameters: Parameters) -> Result<Self, ConfigError> {
        let url = parameters.url.read_at("url")?;
        let codec = Codec::configured(parameters.seal, parameters.seal_accepts_plain).await?;
        let connecting = Self::connect(&url).await;
        let store = connecting.map_err(|error| ConfigError::not_made("url", error.into()))?;
        let store = Self { codec, ..store };
        let retention = parameters.retention.map(Duration::from);
        Ok(set(store, retention, Self::retention))
    }
}
