//! The sealer of the crate: XChaCha20-Poly1305, with one key that seals and any number that open.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chacha20poly1305::{AeadInOut as _, KeyInit as _, Tag, XChaCha20Poly1305, XNonce};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

use super::text;
use super::{AssociatedData, SealError, Sealer};
use crate::secret_source::{self, Readers};

/// The length of a key in bytes.
pub(super) const KEY: usize = 32;

/// The form of sealed bytes that is written: this byte, the id of the key, the nonce, the ciphertext and its tag.
const FORM: u8 = 1;

const ID: usize = 8;
/// XChaCha20's nonce is long enough to be drawn at random for each seal, by any number of processes with one key.
const NONCE: usize = 24;
const TAG: usize = 16;

/// Where the nonce begins. What stands before it is authenticated with the associated data.
const HEAD: usize = 1 + ID;

/// So many of the 32 bytes of a key are different at least. Of random keys, fewer than one in 2^70 has less.
const LEAST_DIFFERENT: usize = 12;

/// Seals with XChaCha20-Poly1305: the first key seals, and all of them open. It takes the feature `seal`.
///
/// A key is 32 random bytes. `openssl rand -base64 32` makes one, and so does [`random_key`](Self::random_key). Give every
/// instance that shares a store the same keys, and keep them elsewhere than the store: a reader of both has the tokens.
///
/// ```
/// use evertoken::seal::SealingKeys;
/// use evertoken::FileStore;
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = FileStore::new("session")?.sealed(SealingKeys::from_file("sealing-key")?);
/// # Ok(())
/// # }
/// ```
///
/// # Sealed bytes
///
/// They begin with the form, 1, and with the id of their key: the first 8 bytes of the SHA-256 of a label and the key. So a
/// key is found by its id, no key needs a name, and an error can name the key that is missing. Then come a random nonce of
/// 24 bytes, the ciphertext, and a tag of 16 bytes. The form, the id and the [`AssociatedData`] are authenticated too. A
/// seal adds 49 bytes.
///
/// # Text
///
/// A text has one key a line, in base64 or base64url (43 characters, with or without `=` at the end), or in 64 hexadecimal
/// digits. Empty lines and lines that begin with `#` are skipped.
///
/// # Rotating a key
///
/// Add the new key behind the old one on every instance, move it to the front on every instance, and remove the old one
/// when each record has been written since. Keys are read once, so each step takes a restart.
/// [The page on sharing](crate::_guide::sharing#rotate-a-key) has the steps.
///
/// Clones share the keys, which are zeroized when the last clone is dropped.
#[derive(Clone)]
pub struct SealingKeys {
    /// At least one, each of them once.
    keys: Vec<Arc<SealingKey>>,
}

impl SealingKeys {
    /// Makes the sealer of one key. The caller wipes its own copy of the array, because an array is copied when it is
    /// passed.
    ///
    /// # Errors
    ///
    /// If the key is visibly not random, such as one of equal bytes.
    pub fn new(mut key: [u8; KEY]) -> Result<Self, SealingKeysError> {
        let sealing = SealingKey::new(&key);
        key.zeroize();
        let problem = "the key is not random; make one by `openssl rand -base64 32`";
        let sealing = sealing.ok_or_else(|| SealingKeysError::new(problem))?;
        Ok(Self {
            keys: vec![sealing],
        })
    }

    /// Adds the keys of another sealer behind those of this one. They open, and do not seal.
    ///
    /// # Errors
    ///
    /// If both have the same key.
    pub fn older(mut self, older: Self) -> Result<Self, SealingKeysError> {
        for key in older.keys {
            if self.key(key.id).is_some() {
                return Err(SealingKeysError::new(format!(
                    "the key {} is there twice; remove one of the two",
                    key.id
                )));
            }
            self.keys.push(key);
        }
        Ok(self)
    }

