//! Values that many records have in common, held once.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

/// Holds each value as long as a record has it.
#[derive(Debug)]
pub(super) struct Pool<T>(HashSet<Arc<T>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(HashSet::new())
    }
}

impl<T: Hash + Eq> Pool<T> {
    /// The value as the other records have it.
    pub(super) fn share(&mut self, value: T) -> Arc<T> {
        if let Some(shared) = self.0.get(&value) {
            return Arc::clone(shared);
        }
        let shared = Arc::new(value);
        self.0.insert(Arc::clone(&shared));
        shared
    }

    /// Takes the value back that a record no longer has.
    pub(super) fn give_back(&mut self, value: &Arc<T>) {
        // The pool's own, and that of the record.
        if Arc::strong_count(value) <= 2 {
            self.0.remove(&**value);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
