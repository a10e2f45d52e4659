//! The progress of an import in a file, so that a stopped or killed import can be resumed. A save replaces the whole file,
//! so a reader finds an old state or a new state, never a part of one.
//!
//! A checkpoint names its [`Assignment`]: an import that was resumed with another input would silently leave gaps.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::arguments::{Action, Arguments};
use crate::batches::Done;
use crate::command::name;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Checkpoint {
    format: Format,
    /// A random prefix of the keys of all batches, the same in each run of this import.
    run: String,
    assignment: Assignment,
    /// Batches that were imported, or whose records are in the file of rejects. The next run sends the others.
    pub(crate) done: Done,
    pub(crate) imported: u64,
    pub(crate) rejected: u64,
    /// The length of the records that are done.
    pub(crate) bytes: u64,
    pub(crate) rejects: Option<RejectsMark>,
    pub(crate) is_complete: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Format {
    #[serde(rename = "data_import checkpoint 1")]
    First,
}

/// The part of the file of rejects that belongs to batches that are done. Records behind this part are of batches that the
/// next run sends again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RejectsMark {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

impl Checkpoint {
    /// The checkpoint of an import that has not begun.
    pub(crate) fn new(assignment: Assignment) -> anyhow::Result<Self> {
        let mut run = [0; 16];
        getrandom::fill(&mut run).context("cannot get random numbers from the system")?;
        Ok(Self {
            format: Format::First,
            run: hex(&run),
            assignment,
            done: Done::default(),
            imported: 0,
            rejected: 0,
            bytes: 0,
            rejects: None,
            is_complete: false,
        })
    }

    /// Reads the checkpoint from the file, if the file exists. Refuses the checkpoint of another import; the file stays as
    /// it is.
    pub(crate) fn load(path: &Path, assignment: &Assignment) -> anyhow::Result<Option<Self>> {
        let name = path.display();
        let content = match fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {name}")),
        };
        let checkpoint: Self = serde_json::from_slice(&content).with_context(|| {
            format!(
                "{name} is not a checkpoint of an import, or is damaged; it was left as it is: name another file \
                 with --resume"
            )
        })?;
        if let Some(difference) = assignment.difference(&checkpoint.assignment) {
            bail!(
                "{name} is the checkpoint of an import with {difference}; it was left as it is: resume with the same \
                 options, or name another file with --resume"
            );
        }
        Ok(Some(checkpoint))
    }

    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let written = || {
            let directory = match path.parent() {
                Some(directory) if !directory.as_os_str().is_empty() => directory,
                _ => Path::new("."),
            };
            let mut file = NamedTempFile::new_in(directory)?;
            serde_json::to_writer(&mut file, self)?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            #[cfg(unix)]
            fs::File::open(directory)?.sync_all()?;
            std::io::Result::Ok(())
        };
        written().with_context(|| format!("cannot write {}", path.display()))
    }

    /// The value of a batch's `Idempotency-Key`: a string as in RFC 9651 section 3.3.3. It is the same for each sending of
    /// the batch, in each run.
    pub(crate) fn key(run: &str, number: u64) -> String {
        format!("\"{run}-{number}\"")
    }

    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    /// Records that are done.
    pub(crate) fn records(&self) -> u64 {
        self.imported + self.rejected
    }
}

/// All that decides the content of each batch, and what the API does with a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Assignment {
    pub(crate) input: Input,
    /// The most records that are read.
    limit: Option<u64>,
    batch: usize,
    action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Input {
    Generated,
    /// The input of an import without a checkpoint.
    #[serde(skip)]
    Unread,
    /// A file, identified by its content instead of its path.
    File {
        bytes: u64,
        sha256: String,
    },
}

impl Assignment {
    /// Identifies the input; reads a file once from end to end.
    pub(crate) fn of(arguments: &Arguments) -> anyhow::Result<Self> {
        let input = match &arguments.input {
            None => Input::Generated,
            Some(path) => Input::file(path)?,
        };
        Ok(Self {
            input,
            ..Self::unread(arguments)
        })
    }

    /// For an import without a checkpoint: does not read the file.
    pub(crate) fn unread(arguments: &Arguments) -> Self {
        Self {
            input: Input::Unread,
            limit: arguments.count(),
            batch: arguments.batch,
            action: arguments.action,
        }
    }

    /// The first difference from the assignment `before`.
    pub(crate) fn difference(&self, before: &Self) -> Option<String> {
        if self.input != before.input {
            return Some("another input, or an input that was changed".to_owned());
        }
        if self.limit != before.limit {
            let limit =
                |limit: Option<u64>| limit.map_or("all".to_owned(), |limit| limit.to_string());
            let (before, now) = (limit(before.limit), limit(self.limit));
            return Some(format!("`--records {before}` and not {now}"));
        }
        if self.batch != before.batch {
            return Some(format!("`--batch {}` and not {}", before.batch, self.batch));
        }
        (self.action != before.action).then(|| {
            format!(
                "`--action {}` and not {}",
                name(before.action),
                name(self.action)
            )
        })
    }
}

impl Input {
    fn file(path: &Path) -> anyhow::Result<Self> {
        let digested = || {
            let mut file = File::open(path)?;
            let mut digest = Sha256::new();
            let mut buffer = vec![0; 256 * 1024];
            let mut bytes = 0;
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    read => {
                        digest.update(&buffer[..read]);
                        bytes += read as u64;
                    }
                }
            }
            std::io::Result::Ok((bytes, hex(&digest.finalize())))
        };
        let (bytes, sha256) =
            digested().with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self::File { bytes, sha256 })
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
