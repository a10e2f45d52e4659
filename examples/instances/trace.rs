//! What happened and when, for whoever wants to find out why.

use std::fmt::Display;
use std::fs::File;
use std::io::{LineWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;
use parking_lot::Mutex;
use serde_json::json;

use crate::message::{Micros, now};

#[derive(Debug, Default)]
pub(crate) struct Trace {
    file: Option<Mutex<LineWriter<File>>>,
}

impl Trace {
    pub(crate) fn into(path: Option<&Path>) -> anyhow::Result<Self> {
        let open = |path: &Path| {
            let file =
                File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            anyhow::Ok(Mutex::new(LineWriter::new(file)))
        };
        Ok(Self {
            file: path.map(open).transpose()?,
        })
    }

    pub(crate) fn is_on(&self) -> bool {
        self.file.is_some()
    }

    pub(crate) fn note(&self, who: impl Display, what: impl Display) {
        self.note_at(now(), who, what);
    }

    pub(crate) fn note_at(&self, at: Micros, who: impl Display, what: impl Display) {
        let Some(file) = &self.file else { return };
        let line = json!({ "at": at, "who": who.to_string(), "what": what.to_string() });
        // A run is worth finishing without its trace.
        let _ = writeln!(file.lock(), "{line}");
    }
}
