//! The connection to the server, and the checks of the server when the connection is made.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, RedisResult, Value};
use tokio::time::Instant;

use super::failure::{self, Address};
use crate::store::StoreError;
use crate::store::call::Share;

/// A connection that is not made within this time has failed.
const LONGEST: Duration = Duration::from_secs(60);

/// The one policy under which a full server does not delete records.
const KEEPS_ALL: &str = "noeviction";

/// One connection that all calls share: made when it is needed, and made anew once it has failed.
///
/// The client library's own connection manager was rejected. It keeps a connection whose commands time out, although a
/// peer that vanished never closes it. And a reconnection that fails by anything but I/O (a password that is being
/// changed) is the manager's last one.
pub(super) struct Connection {
    client: Client,
    address: Address,
    open: Mutex<Option<Open>>,
    /// The last failure; locked while a connection is made.
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

/// Why a call has no answers.
enum Fault {
    NotConnected(StoreError),
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

    /// Makes the connection, unless it is there.
    pub(super) async fn connect(&self) -> Result<(), StoreError> {
        self.connection().await.map(|_| ())
    }

    /// The answer to each of these commands. The answers are awaited for at least `least`.
    ///
    /// The commands are sent once. After a failure, the server may have carried them out.
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
    /// The command is sent twice if the connection turns out to be lost. Servers and proxies close connections that
    /// were idle for long, and a runtime that ends closes the connections that were made on it.
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
        let open = self.connection().await.map_err(Fault::NotConnected)?;
        let mut connection = open.connection;
        connection.set_response_timeout(answering(is_connected).max(least));
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

    /// Other calls may still wait for answers on the connection; it closes with the last of them.
    fn drop_if(&self, attempt: u64) {
        self.open.lock().take_if(|open| open.attempt == attempt);
    }

    /// One call makes the connection. The calls that came meanwhile share it, or share the failure: otherwise, with a
    /// server that does not answer, each call would wait for all the calls before it.
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
        match connect(&self.client, &self.address).await {
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
            Fault::NotConnected(error) => error,
            Fault::Failed(error) => self.address.failed(what, &error),
        }
    }
}

/// The client with TCP_NODELAY: small packets are sent at once. Otherwise the command of one task would wait until
/// the server has acknowledged that of another.
pub(super) fn without_delay(client: Client) -> RedisResult<Client> {
    let info = client.get_connection_info().clone();
    let settings = info.tcp_settings().clone().set_nodelay(true);
    Client::open(info.set_tcp_settings(settings))
}

/// A connection to a server that is a primary and keeps all records. The server is checked at each connection: after a
/// failover, another server may have the address.
async fn connect(client: &Client, address: &Address) -> Result<MultiplexedConnection, StoreError> {
    choose_cryptography(client);
    // The client library's own limits are half a second.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let until = Instant::now() + connecting();
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    let mut connection = in_time(until, connection)
        .await
        .map_err(|error| address.not_connected(&error))?;
    let mut questions = Pipeline::with_capacity(2);
    questions.cmd("INFO").arg("memory");
    questions.cmd("INFO").arg("replication").ignore_errors();
    // Each answer by itself: of several errors together, the client library does not report the code.
    let answers = in_time(until, questions.query_async(&mut connection)).await;
    let answers =
        answers.and_then(|answers: Vec<RedisResult<String>>| answers.into_iter().collect());
    let answers: Vec<_> =
        answers.map_err(|error| address.failed("asking for the INFO of", &error))?;
    let [memory, replication] = answers.try_into().unwrap_or_default();
    if stated(&replication, "role").is_some_and(|role| role != "master") {
        return Err(StoreError::new(format!(
            "Redis at {address} is a replica, which cannot be written to; connect to the primary, by a name that \
             follows it"
        )));
    }
    match stated(&memory, "maxmemory_policy") {
        Some(KEEPS_ALL) => Ok(connection),
        Some(policy) => Err(StoreError::new(format!(
            "Redis at {address} deletes sessions when it is full, because its `maxmemory-policy` is {policy}; set \
             `maxmemory-policy {KEEPS_ALL}` there, or use a server that is not a cache"
        ))),
        None => Err(StoreError::new(format!(
            "Redis at {address} does not report whether it deletes sessions when it is full: its INFO has no \
             `maxmemory_policy`; use a server that reports it"
        ))),
    }
}

async fn in_time<T>(
    until: Instant,
    asking: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    match tokio::time::timeout_at(until, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

/// A step of a connection that listens, within the time for making a connection.
pub(super) async fn step_in_time<T>(
    asking: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    in_time(Instant::now() + connecting(), asking).await
}

/// The part of a call's time in which a connection has to be made, with the handshake and the checks. The rest is for
/// the answer.
fn connecting() -> Duration {
    (Share::current().work / 2).min(LONGEST)
}

/// How long an answer may take: longer than a busy server needs, because a command that times out may have been carried
/// out.
fn answering(is_connected: bool) -> Duration {
    match is_connected {
        true => Share::current().work,
        false => Share::current().work - connecting(),
    }
}

/// The value of a field of `INFO`.
fn stated<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// Chooses the cryptography of the process where the program has not. The client library asks rustls for it, and rustls
/// panics where a program has two providers and has chosen neither.
#[cfg(feature = "rustls")]
fn choose_cryptography(client: &Client) {
    use redis::ConnectionAddr;
    use rustls::crypto::{CryptoProvider, aws_lc_rs};

    let is_tls = matches!(
        client.get_connection_info().addr(),
        ConnectionAddr::TcpTls { .. }
    );
    if is_tls && CryptoProvider::get_default().is_none() {
        // An error means that another thread has chosen meanwhile.
        let _ = aws_lc_rs::default_provider().install_default();
    }
}

/// Without the feature, the program that brings the TLS chooses the cryptography.
#[cfg(not(feature = "rustls"))]
fn choose_cryptography(_: &Client) {}
