//! Keeps what became of each batch, on a thread of its own: nobody who imports waits for the disk, save
//! for a batch that failed, which is told only when it is in the rejects.
//!
//! The checkpoint is not written for every batch, because that takes two waits for the disk. A batch that
//! was done and is not in it is sent again after a kill, and its key says so to the API. A rejected batch
//! has no such key, so there the checkpoint is written at once.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf, absolute};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::arguments::Arguments;
use crate::batches::Batch;
use crate::checkpoint::{Checkpoint, RejectsMark};
use crate::input::Assignment;
use crate::rejects::Rejects;

/// How much of an import may be sent again after a kill. A save takes 1 ms on a fast disk, and many times
/// that on others; a batch takes 150 ms, and eight of them end in that time.
const SAVE_EVERY: Duration = Duration::from_millis(250);

/// What is on disk, or would be.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) checkpoint: Checkpoint,
    /// Where the checkpoint is kept, if it is.
    path: Option<PathBuf>,
    rejects: Option<Rejects>,
    /// While it is open, the checkpoint is nobody else's.
    _lock: Option<File>,
}

impl Books {
    /// Those that the arguments name, new or taken up.
    pub(crate) fn open(arguments: &Arguments) -> anyhow::Result<Self> {
        let path = arguments.resume.clone();
        let Some(path) = path else {
            let assignment = Assignment::unread(arguments);
            let rejects = arguments
                .rejects
                .as_deref()
                .map(Rejects::begin)
                .transpose()?;
            return Ok(Self {
                checkpoint: Checkpoint::new(assignment)?,
                path: None,
                rejects,
                _lock: None,
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
            return Ok(Self {
                checkpoint,
                path: None,
                rejects: None,
                _lock: None,
            });
        }
        let rejects = rejects(arguments.rejects.as_deref(), checkpoint.rejects.as_ref())?;
        checkpoint.rejects = rejects.as_ref().map(mark);
        // The run's keys have to be known before the first of them is used.
        checkpoint.save(&path)?;
        Ok(Self {
            checkpoint,
            path: Some(path),
            rejects,
            _lock: Some(lock),
        })
    }

    fn imported(&mut self, entry: &Imported) {
        self.checkpoint.done.add(entry.number);
        self.checkpoint.imported += entry.records;
        self.checkpoint.bytes += entry.bytes;
    }

    /// Without a file for its records, a failed batch is not done with: a later run tries it again.
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

/// Two imports with one checkpoint would each forget what the other has done. The lock is on a file beside
/// it, which stays: the checkpoint's own is replaced with every save. A killed import leaves no lock.
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
        Err(TryLockError::WouldBlock) => bail!("another import is running with {}", path.display()),
        Err(TryLockError::Error(error)) => Err(error).with_context(cannot),
    }
}

fn rejects(wanted: Option<&Path>, before: Option<&RejectsMark>) -> anyhow::Result<Option<Rejects>> {
    match (wanted, before) {
        (Some(path), Some(mark)) if path == mark.path => {
            Rejects::resume(path, mark.bytes).map(Some)
        }
        (_, Some(mark)) if mark.bytes > 0 => bail!(
            "this import has rejected records: go on with `--rejects {}`",
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

/// The books while an import runs.
#[derive(Debug)]
pub(crate) struct Journal {
    entries: Sender<Entry>,
    keeper: JoinHandle<anyhow::Result<Books>>,
}

/// Where workers write to.
#[derive(Debug, Clone)]
pub(crate) struct Pen {
    entries: Sender<Entry>,
}

/// The journal ended early; [`Journal::close`] says why.
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

    /// Waits until everything is on disk; all pens have to be gone. `batches` is how many there are, if
    /// that is known by now.
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

    /// Returns when the batch is among the rejects on disk, if there are any.
    pub(crate) async fn rejected(&self, batch: Batch) -> Result<(), Closed> {
        let (told, kept) = oneshot::channel();
        let sent = self.entries.send(Entry::Rejected(batch, told));
        sent.map_err(|_| Closed)?;
        kept.await.map_err(|_| Closed)
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
            Ok(Entry::Rejected(batch, told)) => {
                books.rejected(&batch)?;
                // Nobody listens if the worker was cancelled; it is done all the same.
                let _ = told.send(());
            }
            Err(RecvTimeoutError::Timeout) => {
                books.save()?;
                due = None;
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(books),
        }
    }
}

/// Files that would be read and written at once.
pub(crate) fn check_paths(arguments: &Arguments) -> anyhow::Result<()> {
    let paths = [&arguments.input, &arguments.rejects, &arguments.resume];
    let mut known = Vec::new();
    for path in paths.into_iter().flatten() {
        // One that does not exist yet may be named in two ways too.
        let path = path.canonicalize().or_else(|_| absolute(path))?;
        let name = path.display();
        ensure!(!known.contains(&path), "{name} is named for two things");
        known.push(path);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
