//! The tables and the statements, and the checks at the start: whether the tables are there and may be used, and
//! whether the statements can be carried out the way they will be sent.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{Arguments as _, Connection as _, Executor as _, PgConnection, Row as _};

use super::Failure;
use super::connection::{Sending, notification};
use super::queries::{columns, of_digest, to_millis};
use crate::record::Record;
use crate::store::{Codec, Revision};
use crate::token::{Key, TokenFamily, random};

/// The SQL that creates the tables.
pub(super) const SCHEMA: &str = include_str!("schema.sql");

/// The SQL that makes tables of this version out of those of the version before.
pub(super) const UPGRADE: &str = include_str!("upgrade.sql");

/// The version of the tables that [`SCHEMA`] creates.
const VERSION: i32 = 3;

/// The version of tables that were never released. They are not migrated.
const UNRELEASED: i32 = 1;

/// "evertoke" in ASCII: an instance that creates the tables holds this lock of the database.
const LOCK: i64 = 0x6576_6572_746f_6b65;

/// The SQLSTATE of a statement whose parameters differ from those of the statement that was prepared under its name.
const MIXED_UP: &str = "08P01";

const LOAD: &str = "
SELECT pair.record, pair.past, pair.pair, pair.revision, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
FROM (VALUES (1)) AS once
LEFT JOIN evertoken_pair AS pair ON pair.key_digest = $1 AND pair.retired_at IS NULL
";

const REVISION: &str =
    "SELECT revision FROM evertoken_pair WHERE key_digest = $1 AND retired_at IS NULL";

/// A row is written in one transaction with its record, so it does not need a confirmation. In a session whose refresh
/// tokens do not change, many rows have the same digest: one of them is enough.
const FIND: &str = "
SELECT key_digest, key
FROM (
    SELECT DISTINCT ON (key_digest) key_digest, key::text AS key, retired_at, id
    FROM evertoken_pair
    WHERE digest = $1
    ORDER BY key_digest, retired_at DESC NULLS FIRST, id DESC
) AS sessions
ORDER BY retired_at DESC NULLS FIRST, id DESC
";

/// Two searches of an index each, and not one with two conditions. A row that was replaced counts no more.
const FIND_BY_UPSTREAM: &str = "
SELECT key_digest, key::text FROM evertoken_pair WHERE upstream_session = $1 AND retired_at IS NULL
UNION ALL
SELECT key_digest, key::text FROM evertoken_pair WHERE upstream_subject = $1 AND retired_at IS NULL
";

/// Rows that another deletion or rotation has locked are skipped: two that wait for each other would end in a deadlock.
///
/// The check at the start binds false to `$2`: the server tests a condition without a column once, before it reads a row.
const PURGE: &str = "
WITH purged AS (DELETE FROM evertoken_pair WHERE $2 AND id IN (
    SELECT id FROM evertoken_pair
    WHERE coalesce(retired_at, needed_until) < clock_timestamp() - $1 * interval '1 millisecond'
    FOR UPDATE SKIP LOCKED
) RETURNING id)
SELECT count(*) FROM purged
";

/// The statements on the tables.
pub(super) struct Statements {
    /// The schema of the tables, quoted for SQL.
    pub(super) schema: String,
    pub(super) load: String,
    pub(super) first: String,
    pub(super) swap: String,
    pub(super) revision: String,
    pub(super) find: String,
    pub(super) find_by_access: String,
    pub(super) find_by_upstream: String,
    pub(super) purge: String,
    pub(super) sending: Sending,
}

impl Statements {
    /// The statements name the schema: behind a pooler, the search path may be that of another client.
    fn of(schema: String, sending: Sending) -> Self {
        let table = format!("{schema}.evertoken_pair");
        let on = |sql: &str| sql.replace("evertoken_pair", &table);
        Self {
            load: on(LOAD),
            first: on(include_str!("first.sql")),
            swap: on(include_str!("swap.sql")),
            revision: on(REVISION),
            find: on(FIND),
            find_by_access: on(&FIND.replace("WHERE digest", "WHERE access_digest")),
            find_by_upstream: on(FIND_BY_UPSTREAM),
            purge: on(PURGE),
            schema,
            sending,
        }
    }
}

