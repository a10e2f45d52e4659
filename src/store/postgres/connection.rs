//! Connections: where the database is, how statements are sent, and how long a call may take. One more connection listens
//! on one channel for the changes of all records.
//!
//! A listener is believed only while notifications arrive. A pooler may give the listening connection to another client,
//! and a network may lose it without an error. So the listener sends a notification through another connection, at the
//! start and after each quiet time, and has to receive it.

use std::convert::Infallible;
use std::time::Duration;

use sqlx::pool::{PoolConnection, PoolConnectionMetadata};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgListener, PgPoolOptions, PgRow};
use sqlx::query::Query;
use sqlx::{ConnectOptions, Connection as _, PgConnection, PgPool, Postgres};
use tokio::time::timeout;
use url::Url;

use super::{Failure, PostgresStore};
use crate::store::notify::{Board, Hub};
use crate::store::{Revision, Share, StoreError, Zeroizing};
use crate::token::{Digest, random};

/// The connections of a pool: as many as a database of default size can give to each of ten instances, beside the one
/// connection that listens.
const CONNECTIONS: u32 = 8;

/// How often a statement is tried. One more than the connections of a pool: after a restart of the server, all of them
/// are dead.
const TRIES: u32 = CONNECTIONS + 1;

/// How long the pool tries to get a connection; a call with less time waits for a share of its time. Not longer: while
/// the server is down, a pool pauses between its attempts for up to a fifth of this time, and notices that late that the
/// server is up again.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a connection may have been idle and still be used without a check.
const FRESH: Duration = Duration::from_secs(1);

/// For connecting, and for creating the tables after all other instances that started at the same time.
pub(super) const START: Duration = Duration::from_secs(15);

/// The channel. The statements have the same name.
const CHANNEL: &str = "evertoken";

/// Within this time the listener's own notification has to arrive. It takes a millisecond.
const PROOF: Duration = Duration::from_secs(2);

/// After this time without a notification, the listener needs a new proof.
const QUIET: Duration = Duration::from_secs(30);

/// The notification does not wait until it is on the disk.
const NOTIFY: &str =
    "SELECT set_config('synchronous_commit', 'off', true), pg_notify('evertoken', $1)";

/// Why a store does not listen: a pooler was found, as two connections shared one connection of the server. A pooler in
/// transaction mode gives the listening connection to other clients, which do not expect notifications.
pub(super) const SHARED_POOLER: &str = "a pooler in transaction mode is in front of PostgreSQL; use session mode to have notifications";

/// Why a store does not listen: statements have no names, as such a pooler needs it. Whether there is a pooler is not
/// known.
pub(super) const UNNAMED_STATEMENTS: &str = "statements are sent without names, as for a pooler in transaction mode; \
                                             without such a pooler, take `statement-cache-capacity=0` out of the URL";

/// The parameter of a URL that chooses how statements are sent: in sqlx's spelling, and in that of all other parameters.
const CAPACITY: [&str; 2] = ["statement-cache-capacity", "statement_cache_capacity"];

/// The known parameters. sqlx ignores others, and writes their values to its log.
const PARAMETERS: &str = "sslmode, sslrootcert, sslcert, sslkey, host, hostaddr, port, dbname, user, password, \
                          application_name, options, statement-cache-capacity, statement_cache_capacity";

/// The options of a URL. An error never repeats a part of the URL: a mistyped URL may have its password anywhere.
pub(super) fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let refused = |problem: &str| {
        let what = format!("the URL of the database {problem}");
        Err(StoreError::new(what))
    };
    let Ok(mut url) = Url::parse(url) else {
        return refused("is not a URL; write postgres://user:password@host:port/database");
    };
    if !["postgres", "postgresql"].contains(&url.scheme()) {
        return refused("must begin with postgres://");
    }
    let is_known =
        |name: &str| name.starts_with("options[") || PARAMETERS.split(", ").any(|one| one == name);
    if url.query_pairs().any(|(name, _)| !is_known(&name)) {
        let problem = format!("has an unknown parameter; the parameters are {PARAMETERS}");
        return refused(&problem);
    }
    rename_capacity(&mut url);
    let Ok(options) = PgConnectOptions::from_url(&url) else {
        return refused(
            "has a wrong `sslmode`, `port`, `hostaddr` or `statement-cache-capacity`, or bytes after a `%` that are \
             not UTF-8; correct it",
        );
    };
    // No column is a floating-point number, and PgBouncer refuses the setting.
    let options = options.extra_float_digits(None);
    Ok(match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("evertoken"),
    })
}

