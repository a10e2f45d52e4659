//! Records in the memory of this process.

mod index;
mod packed;
mod pool;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;

use self::index::{Index, Place, Tag, Tags};
use self::packed::{Common, Packed};
use super::{Loaded, Revision, StoreError, StoreTime, Swap, TokenStore, refuse_other_key};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::record::Record;
use crate::token::{Digest, Key};

/// Keeps records in this process. Clones share the records, so several managers in one process rotate one session as
/// instances on several machines do. A restart loses all records.
///
/// The records are not sealed: they never leave the process, which would hold the key of the seal beside them.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    /// The time at which the store was made, by the monotonic clock and by the wall clock.
    made: (Timestamp, Duration),
    tags: Tags,
    /// No user code is called while this is locked.
    entries: Mutex<Entries>,
    changed: Notify,
}

/// The records, and where each of them is found.
#[derive(Debug, Default)]
struct Entries {
    /// A record keeps its place for good.
    #[expect(
        clippy::vec_box,
        reason = "a vector that grows is moved, and half of it may be empty"
    )]
    places: Vec<Box<Entry>>,
    common: Common,
    by_key: Index,
    /// By the tokens that a record [knows](Record::knows).
    by_known: Index,
    by_access: Index,
    /// By the marks of the provider's session and user.
    by_mark: Index,
}

impl Shared {
    fn revision(&self, key: &Key, tag: Tag) -> Option<Revision> {
        let entries = self.entries.lock();
        entries.of(key, tag).map(|entry| entry.revision)
    }
}

#[derive(Debug)]
struct Entry {
    packed: Packed,
    revision: Revision,
}

impl Entry {
    fn copy(&self) -> (Record, Revision) {
        (self.packed.record(), self.revision)
    }
}

impl MemoryStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(SystemClock)
    }

    /// Makes an empty store that takes its time from `clock`.
    #[must_use]
    pub fn with_clock(clock: impl Clock) -> Self {
        Self::sharing(Arc::new(clock))
    }

    pub(crate) fn sharing(clock: Arc<dyn Clock>) -> Self {
        Self {
            shared: Arc::new(Shared {
                made: (clock.now(), clock.wall()),
                clock,
                tags: Tags::default(),
                entries: Mutex::default(),
                changed: Notify::new(),
            }),
        }
    }

    /// The store's time: the wall clock when the store was made, and the monotonic clock since. The wall clock alone may
    /// be stepped: then a lease that is a second old would look stale, and two instances would spend its token.
    fn now(&self) -> StoreTime {
        let (now, wall) = self.shared.made;
        (wall + self.shared.clock.now().since(now)).into()
    }
}

impl Entries {
    fn at(&self, place: Place) -> Option<&Entry> {
        let entry = self.places.get(usize::try_from(place).ok()?);
        entry.map(|entry| &**entry)
    }

    /// Where the record of this key is. The tag is the key's.
    fn place_of(&self, key: &Key, tag: Tag) -> Option<Place> {
        let is_its = |place: &Place| self.at(*place).is_some_and(|entry| entry.packed.is_of(key));
        self.by_key.places(tag).find(is_its)
    }

    fn of(&self, key: &Key, tag: Tag) -> Option<&Entry> {
        self.at(self.place_of(key, tag)?)
    }

    /// The records that may have the name of this tag in the index.
    fn under(&self, index: &Index, tag: Tag) -> impl Iterator<Item = &Packed> {
        let places = index.places(tag);
        places.filter_map(|place| Some(&self.at(place)?.packed))
    }

    /// Puts a record in the place of the one before. Returns that one, to be dropped with the records unlocked.
    fn replace(
        &mut self,
        place: Place,
        next: &Record,
        revision: Revision,
        tags: &Tags,
    ) -> Option<Entry> {
        let entry = self.places.get_mut(usize::try_from(place).ok()?)?;
        let packed = Packed::new(next, Some(&entry.packed), &mut self.common);
        let next = Entry { packed, revision };
        let before = std::mem::replace(&mut **entry, next);
        let now = &entry.packed;
        before.packed.give_back(&mut self.common);
        self.by_known
            .renew(tags, place, before.packed.known(), now.known());
        let access = |packed: &Packed| packed.access_digest().into_iter();
        self.by_access
            .renew(tags, place, access(&before.packed), access(now));
        self.by_mark
            .renew(tags, place, before.packed.upstream(), now.upstream());
        Some(before)
    }

