//! The observer of a run. The observer sees the truth: what left for the server, what the server did, what the store
//! held, and which instance wrote it. It records a history, in which each token has a name, and each violation of a
//! rule.

mod again;
mod pauses;
mod spends;
mod swaps;
mod view;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use evertoken::clock::{Clock, Timestamp};
use evertoken::protocol::Record;
use evertoken::testing::TestClock;
use evertoken::{AccessToken, Issued, Key, RefreshToken, TokenPair};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use self::pauses::Failed;
pub(crate) use self::spends::SendId;
use self::spends::Sends;
pub(crate) use self::view::{State, View};
use crate::scenario::Scenario;

/// One life of one instance, from a start to a crash or shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId {
    pub(crate) node: usize,
    pub(crate) life: usize,
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.life)
    }
}

pub(crate) struct Observer {
    began: Instant,
    /// The clock of the store.
    clock: TestClock,
    key: Key,
    scenario: Scenario,
    log: Mutex<Log>,
}

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) history: Option<Vec<String>>,
    pub(crate) violations: Vec<String>,
    /// What went wrong that a client cannot prevent, and how often.
    pub(crate) causes: BTreeMap<&'static str, u32>,
    /// The names of refresh tokens, by digest and by the token itself.
    names: HashMap<String, usize>,
    texts: HashMap<String, usize>,
    /// What is known of each refresh token, by name.
    tokens: Vec<Minted>,
    sends: Sends,
    /// When each access token expires at the server, in milliseconds.
    accesses: HashMap<String, u64>,
    /// When each access token was first served, in milliseconds.
    served: HashMap<String, u64>,
    /// Access tokens that the server issued a second time to an instance that did not recognise them.
    repeated: HashSet<String>,
    record: Option<View>,
    owners: HashMap<String, NodeId>,
    /// The family of each pair that was stored.
    families: HashMap<String, usize>,
    /// When the store lost writes, in milliseconds.
    failovers: Vec<u64>,
    /// When all machines slept, and for how long.
    sleeps: Vec<(u64, u64)>,
    dead: Vec<NodeId>,
    /// Logouts that an instance wrote to the store.
    left: Vec<Left>,
    busy: HashMap<NodeId, (u64, u32)>,
    /// The last attempt of each instance that brought no pair.
    failed: HashMap<NodeId, Failed>,
    /// When a caller last used each instance.
    asked: HashMap<usize, u64>,
    /// When a store call of each instance last failed or took too long.
    troubles: HashMap<NodeId, u64>,
    /// The longest time that an answer of the store was on its way to each instance.
    lags: HashMap<NodeId, u64>,
    /// The highest sign-in count that each instance knows it has written.
    written_sign_ins: HashMap<NodeId, u64>,
    /// The instances that the user logged out, each with the number of sign-ins until then.
    out: HashMap<NodeId, u32>,
    /// How often the user has signed in anew, or an instance may have done so.
    pub(crate) begins: u32,
    /// Whether a sign-in of that kind may still be under way.
    pub(crate) is_stray: bool,
    pub(crate) logouts: u32,
}

/// A refresh token that the server issued.
struct Minted {
    text: String,
    /// When the server issued the token, in milliseconds.
    at: u64,
    family: usize,
    generation: u32,
    /// The instance that requested the token and read the answer, if one did.
    read_by: Option<NodeId>,
    was_stored: bool,
    was_refused: bool,
    /// Whether the token was revoked, or was about to be.
    was_revoked: bool,
}

/// A logout, as an instance wrote it to the store.
struct Left {
    family: usize,
    by: NodeId,
    at: u64,
}

/// More store calls than this of one instance in one second are a storm.
const BUSY: u32 = 400;

impl Observer {
    pub(crate) fn new(scenario: &Scenario, clock: TestClock, key: Key, with_history: bool) -> Self {
        Self {
            began: Instant::now(),
            clock,
            key,
            scenario: scenario.clone(),
            log: Mutex::new(Log {
                history: with_history.then(Vec::new),
                ..Log::default()
            }),
        }
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock()
    }

