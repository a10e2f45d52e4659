//! A record in a few bytes. Tokens, families and owners are numbers, and times are ages in ticks. So two worlds that
//! differ only in their start time are one state.

use std::sync::OnceLock;
use std::time::Duration;

use crate::clock::StoreTime;
use crate::record::lease::{Candidate, DoubtfulBy, Holder, Lease, Owner};
use crate::record::past::Past;
use crate::record::reconcile;
use crate::record::{Class, NotBefore, Origin, Record, RecordState, StoredPair};
use crate::token::{Digest, Key, PairId, TokenFamily, TokenPair};

/// The number of a refresh token.
pub type Token = u8;

/// The current moment of every state. Ages count back from it.
pub(crate) const NOW: StoreTime = StoreTime::from_millis(1_000_000_000);
pub(crate) const TICK: Duration = Duration::from_secs(1);

const TOKENS: u8 = 16;
const OWNERS: u8 = 64;

/// A [`Record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Row {
    pub family: u8,
    pub version: u8,
    pub token: Option<Token>,
    pub state: Status,
    pub lease: Option<Mark>,
    /// For how many more ticks no instance sends.
    pub pause: u8,
    pub sign_ins: u8,
    pub next_number: u8,
    pub committed_number: u8,
    /// The retired tokens, a bit each.
    pub retired: u16,
}

/// A [`RecordState`] that the model can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    Active,
    Rejected(Token),
    OutcomeUnknown(Token),
    LoggedOut,
}

/// A [`Lease`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    pub name: Name,
    pub token: Token,
    /// The age in ticks. The duration is in ticks too.
    pub age: u8,
    pub duration: u8,
    pub doubtful: bool,
    pub by: Option<By>,
    pub before: Option<By>,
    /// Whether the token was sent again under this lease or an earlier one.
    pub again: bool,
    pub released: bool,
}

/// A [`Holder`]: one lease of one instance. The owner stands for the nonce too, so every lease in the world has an
/// owner of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    pub owner: u8,
    pub number: u8,
}

/// A [`DoubtfulBy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum By {
    Unavailable,
    Silence,
}

/// A pair in the memory of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Held {
    pub family: u8,
    pub version: u8,
    pub token: Token,
    pub number: u8,
    pub sign_ins: u8,
}

/// The values that the small numbers stand for.
struct Names {
    key: Key,
    pairs: Vec<TokenPair>,
    digests: Vec<Digest>,
    families: Vec<TokenFamily>,
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
            families: (0..TOKENS)
                .map(|family| format!("{family}").parse().expect("a number"))
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

pub(crate) fn family(family: u8) -> TokenFamily {
    names().families[usize::from(family)]
}

pub(crate) fn stored(token: Token) -> StoredPair {
    StoredPair {
        issued_at: NOW,
        origin: Origin::Endpoint,
        pair: names().pairs[usize::from(token)].clone(),
    }
}

/// The owner that leases under this name, and the duration of its lease.
pub(crate) fn candidate(owner_name: u8, lease_duration: Duration) -> Candidate {
    Candidate {
        owner: owner(owner_name),
        nonce: owner_name.into(),
        lease_duration,
    }
}

/// The pause of this many ticks after a failed attempt.
pub(crate) fn not_before(pause: u8) -> NotBefore {
    NotBefore {
        until: NOW.after(TICK * pause.into()),
        class: Class::Unknown,
        code: None,
        failures: 1,
    }
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
    /// The pair of this token, as an instance takes it from a record.
    pub(crate) fn of(row: &Row, token: Token) -> Self {
        Self {
            family: row.family,
            version: row.version,
            token,
            number: row.committed_number,
            sign_ins: row.sign_ins,
        }
    }

    pub(crate) fn summary(self) -> reconcile::Summary {
        reconcile::Summary {
            pair_id: PairId {
                family: family(self.family),
                version: self.version.into(),
            },
            digest: digest(self.token),
            number: self.number.into(),
            sign_ins: self.sign_ins.into(),
            upstream: None,
        }
    }

    pub fn pair_id(self) -> (u8, u8) {
        (self.family, self.version)
    }
}

impl Name {
    pub(crate) fn holder(self) -> Holder {
        candidate(self.owner, Duration::ZERO).holder(self.number.into())
    }

