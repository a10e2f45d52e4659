//! Sealing keys in a real keyring: GNOME Keyring on a D-Bus of its own, with processes that start at once.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod process;
#[path = "../support/services.rs"]
mod services;

use std::fs::File;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use evertoken::protocol::Digest;

use self::process::{Step, command};
use self::services::{Missing, SecretService, are_required, skipped};

/// A process that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(30);

const UNAVAILABLE: &str = "the keyring is missing, is locked or refuses the access; start and unlock one in this session \
                           (on Linux, GNOME Keyring, KWallet or another Secret Service), allow this program to use it, or \
                           keep the sealing key in a file";

/// The keyring of a test, or `None` where none is installed and none is required.
fn keyring(start: fn() -> Result<SecretService, Missing>) -> Option<SecretService> {
    match SecretService::installed().and_then(|()| start()) {
        Ok(keyring) => Some(keyring),
        Err(missing) if are_required() => panic!("{missing}"),
        Err(missing) => {
            skipped(&missing.to_string());
            None
        }
    }
}

/// What the process says, if it succeeds.
#[track_caller]
fn said(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    process::said(&output.stdout)
}

#[track_caller]
fn run(keyring: &SecretService, step: Step<'_>) -> String {
    let mut command = command(step);
    keyring.give_to(&mut command);
    said(&command.output().unwrap())
}

#[test]
fn the_first_process_makes_the_key_and_the_next_one_opens_what_it_sealed() {
    let Some(keyring) = keyring(SecretService::start) else {
        return;
    };
    let session = tempfile::tempdir().unwrap();
    let made = run(&keyring, Step::Write(session.path()));
    assert_eq!(run(&keyring, Step::Read(session.path())), made);
    for file in session.path().read_dir().unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(process::TOKEN), "{text}");
    }
}

#[test]
fn processes_that_start_at_once_make_one_key() {
    // Without a lock, every other round has two keys.
    for _ in 0..8 {
        let Some(keyring) = keyring(SecretService::start) else {
            return;
        };
        let elsewhere = tempfile::tempdir().unwrap();
        let start = |number: usize| {
            let mut command = command(Step::Ids);
            keyring.give_to(&mut command);
            // A timer of the user has not the variables of the desktop.
            if number.is_multiple_of(2) {
                command.env("XDG_RUNTIME_DIR", elsewhere.path());
                command.env("TMPDIR", elsewhere.path());
            }
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        };
        let processes: Vec<_> = (0..8).map(start).collect();
        let ids: Vec<_> = processes
            .into_iter()
            .map(|process| said(&process.wait_with_output().unwrap()))
            .collect();
        assert_eq!(ids, vec![ids[0].clone(); 8]);
    }
}

#[test]
fn a_configuration_names_the_program_whose_keys_seal() {
    let Some(keyring) = keyring(SecretService::start) else {
        return;
    };
    let session = tempfile::tempdir().unwrap();
    let made = run(&keyring, Step::Write(session.path()));
    assert_eq!(run(&keyring, Step::Configured(session.path())), made);
}

#[test]
fn a_keyring_that_is_locked_is_an_error_and_keeps_its_key() {
    let Some(mut keyring) = keyring(SecretService::start) else {
        return;
    };
    let made = run(&keyring, Step::Ids);
    keyring.restart(false);
    assert_eq!(run(&keyring, Step::Refused), UNAVAILABLE);
    keyring.restart(true);
    assert_eq!(run(&keyring, Step::Ids), made);
}

#[test]
fn a_keyring_that_cannot_be_made_is_an_error_with_a_remedy() {
    let Some(keyring) = keyring(SecretService::empty) else {
        return;
    };
    assert_eq!(run(&keyring, Step::Refused), UNAVAILABLE);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a process ends in real time")]
fn a_process_ends_while_it_waits_for_the_keyring() {
    let Some(keyring) = keyring(SecretService::start) else {
        return;
    };
    // Another process is at the prompt, and its user does not see it.
    let directory = keyring.home().join(".local/state/evertoken");
    std::fs::create_dir_all(&directory).unwrap();
    let lock = format!("keyring-{}.lock", Digest::of(process::PROGRAM));
    let other = File::create(directory.join(lock)).unwrap();
    other.lock().unwrap();
    let mut command = command(Step::GivesUp);
    keyring.give_to(&mut command);
    let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while process.try_wait().unwrap().is_none() {
        if started.elapsed() > PATIENCE {
            process.kill().unwrap();
            process.wait().unwrap();
            panic!("the process waits for the keyring");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(said(&process.wait_with_output().unwrap()), "gave up");
}

#[test]
fn a_session_without_a_keyring_is_an_error_with_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let without = |command: &mut Command| {
        command
            .env_remove("DBUS_SESSION_BUS_ADDRESS")
            .env_remove("DISPLAY")
            .env("HOME", directory.path())
            .env("XDG_RUNTIME_DIR", directory.path());
    };
    let mut command = command(Step::Refused);
    without(&mut command);
    let error = said(&command.output().unwrap());
    assert_eq!(error, UNAVAILABLE);
    assert_eq!(directory.path().read_dir().unwrap().count(), 0);
}
