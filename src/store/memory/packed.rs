//! A record as the store in memory keeps it: the same record in a third of the bytes.
//!
//! Most sessions are at rest: active, without a lease and without a pause. Their records differ from each other in a few
//! numbers, the tokens and the past tokens. The parts of their keys that the endpoint decides, and the lifetimes that the server
//! states, are the same for all of them, and are held once.

use std::sync::Arc;

use super::pool::Pool;
use crate::clock::StoreTime;
use crate::record::browser::Browser;
use crate::record::format::{Carried, Fields};
use crate::record::marks::Marks;
use crate::record::past::{Names, Past};
use crate::record::{Lease, NotBefore, Origin, Record, RecordState, StoredPair};
use crate::token::{
    AccessToken, Digest, Key, Lifetime, RefreshToken, Scope, TokenFamily, TokenPair,
};

/// A record without what it has in common with others.
#[derive(Debug)]
pub(super) struct Packed {
    format: u32,
    issuer: Arc<Issuer>,
    own: Own,
    family: TokenFamily,
    version: u64,
    pair: Option<Pair>,
    sign_ins: u64,
    next_number: u64,
    committed_number: u64,
    past: Digests,
    /// When the last past token expires.
    past_until: Option<StoreTime>,
    browser: Option<Box<Browser>>,
    upstream: Option<Box<Marks>>,
    unusual: Option<Box<Unusual>>,
}

/// The parts of a key that are the same for the sessions of one endpoint.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Issuer {
    issuer: String,
    client_id: String,
    scope: Scope,
    audience: String,
}

/// The other parts of a key in one text: tenant, subject and label.
#[derive(Debug)]
struct Own {
    text: Box<str>,
    /// Where the subject begins, and where the label begins.
    cuts: Cuts,
}

#[derive(Debug)]
struct Pair {
    issued_at: StoreTime,
    origin: Origin,
    access: Option<AccessToken>,
    refresh: Option<RefreshToken>,
    terms: Arc<Terms>,
}

/// What a server states of a pair. It is mostly the same for all of its pairs.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Terms {
    lifetime: Lifetime,
    token_type: Option<String>,
    scope: Option<Scope>,
}

/// The past tokens in one list.
#[derive(Debug)]
struct Digests {
    all: Box<[Digest]>,
    /// Where the seeds begin, and where the tokens of new sign-ins begin.
    cuts: Cuts,
}

/// Two places in a list, in half of the bytes that two lengths take. A list of 2^32 parts is no part of a record.
#[derive(Debug)]
struct Cuts([u32; 2]);

impl Cuts {
    fn after(first: usize, second: usize) -> Self {
        Self([first, first + second].map(|cut| u32::try_from(cut).unwrap_or(u32::MAX)))
    }

    fn places(&self) -> [usize; 2] {
        self.0.map(|cut| usize::try_from(cut).unwrap_or(usize::MAX))
    }
}

/// What a session at rest does not have.
#[derive(Debug)]
struct Unusual {
    state: RecordState,
    lease: Option<Lease>,
    not_before: Option<NotBefore>,
    unknown: Fields,
    carried: Carried,
}

/// What records have in common.
#[derive(Debug, Default)]
pub(super) struct Common {
    issuers: Pool<Issuer>,
    terms: Pool<Terms>,
}

#[cfg(test)]
impl Common {
    pub(super) fn len(&self) -> usize {
        self.issuers.len() + self.terms.len()
    }
}

impl Packed {
    /// Packs the record, which takes the place of `before`.
    pub(super) fn new(record: &Record, before: Option<&Self>, common: &mut Common) -> Self {
        let Record {
            format,
            key,
            family,
            version,
            pair,
            state,
            lease,
            not_before,
            sign_ins,
            next_number,
            committed_number,
            past,
            browser,
            upstream,
            unknown,
            carried,
        } = record;
        let is_usual = *state == RecordState::Active
            && lease.is_none()
            && not_before.is_none()
            && unknown.is_empty()
            && *carried == Carried::default();
        let unusual = || {
            Box::new(Unusual {
                state: state.clone(),
                lease: lease.clone(),
                not_before: not_before.clone(),
                unknown: unknown.clone(),
                carried: carried.clone(),
            })
        };
        let terms = before.and_then(|before| Some(&before.pair.as_ref()?.terms));
        Self {
            format: *format,
            issuer: match before {
                Some(before) => Arc::clone(&before.issuer),
                None => common.issuers.share(Issuer::of(key)),
            },
            own: Own::of(key),
            family: *family,
            version: *version,
            pair: pair
                .as_ref()
                .map(|stored| Pair::new(stored, terms, &mut common.terms)),
            sign_ins: *sign_ins,
            next_number: *next_number,
            committed_number: *committed_number,
            past: Digests::of(past),
            past_until: past.until,
            browser: browser.clone(),
            upstream: upstream.map(Box::new),
            unusual: (!is_usual).then(unusual),
        }
    }

    /// Gives back what the record had in common with others, once another record has its place.
    pub(super) fn give_back(&self, common: &mut Common) {
        if let Some(pair) = &self.pair {
            common.terms.give_back(&pair.terms);
        }
    }

