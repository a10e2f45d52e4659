//! Several instances that replace one record at once.

use evertoken::protocol::Record;
use evertoken::store::{Revision, Swap};
use evertoken::{PostgresStore, TokenStore};

use crate::proxy::Proxy;
use crate::scene::{Database, entry, key, leased, put, record};

const RACERS: u64 = 16;

/// All instances swap against the same revision. Returns what each instance wrote.
async fn race(
    database: &Database,
    seen: Option<Revision>,
    rounds: u64,
    next: impl Fn(u64) -> Record,
) -> Revision {
    let mut seen = seen;
    let mut stores = Vec::new();
    for _ in 0..RACERS {
        stores.push(database.open().await);
    }
    for round in 0..rounds {
        let racers = stores.iter().enumerate().map(|(at, store)| {
            let (store, next) = (store.clone(), next(round * RACERS + at as u64 + 1));
            tokio::spawn(async move { (store.swap(&key(), seen, &next).await.unwrap(), next) })
        });
        let (mut won, mut lost) = (Vec::new(), Vec::new());
        for racer in racers.collect::<Vec<_>>() {
            match racer.await.unwrap() {
                (Swap::Swapped(revision), record) => won.push((record, revision)),
                (Swap::Lost(entry), _) => lost.push(entry),
            }
        }
        assert_eq!((won.len(), lost.len() as u64), (1, RACERS - 1));
        for entry in lost {
            assert_eq!(entry.as_ref(), won.first(), "a lost race tells who won");
        }
        assert_eq!(entry(&stores[0], &key()).await.as_ref(), won.first());
        seen = Some(won[0].1);
    }
    seen.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_first_records_leases_and_rotations_one_wins() {
    for level in ["read committed", "repeatable read", "serializable"] {
        let database = Database::new();
        let name = database.sql("SELECT current_database()");
        let isolation = format!("default_transaction_isolation = '{level}'");
        database.sql(&format!("ALTER DATABASE {name} SET {isolation}"));
        let first = race(&database, None, 1, |_| record(&key(), 1)).await;
        let seen = race(&database, Some(first), 3, |_| leased(&record(&key(), 1))).await;
        let next = |number| record(&key(), number + 1);
        race(&database, Some(seen), 5, next).await;
        let count = "SELECT count(*), count(*) FILTER (WHERE record IS NOT NULL) FROM evertoken_pair \
                     WHERE version IS NOT NULL";
        assert_eq!(database.sql(count), "6|1", "{level}");
    }
}

/// All instances count up to a number. No count is lost, and none counts twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_simultaneous_swaps_lose_no_write() {
    const COUNTS: u64 = 15;
    let database = Database::new();
    let store = database.open().await;
    let counters = (0..RACERS).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut held = entry(&store, &key()).await;
            for _ in 0..COUNTS {
                loop {
                    let (last, seen) = held.take().unzip();
                    let version = last.map_or(0, |last: Record| last.pair_id().version);
                    let next = record(&key(), version + 1);
                    held = match store.swap(&key(), seen, &next).await.unwrap() {
                        Swap::Swapped(revision) => {
                            held = Some((next, revision));
                            break;
                        }
                        Swap::Lost(newer) => newer,
                    };
                }
            }
        })
    });
    for counter in counters.collect::<Vec<_>>() {
        counter.await.unwrap();
    }
    let (record, _) = entry(&store, &key()).await.unwrap();
    assert_eq!(record.pair_id().version, RACERS * COUNTS);
    let rows = "SELECT count(*), count(DISTINCT version), count(*) FILTER (WHERE state = 'ACTIVE') \
                FROM evertoken_pair";
    let all = RACERS * COUNTS;
    assert_eq!(database.sql(rows), format!("{all}|{all}|1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_a_lease_and_a_lost_swap_are_one_statement_and_a_new_pair_two() {
    let database = Database::new();
    let proxy = Proxy::start(database.server.port()).await;
    let store = PostgresStore::connect(&proxy.url(&database.url))
        .await
        .unwrap();
    let seen = put(&store, None, &record(&key(), 1)).await;
    let mut before = proxy.statements();
    let mut counted = || {
        let statements = proxy.statements();
        statements - std::mem::replace(&mut before, statements)
    };
    assert!(entry(&store, &key()).await.is_some());
    assert_eq!(counted(), 1, "a look");
    let lease = put(&store, Some(seen), &leased(&record(&key(), 1))).await;
    assert_eq!(counted(), 1, "no instance is notified of a lease");
    let committed = put(&store, Some(lease), &record(&key(), 2)).await;
    assert_eq!(counted(), 2, "a new pair, and telling of it");
    for late in [None, Some(seen), Some(lease)] {
        let swap = store.swap(&key(), late, &record(&key(), 3)).await.unwrap();
        let Swap::Lost(entry) = swap else {
            panic!("{late:?} won");
        };
        assert_eq!(entry, Some((record(&key(), 2), committed)));
        assert_eq!(counted(), 1, "a race that was lost before");
    }
}
