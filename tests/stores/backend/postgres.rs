use std::sync::{Arc, OnceLock};

use evertoken::protocol::Digest;
use evertoken::{Key, PostgresStore, TokenStore, async_trait};
use sqlx::postgres::PgListener;
use tokio::sync::{Mutex, OnceCell};

use super::{Backend, Storage};
use crate::services::{Missing, Postgres};

/// The PostgreSQL store: several machines and one server. Each test has its own database.
pub(super) fn backend() -> Backend {
    if let Err(missing) = Postgres::installed() {
        return Backend::missing_server("postgres", missing);
    }
    let server = OnceLock::new();
    Backend::new("postgres", move || {
        let settings = ["fsync=off", "max_connections=500"];
        let server: &Result<Arc<Postgres>, Missing> =
            server.get_or_init(|| Postgres::start_with(&settings).map(Arc::new));
        let server = server.clone()?;
        Ok(Arc::new(Database {
            url: server.database(),
            server,
            listener: OnceCell::new(),
        }))
    })
}

struct Database {
    server: Arc<Postgres>,
    url: String,
    listener: OnceCell<Mutex<Heard>>,
}

/// The messages on the channel since the first machine connected.
struct Heard {
    listener: PgListener,
    payloads: String,
}

impl Database {
    fn digests(&self, key: &Key, state: &str) -> Vec<Digest> {
        let key = key.digest();
        let digests = self.server.sql_in(
            &self.url,
            &format!(
                "SELECT encode(digest, 'hex') FROM evertoken_pair \
                 WHERE key_digest = '\\x{key}' AND state = '{state}' AND digest IS NOT NULL ORDER BY id"
            ),
        );
        let parsed = digests.lines().map(|digest| digest.parse());
        parsed.collect::<Result<_, _>>().expect("digests")
    }

    async fn listen(&self) -> &Mutex<Heard> {
        self.listener
            .get_or_init(async || {
                let listening = tokio::spawn(Heard::from_now_on(self.url.clone()));
                listening.await.expect("no panic")
            })
            .await
    }
}

impl Heard {
    async fn from_now_on(url: String) -> Mutex<Self> {
        let mut listener = PgListener::connect(&url).await.expect("a connection");
        listener
            .listen("evertoken")
            .await
            .expect("the channel can be listened to");
        Mutex::new(Self {
            listener,
            payloads: String::new(),
        })
    }
}

#[async_trait]
impl Storage for Database {
    async fn open(&self) -> Arc<dyn TokenStore> {
        self.listen().await;
        Arc::new(
            PostgresStore::connect(&self.url)
                .await
                .expect("the connection succeeds"),
        )
    }

    async fn active(&self, key: &Key) -> Vec<Digest> {
        self.digests(key, "ACTIVE")
    }

    async fn inactive(&self, key: &Key) -> Vec<Digest> {
        self.digests(key, "INACTIVE")
    }

    async fn expired(&self, key: &Key) -> Option<Vec<Digest>> {
        Some(self.digests(key, "EXPIRED"))
    }

    #[cfg(feature = "seal")]
    fn vault(&self) -> &dyn super::sealed::Vault {
        self
    }

    /// Every column, the statements, and the messages on the channel. The column of the pair is left out while its row
    /// is current, because it is secret then.
    async fn in_the_open(&self) -> String {
        let heard = &mut *self.listen().await.lock().await;
        self.server
            .sql_in(&self.url, "SELECT pg_notify('evertoken', 'that was all')");
        loop {
            let notification = heard
                .listener
                .recv()
                .await
                .expect("the listener is connected");
            heard.payloads += notification.payload();
            heard.payloads.push('\n');
            if notification.payload() == "that was all" {
                break;
            }
        }
        let rows = "SELECT to_jsonb(rows) - CASE WHEN retired_at IS NULL THEN 'pair' ELSE '' END \
                    FROM evertoken_pair AS rows; \
                    SELECT encode(record, 'escape') FROM evertoken_pair";
        let statements = "SELECT query FROM pg_stat_activity WHERE datname = current_database()";
        let seen = [rows, statements].map(|sql| self.server.sql_in(&self.url, sql));
        format!("{}\n{}", seen.join("\n"), heard.payloads)
    }
}

#[cfg(feature = "seal")]
#[async_trait]
impl super::sealed::Vault for Database {
    async fn open_sealed(&self, seal: super::sealed::Seal) -> Arc<dyn TokenStore> {
        self.listen().await;
        let store = PostgresStore::connect(&self.url).await;
        let store = store.expect("the connection succeeds").sealed(seal.keys);
        Arc::new(store.accept_plain(seal.accepts_plain))
    }

    /// Every column of every row, with the bytes of the columns that are bytes.
    async fn at_rest(&self) -> String {
        let rows = "SELECT to_jsonb(rows) FROM evertoken_pair AS rows; \
                    SELECT encode(pair, 'escape'), encode(record, 'escape'), encode(past, 'escape') \
                    FROM evertoken_pair";
        self.server.sql_in(&self.url, rows)
    }

    async fn sealed_part(&self, key: &Key) -> Vec<u8> {
        let key = key.digest();
        let digits = self.server.sql_in(
            &self.url,
            &format!(
                "SELECT encode(pair, 'hex') FROM evertoken_pair \
                 WHERE key_digest = '\\x{key}' AND retired_at IS NULL"
            ),
        );
        super::sealed::of_digits(&digits)
    }

    async fn put_sealed_part(&self, key: &Key, sealed: &[u8]) {
        let (key, sealed) = (key.digest(), super::sealed::digits(sealed));
        self.server.sql_in(
            &self.url,
            &format!(
                "UPDATE evertoken_pair SET pair = '\\x{sealed}' \
                 WHERE key_digest = '\\x{key}' AND retired_at IS NULL"
            ),
        );
    }

    async fn copy_record(&self, from: &Key, to: &Key) {
        let (from, to) = (from.digest(), to.digest());
        self.server.sql_in(
            &self.url,
            &format!(
                "UPDATE evertoken_pair AS copy SET pair = it.pair, record = it.record, past = it.past, \
                 digest = it.digest, access_digest = it.access_digest FROM evertoken_pair AS it \
                 WHERE copy.key_digest = '\\x{to}' AND copy.retired_at IS NULL \
                 AND it.key_digest = '\\x{from}' AND it.retired_at IS NULL"
            ),
        );
    }
}
