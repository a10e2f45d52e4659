//! Which users may read and change the files. On systems without modes, nothing is refused.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::failed;
use crate::store::StoreError;

/// What the group of a directory and of the files in it may do there.
///
/// Container platforms give the group of a pod access to every volume that they mount: Kubernetes adds the group's
/// read and write permission to each file and directory of a volume if the pod has an `fsGroup`.
///
/// The store itself creates files for its user alone, whatever is permitted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum GroupAccess {
    /// The group must not access a file, nor write to a directory.
    #[default]
    None,
    /// The group may read the tokens.
    Read,
    /// The group may read the tokens, replace them and remove them.
    Write,
}

impl GroupAccess {
    /// The bits of a mode that a directory or a file must not have. The names in a directory are digests, and listing them
    /// discloses nothing. With the permission to write, a user can put another file in place of one.
    #[cfg(unix)]
    fn refused(self, is_directory: bool) -> u32 {
        match self {
            Self::None | Self::Read if is_directory => 0o022,
            Self::Write if is_directory => 0o002,
            Self::None => 0o077,
            Self::Read => 0o037,
            Self::Write => 0o007,
        }
    }
}

/// Creates a directory, and those above it, for this user alone.
pub(super) fn create_private(directory: &Path) -> io::Result<()> {
    let missing = directory.ancestors().take_while(|path| !path.exists());
    let missing = missing.count();
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)?;
    for parent in directory.ancestors().skip(1).take(missing) {
        // A directory that can be written and not read cannot be synced. That is not an error.
        let _ = File::open(parent).and_then(|parent| parent.sync_all());
    }
    Ok(())
}

/// Checks the directory. This comes before every use: an error is better than a session that seems to be missing because
/// its directory is, as on a volume that is not mounted.
pub(super) fn check_directory(
    directory: &Path,
    group: GroupAccess,
) -> Result<Metadata, StoreError> {
    let metadata = fs::metadata(directory).map_err(failed("use the directory", directory))?;
    if !metadata.is_dir() {
        return Err(StoreError::new(format!(
            "{} is not a directory; give the store the path of a directory",
            directory.display()
        )));
    }
    check(directory, &metadata, group)?;
    Ok(metadata)
}

#[cfg(unix)]
pub(super) fn check(
    path: &Path,
    metadata: &Metadata,
    group: GroupAccess,
) -> Result<(), StoreError> {
    use std::os::unix::fs::MetadataExt;

    let found = Found {
        is_directory: metadata.is_dir(),
        mode: metadata.mode() & 0o777,
        owner: metadata.uid(),
    };
    let us = rustix::process::geteuid().as_raw();
    let problem = found.problem(path, us, group);
    problem.map_or(Ok(()), |problem| Err(StoreError::new(problem)))
}

#[cfg(not(unix))]
pub(super) fn check(_: &Path, _: &Metadata, _: GroupAccess) -> Result<(), StoreError> {
    Ok(())
}

/// The metadata of a file or a directory that decide about access.
#[cfg(unix)]
struct Found {
    is_directory: bool,
    mode: u32,
    owner: u32,
}

#[cfg(unix)]
impl Found {
    fn problem(&self, path: &Path, us: u32, group: GroupAccess) -> Option<String> {
        let (shown, mode) = (path.display(), self.mode);
        // Files of root are accepted: root can change every file anyway.
        if self.owner != us && self.owner != 0 {
            return Some(format!(
                "{shown} belongs to user {} and was left as it is; this program runs as user {us}, so change the owner \
                 to that user or to root",
                self.owner
            ));
        }
        let refused = mode & group.refused(self.is_directory);
        let (users, setting) = match refused & 0o007 {
            _ if refused == 0 => return None,
            0 if self.is_directory || mode & 0o030 != 0 => (
                "its group",
                "; if the group is meant to write there, permit it by `group = \"write\"` (`GroupAccess::Write`)",
            ),
            0 => (
                "its group",
                "; if the group is meant to read them, permit it by `group = \"read\"` (`GroupAccess::Read`)",
            ),
            _ => ("others", ""),
        };
        let (done, check, command) = match self.is_directory {
            true => ("written to", "if its files are still yours", "chmod 700"),
            false => (
                "accessed",
                "it was left as it is; if its tokens are still secret",
                "chmod 600",
            ),
        };
        Some(format!(
            "{shown} can be {done} by {users} (its mode is {mode:04o}); {check}, run: {command} '{shown}'{setting}"
        ))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const US: u32 = 1_000;

    fn problem(is_directory: bool, mode: u32, owner: u32, group: GroupAccess) -> Option<String> {
        let found = Found {
            is_directory,
            mode,
            owner,
        };
        found.problem(Path::new("/session"), US, group)
    }

    fn permitted(is_directory: bool, group: GroupAccess) -> Vec<u32> {
        let modes = 0o600..=0o777;
        modes
            .filter(|mode| mode & 0o111 == if is_directory { 0o111 } else { 0 })
            .filter(|mode| problem(is_directory, *mode, US, group).is_none())
            .collect()
    }

    #[test]
    fn the_group_may_do_what_the_setting_permits_and_others_nothing() {
        assert_eq!(permitted(false, GroupAccess::None), [0o600]);
        assert_eq!(permitted(false, GroupAccess::Read), [0o600, 0o640]);
        let written = [0o600, 0o620, 0o640, 0o660];
        assert_eq!(permitted(false, GroupAccess::Write), written);
        for (group, modes) in [
            (GroupAccess::None, vec![0o711, 0o715, 0o751, 0o755]),
            (GroupAccess::Read, vec![0o711, 0o715, 0o751, 0o755]),
            (
                GroupAccess::Write,
                vec![0o711, 0o715, 0o731, 0o735, 0o751, 0o755, 0o771, 0o775],
            ),
        ] {
            assert_eq!(permitted(true, group), modes, "{group:?}");
        }
    }

    #[test]
    fn a_file_belongs_to_the_user_or_to_root() {
        for group in [GroupAccess::None, GroupAccess::Read, GroupAccess::Write] {
            assert_eq!(problem(false, 0o600, US, group), None);
            assert_eq!(problem(false, 0o600, 0, group), None);
            let refused = problem(false, 0o600, 1, group).unwrap();
            assert!(refused.contains("belongs to user 1"), "{refused}");
            assert!(problem(true, 0o700, 1, group).is_some());
        }
    }

    #[test]
    fn the_setting_is_named_where_it_would_help() {
        let file = |mode, group| problem(false, mode, US, group).unwrap();
        assert!(file(0o640, GroupAccess::None).contains("`group = \"read\"`"));
        assert!(file(0o660, GroupAccess::None).contains("`group = \"write\"`"));
        assert!(file(0o660, GroupAccess::Read).contains("`group = \"write\"`"));
        assert!(!file(0o644, GroupAccess::None).contains("`group"));
        let directory = problem(true, 0o770, US, GroupAccess::Read).unwrap();
        assert!(directory.contains("`group = \"write\"`"));
        assert!(
            !problem(true, 0o777, US, GroupAccess::Read)
                .unwrap()
                .contains("`group")
        );
    }
}
