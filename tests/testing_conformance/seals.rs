use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use evertoken::protocol::Record;
use evertoken::store::{Codec, Loaded, Revision, Swap};
use evertoken::testing::conformance::sealed_store;
use evertoken::{Key, StoreError, TokenStore, async_trait};
use parking_lot::Mutex;

use crate::flaw::{Answer, assert_refused};
use crate::seal::FakeSealer;

/// What the store does with a record that its codec refuses.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    None,
    ReadsPlain,
    /// Accepts a plain record without a pair, because it holds no token.
    ReadsPlainWithoutPair,
    WritesPlain,
    WritesPlainWithoutPair,
    SaysNothing,
    AnswersRaces,
}

type Entries = Mutex<HashMap<Key, (Vec<u8>, u64)>>;

/// A store that keeps the bytes of a codec.
#[derive(Debug)]
struct Vault {
    entries: Arc<Entries>,
    codec: Codec,
    flaw: Flaw,
}

impl Vault {
    fn read(&self, key: &Key) -> Result<Option<(Record, Revision)>, StoreError> {
        let entry = self.entries.lock().get(key).cloned();
        let Some((bytes, revision)) = entry else {
            return Ok(None);
        };
        let plain = Codec::plain().decode(key, &bytes).ok();
        let record = match (self.codec.decode(key, &bytes), plain, self.flaw) {
            (Err(_), Some(plain), Flaw::ReadsPlain) => plain,
            (Err(_), Some(plain), Flaw::ReadsPlainWithoutPair) if plain.issued_at().is_none() => {
                plain
            }
            (Err(_), _, Flaw::SaysNothing) => return Err(StoreError::new("refused")),
            (decoded, ..) => decoded?,
        };
        Ok(Some((record, Revision::new(revision))))
    }
}

#[async_trait]
impl TokenStore for Vault {
    async fn load(&self, key: &Key) -> Result<Loaded, StoreError> {
        Ok(Loaded {
            entry: self.read(key)?,
            now: Duration::from_secs(1).into(),
        })
    }

    async fn swap(&self, key: &Key, seen: Option<Revision>, next: &Record) -> Answer {
        let held = self.entries.lock().get(key).map(|(_, revision)| *revision);
        if held != seen.map(Revision::number) {
            return match self.flaw {
                Flaw::AnswersRaces => Ok(Swap::Lost(None)),
                _ => self.read(key).map(Swap::Lost),
            };
        }
        let revision = held.unwrap_or(0) + 1;
        let is_plain = match self.flaw {
            Flaw::WritesPlain => true,
            Flaw::WritesPlainWithoutPair => next.issued_at().is_none(),
            _ => false,
        };
        let plain = Codec::plain();
        let codec = if is_plain { &plain } else { &self.codec };
        let entry = (codec.encode(next)?.to_vec(), revision);
        self.entries.lock().insert(key.clone(), entry);
        Ok(Swap::Swapped(Revision::new(revision)))
    }
}

async fn suite(flaw: Flaw) {
    let entries = Arc::<Entries>::default();
    let open = |codec: Codec| Vault {
        entries: entries.clone(),
        codec,
        flaw,
    };
    let sealed = || Codec::sealed(FakeSealer::new("secret"));
    let plain = async || open(Codec::plain());
    let strict = async || open(sealed());
    let accepting = async || open(sealed().accept_plain(true));
    sealed_store(plain, strict, accepting).await;
}

#[tokio::test]
async fn a_store_that_passes_errors_of_its_codec_on_conforms() {
    suite(Flaw::None).await;
}

#[test]
fn the_suite_finds_a_flaw_of_a_store_with_a_sealer() {
    let plain = "a store with a sealer refuses a plain record: loading gave";
    for (flaw, expected) in [
        (Flaw::ReadsPlain, plain),
        (Flaw::ReadsPlainWithoutPair, plain),
        (Flaw::WritesPlain, "load failed"),
        (Flaw::WritesPlainWithoutPair, "load failed"),
        (
            Flaw::SaysNothing,
            "the error has to name the setting that permits plain records",
        ),
        (Flaw::AnswersRaces, "also if it won a race"),
    ] {
        assert_refused(&format!("{flaw:?}"), suite(flaw), expected);
    }
}
