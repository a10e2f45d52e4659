use std::fmt::Write as _;
use std::sync::Arc;

use evertoken::{FileStore, TokenStore, async_trait};
use tempfile::TempDir;

use super::{Backend, Storage};

/// The file store: several processes of one machine.
pub(super) fn backend() -> Backend {
    Backend::new("file", || {
        Ok(Arc::new(Directory(
            tempfile::tempdir().expect("a directory"),
        )))
    })
}

struct Directory(TempDir);

#[async_trait]
impl Storage for Directory {
    async fn open(&self) -> Arc<dyn TokenStore> {
        Arc::new(FileStore::new(self.0.path().join("sessions")).expect("the directory can be used"))
    }

    /// The names of the files, and the content of the files without a record.
    async fn in_the_open(&self) -> String {
        let mut seen = String::new();
        for entry in std::fs::read_dir(self.0.path().join("sessions")).expect("readable") {
            let path = entry.expect("readable").path();
            let _ = writeln!(seen, "{}", path.display());
            if path.extension().is_none_or(|ending| ending != "json") {
                seen += &String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default());
            }
        }
        seen
    }
}
