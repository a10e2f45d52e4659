use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

#[cfg(feature = "seal")]
use evertoken::Key;
use evertoken::{RedisStore, TokenStore, async_trait};
use futures_util::StreamExt as _;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands as _, Client};
use tokio::sync::{OnceCell, watch};

use super::{Backend, Storage};
use crate::services::{Missing, Redis};

/// The Redis store: several machines and one server. Each test has its own prefix.
pub(super) fn backend() -> Backend {
    if let Err(missing) = Redis::installed() {
        return Backend::missing_server("redis", missing);
    }
    let server = OnceLock::new();
    let prefixes = AtomicU64::new(1);
    Backend::new("redis", move || {
        let server: &Result<Arc<Redis>, Missing> =
            server.get_or_init(|| Redis::start().map(Arc::new));
        Ok(Arc::new(Prefix {
            server: server.clone()?,
            prefix: format!("test-{}", prefixes.fetch_add(1, Ordering::SeqCst)),
            heard: OnceCell::new(),
        }))
    })
}

struct Prefix {
    server: Arc<Redis>,
    prefix: String,
    /// The channels and their messages since the first machine connected.
    heard: OnceCell<watch::Receiver<String>>,
}

impl Prefix {
    async fn heard(&self) -> watch::Receiver<String> {
        let heard = self.heard.get_or_init(|| self.listen());
        heard.await.clone()
    }

    async fn listen(&self) -> watch::Receiver<String> {
        let client = Client::open(self.server.url()).expect("a URL");
        let (mut sink, mut messages) = client
            .get_async_pubsub()
            .await
            .expect("the connection succeeds")
            .split();
        sink.psubscribe("*")
            .await
            .expect("the subscription succeeds");
        let (notes, heard) = watch::channel(String::new());
        tokio::spawn(async move {
            // Dropping the sink ends the subscription.
            let _sink = sink;
            while let Some(message) = messages.next().await {
                let payload = String::from_utf8_lossy(message.get_payload_bytes()).into_owned();
                let line = format!("{}: {payload}\n", message.get_channel_name());
                notes.send_modify(|notes| notes.push_str(&line));
            }
        });
        heard
    }

    async fn connection(&self) -> MultiplexedConnection {
        let client = Client::open(self.server.url()).expect("a URL");
        let connection = client.get_multiplexed_async_connection().await;
        connection.expect("the connection succeeds")
    }
}

#[async_trait]
impl Storage for Prefix {
    async fn open(&self) -> Arc<dyn TokenStore> {
        self.heard().await;
        let store = RedisStore::connect(&self.server.url()).await;
        Arc::new(store.expect("the connection succeeds").prefix(&self.prefix))
    }

    #[cfg(feature = "seal")]
    fn vault(&self) -> &dyn super::sealed::Vault {
        self
    }

    /// The keys, their content without the pair, and the messages by channel.
    async fn in_the_open(&self) -> String {
        let mut redis = self.connection().await;
        let keys: Vec<String> = redis.keys("*").await.expect("the server lists its keys");
        let mut seen = String::new();
        for key in keys {
            let is_hash: bool = redis.hexists(&key, "record").await.unwrap_or_default();
            let content: Vec<(String, String)> = if is_hash {
                let fields: Vec<(String, Vec<u8>)> = redis.hgetall(&key).await.expect("a hash");
                let open = fields.into_iter().filter(|(name, _)| name != "pair");
                open.map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
                    .collect()
            } else {
                let value: Option<String> = redis.get(&key).await.unwrap_or_default();
                vec![(String::new(), value.unwrap_or_default())]
            };
            let _ = writeln!(seen, "{key}: {content:?}");
        }
        let clients: String = redis::cmd("CLIENT")
            .arg("LIST")
            .query_async(&mut redis)
            .await
            .expect("the server returns the content of each key");
        let mut heard = self.heard().await;
        let _: () = redis
            .publish("marker", &self.prefix)
            .await
            .expect("the message is sent");
        let marker = format!("marker: {}\n", self.prefix);
        let heard = heard.wait_for(|heard| heard.contains(&marker)).await;
        format!(
            "{seen}\n{clients}\n{}",
            *heard.expect("the subscription is open")
        )
    }
}

#[cfg(feature = "seal")]
#[async_trait]
impl super::sealed::Vault for Prefix {
    async fn open_sealed(&self, seal: super::sealed::Seal) -> Arc<dyn TokenStore> {
        self.heard().await;
        let store = RedisStore::connect(&self.server.url()).await;
        let store = store.expect("the connection succeeds").prefix(&self.prefix);
        Arc::new(store.sealed(seal.keys).accept_plain(seal.accepts_plain))
    }

    /// Every key with its content.
    async fn at_rest(&self) -> String {
        let mut redis = self.connection().await;
        let mut keys: Vec<String> = redis
            .keys(format!("{}:*", self.prefix))
            .await
            .expect("keys");
        keys.sort();
        let mut seen = String::new();
        for key in keys {
            let fields: Vec<(String, Vec<u8>)> = redis.hgetall(&key).await.unwrap_or_default();
            let value: Option<Vec<u8>> = redis.get(&key).await.unwrap_or_default();
            seen += &key;
            let fields = fields.into_iter().map(|(_, content)| content);
            for content in fields.chain(value) {
                let _ = writeln!(seen, " {}", String::from_utf8_lossy(&content));
            }
        }
        seen
    }

    async fn sealed_part(&self, key: &Key) -> Vec<u8> {
        let part = self.connection().await.hget(self.name(key), "pair").await;
        part.expect("the record has a sealed part")
    }

    async fn put_sealed_part(&self, key: &Key, sealed: &[u8]) {
        let mut redis = self.connection().await;
        let put = redis.hset(self.name(key), "pair", sealed).await;
        let () = put.expect("the part is written");
    }

    async fn copy_record(&self, from: &Key, to: &Key) {
        let mut redis = self.connection().await;
        let fields: Vec<(String, Vec<u8>)> = redis.hgetall(self.name(from)).await.expect("a hash");
        let put = redis.hset_multiple(self.name(to), &fields).await;
        let () = put.expect("the record is written");
    }
}

#[cfg(feature = "seal")]
impl Prefix {
    fn name(&self, key: &Key) -> String {
        format!("{}:{{{}}}", self.prefix, key.digest())
    }
}