/// Replaces the spelling of the parameter that sqlx does not know by the one that it knows.
fn rename_capacity(url: &mut Url) {
    let Some(query) = url.query() else { return };
    let renamed: Vec<_> = query
        .split('&')
        .map(|pair| match pair.strip_prefix(CAPACITY[1]) {
            Some(value) if value.starts_with('=') => format!("{}{value}", CAPACITY[0]),
            _ => pair.to_owned(),
        })
        .collect();
    let renamed = Zeroizing::new(renamed.join("&"));
    url.set_query(Some(&renamed));
}

/// A pool that connects when it is used.
pub(super) fn pool(options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .test_before_acquire(false)
        .before_acquire(|connection, metadata| Box::pin(is_alive(connection, metadata)))
        .connect_lazy_with(options)
}

/// Checks a connection that was idle, by a round trip.
async fn is_alive(
    connection: &mut PgConnection,
    metadata: PoolConnectionMetadata,
) -> Result<bool, sqlx::Error> {
    if metadata.idle_for < FRESH {
        return Ok(true);
    }
    // If the server does not answer, time has to remain for another connection.
    let limit = FRESH.min(Share::current().work / 4);
    let answered = timeout(limit, connection.ping()).await;
    answered.map_or(Err(sqlx::Error::PoolTimedOut), |answer| {
        answer.map(|()| true)
    })
}

/// The result of `work`, or an error after `limit`.
pub(super) async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout(limit, work)
        .await
        .unwrap_or(Err(Failure::Late(limit)))
}

/// The result of `call`, whose task is `what`, within the time of a store's call.
pub(super) async fn in_call_time<T>(
    what: &str,
    call: impl Future<Output = Result<T, Failure>>,
) -> Result<T, StoreError> {
    let result = in_time(Share::current().work, call).await;
    result.map_err(|failure| failure.of(what))
}

/// How statements are sent: by name, or without a name for poolers that do not keep the names of clients apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    /// Prepared once for each connection, and used again.
    Named,
    /// Prepared each time, in a transaction of its own. sqlx prepares and executes in two steps, and outside of a
    /// transaction a pooler may send these to two connections of the server.
    Unnamed,
}

impl Sending {
    /// A cache capacity of 0 means that statements must not have names. sqlx by itself names them all the same, and
    /// never frees the names.
    pub(super) fn of(options: &PgConnectOptions) -> Self {
        let url = options.to_url_lossy();
        let capacity = url.query_pairs().find(|(name, _)| name == CAPACITY[0]);
        match capacity.is_some_and(|(_, capacity)| capacity == "0") {
            true => Self::Unnamed,
            false => Self::Named,
        }
    }

    pub(super) async fn rows(
        self,
        connection: &mut PgConnection,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        match self {
            Self::Named => query.fetch_all(connection).await,
            Self::Unnamed => {
                let mut transaction = connection.begin().await?;
                let rows = query.persistent(false).fetch_all(&mut *transaction).await?;
                transaction.commit().await?;
                Ok(rows)
            }
        }
    }
}

/// Which statements may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Those that were certainly not carried out.
    Undone,
    /// Those that may have been carried out as well: the statement only reads.
    Freely,
}

impl PostgresStore {
    /// The answer to a statement, and the connection that it came by. The statement is tried again where `repeat` permits
    /// that.
    pub(super) async fn ask(
        &self,
        statement: &str,
        repeat: Repeat,
        arguments: impl Fn() -> Result<PgArguments, Failure>,
    ) -> Result<(Vec<PgRow>, Borrowed), Failure> {
        let mut tries = 1;
        loop {
            let answer = self.ask_once(statement, arguments()?).await;
            let may_repeat = answer.as_ref().is_err_and(|failure| {
                failure.is_conflict() || repeat == Repeat::Freely && failure.is_loss()
            });
            if tries == TRIES || !may_repeat {
                return answer;
            }
            tries += 1;
        }
    }

