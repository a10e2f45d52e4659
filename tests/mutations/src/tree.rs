//! A copy of the crate, for edits that break it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::list::Mutation;

/// The parts of the crate that are copied: all sources, and no build results.
const PARTS: [&str; 9] = [
    ".cargo",
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "benches",
    "docs",
    "examples",
    "src",
    "tests",
];

/// Directories that are not copied: build results, also those of the other packages in the tree.
const NOT: [&str; 1] = ["target"];

#[derive(Debug)]
pub struct Tree {
    copy: PathBuf,
}

impl Tree {
    pub fn copied(to: &Path) -> Result<Self> {
        let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let copy = to.join("crate");
        for part in PARTS {
            let to = copy.join(part);
            if to.is_dir() {
                fs::remove_dir_all(&to)?;
            }
            copy_all(&original.join(part), &to).with_context(|| format!("copying {part}"))?;
        }
        Ok(Self { copy })
    }

    pub fn root(&self) -> &Path {
        &self.copy
    }

    /// Applies the edits, and returns the original files.
    pub fn apply(&self, mutation: &Mutation) -> Result<Vec<Changed>> {
        let mut changed = Vec::new();
        for edit in mutation.edits() {
            let path = self.copy.join(&edit.file);
            let text = fs::read_to_string(&path)?;
            let broken = edit.apply(&text).with_context(|| mutation.name.clone())?;
            fs::write(&path, broken)?;
            changed.push(Changed { path, text });
        }
        Ok(changed)
    }
}

/// A file before the edits.
#[derive(Debug)]
pub struct Changed {
    path: PathBuf,
    text: String,
}

/// Undoes the last edit first, because one file may have been edited twice.
pub fn restore(changed: Vec<Changed>) -> Result<()> {
    for Changed { path, text } in changed.into_iter().rev() {
        fs::write(path, text)?;
    }
    Ok(())
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            if !NOT.iter().any(|not| name == *not) {
                copy_all(&from.join(&name), &to.join(&name))?;
            }
        }
    } else if fs::read(to).ok() != Some(fs::read(from)?) {
        fs::create_dir_all(to.parent().context("a file without a directory")?)?;
        fs::copy(from, to)?;
    }
    Ok(())
}
