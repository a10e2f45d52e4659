//! How large a world is, and what may go wrong in it.

use crate::endpoint::ServerProfile;
use crate::property::Goal;
use crate::row::TICK;
use crate::server::{Reuse, Server};

/// How often each fault may come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// A process dies. It may be started again.
    pub crashes: u8,
    /// The server answers, and nobody reads it.
    pub unread: u8,
    /// The request never gets to the server, and the client cannot know.
    pub undelivered: u8,
    /// The request never gets to the server, or spends nothing there, and the client knows.
    pub not_sent: u8,
    /// The store does not answer: nothing was written, or it was, or it is going to be.
    pub store: u8,
    /// The store takes a record from its past.
    pub failovers: u8,
    /// A tick passes while somebody could go on. Two in a row make a claim stale.
    pub pauses: u8,
}

/// A world to be explored.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    pub name: &'static str,
    pub instances: u8,
    /// How often each instance is asked for a new pair.
    pub rotations: u8,
    pub server: Server,
    /// A claim is stale after so many ticks.
    pub quarantine: u8,
    /// A token may be sent for so many ticks after the first attempt to claim it. What is left of the quarantine
    /// is what a request may take.
    pub send_window: u8,
    /// What the client is told of the server: a replay window in ticks, and the number of replays.
    pub replay_window: u8,
    pub last_resorts: u8,
    pub faults: Faults,
    pub logouts: u8,
    pub sign_ins: u8,
    /// The store proves who is dead.
    pub death_shows: bool,
    /// A pair is given out although it could not be stored.
    pub serves_unstored: bool,
    /// Worlds that differ only in which instance is which are one. A trace names an instance by its place, which
    /// changes then.
    pub symmetric: bool,
    /// What has to be possible in it.
    pub goals: &'static [Goal],
}

impl Config {
    pub const fn new(name: &'static str, reuse: Reuse) -> Self {
        Self {
            name,
            instances: 2,
            rotations: 1,
            server: Server { reuse, grace: 0 },
            quarantine: 2,
            send_window: 1,
            replay_window: 0,
            last_resorts: 1,
            faults: Faults {
                crashes: 0,
                unread: 0,
                undelivered: 0,
                not_sent: 0,
                store: 0,
                failovers: 0,
                pauses: 0,
            },
            logouts: 0,
            sign_ins: 0,
            death_shows: false,
            serves_unstored: true,
            symmetric: true,
            goals: &[],
        }
    }

    pub(crate) fn profile(&self) -> ServerProfile {
        ServerProfile::strict()
            .replay_window(TICK * self.replay_window.into())
            .last_resort(self.last_resorts > 0)
            .last_resorts(self.last_resorts.into())
    }
}
