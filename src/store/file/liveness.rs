//! The proof that the holder of a lease is alive or dead: a file beside the record. The holder's process keeps the file
//! locked until the lease has left the record. While the file has its name, only the end of the process frees the lock.
//! So a process that can lock the file knows that the holder is dead.
//!
//! A death must never be reported wrongly; "unknown" is always permitted. So a file
//!
//! - is locked before it gets its name, and gets its name before its lease is written;
//! - belongs to the process and not to a store, which might be opened anew for every call;
//! - loses its name before its lock; after locking it, the reader checks that the name still leads to it;
//! - contains which file on which machine it is, so that a copy proves nothing.
//!
//! All proofs of a process in one directory are names (hard links) of one file: a process with a thousand leases must
//! not run out of descriptors. Files get and lose their names under the lock of the record.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use super::access::{self, GroupAccess};
use super::content::{file_id, session_of};
use super::{if_there, lock, swap};
use crate::record::Owner;

/// The ending of a proof.
pub(super) const ENDING: &str = ".alive";

/// The longest proof, in bytes; more than a mark has.
const LONGEST: u64 = 256;

/// The most files with a descriptor each, where one file cannot have several names, as on FAT. Leases beyond that are
/// written without a proof, and waited for as if their holder hung.
const MOST_FILES: usize = 16;

/// The proofs of this process. A lock in here is only released by closing its file: a forked process may share it.
static OURS: Mutex<Ours> = Mutex::new(Ours {
    names: BTreeMap::new(),
    current: BTreeMap::new(),
});

/// What is known of the holder of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Liveness {
    Alive,
    Dead,
    Unknown,
}

impl Liveness {
    pub(super) fn of(record: &Path, owner: Owner, group: GroupAccess) -> Self {
        Self::at(&path(record, owner), group)
    }

    pub(super) fn at(path: &Path, group: GroupAccess) -> Self {
        Self::read(path, group).unwrap_or(Self::Unknown)
    }

    fn read(path: &Path, group: GroupAccess) -> io::Result<Self> {
        // A link may lead anywhere, and opening a pipe would block.
        if !fs::symlink_metadata(path)?.is_file() {
            return Ok(Self::Unknown);
        }
        let mut file = File::open(path)?;
        // A shared lock: two readers must not take each other for the holder.
        match file.try_lock_shared() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Self::Alive),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let metadata = file.metadata()?;
        if access::check(path, &metadata, group).is_err() || metadata.len() > LONGEST {
            return Ok(Self::Unknown);
        }
        let mut found = String::new();
        file.read_to_string(&mut found)?;
        let is_original = mark(&metadata).is_some_and(|mark| mark == found);
        // Since it was opened, the file may have lost its name and then its lock.
        let is_still_there = mark(&fs::symlink_metadata(path)?) == mark(&metadata);
        Ok(match is_original && is_still_there {
            true => Self::Dead,
            false => Self::Unknown,
        })
    }
}

pub(super) fn path(record: &Path, owner: Owner) -> PathBuf {
    record.with_extension(format!("{owner}{ENDING}"))
}

fn is_of(path: &Path, record: &Path) -> bool {
    path.parent() == record.parent()
        && session_of(path, ENDING)
            .is_some_and(|session| Some(session) == session_of(record, ".json"))
}

/// The text that tells a file from its copies: the boot of the machine, the device and the number of the file. `None`
/// where files have no number; nothing is proven there.
fn mark(metadata: &Metadata) -> Option<String> {
    /// The id of the boot, which only Linux has. Elsewhere it is empty: a copy on another machine with the same device
    /// and number counts as the original there.
    static BOOT: OnceLock<String> = OnceLock::new();
    let boot = BOOT.get_or_init(|| {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
        id.unwrap_or_default().trim().to_owned()
    });
    let (device, number) = file_id(metadata)?;
    Some(format!("{boot} {device} {number}\n"))
}

struct Ours {
    /// The names of the proofs, each with its file.
    names: BTreeMap<PathBuf, Arc<File>>,
    /// For each directory, the file that gets the next name there.
    current: BTreeMap<PathBuf, Weak<File>>,
}

/// Makes the proof of a lease of this process: before the lease is written, and after all other steps that can fail, since a
/// proof without a lease would stay. A lease whose proof fails is written all the same.
pub(super) fn begin(record: &Path, owner: Owner) {
    let name = path(record, owner);
    let mut ours = OURS.lock();
    if let Err(error) = ours.name(record, &name) {
        tracing::debug!(path = %name.display(), %error, "cannot write the proof of life of a lease: if this process dies, other instances wait until the lease expires");
    }
}

impl Ours {
    fn name(&mut self, record: &Path, name: &Path) -> io::Result<()> {
        let directory = name.parent().ok_or(ErrorKind::InvalidFilename)?;
        // The proof is there if the lease was written before, although its swap failed.
        if let Some(file) = self.names.get(name)
            && lock::is_same(file, name).unwrap_or(false)
        {
            return Ok(());
        }
        let file = match self.linked(directory, name) {
            Some(file) => file,
            None if self.files(directory) < MOST_FILES => {
                let Some(file) = create(record, name)? else {
                    return Ok(());
                };
                let file = Arc::new(file);
                self.current.retain(|_, file| file.strong_count() > 0);
                self.current
                    .insert(directory.to_owned(), Arc::downgrade(&file));
                file
            }
            None => {
                return Err(io::Error::other(format!(
                    "this process already has {MOST_FILES} proofs of life in this directory"
                )));
            }
        };
        // The file that had this name before has lost it, so it may lose its lock.
        self.names.insert(name.to_owned(), file);
        Ok(())
    }

