//! A record in a few bytes. Tokens, lineages and owners are numbers, and times are ages in ticks, so that two
//! worlds that differ only in when they happened are one state.

use std::sync::OnceLock;
use std::time::Duration;

use crate::record::claim::{Claim, Claimant, Holder, Owner};
use crate::record::look;
use crate::record::{Origin, Record, Retired, State, StoredPair};
use crate::store::StoreTime;
use crate::token::{Digest, Identity, Key, Lineage, TokenPair};

/// Names a refresh token.
pub type Token = u8;

/// Every moment is this one: ages are counted back from it.
pub(crate) const NOW: StoreTime = StoreTime::from_millis(1_000_000_000);
pub(crate) const TICK: Duration = Duration::from_secs(1);

const TOKENS: u8 = 16;
const OWNERS: u8 = 64;

/// A [`Record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Row {
    pub lineage: u8,
    pub version: u8,
    pub token: Option<Token>,
    pub state: Status,
    pub claim: Option<Mark>,
    pub next_number: u8,
    pub committed_number: u8,
    /// A bit for each token.
    pub retired: u16,
}

/// A [`State`] that the model can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    Active,
    Rejected(Token),
    OutcomeUnknown(Token),
    LoggedOut,
}

/// A [`Claim`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    pub owner: u8,
    pub number: u8,
    pub token: Token,
    /// In ticks.
    pub age: u8,
    /// The age of the doubt, in ticks.
    pub doubtful: Option<u8>,
    pub released: bool,
    pub replays: u8,
    pub resorts: u8,
}

/// A pair in an instance's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Held {
    pub lineage: u8,
    pub version: u8,
    pub token: Token,
    pub number: u8,
}

/// What the small numbers stand for.
struct Names {
    key: Key,
    pairs: Vec<TokenPair>,
    digests: Vec<Digest>,
    lineages: Vec<Lineage>,
    owners: Vec<Owner>,
}

fn names() -> &'static Names {
    static NAMES: OnceLock<Names> = OnceLock::new();
    NAMES.get_or_init(|| {
        let key = Key::new("issuer", "client");
        let pairs: Vec<_> = (0..TOKENS)
            .map(|token| TokenPair::new(format!("a{token}")).refresh_token(format!("r{token}")))
            .collect();
        let owner = |owner: u8| serde_json::from_value(format!("{owner:x}").into());
        Names {
            digests: pairs.iter().map(|pair| pair.digest(&key)).collect(),
            lineages: (0..TOKENS)
                .map(|lineage| format!("{lineage}").parse().expect("a number"))
                .collect(),
            owners: (0..OWNERS)
                .map(|number| owner(number).expect("a number"))
                .collect(),
            pairs,
            key,
        }
    })
}

pub(crate) fn key() -> &'static Key {
    &names().key
}

pub(crate) fn owner(owner: u8) -> Owner {
    names().owners[usize::from(owner)]
}

pub(crate) fn digest(token: Token) -> Digest {
    names().digests[usize::from(token)]
}

pub(crate) fn lineage(lineage: u8) -> Lineage {
    names().lineages[usize::from(lineage)]
}

pub(crate) fn stored(token: Token) -> StoredPair {
    StoredPair {
        issued_at: NOW,
        origin: Origin::Endpoint,
        pair: names().pairs[usize::from(token)].clone(),
    }
}

/// Memory is not cloned here, so all nonces are alike; and so are all quarantines.
pub(crate) fn claimant(owner_number: u8) -> Claimant {
    Claimant {
        owner: owner(owner_number),
        nonce: 0,
        patience: Duration::ZERO,
    }
}

pub(crate) fn holder(owner_number: u8, number: u8) -> Holder {
    claimant(owner_number).holder(number.into())
}

pub(crate) fn ticks(span: Duration) -> u8 {
    u8::try_from(span.as_secs()).expect("few ticks")
}

fn place<T: PartialEq>(all: &[T], one: &T) -> u8 {
    let at = all.iter().position(|it| it == one).expect("known");
    u8::try_from(at).expect("few")
}

fn small(number: u64) -> u8 {
    u8::try_from(number).expect("a small number")
}

impl Held {
    pub(crate) fn for_look(self) -> look::Held {
        look::Held {
            identity: Identity {
                lineage: lineage(self.lineage),
                version: self.version.into(),
            },
            digest: digest(self.token),
            number: self.number.into(),
        }
    }

    pub fn identity(self) -> (u8, u8) {
        (self.lineage, self.version)
    }
}

impl Row {
    pub fn identity(&self) -> (u8, u8) {
        (self.lineage, self.version)
    }

    /// The claim, if it names the token that is current.
    pub fn claim_on_current(&self) -> Option<&Mark> {
        self.claim
            .as_ref()
            .filter(|claim| Some(claim.token) == self.token)
    }

    pub(crate) fn record(&self) -> Record {
        let names = names();
        let past = |token: &Token| self.retired & (1 << token) != 0;
        Record {
            version: self.version.into(),
            pair: self.token.map(stored),
            state: match self.state {
                Status::Active => State::Active,
                Status::Rejected(token) => State::Rejected {
                    digest: digest(token),
                },
                Status::OutcomeUnknown(token) => State::OutcomeUnknown {
                    digest: digest(token),
                },
                Status::LoggedOut => State::LoggedOut,
            },
            claim: self.claim.map(|claim| Claim {
                owner: owner(claim.owner),
                number: claim.number.into(),
                nonce: 0,
                digest: digest(claim.token),
                since: NOW.before(TICK * claim.age.into()),
                patience: Duration::ZERO,
                doubtful: claim.doubtful.map(|age| NOW.before(TICK * age.into())),
                released: claim.released,
                replays: claim.replays.into(),
                resorts: claim.resorts.into(),
            }),
            next_number: self.next_number.into(),
            committed_number: self.committed_number.into(),
            retired: (0..TOKENS)
                .filter(past)
                .map(|token| Retired {
                    digest: digest(token),
                    until: None,
                    origin: Origin::Endpoint,
                })
                .collect(),
            ..Record::vacant(names.key.clone(), lineage(self.lineage))
        }
    }

    /// Reading it back must lose nothing.
    pub(crate) fn of(record: &Record) -> Self {
        let names = names();
        let token = |digest: &Digest| place(&names.digests, digest);
        let age = |at: StoreTime| ticks(NOW.since(at));
        let row = Self {
            lineage: place(&names.lineages, &record.lineage),
            version: small(record.version),
            token: record
                .pair
                .as_ref()
                .map(|pair| token(&pair.pair.digest(&names.key))),
            state: match record.state {
                State::Active => Status::Active,
                State::Rejected { digest } => Status::Rejected(token(&digest)),
                State::OutcomeUnknown { digest } => Status::OutcomeUnknown(token(&digest)),
                State::LoggedOut => Status::LoggedOut,
                State::Expired | State::Idle => unreachable!("nothing expires in the model"),
            },
            claim: record.claim.as_ref().map(|claim| Mark {
                owner: place(&names.owners, &claim.owner),
                number: small(claim.number),
                token: token(&claim.digest),
                age: age(claim.since),
                doubtful: claim.doubtful.map(age),
                released: claim.released,
                replays: small(claim.replays.into()),
                resorts: small(claim.resorts.into()),
            }),
            next_number: small(record.next_number),
            committed_number: small(record.committed_number),
            retired: record
                .retired()
                .fold(0, |all, digest| all | 1 << token(digest)),
        };
        debug_assert_eq!(row.record().claim, record.claim);
        debug_assert_eq!(row.record().pair, record.pair);
        row
    }
}
