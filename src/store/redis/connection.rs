use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, Pipeline, RedisError, RedisResult, Value};

use super::failure::{self, Address};
use super::server;
use crate::store::StoreError;

/// One connection that everybody shares: made when it is needed, and made anew once it has failed.
///
/// The client library's own connection manager was refused. It keeps a connection whose commands time out,
/// although a peer that vanished without a word never closes it; and a reconnection that fails by anything else
/// than I/O (a password that is being changed) is its last one.
pub(super) struct Connection {
    client: Client,
    address: Address,
    open: Mutex<Option<Open>>,
    /// Held while a connection is made; the last failure.
    making: tokio::sync::Mutex<Option<Failed>>,
    attempts: AtomicU64,
}

#[derive(Clone)]
struct Open {
    connection: MultiplexedConnection,
    attempt: u64,
}

struct Failed {
    attempt: u64,
    error: StoreError,
}

/// Why there are no answers.
enum Fault {
    Unreached(StoreError),
    Failed(RedisError),
}

impl Connection {
    pub(super) fn new(client: Client, address: Address) -> Self {
        Self {
            client,
            address,
            open: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            attempts: AtomicU64::new(0),
        }
    }

    /// Sees to it that there is a connection.
    pub(super) async fn connect(&self) -> Result<(), StoreError> {
        self.connection().await.map(|_| ())
    }

    /// The answers to these commands, one by one, which are awaited for `least` at least.
    ///
    /// They are sent once. After a failure, they may have been carried out or not.
    pub(super) async fn write(
        &self,
        what: &str,
        mut commands: Pipeline,
        least: Duration,
    ) -> Result<Vec<RedisResult<Value>>, StoreError> {
        let answers = self.ask(commands.ignore_errors(), least).await;
        answers.map_err(|fault| self.quote(what, fault))
    }

    /// The answer to a command that changes nothing.
    ///
    /// It is asked twice where the connection turns out to be lost: servers and what lies on the way close
    /// those that were idle for long, and a runtime that ends takes those that were made on it along.
    pub(super) async fn read(
        &self,
        what: &str,
        command: Cmd,
    ) -> Result<RedisResult<Value>, StoreError> {
        let mut commands = Pipeline::with_capacity(1);
        commands.add_command(command).ignore_errors();
        let mut answers = self.ask(&commands, Duration::ZERO).await;
        if let Err(Fault::Failed(error)) = &answers
            && error.is_connection_dropped()
        {
            answers = self.ask(&commands, Duration::ZERO).await;
        }
        let answers = answers.map_err(|fault| self.quote(what, fault))?;
        Ok(answers.into_iter().next().unwrap_or(Ok(Value::Nil)))
    }

    async fn ask(
        &self,
        commands: &Pipeline,
        least: Duration,
    ) -> Result<Vec<RedisResult<Value>>, Fault> {
        let is_connected = self.open.lock().is_some();
        let open = self.connection().await.map_err(Fault::Unreached)?;
        let mut connection = open.connection;
        connection.set_response_timeout(server::answering(is_connected).max(least));
        let asked: RedisResult<Vec<RedisResult<Value>>> =
            commands.query_async(&mut connection).await;
        let is_over = match &asked {
            Err(error) => failure::is_over(error),
            Ok(answers) => answers
                .iter()
                .any(|answer| answer.as_ref().is_err_and(failure::is_over)),
        };
        if is_over {
            self.drop_if(open.attempt);
        }
        asked.map_err(Fault::Failed)
    }

    /// Others may be waiting for answers on it still; it closes with the last of them.
    fn drop_if(&self, attempt: u64) {
        self.open.lock().take_if(|open| open.attempt == attempt);
    }

    /// One makes it, and those who came meanwhile have it, or fail as that one did: with a server that does not
    /// answer, each would wait for all before it otherwise.
    async fn connection(&self) -> Result<Open, StoreError> {
        if let Some(open) = self.open.lock().clone() {
            return Ok(open);
        }
        let came_after = self.attempts.load(Ordering::SeqCst);
        let mut failed = self.making.lock().await;
        if let Some(open) = self.open.lock().clone() {
            return Ok(open);
        }
        if let Some(failed) = failed.as_ref().filter(|failed| failed.attempt > came_after) {
            return Err(failed.error.clone());
        }
        let attempt = self.attempts.fetch_add(1, Ordering::SeqCst) + 1;
        match server::connect(&self.client, &self.address).await {
            Ok(connection) => {
                let open = Open {
                    connection,
                    attempt,
                };
                *self.open.lock() = Some(open.clone());
                Ok(open)
            }
            Err(error) => {
                *failed = Some(Failed {
                    attempt,
                    error: error.clone(),
                });
                Err(error)
            }
        }
    }

    fn quote(&self, what: &str, fault: Fault) -> StoreError {
        match fault {
            Fault::Unreached(error) => error,
            Fault::Failed(error) => self.address.failed(what, &error),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}
