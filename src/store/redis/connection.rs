//! The connection to the server, the checks of the server when the connection is made, and the connection that listens: it
//! subscribes to the channel of each record that a caller waits for.

use std::collections::HashSet;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use parking_lot::Mutex;
use redis::aio::{MultiplexedConnection, PubSubSink};
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, RedisResult, Value};
use tokio::time::{Instant, sleep, timeout_at};

use super::WRITING;
use super::failure::{self, Address};
use crate::store::notify::{Board, Hub};
use crate::store::{Share, StoreError};

/// A connection that is not made within this time has failed.
const LONGEST: Duration = Duration::from_secs(60);

/// The one policy under which a full server does not delete records.
const KEEPS_ALL: &str = "noeviction";

/// After this time without a message the server is asked whether it is there. A peer that vanished without closing
/// the connection would be listened to forever.
const SILENCE: Duration = Duration::from_secs(5);

/// One connection that all calls share: made when it is needed, and made anew once it has failed.
///
/// The client library's own connection manager was rejected. It keeps a connection whose commands time out, although a
/// peer that vanished never closes it. And a reconnection that fails by anything but I/O (a password that is being
/// changed) is the manager's last one.
pub(super) struct Connection {
    client: Client,
    address: Address,
    open: Mutex<Option<Open>>,
    /// The last attempt that failed; locked while a connection is made.
    making: tokio::sync::Mutex<Option<(u64, StoreError)>>,
    attempts: AtomicU64,
}

/// The number of the attempt, and the connection that it made.
type Open = (u64, MultiplexedConnection);

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

    /// The answer to each of these commands. The answers are awaited for at least `least`.
    ///
    /// The commands are sent once. After a failure, the server may have carried them out.
    pub(super) async fn write(
        &self,
        mut commands: Pipeline,
        least: Duration,
    ) -> Result<Vec<RedisResult<Value>>, StoreError> {
        self.ask(WRITING, commands.ignore_errors(), least, 1).await
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
        let answers = self.ask(what, &commands, Duration::ZERO, 2).await?;
        Ok(answers.into_iter().next().unwrap_or(Ok(Value::Nil)))
    }

    /// Sends the commands; `tries` times at most, if the connection turns out to be lost.
    async fn ask(
        &self,
        what: &str,
        commands: &Pipeline,
        least: Duration,
        mut tries: u32,
    ) -> Result<Vec<RedisResult<Value>>, StoreError> {
        loop {
            let is_connected = self.open.lock().is_some();
            let (attempt, mut connection) = self.connection().await?;
            connection.set_response_timeout(answering(is_connected).max(least));
            let asked: RedisResult<Vec<RedisResult<Value>>> =
                commands.query_async(&mut connection).await;
            let is_over = match &asked {
                Err(error) => failure::is_over(error),
                Ok(answers) => {
                    let mut errors = answers.iter().filter_map(|answer| answer.as_ref().err());
                    errors.any(failure::is_over)
                }
            };
            if is_over {
                // Other calls may still wait for answers on the connection; it closes with the last of them.
                self.open.lock().take_if(|(open, _)| *open == attempt);
            }
            tries -= 1;
            match asked {
                Err(error) if tries > 0 && error.is_connection_dropped() => {}
                asked => return asked.map_err(|error| self.address.failed(what, &error)),
            }
        }
    }

    /// One call makes the connection. The calls that came meanwhile share it, or share the failure: otherwise, with a
    /// server that does not answer, each call would wait for all the calls before it.
    pub(super) async fn connection(&self) -> Result<Open, StoreError> {
        if let Some(open) = self.open.lock().clone() {
            return Ok(open);
        }
        let came_after = self.attempts.load(Ordering::SeqCst);
        let mut failed = self.making.lock().await;
        if let Some(open) = self.open.lock().clone() {
            return Ok(open);
        }
        if let Some((attempt, error)) = &*failed
            && *attempt > came_after
        {
            return Err(error.clone());
        }
        let attempt = self.attempts.fetch_add(1, Ordering::SeqCst) + 1;
        let connected = connect(&self.client, &self.address).await;
        let connected = connected.inspect_err(|error| *failed = Some((attempt, error.clone())));
        Ok(self.open.lock().insert((attempt, connected?)).clone())
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
    let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut).into());
    timeout_at(until, asking).await.unwrap_or_else(late)
}

/// A step of a connection that listens, within the time for making a connection.
async fn step_in_time<T>(asking: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
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

pub(super) fn hub(client: Client, address: Address) -> Hub {
    Hub::new(move |board| {
        let (client, address) = (client.clone(), address.clone());
        Box::pin(async move {
            let Err(error) = listen(&client, &board).await;
            address.failed("listening for changes at", &error)
        })
    })
}

/// Until the connection fails.
async fn listen(client: &Client, board: &Arc<Board>) -> RedisResult<Infallible> {
    let connection = step_in_time(client.get_async_pubsub()).await?;
    let (mut sink, mut messages) = connection.split();
    let mut followed = HashSet::new();
    loop {
        tokio::select! {
            due = board.due() => adjust(&mut sink, board, &mut followed, due).await?,
            message = messages.next() => match message {
                Some(message) => board.notify(message.get_channel_name(), None),
                None => return Err(RedisError::from(io::Error::from(io::ErrorKind::UnexpectedEof))),
            },
            () = sleep(SILENCE), if !followed.is_empty() => {
                let _: Value = step_in_time(sink.ping()).await?;
            }
        }
    }
}

/// Subscribes to the channels that callers wait for, and unsubscribes from those that no caller waits for.
async fn adjust(
    sink: &mut PubSubSink,
    board: &Board,
    followed: &mut HashSet<String>,
    due: Vec<String>,
) -> RedisResult<()> {
    let (mut begun, mut ended) = (Vec::new(), Vec::new());
    for channel in due {
        if !board.is_awaited(&channel) {
            ended.extend(followed.take(&channel));
        } else if followed.insert(channel.clone()) {
            begun.push(channel);
        } else {
            // The last waiter left, and another one entered before the channel was unsubscribed from.
            board.heard(Some(&channel));
        }
    }
    if !begun.is_empty() {
        step_in_time(sink.subscribe(&begun)).await?;
        begun.iter().for_each(|channel| board.heard(Some(channel)));
    }
    if !ended.is_empty() {
        step_in_time(sink.unsubscribe(&ended)).await?;
    }
    Ok(())
}