/// Creates the tables if they are missing, and checks that they can be used.
pub(super) async fn prepare(
    connection: &mut PgConnection,
    sending: Sending,
) -> Result<Statements, Failure> {
    // One transaction for all statements: a pooler keeps to one connection of the server meanwhile.
    let mut transaction = connection.begin().await?;
    let schema = usable_schema(&mut transaction).await?;
    match version(&mut transaction, &schema).await? {
        None => bring(&mut transaction, &schema, None, SCHEMA).await?,
        Some(before) if before == VERSION - 1 => {
            bring(&mut transaction, &schema, Some(before), UPGRADE).await?;
        }
        Some(_) => {}
    }
    check_tables(&mut transaction, &schema).await?;
    transaction.commit().await?;
    let statements = Statements::of(schema, sending);
    try_statements(connection, &statements).await?;
    Ok(statements)
}

/// Checks the version of the tables, and the rights on them: at the start, and not at the first rotation.
async fn check_tables(connection: &mut PgConnection, schema: &str) -> Result<(), Failure> {
    match version(connection, schema).await? {
        Some(VERSION) => {}
        Some(UNRELEASED) => {
            return Err(Failure::Other(format!(
                "the tables in the schema {schema} are of version {UNRELEASED}, which was never released; drop \
                 evertoken_pair and evertoken_schema there and sign in anew, or use another schema"
            )));
        }
        Some(newer) => {
            return Err(Failure::Other(format!(
                "the tables in the schema {schema} are of version {newer}, and this version of evertoken knows up \
                 to {VERSION}; use the version of evertoken that created them, or a later one"
            )));
        }
        None => return Err(Failure::Unreadable),
    }
    let asked = sqlx::query(
        "SELECT string_agg(needed, ', ') \
         FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS needed \
         WHERE NOT has_table_privilege($1, needed)",
    );
    let table = format!("{schema}.evertoken_pair");
    let asked = asked.bind(&table).persistent(false);
    let missing: Option<String> = asked.fetch_one(connection).await?.try_get(0)?;
    missing.map_or(Ok(()), |missing| {
        Err(Failure::Other(format!(
            "this user lacks rights on the table {table}; grant {missing}"
        )))
    })
}

/// The first schema of the search path, quoted.
async fn usable_schema(connection: &mut PgConnection) -> Result<String, Failure> {
    let asked = sqlx::query(
        "SELECT quote_ident(current_schema()), current_setting('server_encoding'), \
         current_setting('transaction_read_only') = 'on'",
    );
    let row = asked.persistent(false).fetch_one(connection).await?;
    let (schema, encoding, is_read_only): (Option<String>, String, bool) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let problem = match schema {
        _ if encoding != "UTF8" => &format!("the database is in {encoding}; it must be in UTF8"),
        _ if is_read_only => "the database is read only, as a standby is; connect to the primary",
        Some(schema) => return Ok(schema),
        None => {
            "there is no schema in the search path that this user may use; set a search path, or grant USAGE on one"
        }
    };
    Err(Failure::Other(problem.to_owned()))
}

/// The version of the tables in the schema; `None` if there are none.
async fn version(connection: &mut PgConnection, schema: &str) -> Result<Option<i32>, Failure> {
    // Not by `to_regclass`, which may remember that the table was missing before another instance created it.
    let asked = sqlx::query(
        "SELECT EXISTS (SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace \
         WHERE relname = 'evertoken_schema' AND quote_ident(nspname) = $1)",
    );
    let asked = asked.bind(schema).persistent(false);
    let is_there = asked.fetch_one(&mut *connection).await?;
    if !is_there.try_get::<bool, _>(0)? {
        return Ok(None);
    }
    let select = format!("SELECT max(version) FROM {schema}.evertoken_schema");
    let asked = sqlx::query(&select).persistent(false);
    Ok(asked.fetch_one(connection).await?.try_get(0)?)
}

