//! How far an import has come, in a file, so that a stopped or killed one can go on. The file is replaced
//! whole: at any moment there is an old state or a new one, and never half of one.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::done::Done;
use crate::input::{Assignment, hex};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Checkpoint {
    format: Format,
    /// Random: the keys of all batches start with it, in every run that goes on with this import.
    run: String,
    assignment: Assignment,
    /// Imported, or written to the rejects. The rest is sent (again).
    pub(crate) done: Done,
    pub(crate) imported: u64,
    pub(crate) rejected: u64,
    /// Of the records that are done.
    pub(crate) bytes: u64,
    pub(crate) rejects: Option<RejectsMark>,
    pub(crate) is_complete: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Format {
    #[serde(rename = "data_import checkpoint 1")]
    First,
}

/// How much of the rejects file belongs to batches that are done. What stands behind it is of batches
/// that are sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RejectsMark {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

impl Checkpoint {
    /// Of an import that has not begun.
    pub(crate) fn new(assignment: Assignment) -> anyhow::Result<Self> {
        let mut run = [0; 16];
        getrandom::fill(&mut run).context("the system gave no random numbers")?;
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

    /// The one in the file, if there is a file; it has to be of this very import. Whatever else is in
    /// the file stays there.
    pub(crate) fn load(path: &Path, assignment: &Assignment) -> anyhow::Result<Option<Self>> {
        let name = path.display();
        let content = match fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {name}")),
        };
        let checkpoint: Self = serde_json::from_slice(&content).with_context(|| {
            format!("{name} is no checkpoint of an import, or a damaged one; it was left as it is")
        })?;
        if let Some(difference) = assignment.difference(&checkpoint.assignment) {
            bail!("{name} is the checkpoint of an import with {difference}; it was left as it is");
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

    /// The value of a batch's `Idempotency-Key`: a string as in RFC 9651 section 3.3.3, the same however
    /// often and by whichever run the batch is sent.
    pub(crate) fn key(run: &str, number: u64) -> String {
        format!("\"{run}-{number}\"")
    }

    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    /// Records that need not be sent.
    pub(crate) fn records(&self) -> u64 {
        self.imported + self.rejected
    }
}
