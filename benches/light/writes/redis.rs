//! A rotation on Redis: the append-only file, and what Redis keeps of a session.

use evertoken::RedisStore;
use redis::aio::MultiplexedConnection;
use redis::{Client, FromRedisValue, cmd};

use super::Found;
use super::server::{OLD, Proxy, Session, WARM_UP, YOUNG, each};
use crate::services::Redis;

const STORE: &str = "Redis";

/// With these options, the append-only file only grows.
const OPTIONS: [&str; 6] = [
    "--save",
    "",
    "--appendonly",
    "yes",
    "--auto-aof-rewrite-percentage",
    "0",
];

pub(super) fn measured() -> Found {
    let server = Redis::start_with(&OPTIONS).expect("Redis");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(rotations(&server))
}

async fn rotations(server: &Redis) -> Found {
    let proxy = Proxy::before(server.port());
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let store = RedisStore::connect(&url).await.expect("Redis");
    let client = Client::open(server.url()).expect("a URL");
    let connected = client.get_multiplexed_async_connection().await;
    let mut admin = Admin(connected.expect("Redis"));
    let mut session = Session::new(store).await;
    let mut found = Found::default();

    for age in [YOUNG, OLD] {
        session.rotate_until(age).await;
        found.kept.push(admin.kept(&session).await);
        session.rotate(WARM_UP).await;
        let before = admin.log().await;
        let (age, trips) = session.trips(&proxy).await;
        let log = each(admin.log().await - before);
        let none = "none there".to_owned();
        found
            .rotations
            .push([STORE.to_owned(), age, trips, log, none]);
    }
    found
}

/// A connection that does not use the proxy.
struct Admin(MultiplexedConnection);

impl Admin {
    async fn ask<T: FromRedisValue>(&mut self, question: &[&str]) -> T {
        let mut command = cmd(question[0]);
        command.arg(&question[1..]);
        command.query_async(&mut self.0).await.expect("an answer")
    }

    async fn log(&mut self) -> i64 {
        let info: String = self.ask(&["INFO", "persistence"]).await;
        let size = info
            .lines()
            .find_map(|line| line.strip_prefix("aof_current_size:"));
        size.and_then(|size| size.trim().parse().ok())
            .expect("it appends")
    }

    async fn kept(&mut self, session: &Session) -> [String; 4] {
        let keys: Vec<String> = self.ask(&["KEYS", "*"]).await;
        let mut sizes = Vec::new();
        for key in &keys {
            sizes.push(
                self.ask::<i64>(&["MEMORY", "USAGE", key, "SAMPLES", "0"])
                    .await,
            );
        }
        let all: i64 = sizes.iter().sum();
        let largest = sizes.iter().max().expect("there is the record");
        let others = format!(
            "a record of {largest}, and {} entries of {} in all",
            keys.len() - 1,
            all - largest
        );
        [
            STORE.to_owned(),
            session.rotated.to_string(),
            all.to_string(),
            others,
        ]
    }
}
