//! The parsers of everything that comes from outside, as functions of bytes. Each fails loudly where a rule of its
//! parser does not hold, and does nothing else.
//!
//! `fuzz/` feeds them, and a test replays what it found worth keeping. No user of the crate sees this module: it is
//! compiled for tests and by fuzzers only.

use std::error::Error;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

#[cfg(feature = "config")]
use crate::config::Config;
use crate::token::jwt;
use crate::{endpoint, store};

/// What a fuzzer calls with its input.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its corpus.
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

/// A token, and the leases of one.
pub fn jwt(input: &[u8]) {
    let leases = format!("e30.{}.x", BASE64_URL_SAFE_NO_PAD.encode(input));
    for token in [Ok(leases.as_str()), str::from_utf8(input)]
        .into_iter()
        .flatten()
    {
        let _ = jwt::jti(token);
        let Some(times) = jwt::times(token) else {
            continue;
        };
        for server in [None, Some(std::time::Duration::from_secs(1))] {
            let left = times.lifetime(server, std::time::Duration::ZERO);
            assert!(left.is_none_or(|left| left <= times.expires_at));
        }
    }
}

/// A record as a store holds it, sealed or not.
pub fn record(input: &[u8]) {
    for error in store::fuzzing::record(input) {
        // It holds nothing of the record but its key.
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

/// Everything an error shows, with all its sources.
fn shown(error: &dyn Error) -> String {
    let mut shown = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        // Writing to a string does not fail.
        let _ = write!(shown, "{error}\n{error:?}\n");
        next = error.source();
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Where the crate comes as a package, there are none.
    #[test]
    fn every_parser_bears_what_its_fuzzer_found_worth_keeping() {
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
