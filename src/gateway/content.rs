//! What the cookies of a sign-in hold, sealed: when the user signed in, and the copy of the pair or the id of the session.
//!
//! A seal is bound to the service, by the key of its sessions, and to the tag in the cookies' names. So a value counts only under
//! the names of its own sign-in. Opening costs more than all the rest of a request, so the gateway remembers what it has opened.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::mem;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::cookie::{Carried, LONGEST_VALUE, Tag};
use crate::seal::{AssociatedData, SealError, Sealer};
use crate::sessions::{BrowserPair, Presented, SessionId};
use crate::token::Key;

/// What a browser presents of a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Held {
    #[serde(rename = "pair", with = "shared")]
    Pair(Arc<BrowserPair>),
    #[serde(rename = "id")]
    Id(SessionId),
}

/// A copy of a pair has the same form, shared or not.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::sessions::BrowserPair;

    pub(super) fn serialize<S: Serializer>(
        pair: &Arc<BrowserPair>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Serialize::serialize(&**pair, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<BrowserPair>, D::Error> {
        <BrowserPair as Deserialize>::deserialize(deserializer).map(Arc::new)
    }
}

/// The content of a sign-in's cookies.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Content {
    /// When the user signed in, in milliseconds since the Unix epoch. Of several sign-ins that a browser has, the last one counts.
    pub(super) signed_in: u64,
    #[serde(flatten)]
    pub(super) held: Held,
}

impl Content {
    pub(super) fn id(&self) -> &SessionId {
        match &self.held {
            Held::Pair(pair) => pair.id(),
            Held::Id(id) => id,
        }
    }

    pub(super) fn presented(&self) -> Presented {
        match &self.held {
            Held::Pair(pair) => Arc::clone(pair).into(),
            Held::Id(id) => id.into(),
        }
    }
}

/// Seals and opens the values of cookies.
pub(super) struct Envelope {
    sealer: Arc<dyn Sealer>,
    /// The key of the endpoint's own session.
    key: Key,
    opened: Mutex<Opened>,
    hasher: RandomState,
}

/// How many values are remembered in each of two generations. A value has 3 KB or so.
const REMEMBERED: usize = 4096;

/// The end of a value, which has the tag of the seal: it differs in all values, and only a holder of the value knows it.
const TAIL: usize = 32;

/// The values that were opened a while ago at most, by a hash of their end.
#[derive(Default)]
struct Opened {
    young: HashMap<u64, Known>,
    old: HashMap<u64, Known>,
}

struct Known {
    tag: Tag,
    value: Box<str>,
    content: Arc<Content>,
}

impl Known {
    fn is(&self, tag: Tag, (first, second): (&str, &str)) -> bool {
        let parts = self.value.split_at_checked(first.len());
        self.tag == tag && parts == Some((first, second))
    }
}

impl Envelope {
    pub(super) fn new(sealer: Arc<dyn Sealer>, key: Key) -> Self {
        Self {
            sealer,
            key,
            opened: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// The content of a sign-in's cookies, if they are whole and of this gateway.
    pub(super) fn open(&self, carried: &Carried<'_>) -> Option<Arc<Content>> {
        let (tag, value) = (carried.tag, carried.value()?);
        if value.0.len() + value.1.len() > LONGEST_VALUE {
            return None;
        }
        let hash = self.hash(tag, value);
        if let Some(content) = self.opened.lock().get(hash, tag, value) {
            return Some(content);
        }
        let text = Zeroizing::new([value.0, value.1].concat());
        let content = Arc::new(self.unseal(tag, &text)?);
        let known = Known {
            tag,
            value: text.as_str().into(),
            content: Arc::clone(&content),
        };
        self.opened.lock().remember(hash, known);
        Some(content)
    }

    fn hash(&self, tag: Tag, (first, second): (&str, &str)) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        tag.hash(&mut hasher);
        let last = if second.is_empty() { first } else { second };
        hasher.write(&last.as_bytes()[last.len().saturating_sub(TAIL)..]);
        hasher.finish()
    }

    fn unseal(&self, tag: Tag, text: &str) -> Option<Content> {
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let key = self.key_of(tag);
        let bound = AssociatedData::new(AssociatedData::COOKIE, &key);
        let plain = self.sealer.open(&bound, &sealed).ok()?;
        let content: Content = serde_json::from_slice(&plain).ok()?;
        // The sealer has proven it. A tag of another session would have its cookies deleted under the wrong names.
        (Tag::of(content.id()) == tag).then_some(content)
    }

    /// The value for a browser, and the tag for its names.
    pub(super) fn seal(&self, content: &Content) -> Result<(Tag, String), SealError> {
        let tag = Tag::of(content.id());
        // Full size from the start, because a buffer that grows leaves copies of the tokens behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(LONGEST_VALUE));
        serde_json::to_writer(&mut *plain, content)
            .map_err(|_| SealError::failed("the content of a cookie has no JSON form"))?;
        let key = self.key_of(tag);
        let bound = AssociatedData::new(AssociatedData::COOKIE, &key);
        let sealed = self.sealer.seal(&bound, &plain)?;
        Ok((tag, BASE64_URL_SAFE_NO_PAD.encode(sealed)))
    }

    fn key_of(&self, tag: Tag) -> Key {
        self.key.clone().label(tag.as_str())
    }
}

impl Opened {
    fn get(&mut self, hash: u64, tag: Tag, value: (&str, &str)) -> Option<Arc<Content>> {
        // The comparison discloses nothing by its duration: it is made where the end of the value is right.
        if let Some(known) = self.young.get(&hash) {
            return known.is(tag, value).then(|| Arc::clone(&known.content));
        }
        let known = self.old.remove(&hash)?;
        let content = known.is(tag, value).then(|| Arc::clone(&known.content));
        self.remember(hash, known);
        content
    }

    fn remember(&mut self, hash: u64, known: Known) {
        if self.young.len() >= REMEMBERED {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(hash, known);
    }
}