    /// Store time, in milliseconds.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.clock.now().since(Timestamp::from_nanos(0)).as_millis()).unwrap()
    }

    /// The store time at the start of the run.
    fn epoch(&self) -> u64 {
        let wall = self.clock.wall().as_millis();
        u64::try_from(wall).unwrap() - self.now()
    }

    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        self.note_locked(&mut self.log(), what);
    }

    fn note_locked(&self, log: &mut Log, what: impl FnOnce() -> String) {
        if let Some(history) = &mut log.history {
            let at = self.began.elapsed().as_secs_f64();
            history.push(format!("{at:10.3} {}", what()));
        }
    }

    pub(crate) fn violation(&self, what: String) {
        self.break_locked(&mut self.log(), what);
    }

    fn break_locked(&self, log: &mut Log, what: String) {
        self.note_locked(log, || format!("!! {what}"));
        let at = self.began.elapsed().as_secs_f64();
        log.violations.push(format!("{at:.3} {what}"));
    }

    pub(crate) fn cause(&self, what: &'static str) {
        self.cause_locked(&mut self.log(), what);
    }

    fn cause_locked(&self, log: &mut Log, what: &'static str) {
        *log.causes.entry(what).or_default() += 1;
        self.note_locked(log, || format!("-- {what}"));
    }

    /// The server issued a pair of a new family.
    pub(crate) fn issued(&self, pair: &TokenPair) {
        let mut log = self.log();
        let access = pair.access.as_ref().map(AccessToken::expose);
        self.lives(&mut log, access);
        let refresh = pair.refresh.as_ref().map(RefreshToken::expose);
        self.mint(&mut log, refresh, None);
    }

    fn lives(&self, log: &mut Log, access: Option<&str>) {
        let ends_at = self.now() + self.scenario.access_ttl * 1_000;
        if let Some(access) = access {
            log.accesses.entry(access.to_owned()).or_insert(ends_at);
        }
    }

    /// For how many milliseconds this access token has been served since the server stopped accepting it.
    pub(crate) fn overdue(&self, access: &str) -> u64 {
        let now = self.now();
        let mut log = self.log();
        let ends_at = log.accesses.get(access).copied().unwrap_or(now);
        let first = *log.served.entry(access.to_owned()).or_insert(now);
        now.saturating_sub(ends_at.max(first))
    }

    fn mint(&self, log: &mut Log, refresh: Option<&str>, parent: Option<usize>) -> Option<usize> {
        let refresh = refresh.filter(|text| !text.is_empty())?;
        if let Some(known) = log.texts.get(refresh) {
            return Some(*known);
        }
        let name = log.tokens.len();
        let (family, generation) = match parent {
            Some(parent) => {
                let parent = &log.tokens[parent];
                (parent.family, parent.generation + 1)
            }
            None => (name, 0),
        };
        log.tokens.push(Minted {
            text: refresh.to_owned(),
            at: self.now(),
            family,
            generation,
            read_by: None,
            was_stored: false,
            was_refused: false,
            was_revoked: false,
        });
        log.names.insert(digest(&self.key, refresh), name);
        log.texts.insert(refresh.to_owned(), name);
        Some(name)
    }

    /// The instance is about to revoke a pair.
    pub(crate) fn revokes(&self, by: NodeId, pair: &TokenPair) {
        let mut log = self.log();
        let Some(name) = log.name(pair) else {
            return;
        };
        log.tokens[name].was_revoked = true;
        let family = log.tokens[name].family;
        let record = log.record.as_ref();
        let current = record.filter(|record| record.state == State::Active);
        let current = current.and_then(|record| log.texts.get(record.refresh()?));
        let is_current = current.is_some_and(|it| log.tokens[*it].family == family);
        if is_current && log.logouts == 0 && !log.has_failed_over() {
            self.break_locked(
                &mut log,
                format!("O6 {by} revokes the session that goes on"),
            );
        }
    }

    pub(crate) fn revoked(&self, by: NodeId, pair: &TokenPair, how: &str) {
        let mut log = self.log();
        let name = log.name(pair);
        self.note_locked(&mut log, || format!("{by} revokes {name:?}: {how}"));
    }

    /// The instance called the store. Returns whether the instance calls without end.
    pub(crate) fn called(&self, by: NodeId) -> bool {
        let second = self.now() / 1_000;
        let mut log = self.log();
        let (last, count) = log.busy.entry(by).or_insert((second, 0));
        if *last != second {
            (*last, *count) = (second, 0);
        }
        *count += 1;
        let count = *count;
        if count == BUSY {
            self.break_locked(
                &mut log,
                format!("O7 {by} calls the store {BUSY} times a second"),
            );
        }
        count >= BUSY
    }

    pub(crate) fn died(&self, node: NodeId) {
        let mut log = self.log();
        log.dead.push(node);
        self.note_locked(&mut log, || format!("{node} dies"));
    }

    /// All machines have slept for this long.
    pub(crate) fn slept(&self, span: Duration) {
        let now = self.now();
        let span = u64::try_from(span.as_millis()).unwrap();
        self.log().sleeps.push((now, span));
    }

    /// A store call of the instance has failed, or the instance no longer waits for it.
    pub(crate) fn troubled(&self, by: NodeId) {
        let now = self.now();
        self.log().troubles.insert(by, now);
    }

    /// The user logs this instance out.
    pub(crate) fn leaves(&self, by: NodeId) {
        let mut log = self.log();
        log.logouts += 1;
        let begins = log.begins;
        log.out.insert(by, begins);
    }

    /// Whether the server refuses the token because of its age, or an instance that counts the lifetime from its
    /// request does not send it.
    fn is_old(&self, minted: &Minted) -> bool {
        let ttl = u64::try_from(self.scenario.refresh_ttl().as_millis()).unwrap();
        self.now() + (self.scenario.timeout + 1) * 1_000 >= minted.at + ttl
    }

    /// Whether the server issued this access token a second time to an instance that did not recognise it.
    pub(crate) fn is_repeated(&self, access: &str) -> bool {
        self.log().repeated.contains(access)
    }

    pub(crate) fn failed_over(&self, to: &Record) {
        let now = self.now();
        let view = View::of(to);
        let mut log = self.log();
        self.note_locked(&mut log, || {
            format!("the store falls back to {}", view.show(&self.key))
        });
        log.failovers.push(now);
        log.record = Some(view);
        self.cause_locked(&mut log, "the store lost writes");
    }

    /// The record that the store holds now.
    pub(crate) fn record(&self) -> Option<View> {
        self.log().record.clone()
    }
}

