//! One statement, in its time, and once more where that can do no harm.

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{PgPool, Postgres};
use tokio::time::timeout;

use super::failure::Failure;
use super::listen::Change;
use super::sending::Sending;
use crate::store::budget::Share;

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
    pub(super) sending: Sending,
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
        // What is left is for the answer. It is less than a pool waits by itself, which would not say that it is
        // the pool that is waited for.
        let limit = Share::current().work * 3 / 4;
        let connection = match timeout(limit, self.pool.acquire()).await {
            Ok(connection) => connection?,
            Err(_) => return Err(Failure::NoConnection),
        };
        let mut borrowed = Borrowed {
            connection,
            sending: self.sending,
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
    sending: Sending,
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
        let rows = self.sending.rows(&mut self.connection, query).await?;
        self.is_sound = true;
        Ok(rows)
    }

    /// Notifies others of a change that was made. If they are not reached, they find it a little later.
    pub(super) async fn notify(mut self, change: Change) {
        self.is_sound = false;
        let limit = Share::current().reserve / 2;
        let notifying = self
            .sending
            .rows(&mut self.connection, change.notification());
        match timeout(limit, notifying).await {
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
    let limit = Share::current().work;
    match timeout(limit, call).await {
        Ok(answer) => answer,
        Err(_) => Err(Failure::Late(limit)),
    }
}
