//! Sealing keys in a real keyring: GNOME Keyring on a D-Bus of its own, with processes that start at once.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod process;
#[path = "../support/services.rs"]
mod services;

use std::process::{Command, Output, Stdio};

use self::process::{Step, command};
use self::services::{Missing, SecretService, are_required, skipped};

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
        let start = || {
            let mut command = command(Step::Ids);
            keyring.give_to(&mut command);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        };
        let processes: Vec<_> = (0..8).map(|_| start()).collect();
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
fn a_keyring_that_stays_locked_is_an_error_with_a_remedy() {
    let Some(keyring) = keyring(SecretService::locked) else {
        return;
    };
    let error = run(&keyring, Step::Refused);
    assert!(
        error.ends_with("or keep the sealing key in a file"),
        "{error}"
    );
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
    let remedy = "the keyring cannot be reached; start one in this session (GNOME Keyring, KWallet or another Secret \
                  Service), or keep the sealing key in a file";
    assert_eq!(error, remedy);
    assert_eq!(directory.path().read_dir().unwrap().count(), 0);
}
