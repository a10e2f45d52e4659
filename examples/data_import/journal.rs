//! Records the result of each batch, on its own thread: a worker waits for the disk only after a batch has failed, until the
//! records of that batch are in the file of rejects.
//!
//! The journal does not save the checkpoint after every batch, because a save waits for the disk twice. After a kill, the
//! next run sends again what was imported since the last save, and the API recognizes these batches by their keys. The
//! file of rejects has no keys, so a rejected batch and its checkpoint are saved at once.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf, absolute};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::arguments::Arguments;
use crate::batches::Batch;
use crate::checkpoint::{Assignment, Checkpoint, RejectsMark};

/// The part of an import that may be sent again after a kill. A save takes 1 ms on a fast disk, and many times that on
/// others; eight workers finish eight batches in 150 ms.
const SAVE_EVERY: Duration = Duration::from_millis(250);

/// What is on disk, or would be with a checkpoint and a file for rejects.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) checkpoint: Checkpoint,
    /// The file of the checkpoint, if there is one.
    path: Option<PathBuf>,
    rejects: Option<Rejects>,
    /// While this file is open, no other import uses the checkpoint.
    _lock: Option<File>,
}

impl Books {
    /// Opens the files that the arguments name.
    pub(crate) fn open(arguments: &Arguments) -> anyhow::Result<Self> {
        let Some(path) = arguments.resume.clone() else {
            let assignment = Assignment::unread(arguments);
            return Ok(Self {
                rejects: rejects(arguments.rejects.as_deref(), None)?,
                ..Self::without_files(Checkpoint::new(assignment)?)
            });
        };
        let lock = lock(&path)?;
        let assignment = Assignment::of(arguments)?;
        let before = Checkpoint::load(&path, &assignment)?;
        let mut checkpoint = match before {
            Some(checkpoint) => checkpoint,
            None => Checkpoint::new(assignment)?,
        };
        if checkpoint.is_complete {
            return Ok(Self::without_files(checkpoint));
        }
        let rejects = rejects(arguments.rejects.as_deref(), checkpoint.rejects.as_ref())?;
        checkpoint.rejects = rejects.as_ref().map(mark);
        // The run's prefix of keys must be on disk before the first key is sent.
        checkpoint.save(&path)?;
        Ok(Self {
            checkpoint,
            path: Some(path),
            rejects,
            _lock: Some(lock),
        })
    }

    fn without_files(checkpoint: Checkpoint) -> Self {
        Self {
            checkpoint,
            path: None,
            rejects: None,
            _lock: None,
        }
    }

    fn imported(&mut self, entry: &Imported) {
        self.checkpoint.done.add(entry.number);
        self.checkpoint.imported += entry.records;
        self.checkpoint.bytes += entry.bytes;
    }

    /// Without a file for rejects, a failed batch is not done: the next run tries it again.
    fn rejected(&mut self, batch: &Batch) -> anyhow::Result<()> {
        let Some(rejects) = &mut self.rejects else {
            return Ok(());
        };
        rejects.append(&batch.body)?;
        let checkpoint = &mut self.checkpoint;
        checkpoint.rejects = Some(mark(rejects));
        checkpoint.done.add(batch.number);
        checkpoint.rejected += batch.records;
        checkpoint.bytes += batch.body.len() as u64;
        self.save()
    }

    fn save(&self) -> anyhow::Result<()> {
        match &self.path {
            Some(path) => self.checkpoint.save(path),
            None => Ok(()),
        }
    }
}

/// Locks the checkpoint: two imports with one checkpoint would each overwrite the progress of the other. The lock is on a
/// file beside the checkpoint, because every save replaces the file of the checkpoint. A killed import leaves no lock.
fn lock(path: &Path) -> anyhow::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let cannot = || format!("cannot lock {}", name.display());
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&name)
        .with_context(cannot)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another import is running with {}: wait for its end",
            path.display()
        ),
        Err(TryLockError::Error(error)) => Err(error).with_context(cannot),
    }
}

fn rejects(wanted: Option<&Path>, before: Option<&RejectsMark>) -> anyhow::Result<Option<Rejects>> {
    match (wanted, before) {
        (Some(path), Some(mark)) if path == mark.path => {
            Rejects::resume(path, mark.bytes).map(Some)
        }
        (_, Some(mark)) if mark.bytes > 0 => bail!(
            "this import has rejected records: resume it with `--rejects {}`",
            mark.path.display()
        ),
        (wanted, _) => wanted.map(Rejects::begin).transpose(),
    }
}

fn mark(rejects: &Rejects) -> RejectsMark {
    RejectsMark {
        path: rejects.path().to_owned(),
        bytes: rejects.bytes(),
    }
}

/// The thread that keeps the books while an import runs.
#[derive(Debug)]
pub(crate) struct Journal {
    entries: Sender<Entry>,
    keeper: JoinHandle<anyhow::Result<Books>>,
}

