use std::sync::Arc;

use evertoken::{MemoryStore, TokenStore, async_trait};

use super::{Backend, Storage};

/// The memory store: several managers in one process.
pub(super) fn backend() -> Backend {
    Backend::new("memory", || Ok(Arc::new(Memory(MemoryStore::new()))))
}

struct Memory(MemoryStore);

#[async_trait]
impl Storage for Memory {
    async fn open(&self) -> Arc<dyn TokenStore> {
        Arc::new(self.0.clone())
    }

    async fn in_the_open(&self) -> String {
        format!("{:?}", self.0)
    }
}
