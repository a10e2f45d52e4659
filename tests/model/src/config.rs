//! How large a world is, and what may go wrong in it.

use serde::Deserialize;

pub use crate::endpoint::Resend;
use crate::goal::Goal;
use crate::server::Server;

/// How often each fault may come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// A process dies. It may be started again.
    pub crashes: u8,
    /// The server answers, and the answer is lost.
    pub unread: u8,
    /// The request never gets to the server, and the client cannot know.
    pub undelivered: u8,
    /// The request never gets to the server, or spends nothing there, and the client knows.
    pub not_sent: u8,
    /// The store does not answer: nothing was written, or it was, or it is going to be.
    pub store: u8,
    /// The store takes a record from its past.
    pub failovers: u8,
    /// The client gives up or dies, and the server handles its request at any later moment, or never.
    pub late: u8,
    /// A gateway answers in the server's place: the server has handled the request, or never gets it.
    pub pages: u8,
    /// No caller needs the token any more while its rotation pauses.
    pub deadlines: u8,
    /// A tick passes while an instance could go on. Two in a row make a lease stale.
    pub pauses: u8,
}

/// A world to be explored.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub name: String,
    pub instances: u8,
    /// How often each instance is asked for a new pair.
    pub rotations: u8,
    pub server: Server,
    /// Of each instance: after so many ticks a lease is stale. It is what an instance writes into its leases, too.
    pub lease_durations: [u8; 3],
    /// Of each: for so many ticks after the first attempt to lease it a token may be sent. What is left of the
    /// lease duration is what a request may take.
    pub send_windows: [u8; 3],
    /// What the clients are told of the server.
    #[serde(with = "ResendName")]
    pub resend: Resend,
    /// For so many ticks after a failed attempt no instance sends. With none, a pause is any time, as every step of an
    /// instance is; but the others do not keep it.
    pub pause: u8,
    /// The second instance is a copy of the first one, memory and all, made at any moment but while a token is about
    /// to be sent.
    pub clones: bool,
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
    pub goals: Vec<Goal>,
}

/// How `worlds.toml` names the rules of sending again.
#[derive(Deserialize)]
#[serde(remote = "Resend", rename_all = "kebab-case")]
enum ResendName {
    Always,
    WhenUnavailable,
    Never,
}

impl Default for Config {
    /// Two instances, one rotation each, a strict server, and no fault.
    fn default() -> Self {
        Self {
            name: String::new(),
            instances: 2,
            rotations: 1,
            server: Server::default(),
            lease_durations: [2; 3],
            send_windows: [1; 3],
            resend: Resend::Always,
            pause: 0,
            clones: false,
            faults: Faults::default(),
            logouts: 0,
            sign_ins: 0,
            death_shows: false,
            serves_unstored: true,
            symmetric: true,
            goals: Vec::new(),
        }
    }
}

impl Config {
    /// The longest lease duration of an instance.
    pub(crate) fn longest(&self) -> u8 {
        self.lease_durations.into_iter().max().unwrap_or(0)
    }
}
