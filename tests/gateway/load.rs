//! The example as a load: browsers with tabs against instances that are processes.

use std::process::Command;

use serde_json::Value;

use crate::examples::example;

fn run(mode: &str, more: &[&str]) -> Value {
    let small = [
        "--instances",
        "2",
        "--browsers",
        "5",
        "--tabs",
        "3",
        "--pace",
        "200ms",
    ];
    let done = Command::new(example("gateway"))
        .args(small)
        .args(["--json", "--reload-storms", "--mode", mode])
        .args(more)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&done.stdout);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{mode}: {shown} {said}");
    serde_json::from_str(&shown).unwrap()
}

fn assert_nobody_is_signed_out(report: &Value) {
    for name in ["unauthorized", "logged_out"] {
        assert_eq!(report[name], 0, "{report}");
    }
    assert!(report["ok"].as_u64() > Some(50), "{report}");
}

#[test]
fn browsers_stay_signed_in_where_instances_share_a_store_and_no_token_is_spent_twice() {
    for mode in ["synchronised", "opaque"] {
        let report = run(mode, &["--seconds", "6"]);
        assert_nobody_is_signed_out(&report);
        for name in ["replays", "families_revoked"] {
            assert_eq!(report[name], 0, "{mode}: {report}");
        }
        assert_eq!(
            report["exchanges"], report["expiries_used"],
            "{mode}: {report}"
        );
        assert!(report["exchanges"].as_u64() > Some(5), "{mode}: {report}");
    }
}

#[test]
fn browsers_stay_signed_in_where_instances_share_nothing() {
    for (mode, seconds) in [("grace", "6"), ("stateless", "14")] {
        let report = run(mode, &["--seconds", seconds]);
        assert_nobody_is_signed_out(&report);
        assert!(report["exchanges"].as_u64() > Some(5), "{mode}: {report}");
    }
}

#[cfg(unix)]
#[test]
fn instances_that_are_killed_sign_nobody_out_of_a_server_with_a_grace() {
    let report = run(
        "grace",
        &["--seconds", "8", "--kill-every", "2s", "--weather"],
    );
    assert_nobody_is_signed_out(&report);
}
