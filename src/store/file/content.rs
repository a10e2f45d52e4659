//! The content of a file: a record in its envelope. A file is read as a whole or not at all.

use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::access::{self, GroupAccess};
use super::{failed, if_there};
use crate::record::{Owner, Record};
use crate::store::codec::{Flaw, Outline};
use crate::store::{Revision, StoreError};
use crate::token::{Digest, Key};

/// The longest file, in bytes. A record has two thousand bytes besides its tokens and the fields of later versions.
const LONGEST: usize = 1 << 20;

/// The coarsest step of a file's times: FAT counts in steps of two seconds, and only the whole seconds of `ctime` are
/// used.
const COARSEST_TICK: Duration = Duration::from_secs(3);

/// The JSON of a file. Unknown fields are refused: a later version wrote them, and the next write would lose them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    revision: u64,
    #[serde(borrow)]
    record: &'a RawValue,
}

/// What was read of a file.
pub(super) struct Stored<T> {
    pub(super) content: T,
    pub(super) revision: Revision,
    pub(super) stamp: Stamp,
}

impl Stored<Record> {
    pub(super) fn entry(self) -> (Record, Revision) {
        (self.content, self.revision)
    }
}

/// A record as far as it can be read without a sealer.
pub(super) type Found = Stored<Outline>;

impl Found {
    /// The record at `path`; `None` if there is no file.
    pub(super) fn read(path: &Path, group: GroupAccess) -> Result<Option<Self>, StoreError> {
        read(path, group, Outline::read)
    }

    /// Whether the record belongs at `path`. A copy under another name does not.
    pub(super) fn belongs_at(&self, path: &Path) -> bool {
        record_of(path) == Some(self.content.record.key.digest())
    }

    /// The owner of the lease. Without a sealer, the lease is not proven to be genuine.
    pub(super) fn holder(&self) -> Option<Owner> {
        holder(&self.content.record)
    }
}

/// The owner of the lease.
pub(super) fn holder(record: &Record) -> Option<Owner> {
    Some(record.lease.as_ref()?.owner)
}

/// Reads the file at `path`, and in it the bytes of the record by `decode`. `None` if there is no file.
pub(super) fn read<T>(
    path: &Path,
    group: GroupAccess,
    decode: impl FnOnce(&[u8]) -> Result<T, Flaw>,
) -> Result<Option<Stored<T>>, StoreError> {
    let unread = failed("read", path);
    // The next write would replace a link, and reading a pipe would block.
    let file = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => File::open(path),
        Ok(_) => {
            return Err(StoreError::new(format!(
                "{}: it is not a regular file (a symbolic link?); put the file itself there",
                untouched(path)
            )));
        }
        Err(error) => Err(error),
    };
    let Some(mut file) = if_there(file).map_err(&unread)? else {
        return Ok(None);
    };
    let metadata = file.metadata().map_err(&unread)?;
    access::check(path, &metadata, group)?;
    let length = usize::try_from(metadata.len());
    let length = length.ok().filter(|length| *length <= LONGEST);
    // At once, into a buffer of this length: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(vec![0; length.ok_or_else(|| too_long(path))?]);
    file.read_exact(&mut bytes).map_err(&unread)?;
    let opened = || {
        let Envelope { revision, record } = serde_json::from_slice(&bytes)?;
        Ok(Stored {
            content: decode(record.get().as_bytes())?,
            revision: Revision::new(revision),
            stamp: Stamp::from(&metadata),
        })
    };
    let opened = opened().map_err(|flaw: Flaw| flaw.of(untouched(path)));
    opened.map(Some)
}

/// Refuses a session that an unreleased version wrote. That version named the file by the whole SHA-256. If the file were
/// ignored, the session would begin anew, with a seed that may be used.
pub(super) fn refuse_unreleased(directory: &Path, key: &Key) -> Result<(), StoreError> {
    let path = directory.join(format!("{}.json", key.unreleased_name()));
    match if_there(fs::symlink_metadata(&path)).map_err(failed("look for", &path))? {
        None => Ok(()),
        Some(_) => Err(StoreError::new(format!(
            "{}: its name and its layout are those of an unreleased version; move it away and sign in anew",
            untouched(&path)
        ))),
    }
}

/// The bytes of a file for this record. Too many bytes are an error, because they could not be read again.
pub(super) fn written(
    path: &Path,
    revision: Revision,
    record: &[u8],
) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let head = format!("{{\"revision\":{},\"record\":", revision.number());
    let bytes = Zeroizing::new([head.as_bytes(), record, b"}\n"].concat());
    match bytes.len() {
        ..=LONGEST => Ok(bytes),
        _ => Err(too_long(path)),
    }
}

fn too_long(path: &Path) -> StoreError {
    StoreError::new(format!(
        "{}: its record is longer than {LONGEST} bytes",
        untouched(path)
    ))
}

pub(super) fn next_revision(before: Option<Revision>, wall: Duration) -> Revision {
    // Not nanoseconds: readers with floating-point numbers would round them.
    let micros = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
    let least = before.map_or(0, |before| before.number().saturating_add(1));
    Revision::new(micros.max(least))
}

pub(super) fn untouched(path: &Path) -> String {
    format!("{} was left as it is", path.display())
}

/// The session in the name of a file with this ending.
pub(super) fn session_of(path: &Path, ending: &str) -> Option<Digest> {
    let name = path.file_name()?.to_str()?.strip_suffix(ending)?;
    name.get(..Digest::DIGITS)?.parse().ok()
}

/// The session whose record is at `path`, if the name is exactly that of a record.
pub(super) fn record_of(path: &Path) -> Option<Digest> {
    let name = path.file_name()?.to_str()?.strip_suffix(".json")?;
    let is_plain =
        name.len() == Digest::DIGITS && !name.bytes().any(|byte| byte.is_ascii_uppercase());
    is_plain.then(|| name.parse().ok()).flatten()
}

/// The device and the number of a file.
pub(super) type FileId = (u64, u64);

/// `None` on systems where files have no number.
pub(super) fn file_id(metadata: &Metadata) -> Option<FileId> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Some((metadata.dev(), metadata.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        None
    }
}

/// The metadata of a file or a directory that change with its content. A file with a different stamp was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    /// The time of the last change of the file or its metadata, in seconds and nanoseconds. Unlike `modified`, a program
    /// cannot set it. Zero on systems that do not keep it.
    changed: (i64, i64),
    length: u64,
    id: Option<FileId>,
}

impl Stamp {
    /// `None` if there is no file.
    pub(super) fn of(path: &Path) -> Option<Self> {
        fs::symlink_metadata(path).ok().as_ref().map(Self::from)
    }

    /// Whether a change after `now`, by the wall clock, would change the stamp. A change within the same tick of the file
    /// system's clock would not.
    pub(super) fn is_settled(&self, now: Duration) -> bool {
        let changed = match self.changed {
            (0, 0) => self
                .modified
                .and_then(|time| time.duration_since(UNIX_EPOCH).ok()),
            (seconds, _) => u64::try_from(seconds).ok().map(Duration::from_secs),
        };
        changed.is_some_and(|changed| changed + COARSEST_TICK <= now)
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            changed: {
                use std::os::unix::fs::MetadataExt;
                (metadata.ctime(), metadata.ctime_nsec())
            },
            #[cfg(not(unix))]
            changed: (0, 0),
            length: metadata.len(),
            id: file_id(metadata),
        }
    }
}
