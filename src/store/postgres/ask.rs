//! One statement, in its time, and once more where that can do no harm.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{PgPool, Postgres};

use super::failure::Failure;
use crate::store::StoreError;

/// How long a call may take. A manager gives its store 5 s by default, and is to learn from us what is in the way.
const LIMIT: Duration = Duration::from_secs(4);

/// How often a statement is tried. One more than there are connections in a pool of ours: all of them are dead when
/// the server was restarted.
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
    pub(super) async fn rows(
        self,
        arguments: impl Fn() -> Result<PgArguments, Failure>,
    ) -> Result<Vec<PgRow>, Failure> {
        let asking = async {
            let mut tries = 1;
            loop {
                match self.once(arguments()?).await {
                    Err(failure) if tries < TRIES && self.may_repeat(&failure) => tries += 1,
                    answer => return answer,
                }
            }
        };
        match tokio::time::timeout(LIMIT, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Late(LIMIT)),
        }
    }

    async fn once(&self, arguments: PgArguments) -> Result<Vec<PgRow>, Failure> {
        let mut connection = Borrowed::from(self.pool.acquire().await?);
        let query = sqlx::query_with(self.statement, arguments);
        let rows = query.fetch_all(&mut **connection).await?;
        connection.is_sound = true;
        Ok(rows)
    }

    fn may_repeat(&self, failure: &Failure) -> bool {
        failure.is_conflict() || self.repeat == Repeat::Freely && failure.is_loss()
    }
}

/// A connection that goes back to the pool only after an answer. One whose caller gave up may be waiting for a
/// lock, or for a server that is not there any more; and one with an error may lead to a server that is now a standby.
struct Borrowed {
    connection: PoolConnection<Postgres>,
    is_sound: bool,
}

impl From<PoolConnection<Postgres>> for Borrowed {
    fn from(connection: PoolConnection<Postgres>) -> Self {
        Self {
            connection,
            is_sound: false,
        }
    }
}

impl Deref for Borrowed {
    type Target = PoolConnection<Postgres>;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl DerefMut for Borrowed {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.connection
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if !self.is_sound {
            self.connection.close_on_drop();
        }
    }
}

/// Runs a sealer's work where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Failure> {
    let done = match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // What a panicking sealer says may hold what it was given.
        Err(died) if died.is_panic() => Err(StoreError::new("the sealer panicked")),
        Err(_) => Err(StoreError::new("the runtime is shutting down")),
    };
    done.map_err(Failure::Record)
}
