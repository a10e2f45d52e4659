//! Hearing of changes. One task listens for all who wait; it starts with the first of them, and ends with the
//! store.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::postgres::{PgArguments, PgListener};
use sqlx::query::Query;
use sqlx::{PgPool, Postgres};
use tokio::sync::broadcast::{self, Receiver, Sender};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::access;
use super::failure::Failure;
use crate::store::Revision;
use crate::token::{Digest, random};

/// As in the statements.
const CHANNEL: &str = "evertoken";

/// How many changes somebody may be behind; who is further behind looks.
const BEHIND: usize = 256;

/// How long one's own notification may take. It takes a millisecond.
const PROOF: Duration = Duration::from_secs(2);

/// After this time without any, there has to be a new proof that they arrive.
const QUIET: Duration = Duration::from_secs(30);

/// Pauses between attempts to listen, doubling from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

pub(super) struct Listener {
    pool: PgPool,
    /// Why the store does not listen.
    deaf: Option<Deaf>,
    topics: Topics,
    task: Mutex<Option<AbortHandle>>,
}

/// Why a store does not listen. A pooler in transaction mode gives the connection that listens to other clients,
/// which do not expect what it hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Deaf {
    /// The pooler was found: two connections shared one of the server.
    #[error("a pooler in transaction mode is in between")]
    SharedPooler,
    /// Statements have no names, as such a pooler needs it. Whether there is a pooler is not known.
    #[error(
        "statements are sent without names, as for a pooler in transaction mode; without such a pooler, take \
         `statement-cache-capacity=0` out of the URL"
    )]
    UnnamedStatements,
}

/// What is told on the channel: of a digest of a key, and of nothing that is secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) session: Digest,
    pub(super) revision: Revision,
}

impl Change {
    pub(super) fn notification(self) -> Query<'static, Postgres, PgArguments> {
        let Self { session, revision } = self;
        let payload = format!("{session} {}", revision.number());
        sqlx::query(include_str!("notify.sql")).bind(payload)
    }

    fn parse(payload: &str) -> Option<Self> {
        let (session, revision) = payload.split_once(' ')?;
        Some(Self {
            session: session.parse().ok()?,
            revision: Revision::new(revision.parse().ok()?),
        })
    }
}

/// What the task tells those who wait.
#[derive(Clone)]
struct Topics {
    /// `None` if whoever waits had better look.
    changes: Sender<Option<Change>>,
    are_heard: Arc<AtomicBool>,
    /// Whether the log says that nothing is heard. It says so once, also if the task starts again.
    is_reported: Arc<AtomicBool>,
}

impl Topics {
    /// That nothing is heard, and why: once, however many wait.
    fn report(&self, failure: &dyn fmt::Display) {
        if self.is_reported.swap(true, Ordering::AcqRel) {
            tracing::debug!(%failure, "PostgreSQL's notifications are still not heard");
        } else {
            tracing::warn!(
                %failure,
                "PostgreSQL's notifications do not arrive; instances that wait look for changes every 50 ms instead"
            );
        }
    }
}

impl Listener {
    pub(super) fn new(pool: PgPool, deaf: Option<Deaf>) -> Self {
        let (changes, _) = broadcast::channel(BEHIND);
        Self {
            pool,
            deaf,
            topics: Topics {
                changes,
                are_heard: Arc::default(),
                is_reported: Arc::default(),
            },
            task: Mutex::default(),
        }
    }

    /// What happens from now on.
    pub(super) fn notifications(&self) -> Notifications {
        let notifications = Notifications {
            changes: self.topics.changes.subscribe(),
            are_heard: Arc::clone(&self.topics.are_heard),
        };
        if let Some(reason) = self.deaf {
            self.topics.report(&reason);
            return notifications;
        }
        let mut task = self.task.lock();
        // Finished: with its runtime.
        if task.as_ref().is_none_or(AbortHandle::is_finished) {
            let listening = listen(self.pool.clone(), self.topics.clone());
            *task = Some(tokio::spawn(listening).abort_handle());
        }
        notifications
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut() {
            task.abort();
        }
    }
}

pub(super) struct Notifications {
    changes: Receiver<Option<Change>>,
    are_heard: Arc<AtomicBool>,
}

impl Notifications {
    /// Whether changes are heard of at present. If that changes, there is notifications.
    pub(super) fn are_heard(&self) -> bool {
        self.are_heard.load(Ordering::Acquire)
    }

    /// The next revision of this session; `None` if it has to be looked for.
    pub(super) async fn of(&mut self, session: &Digest) -> Option<Revision> {
        loop {
            match self.changes.recv().await {
                Ok(Some(change)) if change.session == *session => return Some(change.revision),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

async fn listen(pool: PgPool, topics: Topics) {
    // Also if the task ends with its runtime.
    let hearing = Hearing(topics);
    let mut pause = FIRST_PAUSE;
    loop {
        let failure = match hearing.hear(&pool).await {
            Ok(never) => match never {},
            Err(failure) => failure,
        };
        if hearing.set(false) {
            pause = FIRST_PAUSE;
        }
        hearing.0.report(&failure);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

enum Never {}

struct Hearing(Topics);

impl Hearing {
    /// Returns what it was before.
    fn set(&self, are_heard: bool) -> bool {
        let before = self.0.are_heard.swap(are_heard, Ordering::AcqRel);
        if before != are_heard {
            self.tell(None);
        }
        before
    }

    fn tell(&self, notifications: Option<Change>) {
        // Nobody waits at the moment: no error.
        let _ = self.0.changes.send(notifications);
    }

    /// Until the connection is lost, or notifications do not arrive. A pooler may give the connection that
    /// listens to somebody else, and a network may lose it without a word: so only what was heard is believed.
    async fn hear(&self, pool: &PgPool) -> Result<Never, Failure> {
        let mut listener = PgListener::connect_with(&access::pool_of_one(pool)).await?;
        listener.ignore_pool_close_event(true);
        // Or what happens until then would be lost without our knowing.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        let mut is_proven = false;
        prove(pool).await?;
        loop {
            let limit = if is_proven { QUIET } else { PROOF };
            match timeout(limit, listener.try_recv()).await {
                Ok(Ok(Some(notification))) => {
                    is_proven = true;
                    self.0.is_reported.store(false, Ordering::Release);
                    self.set(true);
                    if let Some(change) = Change::parse(notification.payload()) {
                        self.tell(Some(change));
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
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// A notification like any other, of a session that does not exist. By another connection: its own a listener
/// hears behind a pooler, too.
async fn prove(pool: &PgPool) -> Result<(), Failure> {
    let bits = random().map_err(|error| Failure::Other(error.to_string()))?;
    let nothing = Change {
        session: Digest::of(bits.to_le_bytes()),
        revision: Revision::new(0),
    };
    match timeout(PROOF, nothing.notification().execute(pool)).await {
        Ok(notified) => Ok(notified.map(|_| ())?),
        Err(_) => Err(Failure::Late(PROOF)),
    }
}
