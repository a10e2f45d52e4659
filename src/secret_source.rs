//! Where the secrets of a program come from: an environment variable, or a file whose permissions are checked.
//!
//! A problem never repeats what was read.

use std::env;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;
use zeroize::Zeroizing;

/// The longest file that is read, in bytes: longer than any token or key, so that a wrong file is not read into
/// memory.
const LIMIT: usize = 64 * 1024;

/// The reason why a secret cannot be read: what follows the name of its source in an error.
#[derive(Debug)]
pub(crate) struct Problem {
    text: String,
    /// The readers that would have to be permitted, if nothing else is wrong.
    #[cfg_attr(
        not(feature = "config"),
        expect(dead_code, reason = "a configuration alone can permit readers")
    )]
    pub(crate) to_permit: Option<Readers>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        let to_permit = None;
        Self { text, to_permit }
    }
}

pub(crate) fn of_variable(name: &str) -> Result<Zeroizing<String>, Problem> {
    env::var(name).map(Zeroizing::new).map_err(|error| {
        let problem = match error {
            env::VarError::NotPresent => "is not set",
            env::VarError::NotUnicode(_) => "is not UTF-8",
        };
        problem.to_owned().into()
    })
}

/// The content of a file, without one line break at its end.
pub(crate) fn of_file(path: &Path, readers: Readers) -> Result<Zeroizing<String>, Problem> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    // Checked before the file is opened, because opening a pipe waits for its writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("is not a regular file".to_owned().into());
    }
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    readers.check(path, &metadata)?;
    if metadata.len() > LIMIT as u64 {
        return Err(format!("is longer than {LIMIT} bytes").into());
    }
    // Full size from the start, because a buffer that grows leaves copies of the secret behind.
    let mut secret = Zeroizing::new(String::with_capacity(LIMIT));
    (&file)
        .take(LIMIT as u64)
        .read_to_string(&mut secret)
        .map_err(unreadable)?;
    let without_break = secret.strip_suffix('\n').unwrap_or(&secret);
    let without_break = without_break.strip_suffix('\r').unwrap_or(without_break);
    Ok(Zeroizing::new(without_break.to_owned()))
}

/// The users that may read the file of a secret, by `readable_by`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Readers {
    /// Only the owner.
    #[default]
    Owner,
    Group,
    Everyone,
}

impl Readers {
    /// Checks owner and mode of the file. `metadata` is that of a link's target, because Kubernetes mounts secrets as
    /// links.
    #[cfg(unix)]
    fn check(self, path: &Path, metadata: &Metadata) -> Result<(), Problem> {
        use std::os::unix::fs::MetadataExt as _;

        let us = rustix::process::geteuid().as_raw();
        self.judge(metadata.mode() & 0o777, metadata.uid(), us, path)
    }

    /// Files have no modes on this system.
    #[cfg(not(unix))]
    fn check(self, _: &Path, _: &Metadata) -> Result<(), Problem> {
        Ok(())
    }

    #[cfg(unix)]
    fn judge(self, mode: u32, owner: u32, us: u32, path: &Path) -> Result<(), Problem> {
        let path = path.display();
        // An owner can change a file whatever its mode is, and root can change every file.
        if owner != us && owner != 0 {
            return Err(format!(
                "belongs to user {owner}, but must belong to root or to user {us}, which runs this program; \
                 run `chown {us} {path}`"
            )
            .into());
        }
        if mode & 0o022 != 0 {
            return Err(format!(
                "is writable by users other than its owner (mode {mode:04o}); run `chmod 600 {path}`"
            )
            .into());
        }
        let (readers, needed) = match mode {
            _ if mode & 0o004 != 0 => ("every user of this machine", Self::Everyone),
            _ if mode & 0o040 != 0 => ("its group", Self::Group),
            _ => return Ok(()),
        };
        if self == needed || self == Self::Everyone {
            return Ok(());
        }
        Err(Problem {
            text: format!("is readable by {readers} (mode {mode:04o}); run `chmod 600 {path}`"),
            to_permit: Some(needed),
        })
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
    fn a_secret_file_belongs_to_the_program_or_root_and_only_permitted_users_read_it() {
        let [owner, group, everyone] = [Readers::Owner, Readers::Group, Readers::Everyone];
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
    }
}
