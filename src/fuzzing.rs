//! Fuzzing targets: the parsers of all input from outside, as functions of bytes. A target panics where a rule of its
//! parser does not hold, and does nothing else.
//!
//! The fuzzers in `fuzz/` call the targets, and a test replays the inputs of their corpora. This module is compiled
//! for tests and fuzzers only, and is not a part of the public API.

use std::error::Error;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

#[cfg(feature = "config")]
use crate::config::Config;
#[cfg(feature = "seal")]
use crate::seal::{AssociatedData, Sealer as _, SealingKeys};
#[cfg(feature = "seal")]
use crate::token::Key;
use crate::token::jwt;
use crate::{endpoint, store};

/// A function that a fuzzer calls with its input.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also the name of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("oauth2_answer", oauth2_answer),
    #[cfg(feature = "folio")]
    ("folio_answer", folio_answer),
    #[cfg(feature = "folio")]
    ("cookies", cookies),
    #[cfg(feature = "folio")]
    ("dates", dates),
    ("retry_after", retry_after),
    ("jwt", jwt),
    ("record", record),
    #[cfg(feature = "seal")]
    ("seal", seal),
    #[cfg(feature = "seal")]
    ("sealing_keys", sealing_keys),
    #[cfg(feature = "config")]
    ("config", config),
];

/// An answer of a token endpoint, to an exchange or a revocation: JSON or a form, a pair or an error.
pub fn oauth2_answer(input: &[u8]) {
    for error in endpoint::fuzzing::oauth2_answer(input) {
        assert!(!shown(&error).contains(endpoint::fuzzing::SECRET));
    }
}

/// An answer of FOLIO's login service.
#[cfg(feature = "folio")]
pub fn folio_answer(input: &[u8]) {
    for error in endpoint::fuzzing::folio_answer(input) {
        assert!(!shown(&error).contains(endpoint::fuzzing::SECRET));
    }
}

/// `Set-Cookie` headers, one on each line.
#[cfg(feature = "folio")]
pub fn cookies(input: &[u8]) {
    endpoint::fuzzing::folio_cookies(input);
}

/// A point in time as FOLIO's modules write it.
#[cfg(feature = "folio")]
pub fn dates(input: &[u8]) {
    endpoint::fuzzing::date(input);
}

/// A `Retry-After` and a `Date`, one on each line.
pub fn retry_after(input: &[u8]) {
    endpoint::fuzzing::headers(input);
}

/// A token, and the claims of one.
pub fn jwt(input: &[u8]) {
    let claims = format!("e30.{}.x", BASE64_URL_SAFE_NO_PAD.encode(input));
    let tokens = [Some(claims.as_str()), str::from_utf8(input).ok()];
    for token in tokens.into_iter().flatten() {
        let _ = jwt::jti(token);
        let Some(times) = jwt::times(token) else {
            continue;
        };
        for server in [None, Some(Duration::from_secs(1))] {
            let left = times.lifetime(server, Duration::ZERO);
            assert!(left.is_none_or(|left| left <= times.expires_at));
        }
    }
}

/// A record as a store holds it, sealed or not.
pub fn record(input: &[u8]) {
    for error in store::fuzzing::record(input) {
        // The error may hold the record's key, and no other part of the record.
        drop(shown(&error));
    }
}

/// Sealed bytes: those that the input is, which no key has sealed, and those that the input becomes, with each of their
/// bits that the input's length chooses changed.
#[cfg(feature = "seal")]
pub fn seal(input: &[u8]) {
    let key = Key::new("issuer", "client");
    let bound = AssociatedData::new("fuzzing", &key);
    let Ok(keys) = SealingKeys::from_text(SEALING_KEYS) else {
        panic!("the keys are keys")
    };
    match keys.open(&bound, input) {
        Ok(_) => panic!("bytes open that no key has sealed"),
        Err(error) => drop(shown(&error)),
    }
    let Ok(mut sealed) = keys.seal(&bound, input) else {
        return;
    };
    let opened = keys.open(&bound, &sealed);
    assert_eq!(opened.as_deref().map(Vec::as_slice), Ok(input));
    let at = input.iter().fold(input.len(), |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(*byte))
    });
    let length = sealed.len();
    sealed[at % length] ^= 1 << (at / length % 8);
    assert!(keys.open(&bound, &sealed).is_err(), "a changed bit opens");
}

/// The keys of the target `seal`: any two.
#[cfg(feature = "seal")]
const SEALING_KEYS: &str = "kqzV0x1+JcSgHEhcFhYKPyuJBlR65UbR+CyYEn2wbH4=\n\
                            c8c7ed40a3ef57d61cb3ae5d8a47cfa1e1b0a9dd2ae8cc5f2a4a9a1c3b7e6d05";

/// Sealing keys as text.
#[cfg(feature = "seal")]
pub fn sealing_keys(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    match SealingKeys::from_text(text) {
        Ok(keys) => {
            let ids: Vec<_> = keys.ids().collect();
            let lines = text.lines().filter(|line| line.trim().len() >= 43);
            assert!(!ids.is_empty() && ids.len() <= lines.count());
            let again = SealingKeys::from_text(text).map(|keys| keys.ids().collect());
            assert_eq!(again, Ok(ids));
            let twice = keys.clone().older(keys);
            assert!(twice.is_err(), "a key is there twice");
        }
        Err(error) => drop(shown(&error)),
    }
}

/// A configuration in TOML or in JSON.
#[cfg(feature = "config")]
pub fn config(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    for read in [Config::from_toml(text), Config::from_json(text)] {
        match read {
            Ok(config) => drop(format!("{config:?}")),
            Err(error) => drop(shown(&error)),
        }
    }
}

/// The texts of an error and of all its sources.
fn shown(error: &(dyn Error + 'static)) -> String {
    let errors = std::iter::successors(Some(error), |&error| error.source());
    errors
        .map(|error| format!("{error}\n{error:?}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The published package holds no corpora.
    #[test]
    fn every_parser_accepts_the_corpus_of_its_fuzzer() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        if !fuzz.exists() {
            println!("skipped: this is a package, which holds no corpora");
            return;
        }
        for (name, target) in TARGETS {
            let corpus = fuzz.join("corpus").join(name);
            let mut replayed = 0;
            for input in std::fs::read_dir(&corpus).expect(name) {
                let path = input.unwrap().path();
                println!("{}", path.display());
                target(&std::fs::read(path).unwrap());
                replayed += 1;
            }
            assert!(replayed > 0, "{name} has an empty corpus");
            let program = fuzz.join("fuzz_targets").join(name).with_extension("rs");
            assert!(program.exists(), "{}", program.display());
        }
    }
}
