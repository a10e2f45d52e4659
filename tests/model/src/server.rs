//! The authorization server, and the truth about every token that it issued.

use serde::Deserialize;

use crate::row::Token;

/// What a server makes of a refresh token that it has seen before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reuse {
    /// Revokes the whole family (RFC 9700 section 4.14.2).
    #[default]
    KillsFamily,
    /// Refuses it, and leaves the family alone.
    IsRefused,
    /// Issues a sibling, and all of them live.
    Forks,
    /// Issues a sibling, and what it issued for the token before dies.
    LastWins,
}

/// A server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    pub reuse: Reuse,
    /// For so many ticks after its first use it answers a token again, with a sibling that lives.
    pub grace: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Life {
    Live,
    Spent,
    Dead,
}

/// All about one refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Truth {
    pub family: u8,
    pub parent: Option<Token>,
    pub life: Life,
    /// Ticks since the server answered it first.
    pub used: Option<u8>,
    /// A client has sent it, not counting requests that it knew to have spent nothing.
    pub sent: bool,
    /// It was sent again.
    pub again: bool,
    /// No instance knows what became of one of its requests, and nothing says that the server is unavailable.
    pub silent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    Issued(Token),
    Rejected,
}

/// Every token, by its number.
pub type Truths = Vec<Truth>;

pub fn issue(truths: &mut Truths, family: u8, parent: Option<Token>) -> Token {
    truths.push(Truth {
        family,
        parent,
        life: Life::Live,
        used: None,
        sent: false,
        again: false,
        silent: false,
    });
    u8::try_from(truths.len() - 1).expect("few tokens")
}

/// Takes back everything that was issued for the sign-in of this token (RFC 7009 section 2.1).
pub fn revoke(truths: &mut Truths, token: Token) {
    let family = truths[usize::from(token)].family;
    for truth in truths.iter_mut().filter(|it| it.family == family) {
        truth.life = Life::Dead;
    }
}

/// Whether `old` was exchanged, directly or not, for `new`.
pub fn descends(truths: &Truths, new: Token, old: Token) -> bool {
    let mut at = truths[usize::from(new)].parent;
    while let Some(token) = at {
        if token == old {
            return true;
        }
        at = truths[usize::from(token)].parent;
    }
    false
}

impl Server {
    pub fn exchange(self, truths: &mut Truths, token: Token) -> Answer {
        let at = usize::from(token);
        let Truth {
            family, life, used, ..
        } = truths[at];
        let in_grace = used.is_some_and(|age| age < self.grace);
        match life {
            Life::Dead => return Answer::Rejected,
            Life::Spent if !in_grace && self.reuse == Reuse::IsRefused => return Answer::Rejected,
            Life::Spent if !in_grace && self.reuse == Reuse::KillsFamily => {
                revoke(truths, token);
                return Answer::Rejected;
            }
            Life::Spent if !in_grace && self.reuse == Reuse::LastWins => {
                for other in 0..truths.len() {
                    let number = u8::try_from(other).expect("few tokens");
                    if descends(truths, number, token) {
                        truths[other].life = Life::Dead;
                    }
                }
            }
            Life::Live | Life::Spent => {}
        }
        truths[at].life = Life::Spent;
        truths[at].used.get_or_insert(0);
        Answer::Issued(issue(truths, family, Some(token)))
    }
}
