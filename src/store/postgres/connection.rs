//! Connections: where the database is, how statements are sent, and how long a call may take.

use std::time::Duration;

use sqlx::pool::{PoolConnection, PoolConnectionMetadata};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::query::Query;
use sqlx::{ConnectOptions, Connection as _, PgConnection, PgPool, Postgres};
use tokio::time::timeout;
use url::Url;

use super::failure::Failure;
use crate::store::call::Share;
use crate::store::{StoreError, Zeroizing};

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

/// The parameter of a URL that chooses how statements are sent: in sqlx's spelling, and in that of all other parameters.
const CAPACITY: [&str; 2] = ["statement-cache-capacity", "statement_cache_capacity"];

/// The known parameters. sqlx ignores others, and writes their values to its log.
const PARAMETERS: [&str; 14] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    CAPACITY[0],
    CAPACITY[1],
];

/// The options of a URL. An error never repeats a part of the URL: a mistyped URL may have its password anywhere.
pub(super) fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let refused = |problem: String| {
        Err(StoreError::new(format!(
            "the URL of the database {problem}"
        )))
    };
    let Ok(mut url) = Url::parse(url) else {
        return refused(
            "is not a URL; write postgres://user:password@host:port/database".to_owned(),
        );
    };
    if !["postgres", "postgresql"].contains(&url.scheme()) {
        return refused("must begin with postgres://".to_owned());
    }
    let is_known = |name: &str| PARAMETERS.contains(&name) || name.starts_with("options[");
    if url.query_pairs().any(|(name, _)| !is_known(&name)) {
        let known = PARAMETERS.join(", ");
        return refused(format!(
            "has an unknown parameter; the parameters are {known}"
        ));
    }
    rename_capacity(&mut url);
    let Ok(options) = PgConnectOptions::from_url(&url) else {
        let problem = "has a wrong `sslmode`, `port`, `hostaddr` or `statement-cache-capacity`, or bytes after a \
                       `%` that are not UTF-8; correct it";
        return refused(problem.to_owned());
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

pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, Failure> {
    Ok(PgConnection::connect_with(options).await?)
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

/// A pool of one connection, to listen on.
pub(super) fn pool_of_one(pool: &PgPool) -> PgPool {
    PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(PATIENCE)
        .connect_lazy_with((*pool.connect_options()).clone())
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
    match timeout(limit, connection.ping()).await {
        Ok(answered) => answered.map(|()| true),
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

/// The result of `work`, or an error after `limit`.
pub(super) async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(Failure::Late(limit)),
    }
}

/// The result of `call` within the time of a store's call.
pub(super) async fn in_call_time<T>(
    call: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    in_time(Share::current().work, call).await
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
        match capacity {
            Some((_, capacity)) if capacity == "0" => Self::Unnamed,
            _ => Self::Named,
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

impl Repeat {
    fn permits(self, failure: &Failure) -> bool {
        failure.is_conflict() || self == Self::Freely && failure.is_loss()
    }
}

/// The answer to a statement, and the connection that it came by. The statement is tried again where `repeat` permits
/// that.
pub(super) async fn ask(
    pool: &PgPool,
    sending: Sending,
    statement: &str,
    repeat: Repeat,
    arguments: impl Fn() -> Result<PgArguments, Failure>,
) -> Result<(Vec<PgRow>, Borrowed), Failure> {
    let mut tries = 1;
    loop {
        let answer = ask_once(pool, sending, statement, arguments()?).await;
        match &answer {
            Err(failure) if tries < TRIES && repeat.permits(failure) => tries += 1,
            _ => return answer,
        }
    }
}

async fn ask_once(
    pool: &PgPool,
    sending: Sending,
    statement: &str,
    arguments: PgArguments,
) -> Result<(Vec<PgRow>, Borrowed), Failure> {
    // The rest of the time is for the answer. The limit is shorter than the pool's own, after which the pool would not
    // report that the pool was waited for.
    let limit = Share::current().work * 3 / 4;
    let connection = match timeout(limit, pool.acquire()).await {
        Ok(connection) => connection?,
        Err(_) => return Err(Failure::NoConnection),
    };
    let mut borrowed = Borrowed {
        connection,
        sending,
        is_sound: false,
    };
    let query = sqlx::query_with(statement, arguments);
    let rows = sending.rows(&mut borrowed.connection, query).await?;
    borrowed.is_sound = true;
    Ok((rows, borrowed))
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
