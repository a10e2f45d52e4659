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
