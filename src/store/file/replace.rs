//! How a record is replaced: a new file is written beside it, synced, and renamed over it.

use std::io::{self, Write as _};
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

use super::{access, failed};
use crate::store::StoreError;

pub(super) const ENDING: &str = ".tmp";

/// Replaces the file at `path`, whose lock the caller has. After an error it is the old one or the new one,
/// and whole.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let Some(directory) = path.parent() else {
        return Err(StoreError::new(format!("{} is no file", path.display())));
    };
    let unwritten = |error| failed("write", path, error);
    let mut file = temporary(path).map_err(unwritten)?;
    file.write_all(content).map_err(unwritten)?;
    // Before the rename, or a power cut might leave the new name on an empty file.
    file.as_file().sync_all().map_err(unwritten)?;
    file.persist(path).map_err(|error| unwritten(error.error))?;
    access::sync_directory(directory).map_err(unwritten)
}

/// A file beside the record at `path`, created for us alone (0600), under a name that did not exist; removed
/// when dropped.
pub(super) fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    let (Some(directory), Some(stem)) = (path.parent(), path.file_stem()) else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    let mut prefix = stem.to_os_string();
    prefix.push(".");
    let mut builder = Builder::new();
    builder.prefix(&prefix).suffix(ENDING);
    builder.tempfile_in(directory)
}
