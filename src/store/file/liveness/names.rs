//! The names of the proofs that this process made, and the file that they belong to.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::{GroupAccess, Liveness, is_of, mark, path};
use crate::record::Owner;
use crate::store::file::{lock, replace};

/// Files with a descriptor each that are kept where one file cannot have several names, as on FAT. More leases than
/// that are written without a proof, which is waited for as if their holder hung.
const FILES: usize = 16;

/// Nothing in here is ever unlocked but by closing it: a process that was forked may share it.
static OURS: Mutex<Ours> = Mutex::new(Ours {
    names: BTreeMap::new(),
    current: BTreeMap::new(),
});

struct Ours {
    /// The proofs of leases that this process made, each with the file that it is a name of.
    names: BTreeMap<PathBuf, Arc<File>>,
    /// The file of each directory that gets the next name there.
    current: BTreeMap<PathBuf, Weak<File>>,
}

/// Before a lease of this process is written, and after all else that can fail: a proof without a lease would stay.
/// Without the proof nothing can be known, and that is no reason to write no lease.
pub(crate) fn begin(record: &Path, owner: Owner) {
    let name = path(record, owner);
    let mut ours = OURS.lock();
    match ours.name(record, &name) {
        Ok(()) => {}
        Err(error) => tracing::debug!(path = %name.display(), %error, "no proof of life"),
    }
}

impl Ours {
    fn name(&mut self, record: &Path, name: &Path) -> io::Result<()> {
        let directory = name.parent().ok_or(ErrorKind::InvalidFilename)?;
        // A lease that was written before, although its swap failed.
        if let Some(file) = self.names.get(name)
            && lock::is_same(file, name).unwrap_or(false)
        {
            return Ok(());
        }
        let file = match self.linked(directory, name) {
            Some(file) => file,
            None if self.files(directory) < FILES => {
                let Some(file) = create(record, name)? else {
                    return Ok(());
                };
                let file = Arc::new(file);
                self.current.retain(|_, file| file.strong_count() > 0);
                self.current
                    .insert(directory.to_owned(), Arc::downgrade(&file));
                file
            }
            None => return Err(io::Error::other("there are too many files already")),
        };
        // What it replaces has no name any more, so it may lose its lock.
        self.names.insert(name.to_owned(), file);
        Ok(())
    }

    /// The directory's file, if it has got this name.
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
        // Another file was put in place of the known name.
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
    let mut file = replace::temporary(record)?;
    let Some(mark) = mark(&file.as_file().metadata()?) else {
        return Ok(None);
    };
    file.write_all(mark.as_bytes())?;
    file.as_file().try_lock()?;
    Ok(Some(file.persist(name).map_err(|error| error.error)?))
}

/// The lease in the record is this one's, or there is none; before, it may have been `before`'s. What proves
/// the lives of other holders is not needed any more.
pub(crate) fn settle(
    record: &Path,
    standing: Option<Owner>,
    before: Option<Owner>,
    group: GroupAccess,
) {
    let standing = standing.map(|owner| path(record, owner));
    let is_over = |path: &PathBuf| Some(path) != standing.as_ref();
    let mut ours = OURS.lock();
    let of_this_record: Vec<PathBuf> = ours
        .names
        .range(record.with_extension("")..)
        .map(|(path, _)| path.clone())
        .take_while(|path| is_of(path, record))
        .filter(is_over)
        .collect();
    for path in of_this_record {
        // Where it cannot be removed, it stays locked.
        if is_gone(fs::remove_file(&path)) {
            ours.names.remove(&path);
        }
    }
    drop(ours);
    // Left by a holder whose lease was taken over; one that lives removes its own.
    if let Some(path) = before.map(|owner| path(record, owner)).filter(is_over)
        && Liveness::at(&path, group) != Liveness::Alive
    {
        let _ = fs::remove_file(path);
    }
}

fn is_gone(removed: io::Result<()>) -> bool {
    removed.map_or_else(|error| error.kind() == ErrorKind::NotFound, |()| true)
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
        // Whichever goes first, the others stay locked.
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
    fn a_file_in_place_of_a_proof_gives_no_name_to_another() {
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
