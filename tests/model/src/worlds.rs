//! The worlds that are explored. Each has few kinds of faults, so that all of it can be seen.

use crate::config::{Config, Faults, Resend};
use crate::property::Goal;
use crate::server::{Reuse, Server};

const NONE: Faults = Faults {
    crashes: 0,
    unread: 0,
    undelivered: 0,
    not_sent: 0,
    store: 0,
    failovers: 0,
    late: 0,
    pages: 0,
    deadlines: 0,
    pauses: 0,
};

const fn strict(name: &'static str) -> Config {
    Config::new(name, Reuse::KillsFamily)
}

/// The server answers again for so many ticks.
const fn gracious(name: &'static str, grace: u8) -> Config {
    Config {
        server: Server {
            reuse: Reuse::KillsFamily,
            grace,
        },
        ..strict(name)
    }
}

/// Two instances of unlike lease durations.
const fn unlike(name: &'static str) -> Config {
    Config {
        lease_durations: [2, 3, 3],
        send_windows: [1, 2, 2],
        symmetric: false,
        ..strict(name)
    }
}

/// One instance, which is copied.
const fn cloned(name: &'static str) -> Config {
    Config {
        clones: true,
        symmetric: false,
        ..strict(name)
    }
}

/// Those that take seconds.
pub fn small() -> Vec<Config> {
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
            goals: &[Goal::AgainSaves, Goal::AgainLoses],
            ..strict("crash")
        },
        Config {
            faults: Faults {
                unread: 1,
                undelivered: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::AgainSaves, Goal::AgainLoses, Goal::HolderAgain],
            ..strict("lost-answers")
        },
        Config {
            faults: Faults {
                undelivered: 3,
                not_sent: 1,
                pauses: 1,
                ..NONE
            },
            goals: &[Goal::AgainSaves, Goal::HolderAgain],
            ..strict("outage")
        },
        Config {
            resend: Resend::Never,
            faults: Faults {
                crashes: 1,
                undelivered: 1,
                not_sent: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::OutcomeUnknown],
            ..strict("never")
        },
        Config {
            faults: Faults {
                crashes: 1,
                pages: 2,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::AgainSaves, Goal::AgainLoses, Goal::HolderAgain],
            ..strict("pages")
        },
        Config {
            resend: Resend::WhenUnavailable,
            faults: Faults {
                undelivered: 1,
                pages: 2,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::AgainSaves, Goal::HolderAgain, Goal::OutcomeUnknown],
            ..strict("when-unavailable")
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
            faults: Faults {
                undelivered: 1,
                store: 2,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::HolderAgain, Goal::Retaken],
            ..strict("renewal-fails")
        },
        Config {
            pause: 1,
            faults: Faults {
                undelivered: 1,
                not_sent: 1,
                store: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::HolderAgain, Goal::Paused],
            ..strict("paused")
        },
        Config {
            faults: Faults {
                undelivered: 1,
                store: 1,
                deadlines: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::LetGo, Goal::AgainSaves],
            ..strict("let-go")
        },
        Config {
            faults: Faults {
                crashes: 1,
                unread: 2,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::Repeated, Goal::AgainLoses],
            ..gracious("grace", 2)
        },
        Config {
            lease_durations: [3; 3],
            send_windows: [2; 3],
            faults: Faults {
                unread: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::Repeated, Goal::HolderAgain],
            ..gracious("long-grace", 3)
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
            goals: &[Goal::Spare, Goal::AgainLoses],
            ..Config::new("last-wins", Reuse::LastWins)
        },
        Config {
            rotations: 2,
            faults: Faults {
                unread: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::AgainLoses],
            ..Config::new("refuses", Reuse::IsRefused)
        },
        Config {
            rotations: 2,
            faults: Faults {
                unread: 1,
                store: 1,
                pauses: 1,
                ..NONE
            },
            ..Config::new("spare-that-is-past", Reuse::IsRefused)
        },
        Config {
            faults: Faults {
                crashes: 1,
                late: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::LateLoses, Goal::AgainSaves],
            ..strict("late")
        },
        Config {
            faults: Faults {
                crashes: 1,
                late: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::LateLoses],
            ..Config::new("late-last-wins", Reuse::LastWins)
        },
        Config {
            faults: Faults {
                crashes: 1,
                undelivered: 1,
                pauses: 4,
                ..NONE
            },
            goals: &[Goal::HolderAgain, Goal::AgainLoses],
            ..unlike("unlike")
        },
        Config {
            faults: Faults {
                undelivered: 1,
                deadlines: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::HolderAgain, Goal::LetGo],
            ..cloned("clone")
        },
        Config {
            pause: 1,
            rotations: 2,
            faults: Faults {
                unread: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::HolderAgain, Goal::SecondPair],
            ..cloned("clone-in-a-pause")
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
            logouts: 1,
            faults: Faults {
                undelivered: 1,
                deadlines: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::LoggedOut, Goal::HolderAgain],
            ..strict("logout-in-a-pause")
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
            sign_ins: 1,
            faults: Faults {
                failovers: 1,
                pauses: 1,
                ..NONE
            },
            goals: &[Goal::SignedIn, Goal::Forward],
            ..strict("set-back")
        },
        Config {
            death_shows: true,
            faults: Faults {
                crashes: 1,
                unread: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::AgainSaves],
            ..strict("death-shows")
        },
    ]
}

