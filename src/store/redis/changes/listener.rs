use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::{PubSub, PubSubSink};
use redis::{Client, RedisError, RedisResult, Value};
use tokio::sync::mpsc::UnboundedReceiver;

use super::Topics;
use crate::store::redis::failure::Address;
use crate::store::redis::server::step_in_time;

/// After a connection failed, doubling from the first to the last. Meanwhile those who wait look for themselves.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long nothing may be heard before the server is asked whether it is there: a peer that vanished without a
/// word would be listened to forever.
const SILENCE: Duration = Duration::from_secs(5);

/// Listens until nobody can give orders any more.
pub(super) async fn listen(
    client: Client,
    address: Address,
    topics: Arc<Topics>,
    mut orders: UnboundedReceiver<String>,
) {
    let mut pause = FIRST_PAUSE;
    while !topics.is_empty() || orders.recv().await.is_some() {
        let error = match step_in_time(client.get_async_pubsub()).await {
            Ok(connection) => follow(connection, &topics, &mut orders, &mut pause).await,
            Err(error) => error,
        };
        if orders.is_closed() {
            return;
        }
        // Not each time: without it, a change is noticed later, and that is all.
        if pause == FIRST_PAUSE {
            let error = address.failed("listening for changes at", &error);
            tracing::warn!(%error, "records are looked at more often instead");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Until the connection fails. Once it has been of use, the next failure is a first one again.
async fn follow(
    connection: PubSub,
    topics: &Topics,
    orders: &mut UnboundedReceiver<String>,
    pause: &mut Duration,
) -> RedisError {
    let _silence = Silence(topics);
    let (mut sink, mut messages) = connection.split();
    let mut followed = HashSet::new();
    // What was ordered meanwhile is among them.
    while orders.try_recv().is_ok() {}
    let mut due = topics.all();
    loop {
        if let Err(error) = adjust(&mut sink, topics, &mut followed, &mut due).await {
            return error;
        }
        *pause = FIRST_PAUSE;
        tokio::select! {
            taken = orders.recv_many(&mut due, 1_024) => if taken == 0 {
                return closed();
            },
            message = messages.next() => match message {
                Some(message) => topics.tell(message.get_channel_name()),
                None => return closed(),
            },
            () = tokio::time::sleep(SILENCE), if !followed.is_empty() => {
                let answer: RedisResult<Value> = step_in_time(sink.ping()).await;
                if let Err(error) = answer {
                    return error;
                }
            }
        }
    }
}

fn closed() -> RedisError {
    io::Error::from(io::ErrorKind::UnexpectedEof).into()
}

/// Subscribes to what is waited for and not subscribed to, and the other way round.
async fn adjust(
    sink: &mut PubSubSink,
    topics: &Topics,
    followed: &mut HashSet<String>,
    due: &mut Vec<String>,
) -> RedisResult<()> {
    let (mut begun, mut ended) = (Vec::new(), Vec::new());
    for channel in due.drain(..) {
        let is_followed = followed.contains(&channel);
        match topics.is_watched(&channel) {
            // By others before, or by somebody who left and came back.
            true if is_followed => topics.telling(&channel),
            true => {
                followed.insert(channel.clone());
                begun.push(channel);
            }
            false if is_followed => {
                followed.remove(&channel);
                ended.push(channel);
            }
            false => {}
        }
    }
    if !begun.is_empty() {
        step_in_time(sink.subscribe(&begun)).await?;
        for channel in begun {
            topics.telling(&channel);
        }
    }
    if !ended.is_empty() {
        step_in_time(sink.unsubscribe(&ended)).await?;
    }
    Ok(())
}

/// Whatever ends the listening - an error, the end of the runtime - whoever waits has to look for himself.
struct Silence<'a>(&'a Topics);

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        self.0.silence();
    }
}
