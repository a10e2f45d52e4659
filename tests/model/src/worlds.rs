//! The worlds that are explored. Each has few kinds of faults, so that all of it can be seen.

use crate::config::{Config, Faults};
use crate::property::Goal;
use crate::server::{Reuse, Server};

const NONE: Faults = Faults {
    crashes: 0,
    unread: 0,
    undelivered: 0,
    not_sent: 0,
    store: 0,
    failovers: 0,
    pauses: 0,
};

/// Those that take seconds.
pub fn small() -> Vec<Config> {
    let strict = |name| Config::new(name, Reuse::KillsFamily);
    vec![
        Config {
            instances: 3,
            rotations: 2,
            goals: &[Goal::SecondPair],
            ..strict("calm")
        },
        Config {
            faults: Faults {
                crashes: 1,
                pauses: 4,
                ..NONE
            },
            goals: &[Goal::ResortSaves, Goal::ResortKills],
            ..strict("crash")
        },
        Config {
            faults: Faults {
                unread: 1,
                undelivered: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::ResortSaves, Goal::ResortKills],
            ..strict("lost-answers")
        },
        Config {
            faults: Faults {
                crashes: 1,
                undelivered: 1,
                not_sent: 1,
                pauses: 2,
                ..NONE
            },
            last_resorts: 0,
            goals: &[Goal::OutcomeUnknown],
            ..strict("no-last-resort")
        },
        Config {
            last_resorts: 2,
            faults: Faults {
                undelivered: 3,
                not_sent: 1,
                ..NONE
            },
            goals: &[Goal::ResortSaves, Goal::OutcomeUnknown],
            ..strict("last-resorts")
        },
        Config {
            faults: Faults {
                not_sent: 1,
                store: 2,
                pauses: 2,
                ..NONE
            },
            ..strict("store-fails")
        },
        Config {
            rotations: 2,
            faults: Faults {
                store: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::SecondPair, Goal::Retaken],
            ..strict("retake")
        },
        Config {
            server: Server {
                reuse: Reuse::KillsFamily,
                grace: 2,
            },
            replay_window: 1,
            faults: Faults {
                crashes: 1,
                unread: 2,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::Replay],
            ..strict("grace")
        },
        Config {
            quarantine: 3,
            send_window: 2,
            server: Server {
                reuse: Reuse::KillsFamily,
                grace: 3,
            },
            replay_window: 1,
            faults: Faults {
                unread: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::Replay],
            ..strict("replay-window")
        },
        Config {
            rotations: 2,
            faults: Faults {
                unread: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::Spare],
            ..Config::new("fork", Reuse::Forks)
        },
        Config {
            rotations: 2,
            faults: Faults {
                unread: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::Spare],
            ..Config::new("last-wins", Reuse::LastWins)
        },
        Config {
            rotations: 2,
            faults: Faults {
                unread: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::ResortKills],
            ..Config::new("refuses", Reuse::IsRefused)
        },
        Config {
            logouts: 1,
            faults: Faults {
                crashes: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::LoggedOut],
            ..strict("logout")
        },
        Config {
            sign_ins: 1,
            logouts: 1,
            faults: NONE,
            goals: &[Goal::SignedIn, Goal::LoggedOut],
            ..strict("sign-in")
        },
        Config {
            rotations: 2,
            faults: Faults {
                failovers: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::Forward],
            ..strict("failover")
        },
        Config {
            death_shows: true,
            faults: Faults {
                crashes: 1,
                unread: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::ResortSaves],
            ..strict("death-shows")
        },
    ]
}

/// Those that take minutes.
pub fn large() -> Vec<Config> {
    let strict = |name| Config::new(name, Reuse::KillsFamily);
    vec![
        Config {
            instances: 3,
            faults: Faults {
                crashes: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::ResortSaves, Goal::ResortKills],
            ..strict("crash-of-three")
        },
        Config {
            rotations: 2,
            faults: Faults {
                crashes: 1,
                unread: 1,
                undelivered: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[
                Goal::ResortSaves,
                Goal::ResortKills,
                Goal::OutcomeUnknown,
                Goal::SecondPair,
            ],
            ..strict("crash-and-lost-answers")
        },
        Config {
            rotations: 2,
            faults: Faults {
                not_sent: 1,
                store: 2,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::Spare, Goal::SecondPair],
            ..Config::new("store-fails-twice", Reuse::IsRefused)
        },
        Config {
            faults: Faults {
                crashes: 1,
                unread: 1,
                store: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::ResortSaves, Goal::ResortKills],
            ..strict("mixed")
        },
        Config {
            serves_unstored: false,
            faults: Faults {
                crashes: 1,
                store: 2,
                pauses: 3,
                ..NONE
            },
            ..strict("serves-stored")
        },
        Config {
            last_resorts: 2,
            faults: Faults {
                crashes: 1,
                undelivered: 2,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::ResortSaves, Goal::ResortKills, Goal::OutcomeUnknown],
            ..strict("two-last-resorts")
        },
        Config {
            server: Server {
                reuse: Reuse::KillsFamily,
                grace: 2,
            },
            replay_window: 1,
            faults: Faults {
                crashes: 1,
                unread: 1,
                store: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::Replay, Goal::ResortKills],
            ..strict("grace-mixed")
        },
        Config {
            faults: Faults {
                crashes: 1,
                unread: 1,
                store: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::Spare],
            ..Config::new("last-wins-mixed", Reuse::LastWins)
        },
        Config {
            logouts: 1,
            faults: Faults {
                crashes: 1,
                store: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::LoggedOut],
            ..strict("logout-mixed")
        },
        Config {
            logouts: 1,
            sign_ins: 1,
            faults: Faults {
                store: 1,
                pauses: 1,
                ..NONE
            },
            goals: &[Goal::LoggedOut, Goal::SignedIn],
            ..strict("sign-in-mixed")
        },
        Config {
            rotations: 2,
            faults: Faults {
                crashes: 1,
                failovers: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::Forward],
            ..strict("failover-and-crash")
        },
        Config {
            logouts: 1,
            faults: Faults {
                failovers: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::LoggedOut],
            ..strict("failover-and-logout")
        },
    ]
}
