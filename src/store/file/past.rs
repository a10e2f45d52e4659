//! The past tokens that have left a record, in a file beside it, so that a search still finds their session.
//!
//! It is a hint: without it, a used token of long ago is one that no session is known to have had. So whatever is wrong
//! with the file is an error of no call, and it is not synced. It begins with the name of its session, and one that
//! begins with another name says nothing about this one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::access::{self, GroupAccess};
use super::content::record_of;
use super::replace::temporary;
use crate::token::Digest;

pub(super) const ENDING: &str = ".past";

/// How many tokens are remembered. At one rotation in ten minutes these are two days.
pub(super) const LIMIT: usize = 256;

/// How many a file holds before the old ones are taken out, so that most swaps append one.
const MOST: usize = 2 * LIMIT;

pub(super) fn path(record: &Path) -> PathBuf {
    record.with_extension(&ENDING[1..])
}

/// The tokens that have left the record at `record`, the oldest first.
pub(super) fn read(record: &Path, group: GroupAccess) -> Vec<Digest> {
    let file = open(record, group, OpenOptions::new().read(true));
    let mut names = file
        .and_then(|file| Content::read(file, record))
        .map(|content| content.names)
        .unwrap_or_default();
    names.drain(..names.len().saturating_sub(LIMIT));
    names
}

/// Enters tokens that have just left the record at `record`, whose lock the caller has.
pub(super) fn enter(record: &Path, left: &[Digest], group: GroupAccess) -> io::Result<()> {
    let session = record_of(record).ok_or(io::ErrorKind::InvalidFilename)?;
    let file = open(record, group, OpenOptions::new().read(true).append(true));
    let content = file.and_then(|file| Content::read(file, record));
    let mut names = match content {
        Some(mut content) if content.is_whole && content.names.len() + left.len() <= MOST => {
            return content.file.write_all(&bytes(left));
        }
        Some(content) => content.names,
        None => Vec::new(),
    };
    names.extend_from_slice(left);
    names.drain(..names.len().saturating_sub(LIMIT));
    // Not in place: a search reads it without the lock.
    let path = path(record);
    let mut file = temporary(&path)?;
    names.insert(0, session);
    file.write_all(&bytes(&names))?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// What a file of this session holds.
struct Content {
    file: File,
    names: Vec<Digest>,
    /// Whether the last name is a whole one, as it is not where a power cut came into the writing.
    is_whole: bool,
}

impl Content {
    /// `None` if it is not of the session whose record is at `record`, or is longer than any that is written here.
    fn read(mut file: File, record: &Path) -> Option<Self> {
        let most = (MOST + 1) * Digest::LENGTH;
        let length = usize::try_from(file.metadata().ok()?.len()).ok()?;
        let mut bytes = vec![0; Some(length).filter(|length| *length <= most)?];
        file.read_exact(&mut bytes).ok()?;
        let (names, rest) = bytes.as_chunks();
        let mut names = names.iter().copied().map(Digest::from_bytes);
        if names.next() != record_of(record) {
            return None;
        }
        Some(Self {
            file,
            names: names.collect(),
            is_whole: rest.is_empty(),
        })
    }
}

/// `None` if there is none, or none that is fit for use.
fn open(record: &Path, group: GroupAccess, options: &OpenOptions) -> Option<File> {
    let path = path(record);
    // A link leads to another file, and a pipe would be waited for.
    if !fs::symlink_metadata(&path).ok()?.is_file() {
        return None;
    }
    let file = options.open(&path).ok()?;
    access::check(&path, &file.metadata().ok()?, group).ok()?;
    Some(file)
}

fn bytes(names: &[Digest]) -> Vec<u8> {
    let bytes = names.iter().flat_map(Digest::as_bytes);
    bytes.copied().collect()
}
