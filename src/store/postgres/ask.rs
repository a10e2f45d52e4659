//! One statement, in its time, and once more where that can do no harm.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{PgPool, Postgres};
use tokio::time::timeout;

use super::failure::Failure;
use super::listen::Change;

/// How long a call may take. A manager gives its store 5 s by default, and is to learn from us what is in the
/// way.
const LIMIT: Duration = Duration::from_secs(4);

/// How long others may take to be notified, after that. It takes a millisecond.
const NEWS: Duration = Duration::from_millis(500);

/// How often a statement is tried. One more than there are connections in a pool of ours: all of them are dead
/// when the server was restarted.
const TRIES: u32 = 9;

/// What may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// What certainly did not happen.
    Undone,
    /// What may have happened, too: it only reads.
    Freely,
}

pub(super) struct Ask<'a> {
    pub(super) pool: &'a PgPool,
    pub(super) statement: &'a str,
    pub(super) repeat: Repeat,
}

impl Ask<'_> {
    /// The answer, and the connection that it came by.
    pub(super) async fn rows(
        self,
        arguments: impl Fn() -> Result<PgArguments, Failure>,
    ) -> Result<(Vec<PgRow>, Borrowed), Failure> {
        let mut tries = 1;
        loop {
            match self.once(arguments()?).await {
                Err(failure) if tries < TRIES && self.may_repeat(&failure) => tries += 1,
                answer => return answer,
            }
        }
    }

    async fn once(&self, arguments: PgArguments) -> Result<(Vec<PgRow>, Borrowed), Failure> {
        let mut borrowed = Borrowed {
            connection: self.pool.acquire().await?,
            is_sound: false,
        };
        let rows = borrowed.rows(self.statement, arguments).await?;
        Ok((rows, borrowed))
    }

    fn may_repeat(&self, failure: &Failure) -> bool {
        failure.is_conflict() || self.repeat == Repeat::Freely && failure.is_loss()
    }
}

/// A connection that goes back to the pool only after an answer. One whose caller gave up may be waiting for a
/// lock, or for a server that is not there any more; and one with an error may lead to a server that is now a
/// standby.
pub(super) struct Borrowed {
    connection: PoolConnection<Postgres>,
    is_sound: bool,
}

impl Borrowed {
    async fn rows(
        &mut self,
        statement: &str,
        arguments: PgArguments,
    ) -> Result<Vec<PgRow>, Failure> {
        self.is_sound = false;
        let query = sqlx::query_with(statement, arguments);
        let rows = query.fetch_all(&mut *self.connection).await?;
        self.is_sound = true;
        Ok(rows)
    }

    /// Notifies others of a change that was made. If they are not reached, they find it a little later.
    pub(super) async fn notify(mut self, change: Change) {
        self.is_sound = false;
        let notifying = change.notification().execute(&mut *self.connection);
        match timeout(NEWS, notifying).await {
            Ok(Ok(_)) => self.is_sound = true,
            _ => tracing::debug!("a change was stored, and others could not be notified of it"),
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

/// Gives a call its time.
pub(super) async fn in_time<T>(
    call: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match timeout(LIMIT, call).await {
        Ok(answer) => answer,
        Err(_) => Err(Failure::Late(LIMIT)),
    }
}
