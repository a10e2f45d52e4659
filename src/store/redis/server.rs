use std::io;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Pipeline, RedisResult};
use tokio::time::Instant;

use super::failure::Address;
use crate::store::StoreError;
use crate::store::budget::Share;

/// The share of a call's time in which a connection has to be made, handshake and first question included. What
/// is left is for the answer.
fn connecting() -> Duration {
    (Share::current().work / 2).min(LONGEST)
}

/// What does not answer after this time is not there.
const LONGEST: Duration = Duration::from_secs(60);

/// How long an answer may take, which is longer than a busy server needs: what times out may have been written.
pub(super) fn answering(is_connected: bool) -> Duration {
    match is_connected {
        true => Share::current().work,
        false => Share::current().work - connecting(),
    }
}

/// The one policy under which a full server does not delete what it was given.
const KEEPS_ALL: &str = "noeviction";

/// With small packets sent at once: one task's command would wait for that of another to be acknowledged.
pub(super) fn prompt(client: Client) -> RedisResult<Client> {
    let info = client.get_connection_info().clone();
    let settings = info.tcp_settings().clone().set_nodelay(true);
    Client::open(info.set_tcp_settings(settings))
}

/// A connection to a server that sessions may be entrusted to. It is looked at each time: after a failover, it
/// may be another.
pub(super) async fn connect(
    client: &Client,
    address: &Address,
) -> Result<MultiplexedConnection, StoreError> {
    choose_cryptography(client);
    // Its own limits are half a second.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let until = Instant::now() + connecting();
    let mut connection = in_time(
        until,
        client.get_multiplexed_async_connection_with_config(&config),
    )
    .await
    .map_err(|error| address.unreached(&error))?;
    let mut questions = Pipeline::with_capacity(2);
    questions.cmd("INFO").arg("memory");
    questions.cmd("INFO").arg("replication").ignore_errors();
    // One by one: of errors together, the code is not told.
    let answers = in_time(until, questions.query_async(&mut connection)).await;
    let answers =
        answers.and_then(|answers: Vec<RedisResult<String>>| answers.into_iter().collect());
    let answers: Vec<_> =
        answers.map_err(|error| address.failed("asking for the INFO of", &error))?;
    let [memory, replication] = answers.try_into().unwrap_or_default();
    if stated(&replication, "role").is_some_and(|role| role != "master") {
        return Err(StoreError::new(format!(
            "Redis at {address} is a replica, which only has what its primary tells it; connect to the primary, by \
             a name that follows it"
        )));
    }
    match stated(&memory, "maxmemory_policy") {
        Some(KEEPS_ALL) => Ok(connection),
        Some(policy) => Err(StoreError::new(format!(
            "Redis at {address} deletes sessions once it is full, by its policy {policy}; set \
             `maxmemory-policy {KEEPS_ALL}` there, or use a server that is no cache"
        ))),
        None => Err(StoreError::new(format!(
            "Redis at {address} does not say whether it deletes sessions once it is full: its INFO has no \
             `maxmemory_policy`"
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

/// What belongs to a connection that listens, each in the time for making one.
pub(super) async fn step_in_time<T>(
    asking: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    in_time(Instant::now() + connecting(), asking).await
}

/// What a line of `INFO` says.
fn stated<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// The client library asks rustls for the cryptography of the process, which panics where a program has two and
/// has chosen none of them.
#[cfg(feature = "rustls")]
fn choose_cryptography(client: &Client) {
    use redis::ConnectionAddr;
    use rustls::crypto::{CryptoProvider, aws_lc_rs};

    let is_tls = matches!(
        client.get_connection_info().addr(),
        ConnectionAddr::TcpTls { .. }
    );
    if is_tls && CryptoProvider::get_default().is_none() {
        // Somebody else may have been faster, and that will do.
        let _ = aws_lc_rs::default_provider().install_default();
    }
}

/// Whoever chooses the TLS chooses the cryptography.
#[cfg(not(feature = "rustls"))]
fn choose_cryptography(_: &Client) {}
