//! What can go wrong in a run, and what users do unexpectedly.

use serde::{Deserialize, Serialize};

/// A point at which an instance awaits something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Point {
    BeforeLoad,
    AfterLoad,
    BeforeSwap,
    AfterSwap,
    BeforeChanged,
    AfterChanged,
    BeforeExchange,
    AfterExchange,
    BeforeRevoke,
    AfterRevoke,
}

impl Point {
    pub(crate) const ALL: [Self; 10] = [
        Self::BeforeLoad,
        Self::AfterLoad,
        Self::BeforeSwap,
        Self::AfterSwap,
        Self::BeforeChanged,
        Self::AfterChanged,
        Self::BeforeExchange,
        Self::AfterExchange,
        Self::BeforeRevoke,
        Self::AfterRevoke,
    ];
}

/// What happens to an instance at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Ambush {
    /// This call alone takes this many seconds longer.
    Hang(u64),
    /// The whole instance stands still for this many seconds.
    Pause(u64),
    /// The instance dies, and starts again after this many seconds.
    Crash(u64),
    /// The user logs out at this point.
    Logout,
    /// The user signs in anew.
    Replace,
    /// The user signs in anew, and this call takes this many seconds longer.
    Overtake(u64),
}

/// The fate of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Answer {
    NotSent,
    /// The request never reaches the server.
    LostBefore,
    /// The server commits, and the answer is lost.
    LostAfter,
    /// The request reaches the server this many seconds late.
    SlowBefore(u64),
    /// The answer arrives this many seconds late.
    SlowAfter(u64),
    Status500,
    Later(u64),
    Misconfigured,
    /// The answer has no access token.
    NoAccess,
    /// The answer cannot be read.
    Garbled,
    /// The server refuses a good token once.
    Refused,
    /// A gateway answers with this status, and the request never reaches the server.
    Status(u16),
    /// The server commits, and a gateway answers with this status.
    StatusAfter(u16),
    /// The server requires the user to sign in.
    UserNeeded,
}

/// The fate of a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Write {
    /// The store applies the swap, and the answer is lost.
    Unanswered,
    /// The swap never reaches the store.
    Lost,
    /// The swap reaches the store this many seconds later, whether or not the instance still waits.
    Late(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Fault {
    /// The fate of the next exchange.
    Answer(Answer),
    /// The fate of the next swap of this instance.
    Write(usize, Write),
    /// The fate of the next swap by which this instance commits a pair. The ambush waits for the instance from then on.
    Commit {
        node: usize,
        write: Write,
        then: (Point, Ambush),
    },
    /// The ambush meets the instance the next time it reaches the point.
    At(usize, Point, Ambush),
    /// The next call of `can_sign_in` of this instance's endpoint panics.
    Panic(usize),
    StoreDown(u64),
    StoreSlow {
        ms: u64,
        seconds: u64,
    },
    /// This instance cannot reach the store for this many seconds.
    Partition(usize, u64),
    /// The store loses its last writes, this many.
    Failover(usize),
    Unreachable(u64),
    /// Every exchange gets this answer for this many seconds.
    Outage(Answer, u64),
    Crash(usize, u64),
    Pause(usize, u64),
    /// Every machine sleeps for this many seconds, and the clocks go on.
    Suspend(u64),
    StepWall(usize, i64),
    /// The server ends every session.
    RevokeAll,
    Logout(usize),
    Replace(usize),
    SignIn(usize),
    /// The manager is shut down, and starts again after this many seconds.
    Restart(usize, u64),
}