    /// The record that was packed.
    pub(super) fn record(&self) -> Record {
        let (state, lease, not_before, unknown, carried) = match self.unusual.as_deref() {
            None => Default::default(),
            Some(Unusual {
                state,
                lease,
                not_before,
                unknown,
                carried,
            }) => (
                Some(state.clone()),
                lease.clone(),
                not_before.clone(),
                unknown.clone(),
                carried.clone(),
            ),
        };
        Record {
            format: self.format,
            key: self.key(),
            family: self.family,
            version: self.version,
            pair: self.pair.as_ref().map(Pair::stored),
            state: state.unwrap_or(RecordState::Active),
            lease,
            not_before,
            sign_ins: self.sign_ins,
            next_number: self.next_number,
            committed_number: self.committed_number,
            past: self.past.past(self.past_until),
            browser: self.browser.clone(),
            upstream: self.upstream.as_deref().copied(),
            unknown,
            carried,
        }
    }
}

impl Packed {
    pub(super) fn key(&self) -> Key {
        let Issuer {
            issuer,
            client_id,
            scope,
            audience,
        } = &*self.issuer;
        let [tenant, subject, label] = self.own.parts();
        Key::new(issuer, client_id)
            .tenant(tenant)
            .subject(subject)
            .scope(scope.clone())
            .audience(audience)
            .label(label)
    }

    /// Whether this is the record of the key.
    pub(super) fn is_of(&self, key: &Key) -> bool {
        let Issuer {
            issuer,
            client_id,
            scope,
            audience,
        } = &*self.issuer;
        self.own.parts() == [&*key.tenant, &*key.subject, &*key.label]
            && (issuer, client_id, scope, audience)
                == (&key.issuer, &key.client_id, &key.scope, &key.audience)
    }

    /// The digests of all tokens that the record [knows](Record::knows). One may be there twice.
    pub(super) fn known(&self) -> impl Iterator<Item = Digest> + Clone {
        let refresh = self.pair.as_ref().and_then(|pair| {
            let refresh = pair.refresh.as_ref().map(RefreshToken::digest);
            refresh.or_else(|| pair.access.as_ref().map(AccessToken::digest))
        });
        let current = refresh.unwrap_or_else(|| self.key().digest());
        let unusual = self.unusual.as_ref();
        let condemned = unusual.and_then(|unusual| unusual.state.condemned());
        let past = self.past.all.iter().copied();
        past.chain(condemned).chain([current])
    }

    /// The marks of the provider's session and user.
    pub(super) fn upstream(&self) -> impl Iterator<Item = &Digest> + Clone {
        let marks = self.upstream.as_deref();
        marks.into_iter().flat_map(Marks::iter)
    }

    /// The digest of the current access token.
    pub(super) fn access_digest(&self) -> Option<Digest> {
        let access = self.pair.as_ref()?.access.as_ref();
        access.map(AccessToken::digest)
    }
}

impl Issuer {
    fn of(key: &Key) -> Self {
        Self {
            issuer: key.issuer.clone(),
            client_id: key.client_id.clone(),
            scope: key.scope.clone(),
            audience: key.audience.clone(),
        }
    }
}

impl Own {
    fn of(key: &Key) -> Self {
        let Key {
            tenant,
            subject,
            label,
            ..
        } = key;
        Self {
            text: [&**tenant, subject, label].concat().into(),
            cuts: Cuts::after(tenant.len(), subject.len()),
        }
    }

    fn parts(&self) -> [&str; 3] {
        let [first, second] = self.cuts.places();
        [
            &self.text[..first],
            &self.text[first..second],
            &self.text[second..],
        ]
    }
}

impl Pair {
    /// Packs the pair. Where the server states the same `terms` as before, they are not looked up.
    fn new(stored: &StoredPair, terms: Option<&Arc<Terms>>, pool: &mut Pool<Terms>) -> Self {
        let StoredPair {
            issued_at,
            origin,
            pair:
                TokenPair {
                    access,
                    refresh,
                    lifetime,
                    token_type,
                    scope,
                },
        } = stored;
        let are_same = |terms: &&Arc<Terms>| {
            (&terms.lifetime, &terms.token_type, &terms.scope) == (lifetime, token_type, scope)
        };
        let terms = match terms.filter(are_same) {
            Some(same) => Arc::clone(same),
            None => pool.share(Terms {
                lifetime: *lifetime,
                token_type: token_type.clone(),
                scope: scope.clone(),
            }),
        };
        Self {
            issued_at: *issued_at,
            origin: *origin,
            access: access.clone(),
            refresh: refresh.clone(),
            terms,
        }
    }

    fn stored(&self) -> StoredPair {
        StoredPair {
            issued_at: self.issued_at,
            origin: self.origin,
            pair: TokenPair {
                access: self.access.clone(),
                refresh: self.refresh.clone(),
                lifetime: self.terms.lifetime,
                token_type: self.terms.token_type.clone(),
                scope: self.terms.scope.clone(),
            },
        }
    }
}

impl Digests {
    fn of(past: &Past) -> Self {
        let [refreshed, seeds, replaced] = [&past.refreshed.0, &past.seeds.0, &past.replaced.0];
        Self {
            all: [&**refreshed, seeds, replaced].concat().into(),
            cuts: Cuts::after(refreshed.len(), seeds.len()),
        }
    }

    fn past(&self, until: Option<StoreTime>) -> Past {
        let [first, second] = self.cuts.places();
        Past {
            refreshed: Names(self.all[..first].to_vec()),
            seeds: Names(self.all[first..second].to_vec()),
            replaced: Names(self.all[second..].to_vec()),
            until,
        }
    }
}
