//! Processes that have too little: descriptors for the simultaneous work of their sessions, space on the disk, or a
//! lock that its holder never releases.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use evertoken::clock::{Clock, SystemClock};
use evertoken::testing::AuthorizationServer;
use evertoken::{CoolDown, TokenEndpoint, TokenManager, TokenStore};
use futures_util::future::join_all;
use rustix::process::Signal;
use tokio::time::timeout;

use crate::process::Process;
use crate::records::told_in_two_seconds;
use crate::scene::{
    directory, entry, files, key, lock_path, number, open, put, record, set_mode, stored, told,
};
use crate::support::rotate;

const SESSIONS: usize = 600;

/// The number of simultaneous requests. Each has a lease, and a proof that its holder is alive.
const UNDER_WAY: u64 = 100;

/// The limit of each step, and of a session's next rotation. A process that is stuck would need forever.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_process_that_ran_out_of_descriptors_recovers_by_itself() {
    let directory = directory();
    let shell = "ulimit -n 200";
    Process::start("descriptors", shell, directory.path()).succeeds();
    assert_eq!(files(&directory, "json").len(), SESSIONS);
    assert_eq!(files(&directory, "alive").len(), 0);
}

/// In a separate process: all sessions rotate at the same time, and each once more by itself.
pub(crate) async fn run_out(directory: &Path) {
    let server = AuthorizationServer::builder().build();
    let pause = Duration::from_millis(10);
    let cool_down = CoolDown::default()
        .early(pause)
        .expired(pause)
        .longest(pause);
    let session = |label: usize| {
        let endpoint = server.endpoint();
        let key = endpoint.key().label(label.to_string());
        TokenManager::builder(endpoint)
            .key(key)
            .store(open(directory))
            .cool_down(cool_down)
            .seed(server.issue())
            .build()
            .unwrap()
    };
    let sessions: Vec<_> = (0..SESSIONS).map(session).collect();
    let hold = server.hold();
    let rotating: Vec<_> = sessions.iter().map(rotate).collect();
    timeout(LIMIT, server.arrived(UNDER_WAY))
        .await
        .expect("so many requests come while there are descriptors for them");
    drop(hold);
    let ended = async {
        for rotation in rotating {
            // Some rotations fail while there are too few descriptors.
            let _ = rotation.await.unwrap();
        }
    };
    timeout(LIMIT, ended).await.expect("every rotation ends");
    for tokens in &sessions {
        let again = async { while tokens.rotate().await.is_err() {} };
        timeout(LIMIT, again).await.unwrap();
    }
    assert_eq!((server.replays(), server.families_revoked()), (0, 0));
    for tokens in sessions {
        timeout(LIMIT, tokens.shutdown()).await.unwrap().unwrap();
    }
}

/// A limit of the file length stands in for a full disk. Its signal is ignored, so a write beyond the limit is an
/// error as on a full disk.
#[tokio::test]
async fn fm11_a_disk_that_fills_up_leaves_the_old_record_and_no_temporary_file() {
    let directory = directory();
    let shell = "trap '' XFSZ; ulimit -f 16";
    Process::start("fill", shell, directory.path()).succeeds();
    let (record, _) = entry(&open(&directory), &key()).await.unwrap();
    assert_eq!(number(&record), 3);
}

/// The limit is four seconds of real time.
#[tokio::test]
async fn a_lock_whose_holder_is_stopped_is_named_and_one_whose_holder_is_dead_is_free() {
    let (directory, store, revision) = stored().await;
    let lock = lock_path(&directory, &key());
    let mut holder = Process::start("lock", "", &lock);
    let file = File::open(&lock).unwrap();
    while !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        holder.assert_running();
        file.unlock().unwrap();
        std::thread::yield_now();
    }
    holder.signal(Signal::STOP);

    let (next, key_of) = (record(&key(), 2), key());
    let start = SystemClock.now();
    let swaps = [(); 4].map(|()| store.swap(&key_of, Some(revision), &next));
    for answer in join_all(swaps).await {
        let error = told(&answer.unwrap_err());
        assert!(error.contains(&lock.display().to_string()), "{error}");
        let advice = "check whether that process is stopped";
        assert!(error.contains(advice), "{error}");
    }
    // All swaps waited at the same time, although only one of them tried the lock.
    assert!(SystemClock.now().since(start) < Duration::from_secs(12));
    // Readers do not need the lock.
    assert_eq!(
        entry(&store, &key()).await,
        Some((record(&key(), 1), revision))
    );

    holder.kill();
    put(&store, Some(revision), &next).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_learns_of_a_lock_however_little_time_it_gives() {
    let directory = directory();
    let key = AuthorizationServer::builder().build().endpoint().key();
    let path = lock_path(&directory, &key);
    let lock = File::create(&path).unwrap();
    set_mode(&path, 0o600);
    lock.lock().unwrap();
    let told = told_in_two_seconds(open(&directory)).await;
    let reason = "could not be locked within 1.6 s, because another process has locked it";
    assert!(told.contains(reason), "{told}");
}