    /// The directory's file, if this name was given to it.
    fn linked(&self, directory: &Path, name: &Path) -> Option<Arc<File>> {
        let file = self.current.get(directory)?.upgrade()?;
        let (known, _) = self
            .of_directory(directory)
            .find(|(_, other)| Arc::ptr_eq(other, &file))?;
        let _ = fs::remove_file(name);
        fs::hard_link(known, name).ok()?;
        if lock::is_same(&file, name).unwrap_or(false) {
            return Some(file);
        }
        // The known name leads to another file.
        let _ = fs::remove_file(name);
        None
    }

    fn files(&self, directory: &Path) -> usize {
        let files = self.of_directory(directory).map(|(_, file)| file);
        let mut files: Vec<_> = files.map(Arc::as_ptr).collect();
        files.sort_unstable();
        files.dedup();
        files.len()
    }

    fn of_directory(&self, directory: &Path) -> impl Iterator<Item = (&PathBuf, &Arc<File>)> {
        self.names
            .range(directory.to_owned()..)
            .skip_while(move |(name, _)| *name == directory)
            .take_while(move |(name, _)| name.starts_with(directory))
            .filter(move |(name, _)| name.parent() == Some(directory))
    }
}

fn create(record: &Path, name: &Path) -> io::Result<Option<File>> {
    let mut file = swap::temporary(record)?;
    let Some(mark) = mark(&file.as_file().metadata()?) else {
        return Ok(None);
    };
    file.write_all(mark.as_bytes())?;
    file.as_file().try_lock()?;
    Ok(Some(file.persist(name).map_err(|error| error.error)?))
}

/// Removes the proofs that are not needed any more: the record has the lease of `standing` or none, and may have had the
/// lease of `before`.
pub(super) fn settle(
    record: &Path,
    standing: Option<Owner>,
    before: Option<Owner>,
    group: GroupAccess,
) {
    let standing = standing.map(|owner| path(record, owner));
    let is_obsolete = |path: &PathBuf| Some(path) != standing.as_ref();
    let mut ours = OURS.lock();
    let of_this_record: Vec<PathBuf> = ours
        .names
        .range(record.with_extension("")..)
        .map(|(path, _)| path.clone())
        .take_while(|path| is_of(path, record))
        .filter(is_obsolete)
        .collect();
    for path in of_this_record {
        // A file that cannot be removed stays locked.
        if if_there(fs::remove_file(&path)).is_ok() {
            ours.names.remove(&path);
        }
    }
    drop(ours);
    // The proof of a dead holder whose lease was taken over. A holder that is alive removes its own.
    if let Some(path) = before.map(|owner| path(record, owner)).filter(is_obsolete)
        && Liveness::at(&path, group) != Liveness::Alive
    {
        let _ = fs::remove_file(path);
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn record(directory: &Path, number: u32) -> PathBuf {
        let session = crate::token::Digest::of(number.to_string());
        directory.join(format!("{session}.json"))
    }

    fn descriptors(directory: &Path) -> usize {
        OURS.lock().files(directory)
    }

    #[test]
    fn a_thousand_proofs_take_one_descriptor() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let owner = Owner::from_bits(1);
        for number in 0..1_000 {
            begin(&record(directory, number), owner);
        }
        assert_eq!(descriptors(directory), 1);
        for number in 0..1_000 {
            let liveness = Liveness::of(&record(directory, number), owner, GroupAccess::None);
            assert_eq!(liveness, Liveness::Alive);
        }
        // When one name is removed, the others stay locked.
        for number in 0..999 {
            settle(&record(directory, number), None, None, GroupAccess::None);
            let liveness = Liveness::of(&record(directory, 999), owner, GroupAccess::None);
            assert_eq!(liveness, Liveness::Alive);
        }
        settle(&record(directory, 999), None, None, GroupAccess::None);
        assert_eq!(descriptors(directory), 0);
        assert_eq!(fs::read_dir(directory).unwrap().count(), 0);
    }

    #[test]
    fn another_file_in_place_of_a_proof_does_not_get_further_names() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let owner = Owner::from_bits(1);
        let [first, second] = [0, 1].map(|number| record(directory, number));
        begin(&first, owner);
        let replaced = path(&first, owner);
        fs::remove_file(&replaced).unwrap();
        fs::write(&replaced, "another").unwrap();
        begin(&second, owner);
        assert_eq!(
            Liveness::of(&second, owner, GroupAccess::None),
            Liveness::Alive
        );
        assert_eq!(descriptors(directory), 2);
        settle(&second, None, None, GroupAccess::None);
        settle(&first, None, None, GroupAccess::None);
        assert_eq!(descriptors(directory), 0);
    }
}
