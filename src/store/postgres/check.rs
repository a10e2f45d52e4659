//! Looks at the start whether the statements can be carried out that are sent later: the same statements, sent in the
//! same way. A pooler that does not know prepared statements lets a single connection pass.

use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::{Arguments as _, Connection as _, PgConnection, Row as _};

use super::access;
use super::failure::Failure;
use super::listen::Change;
use super::row::{self, Columns};
use super::schema::Statements;
use super::sending::Sending;
use crate::record::Record;
use crate::store::{Codec, Revision};
use crate::token::{Key, TokenFamily, random};

/// The SQLSTATE of a statement that has other parameters than the one that was prepared under its name.
const MIXED_UP: &str = "08P01";

/// Carries out every statement for a session that does not exist; nothing is changed by it.
pub(super) async fn statements(
    connection: &mut PgConnection,
    statements: &Statements,
) -> Result<(), Failure> {
    let sending = statements.sending;
    // Of its own for each instance: none waits for another.
    let bits = random().map_err(|error| Failure::Other(error.to_string()))?;
    let key = Key::new("evertoken", "start").label(format!("{bits:032x}"));
    let digest = key.digest();
    let of_digest = || -> Result<PgArguments, Failure> {
        let mut arguments = PgArguments::default();
        arguments.add(digest.as_bytes().as_slice())?;
        Ok(arguments)
    };
    for statement in [
        &statements.load,
        &statements.revision,
        &statements.find,
        &statements.find_by_access,
    ] {
        let query = sqlx::query_with(statement, of_digest()?);
        sending.rows(connection, query).await?;
    }
    let record = Record::vacant(key, TokenFamily::random().map_err(no_randomness)?);
    let parts = Codec::plain().encode_parts_aside(&record).await;
    let columns = Columns::of(&record, parts.map_err(Failure::Record)?)?;
    let mut arguments = columns.arguments()?;
    arguments.add(0_i64)?;
    arguments.add(row::millis(Duration::MAX))?;
    let swap = sqlx::query_with(&statements.swap, arguments);
    sending.rows(connection, swap).await?;
    let purge = sqlx::query(&statements.purge).bind(row::millis(Duration::MAX));
    // A purge that is carried out reads the whole table.
    let purge = purge.bind(false);
    sending.rows(connection, purge).await?;
    let change = Change {
        session: digest,
        revision: Revision::new(0),
    };
    sending.rows(connection, change.notification()).await?;
    // The only one that writes whatever is there.
    let mut undone = connection.begin().await?;
    let first = sqlx::query_with(&statements.first, columns.arguments()?);
    let first = first.persistent(sending == Sending::Named);
    first.fetch_all(&mut *undone).await?;
    Ok(undone.rollback().await?)
}

fn no_randomness(error: getrandom::Error) -> Failure {
    Failure::Other(error.to_string())
}

/// What two connections that are used in turn find out about the way to the server. Returns whether both are given
/// the same connection of the server: a pooler does that in transaction mode.
///
/// They prepare a statement each, under the first name that sqlx gives, and use it again. Where they share a
/// connection, and its names, one of them fails.
pub(super) async fn is_shared(
    options: &PgConnectOptions,
    sending: Sending,
) -> Result<bool, Failure> {
    let mut one = access::connection(options).await?;
    let mut other = access::connection(options).await?;
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
        // It was good for this, and what comes of closing it is of no interest.
        let _ = connection.close().await;
    }
    used
}

/// Of the server, which has one for each connection.
fn process(rows: &[PgRow]) -> Result<i32, sqlx::Error> {
    rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)
}
