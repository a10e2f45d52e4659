//! What a record holds is wiped when it is dropped, and when it cannot be read. A token response leaves its pair alone.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Mutex;

use evertoken::protocol::Record;
use evertoken::store::{AssociatedData, Codec, SealError, Sealer, Zeroizing};
use evertoken::{Key, TokenPair};
use serde_json::value::RawValue;

/// Freed memory is used again: one of so many copies is still there.
const COPIES: usize = 64;

/// Held by each test: a scan copies all that it reads, the secrets of other tests too.
static ALONE: Mutex<()> = Mutex::new(());

/// A secret whose text is in no other place than the records that are made of it.
struct Secret([u8; 64]);

impl Secret {
    /// Upside down, so that the scan does not find the secret here.
    fn new() -> Self {
        let mut random = [0; 32];
        let mut source = File::open("/dev/urandom").unwrap();
        source.read_exact(&mut random).unwrap();
        let mut upside_down = [0; 64];
        for (at, byte) in upside_down.iter_mut().enumerate() {
            let half = random[at / 2] >> (4 * (at % 2)) & 0xf;
            *byte = !(b'a' + half);
        }
        Self(upside_down)
    }

    /// A text in which each `$` is this secret, in a buffer that never moves.
    fn put_into(&self, template: &str) -> Zeroizing<Vec<u8>> {
        let length = template.len() + template.matches('$').count() * self.0.len();
        let mut text = Zeroizing::new(Vec::with_capacity(length));
        for byte in template.bytes() {
            match byte {
                b'$' => text.extend(self.0.iter().map(|byte| !byte)),
                byte => text.push(byte),
            }
        }
        text
    }

    /// Whether the second half of it, which an allocator does not write over when it frees it, is in this process's
    /// memory.
    fn is_in_memory(&self) -> bool {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let memory = File::open("/proc/self/mem").unwrap();
        let needle = &self.0[32..];
        let mut chunk = Zeroizing::new(vec![0; 1 << 20]);
        for line in maps.lines().filter(|line| line.contains(" rw-p ")) {
            let range = line.split(' ').next().unwrap().split_once('-').unwrap();
            let [mut at, end] = [range.0, range.1].map(|at| u64::from_str_radix(at, 16).unwrap());
            while at < end {
                let length = chunk.len().min((end - at).try_into().unwrap());
                let chunk = &mut chunk[..length];
                // A mapping of the kernel's own cannot be read.
                if memory.read_exact_at(chunk, at).is_err() {
                    break;
                }
                let mut places = chunk.windows(needle.len());
                if places.any(|place| place.iter().zip(needle).all(|(here, byte)| *here == !byte)) {
                    return true;
                }
                at += (length - needle.len().min(length - 1)) as u64;
            }
        }
        false
    }
}

/// A sealer that inverts every bit: what it sealed holds no secret for the scan.
struct Inverted;

impl Sealer for Inverted {
    fn seal(&self, _: &AssociatedData<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        Ok(plain.iter().map(|byte| !byte).collect())
    }

    fn open(&self, _: &AssociatedData<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        Ok(Zeroizing::new(sealed.iter().map(|byte| !byte).collect()))
    }
}

fn key() -> Key {
    Key::new("https://id.example.org/token", "importer")
}

/// Tokens and unknown fields at every level, with this in place of the record's version and the pair's lifetime.
fn record(version: &str, lifetime: &str) -> String {
    let key = serde_json::to_string(&key()).unwrap();
    // A digest of 16 bytes.
    let past = "A".repeat(22);
    let later: Vec<_> = (0..COPIES)
        .map(|number| format!(r#""later {number}":["$",{{"nested":"$"}}]"#))
        .collect();
    let later = later.join(",");
    format!(
        r#"{{"format":3,"key":{key},"family":"0123456789abcdef0123456789abcdef","version":{version},"pair":{{
        "issued_at":1,"access_token":"$","refresh_token":"$","lifetime":{lifetime},{later}}},"state":{{"is":"active",
        {later}}},"lease":null,"next_number":1,"committed_number":0,"past":{{"seeds":"{past}",
        {later}}},{later}}}"#
    )
}

#[test]
fn what_a_record_holds_is_wiped_when_its_last_clone_is_dropped() {
    let _alone = ALONE.lock();
    let secret = Secret::new();
    let text = secret.put_into(&record("1", "{}"));
    let record = Codec::plain().decode(&key(), &text).unwrap();
    drop(text);
    let clone = record.clone();
    drop(Codec::plain().encode(&record).unwrap());
    drop(record);
    assert!(secret.is_in_memory());
    drop(clone);
    assert!(!secret.is_in_memory());
}

/// The readable copy holds the unknown fields outside the pair, which may be secret too.
#[test]
fn what_a_sealed_record_holds_is_wiped_when_it_was_written_and_read() {
    let _alone = ALONE.lock();
    let secret = Secret::new();
    let text = secret.put_into(&record("1", "{}"));
    let record = Codec::plain().decode(&key(), &text).unwrap();
    drop(text);
    let codec = Codec::sealed(Inverted);
    let bytes = codec.encode(&record).unwrap();
    assert_eq!(codec.decode(&key(), &bytes).unwrap(), record);
    assert!(secret.is_in_memory());
    drop((record, bytes));
    assert!(!secret.is_in_memory());
}

#[test]
fn a_plain_pair_in_a_sealed_record_is_refused_and_wiped() {
    let _alone = ALONE.lock();
    let secret = Secret::new();
    let record = record("1", "{}").replace(r#""format":3"#, r#""format":4"#);
    let text = secret.put_into(&record);
    let read = Codec::sealed(Inverted).decode(&key(), &text);
    drop(text);
    read.unwrap_err();
    assert!(!secret.is_in_memory());
}

#[test]
fn token_responses_leave_nothing_behind_when_their_pairs_are_dropped() {
    let _alone = ALONE.lock();
    let secret = Secret::new();
    let pairs: Vec<_> = (1..=COPIES)
        .map(|number| {
            // Each of another length, because freed memory is used again for the same length.
            let template = r#"{"access_token":"$","refresh_token":"$","id_token":"OTHERS"}"#;
            let text = secret.put_into(&template.replace("OTHERS", &"$".repeat(number)));
            // Serializes the very bytes of `text`, and copies none.
            let response: &RawValue = serde_json::from_slice(&text).unwrap();
            TokenPair::from_response(response).unwrap()
        })
        .collect();
    assert!(secret.is_in_memory());
    drop(pairs);
    assert!(!secret.is_in_memory());
}

#[test]
fn bytes_that_are_not_a_record_are_wiped() {
    let _alone = ALONE.lock();
    for (version, lifetime) in [(r#""none""#, "{}"), ("1", "5")] {
        let secret = Secret::new();
        let text = secret.put_into(&record(version, lifetime));
        let read = serde_json::from_slice::<Record>(&text);
        drop(text);
        read.unwrap_err();
        assert!(!secret.is_in_memory(), "{version} {lifetime}");
    }
}
