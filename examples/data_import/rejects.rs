//! The records that finally failed, byte for byte and back to back, so that the file can be imported.
//! It is made when the first record fails, and a file that was there before is never overwritten.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

#[derive(Debug)]
pub(crate) struct Rejects {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
}

impl Rejects {
    /// For an import that has not rejected anything.
    pub(crate) fn begin(path: &Path) -> anyhow::Result<Self> {
        let name = path.display();
        ensure!(
            length(path)? == 0,
            "{name} holds records already: import them, move it, or name another file"
        );
        Ok(Self {
            path: path.to_owned(),
            file: None,
            bytes: 0,
        })
    }

    /// For one that has rejected so many bytes. What stands behind them is cut off: it is of batches of
    /// which the checkpoint does not know that they failed, and which are sent again.
    pub(crate) fn resume(path: &Path, bytes: u64) -> anyhow::Result<Self> {
        let name = path.display();
        let length = length(path)?;
        ensure!(
            length >= bytes,
            "{name} has {length} of the {bytes} bytes that the checkpoint says it has: rejected records \
             were taken out of it before the import was complete"
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

    /// Once it returns, the records are on disk; if it fails, none of them is in the file.
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
            // Half a record would make all that follow it unreadable.
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
    use super::*;

    #[test]
    fn the_file_is_made_by_the_first_reject_and_by_nothing_else() -> anyhow::Result<()> {
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
        assert!(error.to_string().contains("holds records already"));
        assert_eq!(fs::read(&path)?, b"one\x1D");
        fs::write(&path, "")?;
        Rejects::begin(&path)?.append(b"two\x1D")?;
        Ok(())
    }

    #[test]
    fn what_the_checkpoint_does_not_know_is_cut_off() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("rejects.mrc");
        fs::write(&path, "one\x1Dtwo\x1D")?;
        Rejects::resume(&path, 4)?.append(b"three\x1D")?;
        assert_eq!(fs::read(&path)?, b"one\x1Dthree\x1D");
        let error = Rejects::resume(&path, 11).unwrap_err();
        assert!(error.to_string().contains("has 10 of the 11 bytes"));
        Ok(())
    }
}
