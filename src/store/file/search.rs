//! Whose digest it is. Every file is asked.

use std::fs;
use std::path::Path;

use super::{FileStore, access, content, failed};
use crate::store::StoreError;
use crate::token::{Digest, Key};

/// Every file that can be read is asked before one that cannot is an error: "nobody's" would be a
/// guess then.
pub(super) fn search(store: &FileStore, digest: &Digest) -> Result<Option<Key>, StoreError> {
    let directory = &store.directory;
    access::check_directory(directory)?;
    let unlisted = |error| failed("list the directory", directory, error);
    let mut unread = None;
    for entry in fs::read_dir(directory).map_err(unlisted)? {
        let path = entry.map_err(unlisted)?.path();
        if content::session_of(&path, ".json").is_none() {
            continue;
        }
        match owner_of(&path, digest) {
            // A copy under another name is nobody's.
            Ok(Some(key)) if store.path(&key) == path => return Ok(Some(key)),
            Ok(_) => {}
            Err(error) => unread = Some(error),
        }
    }
    unread.map_or(Ok(None), Err)
}

/// The session whose file this is, if it knows the digest.
fn owner_of(path: &Path, digest: &Digest) -> Result<Option<Key>, StoreError> {
    let outline = content::outline(path)?;
    Ok(outline
        .filter(|outline| outline.knows(digest))
        .map(|outline| outline.record.key))
}
