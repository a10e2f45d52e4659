//! Who else may read a file with a secret, and who may change it.

use std::fs::Metadata;
use std::path::Path;

/// Who may read the file, as `readable_by` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Readers {
    /// Only the owner.
    #[default]
    Owner,
    Group,
    Everyone,
}

impl Readers {
    pub(super) const NAMES: [&str; 3] = ["owner", "group", "everyone"];

    pub(super) fn named(name: &str) -> Option<Self> {
        let [owner, group, everyone] = Self::NAMES;
        Some(match name {
            _ if name == owner => Self::Owner,
            _ if name == group => Self::Group,
            _ if name == everyone => Self::Everyone,
            _ => return None,
        })
    }

    /// The problem, if more may be done to the file than is permitted. Metadata is that of the file which a link
    /// leads to: Kubernetes mounts secrets as links.
    #[cfg(unix)]
    pub(super) fn check(self, path: &Path, metadata: &Metadata) -> Result<(), String> {
        use std::os::unix::fs::MetadataExt as _;

        let us = rustix::process::geteuid().as_raw();
        self.judge(metadata.mode() & 0o777, metadata.uid(), us, path)
    }

    /// There are no modes.
    #[cfg(not(unix))]
    pub(super) fn check(self, _: &Path, _: &Metadata) -> Result<(), String> {
        Ok(())
    }

    #[cfg(unix)]
    fn judge(self, mode: u32, owner: u32, us: u32, path: &Path) -> Result<(), String> {
        let path = path.display();
        // An owner can change a file, whatever its mode says. Root can change every file.
        if owner != us && owner != 0 {
            return Err(format!(
                "belongs to user {owner}, and must belong to user {us}, as which this program runs, or to root; \
                 run `chown {us} {path}`"
            ));
        }
        if mode & 0o022 != 0 {
            return Err(format!(
                "can be written to by others than its owner (mode {mode:04o}); run `chmod 600 {path}`"
            ));
        }
        let (readers, needed) = match mode {
            _ if mode & 0o004 != 0 => ("every user of this machine", Self::Everyone),
            _ if mode & 0o040 != 0 => ("its group", Self::Group),
            _ => return Ok(()),
        };
        if self == needed || self == Self::Everyone {
            return Ok(());
        }
        let [_, group, everyone] = Self::NAMES;
        let name = if needed == Self::Group {
            group
        } else {
            everyone
        };
        Err(format!(
            "can be read by {readers} (mode {mode:04o}); run `chmod 600 {path}`, or permit it by \
             `readable_by = \"{name}\"` beside `file`"
        ))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const US: u32 = 1_000;

    fn judged(readers: Readers, mode: u32, owner: u32) -> bool {
        readers.judge(mode, owner, US, Path::new("file")).is_ok()
    }

    #[test]
    fn a_file_is_ours_or_roots_and_is_read_by_those_who_are_permitted() {
        let [owner, group, everyone] = Readers::NAMES.map(|name| Readers::named(name).unwrap());
        for mode in [0o600, 0o400] {
            for readers in [owner, group, everyone] {
                assert!(judged(readers, mode, US) && judged(readers, mode, 0));
                assert!(!judged(readers, mode, US + 1));
            }
        }
        for mode in [0o640, 0o440] {
            assert_eq!(
                [owner, group, everyone].map(|by| judged(by, mode, 0)),
                [false, true, true]
            );
        }
        for mode in [0o644, 0o444, 0o604] {
            assert_eq!(
                [owner, group, everyone].map(|by| judged(by, mode, 0)),
                [false, false, true]
            );
        }
        for mode in [0o620, 0o602, 0o666] {
            assert_eq!(
                [owner, group, everyone].map(|by| judged(by, mode, US)),
                [false; 3]
            );
        }
        assert_eq!(Readers::named("all"), None);
    }
}
