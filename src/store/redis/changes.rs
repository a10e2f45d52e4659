//! Who waits for a change of which record, and how he hears of it.
//!
//! A notification is a hint: it may be missed, and come twice. So whoever waits looks once it is sure that he
//! would be topics, and now and then besides. One connection listens for everybody, in a task that ends with the
//! store; while it cannot, those who wait look more often.

mod listener;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::Client;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::failure::Address;

/// The channels that are listened to.
pub(super) struct Changes {
    client: Client,
    address: Address,
    topics: Arc<Topics>,
    listening: Mutex<Option<Listening>>,
}

/// The task, which ends when this is dropped.
struct Listening {
    /// What is to be seen to: channels that somebody began or ceased to wait for.
    orders: UnboundedSender<String>,
    task: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Changes {
    pub(super) fn new(client: Client, address: Address) -> Self {
        Self {
            client,
            address,
            topics: Arc::default(),
            listening: Mutex::default(),
        }
    }

    /// Begins to wait for what is told on this channel.
    pub(super) fn watch(&self, channel: &str) -> Watch<'_> {
        let watch = Watch {
            changes: self,
            channel: channel.to_owned(),
            notifications: self.topics.enter(channel),
        };
        self.listen();
        self.order(channel);
        watch
    }

    /// Has somebody listen: on the runtime of whoever waits and, once that has ended, of the next who does.
    /// He begins with everything that is waited for.
    fn listen(&self) {
        let mut listening = self.listening.lock();
        let is_over = |running: &mut Listening| running.orders.is_closed();
        if listening.as_mut().is_none_or(is_over) {
            let (orders, taken) = unbounded_channel();
            let (client, address) = (self.client.clone(), self.address.clone());
            let topics = self.topics.clone();
            let task = tokio::spawn(listener::listen(client, address, topics, taken));
            *listening = Some(Listening { orders, task });
        }
    }

    /// Somebody began or ceased to wait.
    fn order(&self, channel: &str) {
        if let Some(running) = &*self.listening.lock() {
            // Without anybody to take it, the next who listens begins with all of them anyway.
            let _ = running.orders.send(channel.to_owned());
        }
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}

/// Somebody who waits.
pub(super) struct Watch<'a> {
    changes: &'a Changes,
    channel: String,
    notifications: watch::Receiver<Notifications>,
}

impl Watch<'_> {
    /// Whether changes are topics. If not, that they are from now on is notifications as well.
    pub(super) fn is_told(&mut self) -> bool {
        let is_told = self.notifications.borrow_and_update().is_told;
        if !is_told {
            self.changes.listen();
        }
        is_told
    }

    /// Returns once there is notifications, or after so long.
    pub(super) async fn notifications(&mut self, most: Duration) {
        // The sender is there as long as we are.
        let _ = tokio::time::timeout(most, self.notifications.changed()).await;
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if self.changes.topics.leave(&self.channel) {
            self.changes.order(&self.channel);
        }
    }
}

#[derive(Default)]
struct Notifications {
    is_told: bool,
}

/// What is waited for.
#[derive(Default)]
struct Topics(Mutex<HashMap<String, Topic>>);

#[derive(Default)]
struct Topic {
    watchers: usize,
    notifications: watch::Sender<Notifications>,
}

impl Topics {
    fn enter(&self, channel: &str) -> watch::Receiver<Notifications> {
        let mut topics = self.0.lock();
        let topic = topics.entry(channel.to_owned()).or_default();
        topic.watchers += 1;
        topic.notifications.subscribe()
    }

    /// Whether that was the last one.
    fn leave(&self, channel: &str) -> bool {
        let mut topics = self.0.lock();
        let Some(topic) = topics.get_mut(channel) else {
            return false;
        };
        topic.watchers -= 1;
        let is_last = topic.watchers == 0;
        if is_last {
            topics.remove(channel);
        }
        is_last
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().keys().cloned().collect()
    }

    fn is_watched(&self, channel: &str) -> bool {
        self.0.lock().contains_key(channel)
    }

    fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// What changes from now on is topics.
    fn telling(&self, channel: &str) {
        if let Some(topic) = self.0.lock().get(channel) {
            topic
                .notifications
                .send_modify(|notifications| notifications.is_told = true);
        }
    }

    /// Something has changed.
    fn tell(&self, channel: &str) {
        if let Some(topic) = self.0.lock().get(channel) {
            topic.notifications.send_modify(|_| {});
        }
    }

    /// Nothing is told any more.
    fn silence(&self) {
        for topic in self.0.lock().values() {
            topic
                .notifications
                .send_modify(|notifications| notifications.is_told = false);
        }
    }
}