/// The handle by which a worker writes to the journal.
#[derive(Debug, Clone)]
pub(crate) struct Pen {
    entries: Sender<Entry>,
}

/// The journal ended early; [`Journal::close`] returns the reason.
#[derive(Debug)]
pub(crate) struct Closed;

#[derive(Debug)]
enum Entry {
    Imported(Imported),
    Rejected(Batch, oneshot::Sender<()>),
}

#[derive(Debug)]
struct Imported {
    number: u64,
    records: u64,
    bytes: u64,
}

impl Journal {
    pub(crate) fn start(books: Books) -> anyhow::Result<Self> {
        let (entries, receiver) = channel();
        let keeper = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || keep(books, &receiver))
            .context("cannot start the journal")?;
        Ok(Self { entries, keeper })
    }

    pub(crate) fn pen(&self) -> Pen {
        Pen {
            entries: self.entries.clone(),
        }
    }

    /// Waits until everything is on disk. All pens must be dropped before. `batches` is the number of batches, if the
    /// reader knows it.
    pub(crate) fn close(self, batches: Option<u64>) -> anyhow::Result<Checkpoint> {
        drop(self.entries);
        let kept = self.keeper.join();
        let mut books = kept.map_err(|_| anyhow!("the journal panicked"))??;
        let done = &books.checkpoint.done;
        books.checkpoint.is_complete = batches.is_some_and(|batches| done.covers(batches));
        books.save()?;
        Ok(books.checkpoint)
    }
}

impl Pen {
    pub(crate) fn imported(&self, batch: &Batch) -> Result<(), Closed> {
        let entry = Imported {
            number: batch.number,
            records: batch.records,
            bytes: batch.body.len() as u64,
        };
        let sent = self.entries.send(Entry::Imported(entry));
        sent.map_err(|_| Closed)
    }

    /// Returns when the records of the batch are on disk, if there is a file for rejects.
    pub(crate) async fn rejected(&self, batch: Batch) -> Result<(), Closed> {
        let (written, is_written) = oneshot::channel();
        let sent = self.entries.send(Entry::Rejected(batch, written));
        sent.map_err(|_| Closed)?;
        is_written.await.map_err(|_| Closed)
    }
}

fn keep(mut books: Books, entries: &Receiver<Entry>) -> anyhow::Result<Books> {
    let mut due = None;
    loop {
        let left = due.map(|due: Instant| due.saturating_duration_since(Instant::now()));
        let entry = match left {
            None => entries.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(left) if left.is_zero() => Err(RecvTimeoutError::Timeout),
            Some(left) => entries.recv_timeout(left),
        };
        match entry {
            Ok(Entry::Imported(entry)) => {
                books.imported(&entry);
                due.get_or_insert_with(|| Instant::now() + SAVE_EVERY);
            }
            Ok(Entry::Rejected(batch, written)) => {
                books.rejected(&batch)?;
                // A cancelled worker does not listen any more.
                let _ = written.send(());
            }
            Err(RecvTimeoutError::Timeout) => {
                books.save()?;
                due = None;
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(books),
        }
    }
}

/// Refuses a file that is named for two options: the import would read and write it at once.
pub(crate) fn check_paths(arguments: &Arguments) -> anyhow::Result<()> {
    let paths = [&arguments.input, &arguments.rejects, &arguments.resume];
    let mut known = Vec::new();
    for path in paths.into_iter().flatten() {
        // Two paths can name one file before that file exists.
        let path = path.canonicalize().or_else(|_| absolute(path))?;
        let name = path.display();
        ensure!(
            !known.contains(&path),
            "{name} is named for two options: choose different files"
        );
        known.push(path);
    }
    Ok(())
}

/// The records that failed for good, byte for byte and back to back, so that the file can be imported. The first failure
/// creates the file; records of another import are never overwritten.
#[derive(Debug)]
pub(crate) struct Rejects {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
}

impl Rejects {
    /// The file of an import that has rejected nothing.
    pub(crate) fn begin(path: &Path) -> anyhow::Result<Self> {
        let name = path.display();
        ensure!(
            length(path)? == 0,
            "{name} already holds records: import them, move the file, or name another one"
        );
        Ok(Self {
            path: path.to_owned(),
            file: None,
            bytes: 0,
        })
    }

    /// The file of an import that has rejected so many bytes, by its checkpoint. Records behind them are cut off: the
    /// checkpoint does not count their batches as done, so they are sent again.
    pub(crate) fn resume(path: &Path, bytes: u64) -> anyhow::Result<Self> {
        let name = path.display();
        let length = length(path)?;
        ensure!(
            length >= bytes,
            "{name} has {length} of the {bytes} bytes that the checkpoint counts: rejected records were taken out of \
             it before the import was complete; put them back"
        );
        if length > bytes {
            let cut = || File::options().write(true).open(path)?.set_len(bytes);
            cut().with_context(|| format!("cannot write {name}"))?;
        }
        Ok(Self {
            path: path.to_owned(),
            file: None,
            bytes,
        })
    }

    /// Writes the records to disk. After an error, none of them is in the file.
    pub(crate) fn append(&mut self, records: &[u8]) -> anyhow::Result<()> {
        self.try_append(records)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn try_append(&mut self, records: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::options().create(true).append(true).open(&self.path)?),
        };
        let written = file.write_all(records).and_then(|()| file.sync_data());
        match written {
            Ok(()) => self.bytes += records.len() as u64,
            // A part of a record would make all records after it unreadable.
            Err(_) => file.set_len(self.bytes)?,
        }
        written
    }
}

