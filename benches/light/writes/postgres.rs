//! A rotation on PostgreSQL: the write-ahead log, by the positions that the server reports.

use evertoken::PostgresStore;

use super::Found;
use super::server::{OLD, Proxy, Session, WARM_UP, YOUNG, each};
use crate::services::Postgres;

const STORE: &str = "PostgreSQL";

/// With these settings, only the rotations write. `fsync=off` saves time, and does not change what is written.
const SETTINGS: [&str; 4] = [
    "fsync=off",
    "autovacuum=off",
    "checkpoint_timeout=1d",
    "max_wal_size=8GB",
];

pub(super) fn measured() -> Found {
    let server = Postgres::start_with(&SETTINGS).expect("PostgreSQL");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(rotations(&server))
}

async fn rotations(server: &Postgres) -> Found {
    let proxy = Proxy::before(server.port());
    let url = server.url();
    let url = url.replace(&server.port().to_string(), &proxy.port().to_string());
    let store = PostgresStore::connect(&url).await.expect("PostgreSQL");
    let mut session = Session::new(store).await;
    let log = Log::of(server);
    let mut found = Found::default();

    for age in [YOUNG, OLD] {
        session.rotate_until(age).await;
        found.kept.push(kept(server, &session));
        // After a checkpoint, the first change of a page writes the whole page. The warm-up makes these changes.
        server.sql("CHECKPOINT");
        session.rotate(WARM_UP).await;
        let row = stretch(&mut session, &proxy, &log, "").await;
        found.rotations.push(row);
    }
    server.sql("CHECKPOINT");
    let row = stretch(&mut session, &proxy, &log, ", after a checkpoint").await;
    found.rotations.push(row);
    found
}

async fn stretch(session: &mut Session, proxy: &Proxy, log: &Log<'_>, what: &str) -> [String; 5] {
    let from = log.position();
    let (age, trips) = session.trips(proxy).await;
    let age = age + what;
    let to = log.position();
    let (bytes, images) = (log.bytes(&from, &to), log.images(&from, &to));
    let without = bytes - images.unwrap_or(0);
    let images = images.map_or("not measured: no pg_walinspect".to_owned(), each);
    [STORE.to_owned(), age, trips, each(without), images]
}

/// The write-ahead log.
struct Log<'a> {
    server: &'a Postgres,
    is_readable: bool,
}

impl<'a> Log<'a> {
    fn of(server: &'a Postgres) -> Self {
        let created = server.try_sql(&server.url(), "CREATE EXTENSION pg_walinspect");
        Self {
            server,
            is_readable: created.is_ok(),
        }
    }

    fn position(&self) -> String {
        self.server.sql("SELECT pg_current_wal_flush_lsn()")
    }

    fn bytes(&self, from: &str, to: &str) -> i64 {
        let sql = format!("SELECT pg_wal_lsn_diff('{to}', '{from}')::bigint");
        number(&self.server.sql(&sql))
    }

    /// The part of these bytes that is images of whole pages.
    fn images(&self, from: &str, to: &str) -> Option<i64> {
        let sql = format!("SELECT sum(fpi_size)::bigint FROM pg_get_wal_stats('{from}', '{to}')");
        self.is_readable.then(|| number(&self.server.sql(&sql)))
    }
}

/// The size of the tables and their indexes without dead rows.
fn kept(server: &Postgres, session: &Session) -> [String; 4] {
    server.sql("VACUUM FULL");
    let tables = "FROM pg_class WHERE relkind = 'r' AND relname LIKE 'evertoken%'";
    let bytes = server.sql(&format!(
        "SELECT sum(pg_total_relation_size(oid))::bigint {tables}"
    ));
    let count = server.sql(&format!("SELECT count(*) {tables}"));
    let what = format!("{count} tables and their indexes, whole pages");
    [STORE.to_owned(), session.rotated.to_string(), bytes, what]
}

fn number(text: &str) -> i64 {
    text.parse().expect("a number")
}
