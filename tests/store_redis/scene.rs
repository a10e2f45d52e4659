//! A server, a key, and records for it.

use std::time::Duration;

use evertoken::protocol::{Digest, Record};
use evertoken::store::StoreTime;
use evertoken::{Key, RedisStore};
use redis::aio::MultiplexedConnection;
use redis::{Client, FromRedisValue, ToRedisArgs};
use serde_json::json;

use crate::records::{edited, form, made_of, names};
pub(crate) use crate::records::{entry, key, leased, put, told, waiting};
use crate::services::Redis;

/// A server for this test alone, or a failure that names what to install.
pub(crate) fn server() -> Redis {
    with("--appendonly no")
}

/// A server with these options, separated by spaces, that saves nothing on its own.
pub(crate) fn with(options: &str) -> Redis {
    let options: Vec<_> = ["--save", ""]
        .into_iter()
        .chain(options.split(' '))
        .collect();
    Redis::start_with(&options).unwrap_or_else(|missing| panic!("{missing}"))
}

pub(crate) async fn open(server: &Redis) -> RedisStore {
    RedisStore::connect(&server.url()).await.unwrap()
}

/// A record of a key. Its tokens contain the number.
pub(crate) fn record(key: &Key, number: u64) -> Record {
    made_of(&form(key, number))
}

/// The same record, with this expiry of its tokens.
pub(crate) fn lasting(key: &Key, number: u64, until: StoreTime) -> Record {
    let issued_at = until.before(Duration::from_secs(600)).as_millis();
    let known = json!({ "known": { "total": 600_000 } });
    edited(&record(key, number), |form| {
        form["pair"]["issued_at"] = issued_at.into();
        form["pair"]["lifetime"] = json!({ "access": known, "refresh": known });
    })
}

/// The record with these past tokens in this list, by the numbers of their records.
pub(crate) fn with_past(
    record: &Record,
    list: &str,
    numbers: impl IntoIterator<Item = u64>,
) -> Record {
    let past = names(numbers.into_iter().map(digest));
    edited(record, |form| form["past"][list] = past.into())
}

/// The digest of the refresh token of the record with this number.
pub(crate) fn digest(number: u64) -> Digest {
    Digest::of(format!("refresh-sesame-{number}"))
}

/// The digest of its access token.
pub(crate) fn access_digest(number: u64) -> Digest {
    Digest::of(format!("access-sesame-{number}"))
}

/// The key of the record in Redis.
pub(crate) fn name(key: &Key) -> String {
    format!("evertoken:{{{}}}", key.digest())
}

/// Another client of the server.
pub(crate) struct Other(MultiplexedConnection);

impl Other {
    pub(crate) async fn at(server: &Redis) -> Self {
        let client = Client::open(server.url()).unwrap();
        let connection = client.get_multiplexed_async_connection().await;
        Self(connection.unwrap())
    }

    pub(crate) async fn does<T: FromRedisValue>(&mut self, command: impl ToRedisArgs) -> T {
        let mut call = redis::Cmd::new();
        call.arg(command);
        call.query_async(&mut self.0).await.unwrap()
    }

    /// Sends a command whose parts are separated by spaces.
    pub(crate) async fn tell(&mut self, command: &str) {
        let () = self.does(&command.split(' ').collect::<Vec<_>>()).await;
    }
}

/// Waits until the condition is true.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let came = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(came.is_ok(), "it never came: {what}");
}