/// Creates the tables, or brings them to this version, unless another instance was faster. The lock is held until the whole
/// transaction ends.
async fn bring(
    connection: &mut PgConnection,
    schema: &str,
    before: Option<i32>,
    sql: &'static str,
) -> Result<(), Failure> {
    let mut transaction = connection.begin().await?;
    let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK);
    lock.persistent(false).execute(&mut *transaction).await?;
    if version(&mut transaction, schema).await? != before {
        return Ok(());
    }
    if let Err(error) = transaction.execute(sql).await {
        return Err(match Failure::from(error) {
            Failure::Refused { code, message } if code == "42501" => Failure::Other(match before {
                None => format!(
                    "the tables are missing in the schema {schema}, and this user may not create them ({message}); run \
                     `PostgresStore::SCHEMA` there as a user with that right"
                ),
                Some(before) => format!(
                    "the tables in the schema {schema} are of version {before}, and this user may not bring them to \
                     {VERSION} ({message}); run `PostgresStore::UPGRADE` there as their owner"
                ),
            }),
            failure => failure,
        });
    }
    Ok(transaction.commit().await?)
}

/// Carries out every statement for a session that does not exist, the way it will be sent. Nothing is changed by it.
async fn try_statements(
    connection: &mut PgConnection,
    statements: &Statements,
) -> Result<(), Failure> {
    let sending = statements.sending;
    // Each instance uses its own session, so instances do not wait for each other.
    let no_randomness = |error: getrandom::Error| Failure::Other(error.to_string());
    let bits = random().map_err(no_randomness)?;
    let key = Key::new("evertoken", "start").label(format!("{bits:032x}"));
    let digest = key.digest();
    for statement in [
        &statements.load,
        &statements.revision,
        &statements.find,
        &statements.find_by_access,
        &statements.find_by_upstream,
    ] {
        let query = sqlx::query_with(statement, of_digest(&digest)?);
        sending.rows(connection, query).await?;
    }
    let record = Record::vacant(key, TokenFamily::random().map_err(no_randomness)?);
    let parts = Codec::plain().encode_parts_async(&record).await;
    let parts = parts.map_err(Failure::Record)?;
    let mut arguments = columns(&record, &parts)?;
    arguments.add(0_i64)?;
    arguments.add(to_millis(Duration::MAX))?;
    let swap = sqlx::query_with(&statements.swap, arguments);
    sending.rows(connection, swap).await?;
    // `false`: a purge that is carried out reads the whole table.
    let purge = sqlx::query(&statements.purge)
        .bind(to_millis(Duration::MAX))
        .bind(false);
    sending.rows(connection, purge).await?;
    let nothing = notification(&digest, Revision::new(0));
    sending.rows(connection, nothing).await?;
    // The only statement that writes in any case.
    let mut undone = connection.begin().await?;
    let first = sqlx::query_with(&statements.first, columns(&record, &parts)?);
    let first = first.persistent(sending == Sending::Named);
    first.fetch_all(&mut *undone).await?;
    Ok(undone.rollback().await?)
}

/// Uses two connections in turn. Returns whether both are given the same connection of the server: a pooler in
/// transaction mode does that.
///
/// Each connection prepares a statement, under the first name that sqlx gives, and uses it again. Where both share a
/// connection of the server, and its names, one of them fails. A single connection would not show that.
pub(super) async fn is_shared(
    options: &PgConnectOptions,
    sending: Sending,
) -> Result<bool, Failure> {
    let mut one = PgConnection::connect_with(options).await?;
    let mut other = PgConnection::connect_with(options).await?;
    let used = async {
        let mut is_shared = false;
        for _ in 0..2 {
            let by_one = sqlx::query("SELECT pg_backend_pid(), $1::bigint").bind(1_i64);
            let by_one = sending.rows(&mut one, by_one).await?;
            let by_other = sqlx::query("SELECT pg_backend_pid(), $1::bigint, $2::bigint");
            let by_other = by_other.bind(1_i64).bind(2_i64);
            let by_other = sending.rows(&mut other, by_other).await?;
            is_shared |= process(&by_one)? == process(&by_other)?;
        }
        Ok(is_shared)
    };
    let used = used
        .await
        .map_err(|error: sqlx::Error| match Failure::from(error) {
            Failure::Refused { code, .. } if code == MIXED_UP => Failure::Unprepared { code },
            failure => failure,
        });
    for connection in [one, other] {
        // An error of closing does not matter any more.
        let _ = connection.close().await;
    }
    used
}

/// The process of the server that serves the connection. The server has one for each connection.
fn process(rows: &[PgRow]) -> Result<i32, sqlx::Error> {
    rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)
}
