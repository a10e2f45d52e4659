//! The authorization server, and the truth about every token that the server issued.

use serde::Deserialize;

use crate::row::Token;

/// The server's reaction to a refresh token that it has seen before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reuse {
    /// The server revokes the whole family (RFC 9700 section 4.14.2).
    #[default]
    KillsFamily,
    /// The server refuses the token and leaves the family alone.
    IsRefused,
    /// The server issues a sibling, and all siblings live.
    Forks,
    /// The server issues a sibling, and the pair that it issued before for the token dies.
    LastWins,
}

/// The authorization server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    pub reuse: Reuse,
    /// For this many ticks after the first use of a token the server answers it again, with a sibling that lives.
    pub grace: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Life {
    Live,
    Spent,
    Dead,
}

/// The truth about one refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Truth {
    pub family: u8,
    pub parent: Option<Token>,
    pub life: Life,
    /// Ticks since the server first answered the token.
    pub used: Option<u8>,
    /// A client has sent the token. Requests that the client knows to have spent nothing do not count.
    pub sent: bool,
    /// A client has sent the token again.
    pub again: bool,
    /// A request for the token ended without an answer that an instance read, and nothing shows that the server is
    /// unavailable.
    pub silent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    Issued(Token),
    Rejected,
}

/// The truth about every token, by its number.
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

/// Revokes every pair that was issued for the sign-in of this token (RFC 7009 section 2.1).
pub fn revoke(truths: &mut Truths, token: Token) {
    let family = truths[usize::from(token)].family;
    for truth in truths.iter_mut().filter(|it| it.family == family) {
        truth.life = Life::Dead;
    }
}

/// Whether `new` descends from `old` by one or more exchanges.
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