    /// Reads keys from a text. The first key seals.
    ///
    /// # Errors
    ///
    /// If a line is not a key, if a key is there twice or is visibly not random, or if there is none. The error names the
    /// line and never repeats it.
    pub fn from_text(text: &str) -> Result<Self, SealingKeysError> {
        let mut keys: Vec<(usize, Arc<SealingKey>)> = Vec::new();
        for (line, key) in text::lines(text) {
            let at = |problem: &str| SealingKeysError::new(format!("line {line} {problem}"));
            let key = key.ok_or_else(|| at(text::NO_KEY))?;
            let key = SealingKey::new(&key).ok_or_else(|| at(text::NOT_RANDOM))?;
            if let Some((first, _)) = keys.iter().find(|(_, other)| other.id == key.id) {
                let problem = format!("has the same key as line {first}; remove one of the two");
                return Err(at(&problem));
            }
            keys.push((line, key));
        }
        let keys: Vec<_> = keys.into_iter().map(|(_, key)| key).collect();
        match keys.is_empty() {
            true => Err(SealingKeysError::new(text::EMPTY)),
            false => Ok(Self { keys }),
        }
    }

    /// Reads keys from a file of such a text.
    ///
    /// On Unix, the file must belong to the user of the program or to root, and only its owner may read and write it. A
    /// configuration can permit other readers, as container platforms mount secrets (`readable_by`). Links are followed.
    ///
    /// # Errors
    ///
    /// As for [`from_text`](Self::from_text); also if the file cannot be read, or if others can.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SealingKeysError> {
        let path = path.as_ref();
        let named = |problem: &dyn fmt::Display| {
            SealingKeysError::new(format!("the file `{}` {problem}", path.display()))
        };
        let text =
            secret_source::of_file(path, Readers::Owner).map_err(|problem| named(&problem))?;
        Self::from_text(&text).map_err(|error| named(&format_args!("cannot be used: {error}")))
    }

    /// Reads keys from an environment variable with such a text.
    ///
    /// # Errors
    ///
    /// As for [`from_text`](Self::from_text); also if the variable is not set.
    pub fn from_env(name: &str) -> Result<Self, SealingKeysError> {
        let named = |problem: &dyn fmt::Display| {
            SealingKeysError::new(format!("the environment variable `{name}` {problem}"))
        };
        let text = secret_source::of_variable(name).map_err(|problem| named(&problem))?;
        Self::from_text(&text).map_err(|error| named(&format_args!("cannot be used: {error}")))
    }

    /// Draws a new key, and returns it as a line of text.
    ///
    /// ```
    /// use evertoken::seal::SealingKeys;
    ///
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let text = SealingKeys::random_key()?;
    /// let keys = SealingKeys::from_text(&text)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the operating system's random source fails.
    pub fn random_key() -> Result<Zeroizing<String>, SealingKeysError> {
        let mut key = Zeroizing::new([0; KEY]);
        getrandom::fill(&mut *key).map_err(|_| SealingKeysError::new(NO_RANDOMNESS))?;
        Ok(Zeroizing::new(BASE64_STANDARD.encode(key.as_slice())))
    }

    /// The ids of the keys in their order, each in 16 hexadecimal digits. An id discloses nothing of its key.
    pub fn ids(&self) -> impl Iterator<Item = String> {
        self.keys.iter().map(|key| key.id.to_string())
    }

    fn key(&self, id: KeyId) -> Option<&SealingKey> {
        self.keys.iter().map(Arc::as_ref).find(|key| key.id == id)
    }
}

/// Shows the ids of the keys.
impl fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.keys.iter().map(|key| key.id).collect();
        f.debug_struct("SealingKeys").field("ids", &ids).finish()
    }
}

