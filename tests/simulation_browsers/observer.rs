//! The observer of a run. It sees the truth: each token that the server issued, which instance sent, read and stored it, each cookie
//! and each presentation. It records a history, each violation of a rule, and each cause that excuses something.

mod rules;
mod sends;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use evertoken::protocol::Digest;
use evertoken::testing::AuthorizationServer;
use evertoken::{AccessToken, BrowserPair, RefreshToken, SessionId, TokenPair};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

pub(crate) use self::rules::{Held, Visit};
use self::sends::{Token, digest};
use crate::scenario::Scenario;

/// One life of one instance, from a start to a death or a shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Life {
    pub(crate) node: usize,
    pub(crate) life: usize,
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.life)
    }
}

pub(crate) struct Observer {
    began: Instant,
    pub(crate) scenario: Scenario,
    pub(crate) server: AuthorizationServer,
    log: Mutex<Log>,
}

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) history: Option<Vec<String>>,
    pub(crate) violations: Vec<String>,
    /// What happened how often, and what excused something.
    pub(crate) counts: BTreeMap<&'static str, u64>,
    tokens: Vec<Token>,
    texts: HashMap<String, usize>,
    digests: HashMap<Digest, usize>,
    /// The session of each access token.
    accesses: HashMap<String, usize>,
    sessions: Vec<Session>,
    cookies: Vec<Cookie>,
    dead: BTreeSet<Life>,
}

/// A sign-in, and all that came of it.
#[derive(Debug, Default)]
struct Session {
    id: Option<String>,
    /// Its tokens, in the order in which the server issued them.
    tokens: Vec<usize>,
    /// When and where the user logged out.
    left: Option<(u64, Life)>,
    /// When the store lost writes of it.
    set_back: Option<u64>,
    /// How many tokens it had when the store lost a pair of it.
    lost_at: usize,
    /// Whether a service that mixes up cookies has begun another session with a pair of it, or this one with another pair.
    is_mixed_up: bool,
    /// The instances at which it was presented, and when each of these presentations ended last.
    lives: BTreeSet<Life>,
    presented_at: u64,
    /// The presentations that are under way.
    visits: u64,
}

/// What the service has sealed into a cookie, whose value in the jar is its number.
#[derive(Debug, Clone)]
pub(crate) struct Cookie {
    pub(crate) session: usize,
    /// The refresh token of the pair, if the cookie has a pair.
    pub(crate) token: Option<usize>,
    /// The pair as it is serialized, or the id.
    pub(crate) text: String,
}

impl Observer {
    pub(crate) fn new(scenario: &Scenario, server: AuthorizationServer, is_told: bool) -> Self {
        Self {
            began: Instant::now(),
            scenario: scenario.clone(),
            server,
            log: Mutex::new(Log {
                history: is_told.then(Vec::new),
                ..Log::default()
            }),
        }
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock()
    }

    /// Milliseconds since the run began.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap()
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

    pub(crate) fn count(&self, what: &'static str) {
        *self.log().counts.entry(what).or_default() += 1;
    }

    /// Something would be a violation without this cause.
    fn excuse(&self, log: &mut Log, cause: &'static str) {
        *log.counts.entry(cause).or_default() += 1;
        self.note_locked(log, || format!("-- {cause}"));
    }

    /// The user of a browser signs in at the server. Returns the number of the session.
    pub(crate) fn issued(&self, pair: &TokenPair, browser: usize) -> usize {
        let now = self.now();
        let mut log = self.log();
        let session = log.sessions.len();
        log.sessions.push(Session::default());
        let refresh = pair.refresh.as_ref().map(RefreshToken::expose);
        let name = log.mint(refresh.expect("a refresh token"), session, None, now);
        let access = pair.access.as_ref().map(AccessToken::expose);
        log.accesses
            .extend(access.map(|access| (access.to_owned(), session)));
        self.note_locked(&mut log, || {
            format!("b{browser} signs in: s{session} with r{name}")
        });
        session
    }

    /// The service has begun the session under this id.
    pub(crate) fn opened(&self, session: usize, id: &SessionId) {
        self.log().sessions[session].id = Some(id.to_string());
    }

    pub(crate) fn bake_id(&self, session: usize, id: &SessionId) -> usize {
        self.log().bake(Cookie {
            session,
            token: None,
            text: id.to_string(),
        })
    }

    /// The service makes a cookie of this pair, for a browser that has presented this session. The pair is one of the session.
    pub(crate) fn bake(&self, session: usize, pair: &BrowserPair) -> usize {
        let refresh = pair.pair().refresh.as_ref().map(RefreshToken::expose);
        let mut log = self.log();
        let token = refresh.and_then(|refresh| log.texts.get(refresh).copied());
        let is_of_session = token.is_some_and(|token| log.tokens[token].session == session)
            && log.sessions[session].id == Some(pair.id().to_string());
        if !is_of_session {
            self.break_locked(
                &mut log,
                format!("B3 s{session} gets the pair {token:?} of another session"),
            );
        }
        let text = serde_json::to_string(pair).expect("a pair serializes");
        log.bake(Cookie {
            session,
            token,
            text,
        })
    }

    pub(crate) fn cookie(&self, number: usize) -> Cookie {
        self.log().cookies[number].clone()
    }

    /// How the history names a cookie.
    pub(crate) fn show(&self, number: usize) -> String {
        let log = self.log();
        let cookie = &log.cookies[number];
        let token = cookie
            .token
            .map_or_else(String::new, |token| format!(" r{token}"));
        format!("c{number} (s{}{token})", cookie.session)
    }

    pub(crate) fn died(&self, life: Life) {
        let mut log = self.log();
        log.dead.insert(life);
        self.note_locked(&mut log, || format!("{life} dies"));
    }

    /// The user has logged out at this instance, and the server knows.
    pub(crate) fn left(&self, session: usize, life: Life) {
        let now = self.now();
        self.log().sessions[session].left = Some((now, life));
    }
}

impl Log {
    fn bake(&mut self, cookie: Cookie) -> usize {
        self.cookies.push(cookie);
        self.cookies.len() - 1
    }

    fn mint(
        &mut self,
        text: &str,
        session: usize,
        parent: Option<usize>,
        requested_at: u64,
    ) -> usize {
        if let Some(known) = self.texts.get(text) {
            return *known;
        }
        let name = self.tokens.len();
        let generation = self.sessions[session].tokens.len();
        self.tokens
            .push(Token::new(text, session, generation, requested_at));
        if let Some(parent) = parent {
            self.tokens[parent].child = Some(name);
        }
        self.sessions[session].tokens.push(name);
        self.texts.insert(text.to_owned(), name);
        self.digests.insert(digest(text), name);
        name
    }

    /// The newest token that the server issued to the session.
    fn newest(&self, session: usize) -> usize {
        *self.sessions[session]
            .tokens
            .last()
            .expect("its first token")
    }
}
