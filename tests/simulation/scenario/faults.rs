//! What can go wrong, and what users do that others do not expect.

use serde::{Deserialize, Serialize};

/// A moment at which an instance awaits something.
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

/// What waits for an instance at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Ambush {
    /// This call alone takes so many seconds more.
    Hang(u64),
    /// The whole instance stands still for so many seconds.
    Pause(u64),
    /// The instance dies, and another comes after so many seconds.
    Crash(u64),
    /// The user logs out there and then.
    Logout,
    /// The user signs in anew.
    Replace,
    /// The user signs in anew, and this call takes so many seconds more.
    Overtake(u64),
}

/// What becomes of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Answer {
    NotSent,
    /// The server never sees it.
    LostBefore,
    /// The server commits, and the answer is lost.
    LostAfter,
    /// It reaches the server so many seconds late.
    SlowBefore(u64),
    /// Its answer takes so many seconds.
    SlowAfter(u64),
    Status500,
    Later(u64),
    Misconfigured,
    /// The pair's access token is missing.
    NoAccess,
    /// Nothing can be read.
    Garbled,
    /// The server refuses a token that is good, this once.
    Refused,
    /// Something in between answers with this status, and the server never sees it.
    Status(u16),
    /// The server commits, and something in between answers with this status.
    StatusAfter(u16),
    /// The server wants the user.
    UserNeeded,
}

/// What becomes of a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Write {
    /// It is applied, and the answer lost.
    Unanswered,
    /// It never arrives.
    Lost,
    /// The request arrives this many seconds later, whether or not an instance still waits.
    Late(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Fault {
    /// Meets the next exchange.
    Answer(Answer),
    /// Meets the next swap of this instance.
    Write(usize, Write),
    /// Meets the next swap by which this instance commits a pair; what waits for the instance waits from then on.
    Commit {
        node: usize,
        write: Write,
        then: (Point, Ambush),
    },
    /// Meets the instance the next time it gets there.
    At(usize, Point, Ambush),
    /// Whether the endpoint of this instance can sign in is asked once more, and panics.
    Panic(usize),
    StoreDown(u64),
    StoreSlow {
        ms: u64,
        seconds: u64,
    },
    /// This instance does not reach the store.
    Partition(usize, u64),
    /// The store takes so many writes back.
    Failover(usize),
    Unreachable(u64),
    /// Every exchange is answered so for so many seconds.
    Outage(Answer, u64),
    Crash(usize, u64),
    Pause(usize, u64),
    /// Every machine sleeps, and the clocks go on.
    Suspend(u64),
    StepWall(usize, i64),
    /// The server ends every session.
    RevokeAll,
    Logout(usize),
    Replace(usize),
    SignIn(usize),
    /// The manager is shut down, and another comes after so many seconds.
    Restart(usize, u64),
}