fn length(path: &Path) -> anyhow::Result<u64> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser as _;
    use tokio::time::{sleep, timeout};

    use super::*;

    #[test]
    fn the_first_reject_creates_the_file() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("rejects.mrc");
        let mut rejects = Rejects::begin(&path)?;
        assert!(!path.exists());
        rejects.append(b"one\x1D")?;
        rejects.append(b"two\x1D")?;
        assert_eq!(fs::read(&path)?, b"one\x1Dtwo\x1D");
        Ok(())
    }

    #[test]
    fn records_of_another_import_are_never_overwritten() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("rejects.mrc");
        fs::write(&path, "one\x1D")?;
        let error = Rejects::begin(&path).unwrap_err();
        assert!(error.to_string().contains("already holds records"));
        assert_eq!(fs::read(&path)?, b"one\x1D");
        fs::write(&path, "")?;
        Rejects::begin(&path)?.append(b"two\x1D")?;
        Ok(())
    }

    #[test]
    fn records_that_the_checkpoint_does_not_count_are_cut_off() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("rejects.mrc");
        fs::write(&path, "one\x1Dtwo\x1D")?;
        Rejects::resume(&path, 4)?.append(b"three\x1D")?;
        assert_eq!(fs::read(&path)?, b"one\x1Dthree\x1D");
        let error = Rejects::resume(&path, 11).unwrap_err();
        assert!(error.to_string().contains("has 10 of the 11 bytes"));
        Ok(())
    }

    struct Desk {
        directory: tempfile::TempDir,
    }

    impl Desk {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            Self { directory }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn journal(&self) -> Journal {
            let mut arguments = Arguments::try_parse_from(["data_import"]).unwrap();
            arguments.resume = Some(self.path("checkpoint"));
            arguments.rejects = Some(self.path("rejects.mrc"));
            Journal::start(Books::open(&arguments).unwrap()).unwrap()
        }

        fn checkpoint(&self) -> Checkpoint {
            serde_json::from_slice(&fs::read(self.path("checkpoint")).unwrap()).unwrap()
        }
    }

    fn batch(number: u64) -> Batch {
        Batch {
            number,
            records: 2,
            body: "a\x1Db\x1D".into(),
        }
    }

    #[tokio::test]
    async fn a_failed_batch_and_its_checkpoint_are_on_disk_when_rejected_returns() {
        let desk = Desk::new();
        let journal = desk.journal();
        journal.pen().rejected(batch(3)).await.unwrap();
        assert_eq!(fs::read(desk.path("rejects.mrc")).unwrap(), b"a\x1Db\x1D");
        let checkpoint = desk.checkpoint();
        assert!(checkpoint.done.contains(3));
        assert_eq!((checkpoint.imported, checkpoint.rejected), (0, 2));
        assert_eq!(checkpoint.rejects.unwrap().bytes, 4);
    }

    #[tokio::test]
    async fn an_imported_batch_gets_into_the_checkpoint_while_the_journal_is_open() {
        let desk = Desk::new();
        let journal = desk.journal();
        assert!(!desk.checkpoint().done.contains(7));
        journal.pen().imported(&batch(7)).unwrap();
        let kept = async {
            while !desk.checkpoint().done.contains(7) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), kept).await.unwrap();
    }

    #[tokio::test]
    async fn an_import_is_complete_only_if_the_number_of_batches_is_known_and_every_batch_is_done()
    {
        for (batches, is_complete) in [(Some(2), true), (Some(3), false), (None, false)] {
            let desk = Desk::new();
            let journal = desk.journal();
            let pen = journal.pen();
            pen.imported(&batch(1)).unwrap();
            pen.imported(&batch(0)).unwrap();
            drop(pen);
            assert_eq!(journal.close(batches).unwrap().is_complete, is_complete);
            assert_eq!(desk.checkpoint().is_complete, is_complete);
            assert_eq!(desk.checkpoint().imported, 4);
        }
    }
}
