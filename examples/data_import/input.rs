//! What is imported, and how it is known again: an import that goes on with another file than it began
//! with would leave gaps that nobody sees.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::arguments::{Action, Arguments};

/// Everything that decides what is in which batch, and what the API is asked to do with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Assignment {
    pub(crate) input: Input,
    /// Records read at most.
    limit: Option<u64>,
    batch: usize,
    action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Input {
    Generated,
    /// Of an import that keeps no checkpoint.
    #[serde(skip)]
    Unread,
    /// By its content, wherever it is now.
    File {
        bytes: u64,
        sha256: String,
    },
}

impl Assignment {
    /// Reads a file once from end to end.
    pub(crate) fn of(arguments: &Arguments) -> anyhow::Result<Self> {
        let input = match &arguments.input {
            None => Input::Generated,
            Some(path) => Input::file(path)?,
        };
        Ok(Self {
            input,
            ..Self::unread(arguments)
        })
    }

    /// Where nobody will ask.
    pub(crate) fn unread(arguments: &Arguments) -> Self {
        Self {
            input: Input::Unread,
            limit: arguments.count(),
            batch: arguments.batch,
            action: arguments.action,
        }
    }

    /// What of it is not as `before`.
    pub(crate) fn difference(&self, before: &Self) -> Option<String> {
        if self.input != before.input {
            return Some("another input, or an input that was changed".to_owned());
        }
        if self.limit != before.limit {
            let limit =
                |limit: Option<u64>| limit.map_or("all".to_owned(), |limit| limit.to_string());
            let (before, now) = (limit(before.limit), limit(self.limit));
            return Some(format!("`--records {before}` and not {now}"));
        }
        if self.batch != before.batch {
            return Some(format!("`--batch {}` and not {}", before.batch, self.batch));
        }
        (self.action != before.action)
            .then(|| format!("`--action {}` and not {}", before.action, self.action))
    }
}

impl Input {
    fn file(path: &Path) -> anyhow::Result<Self> {
        let digested = || {
            let mut file = File::open(path)?;
            let mut digest = Sha256::new();
            let mut buffer = vec![0; 256 * 1024];
            let mut bytes = 0;
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    read => {
                        digest.update(&buffer[..read]);
                        bytes += read as u64;
                    }
                }
            }
            std::io::Result::Ok((bytes, hex(&digest.finalize())))
        };
        let (bytes, sha256) =
            digested().with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self::File { bytes, sha256 })
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
