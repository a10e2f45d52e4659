//! Runs without kills.

use crate::run::{Counts, command, ran};
use crate::stores;

/// Asserts that each pair was fetched once, and that every process had the pair.
#[track_caller]
fn assert_once(counts: &Counts, instances: u64) {
    let said = counts.says();
    assert_eq!(counts.of("instances"), instances);
    assert!(counts.of("rotations") >= 3, "{said}");
    assert_eq!(counts.of("exchanges"), counts.of("rotations"), "{said}");
    // A process adopts each pair that it did not fetch itself, unless the process starts late or skips a version.
    assert!(counts.of("adoptions") >= counts.of("rotations"), "{said}");
    assert!(counts.of("ok") > 0, "{said}");
    assert!(!counts.is_null("adopt_p50_ms") && !counts.is_null("adopt_p99_ms"));
    for none in [
        "replays",
        "families_revoked",
        "failed",
        "told",
        "outcome_unknown",
        "sessions_lost",
        "pairs_lost",
        "overwritten",
        "second_sendings",
        "stuck",
    ] {
        assert_eq!(counts.of(none), 0, "{none}: {said}");
    }
}

/// Processes that share a store spend each token once, and all of them get the pair.
#[test]
fn n2_processes_that_share_a_store_spend_each_token_once_and_all_have_the_pair() {
    for store in stores::all() {
        let at = ["--store", &store.location];
        let usual = ["--instances", "3", "--tasks", "10", "--seconds", "4"];
        // In the second run the store holds a session of a server that is gone.
        for ttl in ["1s", "600ms"] {
            let arguments = [&at[..], &usual, &["--access-ttl", ttl]].concat();
            assert_once(&ran(&arguments), 3);
        }
    }
}

#[test]
fn a_single_instance_adopts_no_pair() {
    let arguments = ["--instances", "1", "--tasks", "3", "--seconds", "1"];
    let counts = ran(&[&arguments[..], &["--access-ttl", "300ms"]].concat());
    assert!(counts.of("rotations") > 0);
    assert_eq!(counts.of("exchanges"), counts.of("rotations"));
    assert_eq!(counts.of("adoptions"), 0);
    assert!(counts.is_null("adopt_p99_ms"));
}

#[test]
fn the_default_output_is_a_table() {
    let output = command(&["--instances", "2", "--tasks", "2", "--seconds", "1"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    for row in ["rotations", "exchanges", "adopt p99", "sessions lost"] {
        assert!(said.contains(row), "{row}: {said}");
    }
}

#[test]
fn invalid_arguments_are_refused_with_the_reason() {
    for (arguments, reason) in [
        (["--store", "session"], "`file:DIRECTORY`"),
        (["--store", "file:/dev/null"], "/dev/null"),
        (["--instances", "0"], "0 is not in 1..=64"),
    ] {
        let output = command(&arguments).output().unwrap();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(complained.contains(reason), "{complained}");
    }
}

#[cfg(not(all(feature = "redis", feature = "postgres")))]
#[test]
fn a_store_that_was_not_built_in_names_its_feature() {
    for (feature, is_there) in [
        ("redis", cfg!(feature = "redis")),
        ("postgres", cfg!(feature = "postgres")),
    ] {
        let store = format!("{feature}://127.0.0.1:9");
        let output = command(&["--store", &store]).output().unwrap();
        let complained = String::from_utf8_lossy(&output.stderr);
        let named = complained.contains(&format!("--features {feature}"));
        assert_eq!(named, !is_there, "{complained}");
    }
}
