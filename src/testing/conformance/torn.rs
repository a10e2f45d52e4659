//! A record is replaced as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::yield_now;

use super::calls::{Store, entry, write};
use super::records::{key, sized};
use crate::token::Key;

/// Their lengths, in turn; longer after shorter and shorter after longer.
const LENGTHS: [usize; 7] = [0, 120_000, 10, 40_000, 39_990, 1, 4_096];
const WRITES: u64 = 70;

pub(super) async fn readers_see_whole_records_only(handles: &[Store]) {
    let key = key("torn");
    let done = Arc::new(AtomicBool::new(false));
    let mut seen = Some(write(&handles[0], &key, None, &sized(&key, 0, LENGTHS[0])).await);
    let readers: Vec<_> = handles[1..]
        .iter()
        .map(|store| tokio::spawn(read(store.clone(), key.clone(), done.clone())))
        .collect();
    for version in 1..WRITES {
        let next = sized(&key, version, length(version));
        seen = Some(write(&handles[0], &key, seen, &next).await);
        yield_now().await;
    }
    done.store(true, Ordering::Release);
    for reader in readers {
        if let Err(died) = reader.await {
            panic!("a reader died: {died}");
        }
    }
}

fn length(version: u64) -> usize {
    let turn = version % LENGTHS.len() as u64;
    usize::try_from(turn).map_or(0, |turn| LENGTHS[turn])
}

/// Without pause, and once more when everything is written.
async fn read(store: Store, key: Key, done: Arc<AtomicBool>) {
    let mut latest = None;
    loop {
        let last = done.load(Ordering::Acquire);
        let Some((record, revision)) = entry(&store, &key).await else {
            panic!("the record is gone while it is replaced");
        };
        let version = record.version;
        let whole = sized(&key, version, length(version));
        assert!(record == whole, "a reader saw a record that nobody wrote");
        if let Some((newest, seen)) = latest {
            assert!(
                version > newest || (version == newest && revision == seen),
                "an older record came back, or one with the revision of another"
            );
        }
        latest = Some((version, revision));
        if last {
            assert_eq!(version, WRITES - 1, "the record that was written last");
            return;
        }
        yield_now().await;
    }
}
