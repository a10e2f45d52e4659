//! Where the database is, and how many connections it is asked through.

use std::time::Duration;

use sqlx::pool::PoolConnectionMetadata;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection as _, PgConnection, PgPool};
use url::Url;

use super::failure::Failure;
use super::sending::CAPACITY;
use crate::store::budget::Share;
use crate::store::{StoreError, Zeroizing};

/// As many as a database of default size can give each of ten instances, with the one that listens.
const CONNECTIONS: u32 = 8;

/// How long the pool tries to give one; a call with less time waits for a share of that. Not longer: while the server
/// is down, a pool pauses between its attempts for up to a fifth of this time, and finds it up again that late.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a connection may have been idle and still be taken for alive.
const FRESH: Duration = Duration::from_secs(1);

/// For connecting, and for creating the tables after everybody else who started at the same time.
const START: Duration = Duration::from_secs(15);

/// sqlx ignores other parameters, and writes what they are set to in its log.
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

/// What a URL says. No error repeats a part of it: one that is mistyped has its password anywhere.
pub(super) fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let refused = |problem: String| {
        Err(StoreError::new(format!(
            "the URL of the database {problem}"
        )))
    };
    let Ok(mut url) = Url::parse(url) else {
        return refused("is none; it is postgres://user:password@host:port/database".to_owned());
    };
    if !["postgres", "postgresql"].contains(&url.scheme()) {
        return refused("must begin with postgres://".to_owned());
    }
    let is_known = |name: &str| PARAMETERS.contains(&name) || name.starts_with("options[");
    if url.query_pairs().any(|(name, _)| !is_known(&name)) {
        let known = PARAMETERS.join(", ");
        return refused(format!("has a parameter that is none; there are {known}"));
    }
    rename_capacity(&mut url);
    let Ok(options) = PgConnectOptions::from_url(&url) else {
        let problem = "has a wrong `sslmode`, `port`, `hostaddr` or `statement-cache-capacity`, or what is no \
                       UTF-8 behind a `%`";
        return refused(problem.to_owned());
    };
    // Nothing here is a floating-point number, and PgBouncer refuses the setting.
    let options = options.extra_float_digits(None);
    Ok(match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("evertoken"),
    })
}

/// sqlx knows one of the spellings, and all its other parameters are written like the other.
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

pub(super) async fn connection(options: &PgConnectOptions) -> Result<PgConnection, Failure> {
    Ok(PgConnection::connect_with(options).await?)
}

/// Connects when it is used.
pub(super) fn pool(options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .test_before_acquire(false)
        .before_acquire(|connection, metadata| Box::pin(alive(connection, metadata)))
        .connect_lazy_with(options)
}

/// One to listen through.
pub(super) fn pool_of_one(pool: &PgPool) -> PgPool {
    PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(PATIENCE)
        .connect_lazy_with((*pool.connect_options()).clone())
}

/// A round trip for connections that may have died meanwhile, and only for them.
async fn alive(
    connection: &mut PgConnection,
    metadata: PoolConnectionMetadata,
) -> Result<bool, sqlx::Error> {
    if metadata.idle_for < FRESH {
        return Ok(true);
    }
    // Where nobody answers, there has to be time for another connection.
    let limit = FRESH.min(Share::current().work / 4);
    match tokio::time::timeout(limit, connection.ping()).await {
        Ok(answered) => answered.map(|()| true),
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

/// Gives what is done at the start its time.
pub(super) async fn in_time<T>(
    starting: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(START, starting).await {
        Ok(started) => started,
        Err(_) => Err(Failure::Late(START)),
    }
}
