//! Listening for changes: one connection listens on one channel for the changes of all records.
//!
//! A listener is believed only while notifications arrive. A pooler may give the listening connection to another client,
//! and a network may lose it without an error. So the listener sends a notification through another connection, at the
//! start and after each quiet time, and has to receive it.

use std::convert::Infallible;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgListener};
use sqlx::query::Query;
use sqlx::{PgPool, Postgres};
use tokio::time::timeout;

use super::connection;
use super::failure::Failure;
use crate::store::notify::{Board, Hub};
use crate::store::{Revision, StoreError};
use crate::token::{Digest, random};

/// The channel. The statements have the same name.
const CHANNEL: &str = "evertoken";

/// Within this time the listener's own notification has to arrive. It takes a millisecond.
const PROOF: Duration = Duration::from_secs(2);

/// After this time without a notification, the listener needs a new proof.
const QUIET: Duration = Duration::from_secs(30);

/// The notification does not wait until it is on the disk.
const NOTIFY: &str =
    "SELECT set_config('synchronous_commit', 'off', true), pg_notify('evertoken', $1)";

/// Why a store does not listen. A pooler in transaction mode gives the listening connection to other clients, which do
/// not expect notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Deaf {
    /// The pooler was found: two connections shared one connection of the server.
    #[error(
        "a pooler in transaction mode is in front of PostgreSQL; use session mode to have notifications"
    )]
    SharedPooler,
    /// Statements have no names, as such a pooler needs it. Whether there is a pooler is not known.
    #[error(
        "statements are sent without names, as for a pooler in transaction mode; without such a pooler, take \
         `statement-cache-capacity=0` out of the URL"
    )]
    UnnamedStatements,
}

/// The change of a record. The notification contains the digest of the key and the revision, and nothing that is secret.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    pub(super) session: Digest,
    pub(super) revision: Revision,
}

impl Change {
    pub(super) fn notification(self) -> Query<'static, Postgres, PgArguments> {
        let Self { session, revision } = self;
        sqlx::query(NOTIFY).bind(format!("{session} {}", revision.number()))
    }
}

pub(super) fn hub(pool: PgPool, deaf: Option<Deaf>) -> Hub {
    Hub::new(move |board| {
        let pool = pool.clone();
        Box::pin(async move {
            if let Some(reason) = deaf {
                board.report(&StoreError::new(reason.to_string()));
                return std::future::pending().await;
            }
            let Err(failure) = listen(&pool, &board).await;
            StoreError::new(failure.to_string())
        })
    })
}

/// Until the connection is lost, or notifications do not arrive.
async fn listen(pool: &PgPool, board: &Board) -> Result<Infallible, Failure> {
    let mut listener = PgListener::connect_with(&connection::pool_of_one(pool)).await?;
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
    let proof = Change {
        session: Digest::of(bits.to_le_bytes()),
        revision: Revision::new(0),
    };
    let proving = async {
        proof.notification().execute(pool).await?;
        Ok(())
    };
    connection::in_time(PROOF, proving).await
}
