//! Separate processes: this test binary, started again in a role.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use evertoken::protocol::Record;
use evertoken::store::{Revision, Swap};
use evertoken::{FileStore, TokenStore};

use crate::scene::{files, key, long_record, number, open, record};

const ROLE: &str = "EVERTOKEN_TEST_ROLE";
const DIRECTORY: &str = "EVERTOKEN_TEST_DIRECTORY";

/// How often a counting process counts.
pub(crate) const COUNTS: u64 = 200;

/// How often an answering process answers.
pub(crate) const ANSWERS: u64 = 50;

/// A process that takes longer than this hangs: none takes nearly as long on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

const PAUSE: Duration = Duration::from_millis(5);

/// A process that is killed when this is dropped.
pub(crate) struct Process(Child);

impl Process {
    /// Runs `shell` first, in the same process.
    pub(crate) fn start(role: &str, shell: &str, directory: &Path) -> Self {
        let this = std::env::current_exe().unwrap();
        let this_test = [
            "--exact",
            "process::a_process_of_its_own",
            "--ignored",
            "--nocapture",
        ];
        let mut command = if shell.is_empty() {
            Command::new(this)
        } else {
            let mut command = Command::new("sh");
            let script = format!("{shell}; exec \"$0\" \"$@\"");
            command.args([OsStr::new("-c"), script.as_ref(), this.as_ref()]);
            command
        };
        command.args(this_test);
        command.env(ROLE, role).env(DIRECTORY, directory);
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_raw(self.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// The pause of a loop that waits for the process.
    #[track_caller]
    pub(crate) fn assert_running(&mut self) {
        assert_eq!(self.0.try_wait().unwrap(), None);
    }

    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    #[track_caller]
    pub(crate) fn succeeds(mut self) {
        for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
            if let Some(status) = self.0.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return;
            }
            std::thread::sleep(PAUSE);
        }
        panic!("the process hangs: no end after {} s", PATIENCE.as_secs());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
#[ignore = "is run by other tests, as a process of its own"]
async fn a_process_of_its_own() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let directory = std::env::var(DIRECTORY).unwrap();
    match role.as_str() {
        "count" => count(&open(&directory)).await,
        "write" => write_for_ever(&open(&directory)).await,
        "lock" => lock_for_ever(Path::new(&directory)),
        #[cfg(unix)]
        "rotate" => crate::holder::rotate(Path::new(&directory)).await,
        #[cfg(unix)]
        "sign-in" => crate::holder::sign_in(Path::new(&directory)).await,
        #[cfg(unix)]
        "leave" => crate::holder::leave(Path::new(&directory)).await,
        #[cfg(unix)]
        "descriptors" => crate::limits::run_out(Path::new(&directory)).await,
        "answer" => answer(&open(&directory)).await,
        "fill" => fill_the_disk(&open(&directory), Path::new(&directory)).await,
        "relative" => {
            let store = open(&directory);
            std::env::set_current_dir("/").unwrap();
            let written = swap(&store, None, &record(&key(), 1)).await;
            assert!(matches!(written, Swap::Swapped(_)));
        }
        role => panic!("{role}?"),
    }
}

async fn count(store: &FileStore) {
    let mut entry = store.load(&key()).await.unwrap().entry;
    for _ in 0..COUNTS {
        loop {
            let counted = entry.as_ref().map_or(0, |(record, _)| number(record));
            let seen = entry.as_ref().map(|(_, revision)| *revision);
            let next = record(&key(), counted + 1);
            entry = match store.swap(&key(), seen, &next).await.unwrap() {
                Swap::Swapped(revision) => {
                    entry = Some((next, revision));
                    break;
                }
                Swap::Lost(newer) => newer,
            };
        }
    }
}

/// Waits for each odd number, and writes the even one after it.
async fn answer(store: &FileStore) {
    let mut seen = None;
    loop {
        store.changed(&key(), seen).await;
        let Some((found, revision)) = store.load(&key()).await.unwrap().entry else {
            continue;
        };
        seen = Some(revision);
        let asked = number(&found);
        if asked % 2 == 1 {
            let next = record(&key(), asked + 1);
            let Swap::Swapped(revision) = swap(store, seen, &next).await else {
                panic!("another process wrote the record");
            };
            seen = Some(revision);
        }
        if asked >= 2 * ANSWERS - 1 {
            return;
        }
    }
}

async fn write_for_ever(store: &FileStore) {
    let entry = store.load(&key()).await.unwrap().entry;
    let mut seen = entry.as_ref().map(|(_, revision)| *revision);
    for number in 1.. {
        // The lengths differ, so that one record written over another shows.
        let filler = usize::try_from(number % 7).unwrap() * 3_000;
        seen = match swap(store, seen, &long_record(&key(), number, filler)).await {
            Swap::Swapped(revision) => Some(revision),
            Swap::Lost(_) => panic!("another process wrote the record"),
        };
    }
}

async fn swap(store: &FileStore, seen: Option<Revision>, next: &Record) -> Swap {
    store.swap(&key(), seen, next).await.unwrap()
}

fn lock_for_ever(path: &Path) {
    let mut options = OpenOptions::new();
    let file = options.create(true).append(true).open(path).unwrap();
    file.lock().unwrap();
    loop {
        std::thread::park();
    }
}

/// Writes under a limit of the file length that the second record exceeds.
async fn fill_the_disk(store: &FileStore, directory: &Path) {
    let small = record(&key(), 1);
    let Swap::Swapped(revision) = swap(store, None, &small).await else {
        panic!("another process wrote the record");
    };
    let large = long_record(&key(), 2, 100_000);
    store
        .swap(&key(), Some(revision), &large)
        .await
        .unwrap_err();
    assert_eq!(files(directory, "tmp").len(), 0);
    let entry = store.load(&key()).await.unwrap().entry;
    assert_eq!(entry, Some((small, revision)));
    let next = swap(store, Some(revision), &record(&key(), 3)).await;
    assert!(matches!(next, Swap::Swapped(_)));
}