    async fn ask_once(
        &self,
        statement: &str,
        arguments: PgArguments,
    ) -> Result<(Vec<PgRow>, Borrowed), Failure> {
        // The rest of the time is for the answer. The limit is shorter than the pool's own, after which the pool would
        // not report that the pool was waited for.
        let limit = Share::current().work * 3 / 4;
        let acquired = timeout(limit, self.shared.pool.acquire()).await;
        let mut borrowed = Borrowed {
            connection: acquired.map_err(|_| Failure::NoConnection)??,
            sending: self.shared.statements.sending,
            is_sound: false,
        };
        let query = sqlx::query_with(statement, arguments);
        let rows = borrowed
            .sending
            .rows(&mut borrowed.connection, query)
            .await?;
        borrowed.is_sound = true;
        Ok((rows, borrowed))
    }
}

/// A connection that returns to the pool only after an answer. A connection whose caller gave up may be waiting for a
/// lock, or for a server that has vanished; one with an error may lead to a server that is now a standby.
pub(super) struct Borrowed {
    connection: PoolConnection<Postgres>,
    sending: Sending,
    is_sound: bool,
}

impl Borrowed {
    /// Sends the notification of a change that was stored. Waiters that are not notified find the change by polling.
    pub(super) async fn notify(mut self, notification: Query<'_, Postgres, PgArguments>) {
        self.is_sound = false;
        let limit = Share::current().reserve / 2;
        let notifying = self.sending.rows(&mut self.connection, notification);
        match timeout(limit, notifying).await {
            Ok(Ok(_)) => self.is_sound = true,
            _ => tracing::debug!(
                "a change was stored, and its notification failed; waiting instances find the change when they next read the record"
            ),
        }
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if !self.is_sound {
            self.connection.close_on_drop();
        }
    }
}

/// The notification of a change: the digest of the key and the revision, and nothing that is secret.
pub(super) fn notification(
    session: &Digest,
    revision: Revision,
) -> Query<'static, Postgres, PgArguments> {
    sqlx::query(NOTIFY).bind(format!("{session} {}", revision.number()))
}

pub(super) fn hub(pool: PgPool, deaf: Option<&'static str>) -> Hub {
    Hub::new(move |board| {
        let pool = pool.clone();
        Box::pin(async move {
            if let Some(reason) = deaf {
                board.report(&StoreError::new(reason));
                return std::future::pending().await;
            }
            let Err(failure) = listen(&pool, &board).await;
            StoreError::new(failure.to_string())
        })
    })
}

/// Until the connection is lost, or notifications do not arrive.
async fn listen(pool: &PgPool, board: &Board) -> Result<Infallible, Failure> {
    let pool_of_one = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(PATIENCE)
        .connect_lazy_with((*pool.connect_options()).clone());
    let mut listener = PgListener::connect_with(&pool_of_one).await?;
    listener.ignore_pool_close_event(true);
    // A reconnection by sqlx would hide that notifications were lost meanwhile.
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    let mut is_proven = false;
    prove(pool).await?;
    loop {
        let limit = if is_proven { QUIET } else { PROOF };
        match timeout(limit, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => {
                is_proven = true;
                board.heard(None);
                if let Some((session, revision)) = notification.payload().split_once(' ')
                    && let Ok(revision) = revision.parse()
                {
                    board.notify(session, Some(Revision::new(revision)));
                }
            }
            Ok(Ok(None)) => return Err(Failure::Lost("the server closed it".to_owned())),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) if is_proven => {
                is_proven = false;
                prove(pool).await?;
            }
            Err(_) => return Err(Failure::Late(PROOF)),
        }
    }
}

/// Sends a notification of a session that does not exist, through another connection: behind a pooler too, a listener
/// hears the notifications of its own connection.
async fn prove(pool: &PgPool) -> Result<(), Failure> {
    let bits = random().map_err(|error| Failure::Other(error.to_string()))?;
    let proof = notification(&Digest::of(bits.to_le_bytes()), Revision::new(0));
    let proving = async { Ok(proof.execute(pool).await?) };
    in_time(PROOF, proving).await.map(|_| ())
}