    /// The lease that an instance wrote into this record.
    pub(crate) fn of(row: &Row) -> Self {
        row.lease.expect("a lease is written").name
    }
}

impl By {
    pub(crate) fn real(self) -> DoubtfulBy {
        match self {
            Self::Unavailable => DoubtfulBy::Unavailable,
            Self::Silence => DoubtfulBy::Silence,
        }
    }

    fn of(by: DoubtfulBy) -> Self {
        match by {
            DoubtfulBy::Unavailable => Self::Unavailable,
            DoubtfulBy::Silence => Self::Silence,
        }
    }
}

impl Mark {
    fn lease(self) -> Lease {
        let Name { owner, number } = self.name;
        Lease {
            owner: self::owner(owner),
            number: number.into(),
            nonce: owner.into(),
            digest: digest(self.token),
            since: NOW.before(TICK * self.age.into()),
            duration: TICK * self.duration.into(),
            // Only lifetimes depend on the start of a doubt, and the model has no lifetimes.
            doubtful: self.doubtful.then_some(NOW),
            by: self.by.map(By::real),
            before: self.before.map(By::real),
            sendings: self.again.into(),
            released: self.released,
        }
    }

    fn of(lease: &Lease) -> Self {
        let names = names();
        let name = Name {
            owner: place(&names.owners, &lease.owner),
            number: small(lease.number),
        };
        debug_assert_eq!(name.holder(), lease.holder());
        Self {
            name,
            token: place(&names.digests, &lease.digest),
            age: ticks(NOW.since(lease.since)),
            duration: ticks(lease.duration),
            doubtful: lease.doubtful.is_some(),
            by: lease.by.map(By::of),
            before: lease.before.map(By::of),
            again: lease.sendings > 0,
            released: lease.released,
        }
    }
}

impl Row {
    pub fn pair_id(&self) -> (u8, u8) {
        (self.family, self.version)
    }

    /// The lease, if it is on the current token.
    pub fn lease_on_current(&self) -> Option<&Mark> {
        self.lease
            .as_ref()
            .filter(|lease| Some(lease.token) == self.token)
    }

    pub(crate) fn record(&self) -> Record {
        let names = names();
        let is_past = |token: &Token| self.retired & (1 << token) != 0;
        let mut past = Past::default();
        for token in (0..TOKENS).filter(is_past) {
            past.note(digest(token), Origin::Endpoint, None);
        }
        Record {
            version: self.version.into(),
            pair: self.token.map(stored),
            state: match self.state {
                Status::Active => RecordState::Active,
                Status::Rejected(token) => RecordState::Rejected {
                    digest: digest(token),
                    code: None,
                    description: None,
                },
                Status::OutcomeUnknown(token) => RecordState::OutcomeUnknown {
                    digest: digest(token),
                },
                Status::LoggedOut => RecordState::LoggedOut,
            },
            lease: self.lease.map(Mark::lease),
            not_before: (self.pause > 0).then(|| not_before(self.pause)),
            sign_ins: self.sign_ins.into(),
            next_number: self.next_number.into(),
            committed_number: self.committed_number.into(),
            past,
            ..Record::vacant(names.key.clone(), family(self.family))
        }
    }

    /// Reading a record back loses only how often the token was sent again and since when it may be spent.
    pub(crate) fn of(record: &Record) -> Self {
        let names = names();
        let token = |digest: &Digest| place(&names.digests, digest);
        let row = Self {
            family: place(&names.families, &record.family),
            version: small(record.version),
            token: (record.pair.as_ref()).map(|pair| token(&pair.pair.digest(&names.key))),
            state: match record.state {
                RecordState::Active => Status::Active,
                RecordState::Rejected { digest, .. } => Status::Rejected(token(&digest)),
                RecordState::OutcomeUnknown { digest } => Status::OutcomeUnknown(token(&digest)),
                RecordState::LoggedOut => Status::LoggedOut,
                RecordState::Expired | RecordState::Idle => {
                    unreachable!("nothing expires in the model")
                }
            },
            lease: record.lease.as_ref().map(Mark::of),
            pause: record
                .not_before
                .as_ref()
                .map_or(0, |pause| ticks(pause.until.since(NOW))),
            sign_ins: small(record.sign_ins),
            next_number: small(record.next_number),
            committed_number: small(record.committed_number),
            retired: record
                .retired()
                .fold(0, |all, digest| all | 1 << token(digest)),
        };
        debug_assert_eq!(row.record().pair, record.pair);
        row
    }
}
