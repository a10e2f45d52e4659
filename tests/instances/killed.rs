//! Runs in which instances are killed and stopped again and again.

use crate::run::{Counts, number, ran};

/// A run that is long enough for several lease durations.
const SECONDS: u64 = 45;

fn killed(server: &str, aim: &[&str]) -> Counts {
    let seconds = number("EVERTOKEN_INSTANCES_SECONDS")
        .unwrap_or(SECONDS)
        .to_string();
    let seed = number("EVERTOKEN_SEED").unwrap_or(3).to_string();
    let arguments = [
        &[
            "--server",
            server,
            "--seconds",
            &seconds,
            "--least-seconds",
            "0",
        ][..],
        &[
            "--instances",
            "4",
            "--tasks",
            "20",
            "--rate",
            "400",
            "--seed",
            &seed,
        ],
        &["--kill-every", "2s", "--pause-every", "3s"],
        aim,
    ];
    let counts = ran(&arguments.concat());
    let said = counts.says();
    assert!(counts.of("kills") > 0 && counts.of("pauses") > 0, "{said}");
    assert_eq!(counts.of("overwritten"), 0, "{said}");
    assert_eq!(counts.of("stuck"), 0, "{said}");
    assert_eq!(counts.of("sign_ins"), counts.of("sessions_lost"), "{said}");
    counts
}

/// On a strict server a killed process loses the session only with a pair that no process received.
#[test]
fn n4_on_a_strict_server_a_session_is_lost_only_with_a_pair_that_no_process_received() {
    for aim in [&[][..], &["--aim"]] {
        let counts = killed("strict", aim);
        let said = counts.says();
        // A replay comes from a lease that was taken over, or follows an unclear answer.
        assert_eq!(counts.of("replays"), 0, "{said}");
        let lost = counts.of("sessions_lost");
        assert!(counts.of("families_revoked") <= lost, "{said}");
        assert_eq!(counts.of("pairs_lost"), lost, "{said}");
    }
}

/// On a server that answers a used token again no kill loses the session.
#[test]
fn n15_on_a_server_that_answers_a_token_again_no_kill_loses_the_session() {
    for server in ["grace", "fork", "last-wins"] {
        let counts = killed(server, &["--aim"]);
        let said = counts.says();
        for none in ["replays", "sessions_lost", "families_revoked", "told"] {
            assert_eq!(counts.of(none), 0, "{none}: {said}");
        }
        // The errors of callers in a stopped process, and of callers that wait for three stopped processes in turn.
        let may_fail = [
            "not finished within the deadline",
            "check whether that process is stopped",
        ];
        for error in counts.errors() {
            let is_known = may_fail.iter().any(|known| error.contains(known));
            assert!(is_known, "{error}: {said}");
        }
    }
}