impl Sealer for SealingKeys {
    fn seal(&self, bound: &AssociatedData<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let key = self.keys.first();
        let key = key.ok_or_else(|| SealError::failed("it has no key"))?;
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| SealError::failed(NO_RANDOMNESS))?;
        // The plain bytes are encrypted where they stand, so the buffer must not grow and leave them elsewhere.
        let mut sealed = Vec::with_capacity(HEAD + NONCE + plain.len() + TAG);
        sealed.push(FORM);
        sealed.extend(key.id.0);
        let authenticated = authenticated(&sealed, bound);
        sealed.extend(nonce);
        sealed.extend(plain);
        let (_, hidden) = sealed.split_at_mut(HEAD + NONCE);
        let nonce = XNonce::from(nonce);
        let tag = key
            .cipher()
            .encrypt_inout_detached(&nonce, &authenticated, hidden.into());
        let Ok(tag) = tag else {
            sealed.zeroize();
            let problem = "the bytes are more than the cipher seals at once";
            return Err(SealError::failed(problem));
        };
        sealed.extend(tag);
        Ok(sealed)
    }

    fn open(
        &self,
        bound: &AssociatedData<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        match sealed.first() {
            None => return Err(SealError::Refused),
            Some(&FORM) => {}
            Some(&form) => return Err(SealError::unknown_form(form)),
        }
        let (head, rest) = sealed
            .split_first_chunk::<HEAD>()
            .ok_or(SealError::Refused)?;
        let (nonce, rest) = rest
            .split_first_chunk::<NONCE>()
            .ok_or(SealError::Refused)?;
        let (hidden, tag) = rest.split_last_chunk::<TAG>().ok_or(SealError::Refused)?;
        let [_, id @ ..] = *head;
        let id = KeyId(id);
        let key = self
            .key(id)
            .ok_or_else(|| SealError::unknown_key(id.to_string()))?;
        let mut plain = Zeroizing::new(hidden.to_vec());
        let opened = key.cipher().decrypt_inout_detached(
            &XNonce::from(*nonce),
            &authenticated(head, bound),
            plain.as_mut_slice().into(),
            &Tag::from(*tag),
        );
        opened.map_err(|_| SealError::Refused)?;
        Ok(plain)
    }
}

/// What the tag covers besides the ciphertext. The head has a fixed length, so that the two are unambiguous.
fn authenticated(head: &[u8], bound: &AssociatedData<'_>) -> Vec<u8> {
    [head, &bound.to_bytes()].concat()
}

const NO_RANDOMNESS: &str =
    "the operating system's random source failed; check the sandbox of this process";

/// A key, by its id. All clones of its sealers share it.
struct SealingKey {
    id: KeyId,
    /// Written where it stays: a value that moves leaves copies behind.
    bytes: Zeroizing<[u8; KEY]>,
}

impl SealingKey {
    /// A key of these bytes, unless they are visibly not random.
    fn new(key: &[u8; KEY]) -> Option<Arc<Self>> {
        if is_placeholder(key) {
            return None;
        }
        let mut sealing = Arc::new(Self {
            id: KeyId::of(key),
            bytes: Zeroizing::new([0; KEY]),
        });
        // An `Arc` that was just made has one owner.
        Arc::get_mut(&mut sealing)?.bytes.copy_from_slice(key);
        Some(sealing)
    }

    /// The cipher, which wipes its copy of the key when it is dropped. One for each use: a cipher that is kept would have
    /// to move to where it stays.
    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.bytes).into())
    }
}

/// Whether no random source gives such a key: few different bytes, as in zeros or a word that repeats, or bytes that count
/// up or down.
fn is_placeholder(key: &[u8; KEY]) -> bool {
    let mut is_there = [false; 256];
    for byte in key {
        is_there[usize::from(*byte)] = true;
    }
    let different = is_there.iter().filter(|is_there| **is_there).count();
    let step = key[1].wrapping_sub(key[0]);
    let counts = key
        .windows(2)
        .all(|two| two[1].wrapping_sub(two[0]) == step);
    different < LEAST_DIFFERENT || counts
}

/// The name of a key: a hash of it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct KeyId([u8; ID]);

impl KeyId {
    fn of(key: &[u8; KEY]) -> Self {
        // The label keeps the id apart from every other hash of the key.
        let hash = Sha256::new()
            .chain_update("evertoken sealing key id 1\n")
            .chain_update(key)
            .finalize();
        let mut id = [0; ID];
        id.copy_from_slice(&hash[..ID]);
        Self(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why sealing keys cannot be used, and what to do. It contains nothing of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct SealingKeysError {
    problem: String,
}

impl SealingKeysError {
    fn new(problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self { problem }
    }
}

#[cfg(test)]
mod tests;
