//! The worlds to explore, from `worlds.toml`: the size of a world, and the faults that may occur in it.

use serde::Deserialize;

pub use crate::endpoint::Resend;
use crate::goal::Goal;
use crate::server::Server;

/// How often each fault may occur.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// A process dies. The process may start again.
    pub crashes: u8,
    /// The server answers, and the answer is lost.
    pub unread: u8,
    /// The request never reaches the server, and the client cannot know that.
    pub undelivered: u8,
    /// The request never reaches the server or spends nothing there, and the client knows that.
    pub not_sent: u8,
    /// The store does not answer. It has written nothing, it has written, or it writes later.
    pub store: u8,
    /// The store falls back to an earlier record.
    pub failovers: u8,
    /// The client gives up or dies, and the server handles the request at any later moment, or never.
    pub late: u8,
    /// A gateway answers instead of the server. The server has handled the request, or never gets it.
    pub pages: u8,
    /// The last caller leaves while the rotation pauses.
    pub deadlines: u8,
    /// A tick passes while an instance could go on. Two ticks in a row make a lease stale.
    pub pauses: u8,
}

/// A world to explore.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub name: String,
    pub instances: u8,
    /// How often callers ask each instance for a new pair.
    pub rotations: u8,
    pub server: Server,
    /// The lease duration of each instance: a lease is stale after this many ticks. An instance writes the duration
    /// into its leases.
    pub lease_durations: [u8; 3],
    /// The send window of each instance: a token may be sent for this many ticks after the first attempt to lease it.
    /// The rest of the lease duration is left for the request.
    pub send_windows: [u8; 3],
    /// What the clients know of the server.
    #[serde(with = "ResendName")]
    pub resend: Resend,
    /// For this many ticks after a failed attempt no instance sends. With zero, a pause takes any time, as every step
    /// of an instance does; but other instances do not keep the pause.
    pub pause: u8,
    /// The second instance is a copy of the first one, with its memory. The copy is made at any moment except when a
    /// token is about to be sent.
    pub clones: bool,
    pub faults: Faults,
    pub logouts: u8,
    pub sign_ins: u8,
    /// The store proves which instances are dead.
    pub death_shows: bool,
    /// An instance serves a pair although it could not store the pair.
    pub serves_unstored: bool,
    /// Worlds that differ only in the order of the instances are one state. A trace names an instance by its place,
    /// which may change from state to state.
    pub symmetric: bool,
    /// What must be possible in this world.
    pub goals: Vec<Goal>,
}

/// The names of the resend rules in `worlds.toml`.
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
    /// The longest lease duration of all instances.
    pub(crate) fn longest(&self) -> u8 {
        self.lease_durations.into_iter().max().unwrap_or(0)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Worlds {
    small: Vec<Config>,
    large: Vec<Config>,
}

fn all() -> Worlds {
    toml::from_str(include_str!("../worlds.toml")).expect("worlds.toml describes worlds")
}

/// Worlds that take seconds to explore.
pub fn small() -> Vec<Config> {
    all().small
}

/// Worlds that take minutes to explore.
pub fn large() -> Vec<Config> {
    all().large
}