    /// Adds the first record of a key. The tag is the key's.
    fn add(&mut self, tag: Tag, first: &Record, revision: Revision, tags: &Tags) -> Option<Place> {
        let place = Place::try_from(self.places.len()).ok()?;
        let packed = Packed::new(first, None, &mut self.common);
        self.by_key.insert(tag, place);
        for digest in packed.known() {
            self.by_known.insert(tags.of(digest), place);
        }
        if let Some(digest) = packed.access_digest() {
            self.by_access.insert(tags.of(digest), place);
        }
        for mark in packed.upstream() {
            self.by_mark.insert(tags.of(mark), place);
        }
        self.places.push(Box::new(Entry { packed, revision }));
        Some(place)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl TokenStore for MemoryStore {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        let tag = self.shared.tags.of(key);
        let entry = self.shared.entries.lock().of(key, tag).map(Entry::copy);
        // The clock is the program's, and is not read under the lock.
        Ok(Loaded {
            entry,
            now: self.now(),
        })
    }

    async fn swap(
        &self,
        key: &Key,
        seen: Option<Revision>,
        next: &Record,
    ) -> Result<Swap, StoreError> {
        refuse_other_key(key, next)?;
        let tags = &self.shared.tags;
        let tag = tags.of(key);
        // The tokens keep their digests, so that none is made under the lock.
        let _ = (next.digest(), next.access_digest());
        let mut entries = self.shared.entries.lock();
        let place = entries.place_of(key, tag);
        let held = place.and_then(|place| entries.at(place));
        let revision = held.map(|entry| entry.revision);
        if revision != seen {
            return Ok(Swap::Lost(held.map(Entry::copy)));
        }
        let revision = Revision::new(revision.map_or(0, Revision::number) + 1);
        let before = match place {
            Some(place) => entries.replace(place, next, revision, tags),
            None => {
                let added = entries.add(tag, next, revision, tags);
                let full = "a store in memory holds 2^32 records; use another store";
                added.ok_or_else(|| StoreError::new(full))?;
                None
            }
        };
        drop(entries);
        drop(before);
        self.shared.changed.notify_waiters();
        Ok(Swap::Swapped(revision))
    }

    async fn changed(&self, key: &Key, seen: Option<Revision>) {
        let tag = self.shared.tags.of(key);
        loop {
            // The waiter listens before it reads: a change between the two would be missed otherwise.
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            if self.shared.revision(key, tag) != seen {
                return;
            }
            changed.await;
        }
    }

    async fn find(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let tag = self.shared.tags.of(digest);
        let entries = self.shared.entries.lock();
        let mut found = entries.under(&entries.by_known, tag);
        let found = found.find(|packed| packed.known().any(|known| known == *digest));
        Ok(found.map(Packed::key))
    }

    async fn find_by_access(&self, digest: &Digest) -> Result<Option<Key>, StoreError> {
        let tag = self.shared.tags.of(digest);
        let entries = self.shared.entries.lock();
        let mut found = entries.under(&entries.by_access, tag);
        let found = found.find(|packed| packed.access_digest() == Some(*digest));
        Ok(found.map(Packed::key))
    }

    async fn find_by_upstream(&self, mark: &Digest) -> Result<Option<Vec<Key>>, StoreError> {
        let tag = self.shared.tags.of(mark);
        let entries = self.shared.entries.lock();
        let found = entries.under(&entries.by_mark, tag);
        let found = found.filter(|packed| packed.upstream().any(|its| its == mark));
        Ok(Some(found.map(Packed::key).collect()))
    }
}
