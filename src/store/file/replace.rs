//! How a record is replaced: a new file is written beside it, synced, and renamed over it.
//!
//! All that can fail does so before the rename, while nothing has changed. From the rename on every reader has the
//! new record, so a later step is reported if it fails, and does not decide about the whole.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::{Builder, NamedTempFile};

use super::failed;
use crate::store::StoreError;

pub(super) const ENDING: &str = ".tmp";

/// How a file and a directory are made to outlast a power cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disk {
    pub(super) sync_file: fn(&File) -> io::Result<()>,
    pub(super) sync_directory: fn(&File) -> io::Result<()>,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            sync_file: File::sync_all,
            sync_directory: File::sync_all,
        }
    }
}

/// A new file that needs only its name.
pub(super) struct Replacement {
    file: NamedTempFile,
    /// Opened before the rename, so that the rename is not followed by an error of opening.
    directory: Option<File>,
    disk: Disk,
}

impl Replacement {
    /// For the file at `path`, whose lock the caller has.
    pub(super) fn prepare(path: &Path, content: &[u8], disk: Disk) -> Result<Self, StoreError> {
        let Some(parent) = path.parent() else {
            return Err(StoreError::new(format!(
                "{} does not name a file in a directory; give the store the path of a directory",
                path.display()
            )));
        };
        let directory =
            open_directory(parent).map_err(|error| failed("open the directory", parent, error))?;
        let mut file =
            temporary(path).map_err(|error| failed("create a new file for", path, error))?;
        file.write_all(content)
            .map_err(|error| failed("write the new file for", path, error))?;
        // Before the rename, or a power cut might leave the new name on an empty file.
        match (disk.sync_file)(file.as_file()) {
            Err(error) if !is_unsupported(&error) => {
                return Err(failed("sync the new file for", path, error));
            }
            _ => {}
        }
        Ok(Self {
            file,
            directory,
            disk,
        })
    }

    /// Gives it the name. After an error the file at `path` is the old one or the new one, and whole.
    pub(super) fn put(self, path: &Path) -> Result<(), StoreError> {
        static REPORTED: AtomicBool = AtomicBool::new(false);

        let Self {
            file,
            directory,
            disk,
        } = self;
        file.persist(path)
            .map_err(|error| failed("rename the new file to", path, error.error))?;
        let synced = directory.map_or(Ok(()), |directory| (disk.sync_directory)(&directory));
        if let Err(error) = synced
            && !is_unsupported(&error)
            && !REPORTED.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                path = %path.display(),
                %error,
                "cannot sync the directory: a record is replaced for every reader, and a power cut may undo it; \
                 check the disk"
            );
        }
        Ok(())
    }
}

/// `None` where a directory cannot be opened as a file, and where one that can be written cannot be read.
fn open_directory(directory: &Path) -> io::Result<Option<File>> {
    if !cfg!(unix) {
        return Ok(None);
    }
    match File::open(directory) {
        Ok(directory) => Ok(Some(directory)),
        Err(error) if error.kind() == ErrorKind::PermissionDenied || is_unsupported(&error) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether the file system does not have the operation, as with the syncing of directories on CIFS, on some shared
/// folders of virtual machines and on some file systems in user space. What is lost by it is lost with every
/// program there.
fn is_unsupported(error: &io::Error) -> bool {
    #[cfg(unix)]
    if let Some(errno) = rustix::io::Errno::from_io_error(error) {
        use rustix::io::Errno;

        // EBADF, because some systems want a directory to be open for writing, which none can be.
        return [
            Errno::INVAL,
            Errno::NOTSUP,
            Errno::OPNOTSUPP,
            Errno::NOSYS,
            Errno::NOTTY,
            Errno::BADF,
            Errno::ISDIR,
        ]
        .contains(&errno);
    }
    matches!(
        error.kind(),
        ErrorKind::Unsupported | ErrorKind::InvalidInput
    )
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
