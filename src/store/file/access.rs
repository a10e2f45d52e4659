//! Who else may read a file, and change it. Where there are no modes, nobody is refused.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::path::Path;

use super::failed;
use crate::store::StoreError;

/// Creates a directory, and those above it, for nobody but us.
pub(super) fn create_private(directory: &Path) -> io::Result<()> {
    let missing = directory.ancestors().take_while(|path| !path.exists());
    let missing = missing.count();
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)?;
    for parent in directory.ancestors().skip(1).take(missing) {
        // One that can be written and not read cannot be synced either; it is no reason to stop.
        let _ = sync_directory(parent);
    }
    Ok(())
}

/// Makes what was created, renamed or removed in a directory outlast a power cut.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    // Elsewhere a directory cannot be opened as a file.
    if cfg!(unix) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Looked at before every use: an error is better than a session that seems to be gone because its
/// directory is, as on a volume that is not mounted.
pub(super) fn check_directory(directory: &Path) -> Result<(), StoreError> {
    let metadata =
        fs::metadata(directory).map_err(|error| failed("use the directory", directory, error))?;
    if !metadata.is_dir() {
        return Err(StoreError::new(format!(
            "{} is no directory",
            directory.display()
        )));
    }
    check(directory, &metadata)
}

#[cfg(unix)]
pub(super) fn check(path: &Path, metadata: &Metadata) -> Result<(), StoreError> {
    use std::os::unix::fs::MetadataExt;

    let shown = path.display();
    let mode = metadata.mode() & 0o777;
    // Whoever may write to a directory may put another file in place of one; to list its names, which are
    // digests, gives nothing away.
    if metadata.is_dir() && mode & 0o022 != 0 {
        return Err(StoreError::new(format!(
            "{shown} can be written to by others (its mode is {mode:04o}); if what is in it is still \
             yours, run: chmod 700 '{shown}'"
        )));
    }
    if !metadata.is_dir() && mode & 0o077 != 0 {
        return Err(StoreError::new(format!(
            "{shown} can be accessed by others (its mode is {mode:04o}) and was left as it is; if its \
             tokens are still a secret, run: chmod 600 '{shown}'"
        )));
    }
    let (owner, us) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != us {
        return Err(StoreError::new(format!(
            "{shown} belongs to user {owner} and was left as it is; this program runs as user {us}"
        )));
    }
    Ok(())
}

#[cfg(not(unix))]
pub(super) fn check(_: &Path, _: &Metadata) -> Result<(), StoreError> {
    Ok(())
}
