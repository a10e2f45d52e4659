//! How statements are sent: prepared by name, or without a name for poolers that do not keep names apart.

use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::query::Query;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Postgres};

/// The parameter of a URL that chooses: as sqlx writes it, and as the others are written.
pub(super) const CAPACITY: [&str; 2] = ["statement-cache-capacity", "statement_cache_capacity"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    /// Prepared once for each connection, and used again.
    Named,
    /// Prepared each time, in a transaction of its own. sqlx prepares and executes in two steps, and outside of a
    /// transaction a pooler may give these to two connections of the server.
    Unnamed,
}

impl Sending {
    /// A cache of no statements means that none may have a name. sqlx gives them names all the same, and never
    /// frees them.
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