/// Those that take minutes.
pub fn large() -> Vec<Config> {
    vec![
        Config {
            instances: 3,
            faults: Faults {
                crashes: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::AgainSaves, Goal::AgainLoses],
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
            goals: &[Goal::AgainSaves, Goal::AgainLoses, Goal::SecondPair],
            ..strict("crash-and-lost-answers")
        },
        Config {
            instances: 3,
            faults: Faults {
                undelivered: 1,
                unread: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::HolderAgain],
            ..strict("renewal-of-three")
        },
        Config {
            faults: Faults {
                crashes: 1,
                undelivered: 2,
                store: 2,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::HolderAgain, Goal::Retaken],
            ..strict("renewal-fails-and-crash")
        },
        Config {
            rotations: 2,
            faults: Faults {
                not_sent: 1,
                store: 2,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::SecondPair],
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
            goals: &[Goal::AgainSaves, Goal::AgainLoses],
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
            faults: Faults {
                crashes: 1,
                undelivered: 2,
                deadlines: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::AgainSaves, Goal::AgainLoses, Goal::LetGo],
            ..strict("outage-and-crash")
        },
        Config {
            pause: 1,
            instances: 3,
            faults: Faults {
                undelivered: 1,
                crashes: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::HolderAgain, Goal::Paused],
            ..strict("paused-of-three")
        },
        Config {
            pause: 2,
            faults: Faults {
                undelivered: 2,
                pages: 1,
                crashes: 1,
                deadlines: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::HolderAgain, Goal::Paused],
            ..strict("long-pauses")
        },
        Config {
            resend: Resend::WhenUnavailable,
            faults: Faults {
                crashes: 1,
                store: 1,
                pages: 2,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::OutcomeUnknown],
            ..strict("when-unavailable-mixed")
        },
        Config {
            resend: Resend::WhenUnavailable,
            faults: Faults {
                undelivered: 1,
                not_sent: 1,
                store: 1,
                pages: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::OutcomeUnknown],
            ..strict("when-unavailable-and-not-sent")
        },
        Config {
            resend: Resend::Never,
            faults: Faults {
                crashes: 1,
                not_sent: 1,
                store: 1,
                late: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::OutcomeUnknown],
            ..strict("never-mixed")
        },
        Config {
            faults: Faults {
                crashes: 1,
                unread: 1,
                store: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::Repeated, Goal::AgainLoses],
            ..gracious("grace-mixed", 2)
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
            rotations: 2,
            faults: Faults {
                unread: 1,
                store: 1,
                late: 1,
                pauses: 2,
                ..NONE
            },
            ..Config::new("late-last-wins-store", Reuse::LastWins)
        },
        Config {
            faults: Faults {
                crashes: 1,
                late: 1,
                pauses: 3,
                ..NONE
            },
            ..Config::new("late-refuses", Reuse::IsRefused)
        },
        Config {
            faults: Faults {
                crashes: 1,
                late: 1,
                pauses: 3,
                ..NONE
            },
            ..Config::new("late-fork", Reuse::Forks)
        },
        Config {
            faults: Faults {
                crashes: 1,
                late: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::Repeated],
            ..gracious("late-grace", 2)
        },
        Config {
            rotations: 2,
            faults: Faults {
                crashes: 1,
                late: 2,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::LateLoses],
            ..strict("late-twice")
        },
        Config {
            instances: 3,
            faults: Faults {
                crashes: 1,
                late: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::LateLoses],
            ..strict("late-of-three")
        },
        Config {
            faults: Faults {
                crashes: 1,
                store: 1,
                late: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::LateLoses],
            ..strict("late-mixed")
        },
        Config {
            logouts: 1,
            faults: Faults {
                store: 1,
                late: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::LoggedOut],
            ..strict("late-logout")
        },
        Config {
            death_shows: true,
            faults: Faults {
                crashes: 1,
                late: 1,
                pauses: 2,
                ..NONE
            },
            ..strict("late-death-shows")
        },
        Config {
            faults: Faults {
                undelivered: 1,
                store: 2,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::HolderAgain],
            ..unlike("unlike-store")
        },
        Config {
            pause: 1,
            faults: Faults {
                undelivered: 1,
                unread: 1,
                crashes: 1,
                pauses: 4,
                ..NONE
            },
            goals: &[Goal::HolderAgain, Goal::Paused],
            ..unlike("unlike-paused")
        },
        Config {
            faults: Faults {
                undelivered: 1,
                store: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::HolderAgain],
            ..cloned("clone-store")
        },
        Config {
            resend: Resend::Never,
            rotations: 2,
            faults: Faults {
                not_sent: 1,
                store: 1,
                deadlines: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::OutcomeUnknown],
            ..cloned("clone-never")
        },
        Config {
            pause: 1,
            resend: Resend::WhenUnavailable,
            rotations: 2,
            faults: Faults {
                pages: 2,
                not_sent: 1,
                deadlines: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::OutcomeUnknown, Goal::HolderAgain, Goal::LetGo],
            ..cloned("clone-when-unavailable")
        },
        Config {
            pause: 1,
            resend: Resend::WhenUnavailable,
            faults: Faults {
                crashes: 1,
                undelivered: 1,
                not_sent: 1,
                store: 1,
                pages: 2,
                deadlines: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::OutcomeUnknown, Goal::HolderAgain, Goal::LetGo],
            ..strict("when-unavailable-in-a-pause")
        },
        Config {
            rotations: 2,
            faults: Faults {
                undelivered: 2,
                deadlines: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::HolderAgain, Goal::LetGo],
            ..cloned("clone-twice-unclear")
        },
        Config {
            instances: 3,
            faults: Faults {
                undelivered: 1,
                pauses: 1,
                ..NONE
            },
            goals: &[Goal::HolderAgain],
            ..cloned("clone-of-three")
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
            logouts: 1,
            sign_ins: 1,
            faults: Faults {
                undelivered: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::LoggedOut, Goal::SignedIn, Goal::HolderAgain],
            ..strict("sign-in-in-a-pause")
        },
        Config {
            sign_ins: 2,
            faults: Faults { pauses: 1, ..NONE },
            goals: &[Goal::SignedIn],
            ..strict("sign-ins")
        },
        Config {
            rotations: 2,
            sign_ins: 1,
            faults: Faults {
                unread: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::Spare, Goal::SignedIn],
            ..Config::new("spare-and-sign-in", Reuse::Forks)
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
            rotations: 2,
            faults: Faults {
                undelivered: 1,
                failovers: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::Forward, Goal::HolderAgain],
            ..strict("failover-in-a-pause")
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
        Config {
            sign_ins: 2,
            faults: Faults {
                failovers: 1,
                ..NONE
            },
            goals: &[Goal::SignedIn, Goal::Forward],
            ..strict("set-back-twice")
        },
        Config {
            logouts: 1,
            sign_ins: 1,
            faults: Faults {
                failovers: 1,
                ..NONE
            },
            goals: &[Goal::SignedIn, Goal::LoggedOut],
            ..strict("set-back-and-logout")
        },
        Config {
            logouts: 2,
            sign_ins: 1,
            faults: Faults {
                failovers: 1,
                ..NONE
            },
            goals: &[Goal::SignedIn, Goal::LoggedOut],
            ..strict("set-back-and-logouts")
        },
        Config {
            sign_ins: 1,
            faults: Faults {
                crashes: 1,
                failovers: 1,
                pauses: 1,
                ..NONE
            },
            goals: &[Goal::SignedIn, Goal::Forward],
            ..strict("set-back-and-crash")
        },
        Config {
            pause: 1,
            faults: Faults {
                crashes: 1,
                undelivered: 1,
                store: 2,
                deadlines: 1,
                pauses: 2,
                ..NONE
            },
            goals: &[Goal::LetGo, Goal::HolderAgain, Goal::Paused],
            ..strict("let-go-mixed")
        },
        Config {
            rotations: 2,
            faults: Faults {
                undelivered: 1,
                unread: 1,
                deadlines: 1,
                pauses: 3,
                ..NONE
            },
            goals: &[Goal::LetGo, Goal::HolderAgain, Goal::Spare],
            ..Config::new("let-go-fork", Reuse::Forks)
        },
    ]
}
