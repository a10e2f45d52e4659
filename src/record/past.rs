//! The past refresh tokens of a session, by digest. None of them is ever sent again.
//!
//! The record keeps a limited number of digests, so that it does not grow with its age.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Origin, Record};
use crate::clock::StoreTime;
use crate::token::Digest;

/// How many past tokens of the token endpoint the record keeps. They answer an instance that is a few rotations
/// behind. An older token leaves the record, and is kept outside it if the store has a place for that.
pub(crate) const REFRESHED_LIMIT: usize = 8;

/// How many past seeds, and how many past tokens of new sign-ins, the record keeps: with one a day, 16 are two weeks.
pub(crate) const BROUGHT_LIMIT: usize = 16;

/// The digests that a record keeps. A token is in at most one of the lists.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Past {
    /// Tokens that the token endpoint issued, the oldest first.
    #[serde(default, skip_serializing_if = "Names::is_empty")]
    pub(crate) refreshed: Names,
    /// Tokens that were given at start, the oldest first. They stand in a configuration and come back at each
    /// restart.
    #[serde(default, skip_serializing_if = "Names::is_empty")]
    pub(crate) seeds: Names,
    /// Tokens that a new sign-in brought, the oldest first.
    #[serde(default, skip_serializing_if = "Names::is_empty")]
    pub(crate) replaced: Names,
    /// When the last past token expires, whether that token is still in a list or not; `None` once the expiry of one
    /// was unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<StoreTime>,
}

impl Record {
    /// The past tokens that this record keeps and the `next` one, which replaces it, does not.
    pub(crate) fn leaving(&self, next: &Self) -> Vec<Digest> {
        let left = self.retired().filter(|past| !next.knows(past));
        left.copied().collect()
    }
}

impl Past {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Digest> {
        let lists = [&self.refreshed, &self.seeds, &self.replaced];
        lists.into_iter().flat_map(|names| &names.0)
    }

    pub(crate) fn knows(&self, digest: &Digest) -> bool {
        self.iter().any(|past| past == digest)
    }

    /// When the last past token expires; the beginning of time if there is no past token, `None` if an expiry is
    /// unknown.
    pub(crate) fn until(&self) -> Option<StoreTime> {
        match self.iter().next() {
            None => Some(StoreTime::default()),
            Some(_) => self.until,
        }
    }

    /// Notes a token that was current until now, or that is known to have been exchanged. A token that was once
    /// brought by a configuration or a sign-in stays in that list, because it may come back.
    pub(crate) fn note(&mut self, digest: Digest, origin: Origin, until: Option<StoreTime>) {
        let before = self.until();
        self.until = before.zip(until).map(|(before, until)| before.max(until));
        let origin = match origin {
            _ if self.seeds.0.contains(&digest) => Origin::Seed,
            _ if self.replaced.0.contains(&digest) => Origin::Replacement,
            origin => origin,
        };
        self.forget(&digest);
        match origin {
            Origin::Endpoint => self.refreshed.push(digest, REFRESHED_LIMIT),
            Origin::Seed => self.seeds.push(digest, BROUGHT_LIMIT),
            Origin::Replacement => self.replaced.push(digest, BROUGHT_LIMIT),
        }
    }

    /// Forgets a token, because it is current again.
    pub(crate) fn forget(&mut self, digest: &Digest) {
        for names in [&mut self.refreshed, &mut self.seeds, &mut self.replaced] {
            names.0.retain(|past| past != digest);
        }
    }
}

/// Digests, serialized as one base64url text of all their bytes: a third of the size of hexadecimal texts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Names(pub(crate) Vec<Digest>);

impl Names {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn push(&mut self, digest: Digest, limit: usize) {
        self.0.push(digest);
        let surplus = self.0.len().saturating_sub(limit);
        self.0.drain(..surplus);
    }
}

