//! The tables, and how they get there.

use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};

use super::check;
use super::failure::Failure;
use super::sending::Sending;

/// Creates the tables.
pub(super) const SCHEMA: &str = include_str!("schema.sql");

/// What [`SCHEMA`] is.
const VERSION: i32 = 2;

/// Of the tables of an unreleased version. They are not migrated.
const UNRELEASED: i32 = 1;

/// "evertoke": whoever creates the tables holds this lock of the database.
const LOCK: i64 = 0x6576_6572_746f_6b65;

const FIND: &str = include_str!("find.sql");

/// What can be asked of the tables.
pub(super) struct Statements {
    /// Where they are, quoted as SQL wants it.
    pub(super) schema: String,
    pub(super) load: String,
    pub(super) first: String,
    pub(super) swap: String,
    pub(super) revision: String,
    pub(super) find: String,
    pub(super) find_by_access: String,
    pub(super) purge: String,
    pub(super) sending: Sending,
}

impl Statements {
    /// With the schema in them: behind a pooler the search path may be somebody else's by then.
    fn of(schema: String, sending: Sending) -> Self {
        let table = format!("{schema}.evertoken_pair");
        let on = |sql: &str| sql.replace("evertoken_pair", &table);
        Self {
            load: on(include_str!("load.sql")),
            first: on(include_str!("first.sql")),
            swap: on(include_str!("swap.sql")),
            revision: on(include_str!("revision.sql")),
            find: on(FIND),
            find_by_access: on(&FIND.replace("WHERE digest", "WHERE access_digest")),
            purge: on(include_str!("purge.sql")),
            schema,
            sending,
        }
    }
}

/// Sees that the tables are there and can be used.
pub(super) async fn prepare(
    connection: &mut PgConnection,
    sending: Sending,
) -> Result<Statements, Failure> {
    // One transaction for all questions: a pooler keeps to one connection of the server meanwhile.
    let mut transaction = connection.begin().await?;
    let schema = usable_schema(&mut transaction).await?;
    if version(&mut transaction, &schema).await?.is_none() {
        create(&mut transaction, &schema).await?;
    }
    let schema = usable_tables(&mut transaction, schema).await?;
    transaction.commit().await?;
    let statements = Statements::of(schema, sending);
    check::statements(connection, &statements).await?;
    Ok(statements)
}

async fn usable_tables(connection: &mut PgConnection, schema: String) -> Result<String, Failure> {
    match version(connection, &schema).await? {
        Some(VERSION) => {}
        Some(UNRELEASED) => {
            return Err(Failure::Other(format!(
                "the tables in the schema {schema} are of version {UNRELEASED}, which was never released; drop \
                 evertoken_pair and evertoken_schema there and sign in anew, or use another schema"
            )));
        }
        Some(newer) => {
            return Err(Failure::Other(format!(
                "the tables in the schema {schema} are of version {newer}, and this version of evertoken knows \
                 up to {VERSION}; use the version that made them, or a later one"
            )));
        }
        None => return Err(Failure::Unreadable),
    }
    check_rights(connection, &schema).await?;
    Ok(schema)
}

/// The first of the search path, quoted.
async fn usable_schema(connection: &mut PgConnection) -> Result<String, Failure> {
    let asked = sqlx::query(
        "SELECT quote_ident(current_schema()), current_setting('server_encoding'), \
         current_setting('transaction_read_only') = 'on'",
    );
    let row = asked.persistent(false).fetch_one(connection).await?;
    let (schema, encoding, is_read_only): (Option<String>, String, bool) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let refused = |problem: String| Err(Failure::Other(problem));
    if encoding != "UTF8" {
        return refused(format!("the database is in {encoding}; it must be in UTF8"));
    }
    if is_read_only {
        return refused("the database is read only; is it a standby?".to_owned());
    }
    match schema {
        Some(schema) => Ok(schema),
        None => refused("there is no schema in the search path that this user may use".to_owned()),
    }
}

/// Of the tables in the schema; `None` if there are none.
async fn version(connection: &mut PgConnection, schema: &str) -> Result<Option<i32>, Failure> {
    // Not by `to_regclass`: it may remember that there was none before somebody else created it.
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

/// Unless another instance was faster. The lock is held until the whole transaction ends.
async fn create(connection: &mut PgConnection, schema: &str) -> Result<(), Failure> {
    let mut transaction = connection.begin().await?;
    let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK);
    lock.persistent(false).execute(&mut *transaction).await?;
    if version(&mut transaction, schema).await?.is_some() {
        return Ok(());
    }
    if let Err(error) = transaction.execute(SCHEMA).await {
        return Err(match Failure::from(error) {
            Failure::Refused { code, message } if code == "42501" => Failure::Other(format!(
                "the tables are missing in the schema {schema}, and this user may not create them ({message}); have \
                 somebody run `PostgresStore::SCHEMA` there"
            )),
            failure => failure,
        });
    }
    Ok(transaction.commit().await?)
}

/// At once, and not at the first rotation.
async fn check_rights(connection: &mut PgConnection, schema: &str) -> Result<(), Failure> {
    let asked = sqlx::query(
        "SELECT string_agg(needed, ', ') \
         FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS needed \
         WHERE NOT has_table_privilege($1, needed)",
    );
    let table = format!("{schema}.evertoken_pair");
    let asked = asked.bind(&table).persistent(false);
    let row = asked.fetch_one(connection).await?;
    match row.try_get::<Option<String>, _>(0)? {
        None => Ok(()),
        Some(missing) => Err(Failure::Other(format!(
            "this user lacks rights on the table {table}: {missing}"
        ))),
    }
}