impl Log {
    fn is_dead(&self, node: NodeId) -> bool {
        self.dead.contains(&node)
    }

    fn slept_since(&self, moment: u64) -> bool {
        self.sleeps.iter().any(|(at, _)| *at >= moment)
    }

    /// Whether a sleep certainly happened after this moment, and lasted longer than `long`.
    fn slept_long_since(&self, moment: u64, long: u64) -> bool {
        let mut sleeps = self.sleeps.iter();
        sleeps.any(|(at, span)| *at > moment && *span > long)
    }

    fn has_trouble_since(&self, by: NodeId, moment: u64) -> bool {
        self.troubles.get(&by).is_some_and(|at| *at >= moment)
    }

    /// How many sign-ins and logouts users have made so far.
    fn done_by_users(&self) -> (u32, u32) {
        (self.begins, self.logouts)
    }

    fn failed_over_since(&self, moment: u64) -> bool {
        self.failovers.iter().any(|at| *at >= moment)
    }

    pub(crate) fn has_failed_over(&self) -> bool {
        !self.failovers.is_empty()
    }

    fn name(&self, pair: &TokenPair) -> Option<usize> {
        let refresh = pair.refresh.as_ref()?;
        self.texts.get(refresh.expose()).copied()
    }

    /// Whether anything happened that can cost a session.
    pub(crate) fn has_cause(&self) -> bool {
        !self.causes.is_empty() || self.unaccounted().any(|lost| lost.how.is_some())
    }

    /// Whether the server has refused the token.
    pub(crate) fn is_refused(&self, refresh: &str) -> bool {
        let name = self.texts.get(refresh);
        name.is_some_and(|name| self.tokens[*name].was_refused)
    }

    /// Whether the token has been revoked.
    pub(crate) fn is_revoked(&self, refresh: &str) -> bool {
        let name = self.texts.get(refresh);
        name.is_some_and(|name| self.tokens[*name].was_revoked)
    }

    /// Pairs that an instance read, and that are neither stored nor spent nor revoked.
    pub(crate) fn unaccounted(&self) -> impl Iterator<Item = Unaccounted> {
        self.tokens.iter().enumerate().filter_map(|(name, minted)| {
            let by = minted.read_by?;
            let is_lost = !minted.was_stored && !minted.was_revoked && !self.sends.any_of(name);
            let is_sibling = |it: &Minted| {
                it.was_stored && it.family == minted.family && it.generation >= minted.generation
            };
            let how = if self.is_dead(by) {
                Some("loss: a pair died with its instance")
            } else if self.tokens.iter().any(is_sibling) {
                Some("a sibling was outrun")
            } else if !self.failovers.is_empty() {
                Some("loss: a store that lost writes lost a pair")
            } else {
                None
            };
            is_lost.then_some(Unaccounted { name, by, how })
        })
    }

    /// Tokens of logged-out sessions that the server still accepts. A logout that the store lost with its instance dead
    /// does not count.
    pub(crate) fn live_after_logout(&self, is_live: impl Fn(&str) -> bool) -> Vec<usize> {
        let is_known = |left: &&Left| !(self.failed_over_since(left.at) && self.is_dead(left.by));
        let was_left = |it: &Minted| {
            let mut left = self.left.iter().filter(is_known);
            left.any(|left| left.family == it.family)
        };
        let is_left_live = |name: &usize| {
            let it = &self.tokens[*name];
            was_left(it) && is_live(&it.text)
        };
        (0..self.tokens.len()).filter(is_left_live).collect()
    }
}

/// A pair that is neither stored nor spent nor revoked, and what excuses its loss.
#[derive(Debug)]
pub(crate) struct Unaccounted {
    pub(crate) name: usize,
    pub(crate) by: NodeId,
    pub(crate) how: Option<&'static str>,
}

/// The names of the tokens in an answer.
fn parts(issued: &Issued) -> (Option<&str>, Option<&str>) {
    (
        issued.access.as_ref().map(AccessToken::expose),
        issued.refresh.as_ref().map(RefreshToken::expose),
    )
}

fn digest(key: &Key, refresh: &str) -> String {
    TokenPair::from_refresh_token(refresh)
        .digest(key)
        .to_string()
}