impl Serialize for Names {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self
            .0
            .iter()
            .flat_map(|digest| *digest.as_bytes())
            .collect();
        serializer.serialize_str(&BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let refused = |why| D::Error::custom(format!("past tokens: the text {why}"));
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text);
        let bytes = bytes.map_err(|_| refused("is not base64url"))?;
        let (digests, []) = bytes.as_chunks() else {
            return Err(refused("does not hold whole digests"));
        };
        let digests = digests.iter().copied().map(Digest::from_bytes);
        Ok(Self(digests.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> Digest {
        Digest::of(number.to_string())
    }

    #[test]
    fn each_list_has_its_own_limit_and_drops_its_oldest_token_first() {
        let mut past = Past::default();
        for number in 0..100 {
            past.note(name(number), Origin::Endpoint, None);
            past.note(name(1_000 + number), Origin::Seed, None);
            past.note(name(2_000 + number), Origin::Replacement, None);
        }
        let last = |from: usize, limit: usize| (from + 100 - limit..from + 100).map(name);
        let kept: Vec<_> = last(0, REFRESHED_LIMIT)
            .chain(last(1_000, BROUGHT_LIMIT))
            .chain(last(2_000, BROUGHT_LIMIT))
            .collect();
        assert_eq!(past.iter().copied().collect::<Vec<_>>(), kept);
    }

    #[test]
    fn a_token_is_in_one_list_and_a_seed_or_a_replacement_stays_in_its_list() {
        let mut past = Past::default();
        for origin in [Origin::Endpoint, Origin::Seed, Origin::Endpoint] {
            past.note(name(1), origin, None);
            past.note(name(2), Origin::Endpoint, None);
            assert_eq!(past.iter().count(), 2);
        }
        assert_eq!(past.seeds.0, [name(1)]);
        assert_eq!(past.refreshed.0, [name(2)]);
        past.note(name(1), Origin::Replacement, None);
        assert_eq!(past.seeds.0, [name(1)]);
    }

    #[test]
    fn a_token_that_is_noted_again_becomes_the_newest() {
        let mut past = Past::default();
        for number in [1, 2, 1] {
            past.note(name(number), Origin::Endpoint, None);
        }
        assert_eq!(past.refreshed.0, [name(2), name(1)]);
    }

    #[test]
    fn the_last_expiry_counts_also_for_a_token_that_left_the_list() {
        let at = StoreTime::from_millis;
        let mut past = Past::default();
        assert_eq!(past.until(), Some(StoreTime::default()), "none yet");
        past.note(name(0), Origin::Endpoint, Some(at(9)));
        for number in 1..100 {
            past.note(name(number), Origin::Endpoint, Some(at(5)));
        }
        assert!(!past.knows(&name(0)));
        assert_eq!(past.until(), Some(at(9)));
        past.note(name(100), Origin::Seed, None);
        past.note(name(101), Origin::Seed, Some(at(10)));
        assert_eq!(past.until(), None, "one is unknown");
    }

    #[test]
    fn the_digests_are_one_text_and_an_empty_list_is_left_out() {
        let mut past = Past::default();
        assert_eq!(serde_json::to_string(&past).unwrap(), "{}");
        past.note(Digest::of("abc"), Origin::Seed, None);
        past.note(
            Digest::of(""),
            Origin::Endpoint,
            Some(StoreTime::from_millis(7)),
        );
        let text = serde_json::to_string(&past).unwrap();
        assert_eq!(
            text,
            r#"{"refreshed":"47DEQpj8HBSa-_TImW-5JA","seeds":"ungWv48Bz-pBQUDeXa4iIw"}"#
        );
        assert_eq!(serde_json::from_str::<Past>(&text).unwrap(), past);
    }

    #[test]
    fn an_incomplete_digest_and_a_text_that_is_not_base64url_are_refused() {
        for text in ["47DEQpj8HBSa-_TImW-5", "47DEQpj8HBSa-_TImW-5JA==", "?"] {
            let form = serde_json::json!({ "refreshed": text });
            let error = serde_json::from_value::<Past>(form).unwrap_err();
            assert!(error.to_string().starts_with("past tokens: the text "));
        }
        let empty: Past = serde_json::from_str(r#"{"seeds":""}"#).unwrap();
        assert_eq!(empty, Past::default());
    }
}
