//! Finds the places of records by a name that they have: a key, or the digest of a token.
//!
//! An entry is four bytes of a hash and the number of a place, and not the name: with a million records, 16 bytes of each digest
//! and the pointers of a tree would take more than the rest of a record. So an answer is a place that *may* have the name, and
//! its record has to be asked. The hash has a random key, so that a stranger cannot choose tokens of one hash.

use std::collections::hash_map::{Entry, RandomState};
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, Hash};

/// The hash of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Tag(u32);

/// The bits of a tag. In the tests of the crate, many names have one tag.
const BITS: u32 = if cfg!(test) { 0b111 } else { u32::MAX };

/// Hashes names. The tags of two `Tags` differ.
#[derive(Debug, Default)]
pub(super) struct Tags(RandomState);

impl Tags {
    pub(super) fn of(&self, name: impl Hash) -> Tag {
        let hash = self.0.hash_one(name);
        Tag((hash >> 32) as u32 & BITS)
    }
}

/// The number of a place in the store.
pub(super) type Place = u32;

/// The places of records by the tags of their names. Several places may have one tag, and a place may have several.
#[derive(Debug, Default)]
pub(super) struct Index {
    first: HashMap<Tag, Place>,
    /// The other places of a tag that is in `first`: those of another name with the same hash, or of another record with the
    /// same name.
    more: BTreeSet<(Tag, Place)>,
}

impl Index {
    /// Adds the place, unless it is there under this tag.
    pub(super) fn insert(&mut self, tag: Tag, place: Place) {
        match self.first.entry(tag) {
            Entry::Vacant(vacant) => {
                vacant.insert(place);
            }
            Entry::Occupied(occupied) if *occupied.get() == place => {}
            Entry::Occupied(_) => {
                self.more.insert((tag, place));
            }
        }
    }

    /// Removes the place under this tag, if it is there.
    pub(super) fn remove(&mut self, tag: Tag, place: Place) {
        if self.first.get(&tag) != Some(&place) {
            self.more.remove(&(tag, place));
            return;
        }
        let next = self.others(tag).next();
        match next {
            Some(next) => {
                self.more.remove(&(tag, next));
                self.first.insert(tag, next);
            }
            None => {
                self.first.remove(&tag);
            }
        }
    }

    /// Moves the place from the names that its record had `before` to those that it has `now`.
    pub(super) fn renew<N>(&mut self, tags: &Tags, place: Place, before: N, now: N)
    where
        N: Iterator<Item: Hash + PartialEq + Copy> + Clone,
    {
        let has = |mut names: N, name: N::Item| names.any(|its| its == name);
        // Two names of a record may have one tag: it goes with the last of them.
        let has_tag = |mut names: N, tag| names.any(|its| tags.of(its) == tag);
        for name in before.clone() {
            if !has(now.clone(), name) {
                let tag = tags.of(name);
                if !has_tag(now.clone(), tag) {
                    self.remove(tag, place);
                }
            }
        }
        for name in now.filter(|name| !has(before.clone(), *name)) {
            self.insert(tags.of(name), place);
        }
    }

    /// The places that may have a name of this tag.
    pub(super) fn places(&self, tag: Tag) -> impl Iterator<Item = Place> {
        let first = self.first.get(&tag).copied();
        first.into_iter().chain(self.others(tag))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.first.len() + self.more.len()
    }

    fn others(&self, tag: Tag) -> impl Iterator<Item = Place> {
        let others = self.more.range((tag, Place::MIN)..=(tag, Place::MAX));
        others.map(|(_, place)| *place)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few tags, so that most places share one.
        #[test]
        fn an_index_holds_what_was_put_in_and_not_taken_out(
            steps in prop::collection::vec((any::<bool>(), 0..4_u32, 0..6_u32), 0..200)
        ) {
            let (mut index, mut expected) = (Index::default(), BTreeSet::new());
            for (inserts, tag, place) in steps {
                match inserts {
                    true => {
                        index.insert(Tag(tag), place);
                        expected.insert((tag, place));
                    }
                    false => {
                        index.remove(Tag(tag), place);
                        expected.remove(&(tag, place));
                    }
                }
                for tag in 0..4 {
                    let places: Vec<_> = index.places(Tag(tag)).collect();
                    let found: BTreeSet<_> = places.iter().map(|place| (tag, *place)).collect();
                    prop_assert_eq!(found.len(), places.len());
                    let there: BTreeSet<_> = expected.range((tag, 0)..=(tag, 9)).copied().collect();
                    prop_assert_eq!(found, there);
                }
            }
            prop_assert!(index.first.len() <= expected.len());
        }
    }
}
