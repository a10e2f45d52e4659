//! Listening for the changes of records: one connection subscribes to the channel of each record that a caller waits
//! for.

use std::collections::HashSet;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::PubSubSink;
use redis::{Client, RedisError, RedisResult, Value};
use tokio::time::sleep;

use super::connection::step_in_time;
use super::failure::Address;
use crate::store::notify::{Board, Hub};

/// After this time without a message the server is asked whether it is there. A peer that vanished without closing
/// the connection would be listened to forever.
const SILENCE: Duration = Duration::from_secs(5);

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
        match (board.is_awaited(&channel), followed.contains(&channel)) {
            // The last waiter left, and another one entered before the channel was unsubscribed from.
            (true, true) => board.heard(Some(&channel)),
            (true, false) => {
                followed.insert(channel.clone());
                begun.push(channel);
            }
            (false, true) => {
                followed.remove(&channel);
                ended.push(channel);
            }
            (false, false) => {}
        }
    }
    if !begun.is_empty() {
        step_in_time(sink.subscribe(&begun)).await?;
        for channel in &begun {
            board.heard(Some(channel));
        }
    }
    if !ended.is_empty() {
        step_in_time(sink.unsubscribe(&ended)).await?;
    }
    Ok(())
}
