//! Pairs and ids that browsers present: which of them are accepted, with which token the request goes on, and whether the browser
//! needs a new pair.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{BrowserPair, SessionId, Sessions};
use crate::clock::{Clock as _, Timestamp};
use crate::error::{EndReason, Error};
use crate::manager::{TokenManager, taken_over};
use crate::rotation::{self, Known};
use crate::session::{Brought, NOTES_IN_IDLE};
use crate::snapshot::Token;
use crate::token::{PairId, TokenFamily, TokenPair};

/// What a browser presents, see [`Sessions::present`].
///
/// - From a [`BrowserPair`]: the copy of a pair that this service gave to the browser, out of a cookie that the service sealed.
/// - From a [`SessionId`]: the name of a session whose pair stays in the store.
/// - From a [`TokenPair`]: a pair of unknown origin, such as that of a browser which signed in before the service used this
///   crate.
#[derive(Debug, Clone)]
#[must_use]
pub struct Presented {
    what: What,
    policy: Option<Arc<str>>,
    peer: Option<IpAddr>,
}

#[derive(Debug, Clone)]
enum What {
    Copy(Arc<BrowserPair>),
    Id(SessionId),
    Bare(Box<TokenPair>),
}

impl Presented {
    fn new(what: What) -> Self {
        Self {
            what,
            policy: None,
            peer: None,
        }
    }

    /// Sets the address from which the pair came. Pairs of unknown origin are [counted](crate::Builder::unknown_pairs) by it;
    /// those without an address share one count.
    pub fn peer(mut self, peer: IpAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    /// Sets the policy of a session that begins with a pair of unknown origin, by the name that
    /// [`Builder::policy`](crate::Builder::policy) gave to it. Other sessions have the policy of their sign-in.
    pub fn policy(mut self, name: impl AsRef<str>) -> Self {
        self.policy = Some(name.as_ref().into());
        self
    }
}

macro_rules! from {
    ($(#[$doc:meta])* $from:ty, $what:expr) => {
        $(#[$doc])*
        impl From<$from> for Presented {
            fn from(presented: $from) -> Self {
                Self::new($what(presented))
            }
        }
    };
}

from!(BrowserPair, |pair| What::Copy(Arc::new(pair)));
from!(&BrowserPair, |pair: &BrowserPair| What::Copy(Arc::new(
    pair.clone()
)));
from!(Arc<BrowserPair>, What::Copy);
from!(SessionId, What::Id);
from!(&SessionId, |id: &SessionId| What::Id(id.clone()));
from!(
    /// A pair of unknown origin is exchanged before it is accepted, also where its access token is valid, and begins a session of
    /// its own. The session displaces no other, and the pair counts only as long as it is the session's current one: give the
    /// browser the [`renewal`](Presentation::renewal), which has the rights of a sign-in's pair. Under whichever policy it is
    /// presented, one pair has one session.
    TokenPair, |pair| What::Bare(Box::new(pair))
);

impl Sessions {
    /// Accepts what a browser presents, and returns the token with which its request goes on.
    ///
    /// By its refresh token, a presented pair is one of these:
    ///
    /// - *The current one*: the strategy decides whether it is rotated. One rotation serves all who present it, in this process
    ///   and in all that share the store.
    /// - *A replaced one that the browser may still hold*, because it lost the answer with the next pair: the current pair counts,
    ///   without a call of the endpoint. The pair that a browser presented last, and each later one, is such a pair; the pair
    ///   before it is one for [`retired_for`](crate::SessionPolicy::retired_for) longer, until the next rotation.
    /// - *An older one*: refused, and never sent.
    /// - *One that the store has lost, or that another instance without this store has rotated*: held as this instance's own pair.
    /// - *One of another session*: refused, and neither session changes. Without a store that both sessions share, it is a pair of
    ///   unknown origin.
    /// - *One of [unknown origin](Presented#impl-From<TokenPair>-for-Presented)*: exchanged first, in a session of its own.
    ///
    /// A session that was presented stays in memory [for a while](crate::Builder::kept_for).
    ///
    /// # Errors
    ///
    /// [`Error::PairRefused`], which says nothing about the session: a request that comes late with an old cookie is refused while
    /// the browser goes on with a newer one, so no cookie is deleted for it; [`Error::Ended`], also for a session that was idle for too long or has
    /// lasted too long, which is logged out then; [`Error::NoSession`] for an id that the store does not know, and for a pair of unknown origin without a
    /// refresh token; [`Error::TooManyUnknownPairs`]; [`Error::UnknownPolicy`]; and as [`TokenManager::token`]. Where
    /// [`needs_sign_in`](Error::needs_sign_in) is `false`, the session may be alive, and the user is not signed out.
    pub async fn present(&self, presented: impl Into<Presented>) -> Result<Presentation, Error> {
        let presented = presented.into();
        let now = self.group.shared.clock.now();
        let (id, brought) = self.read(&presented, now)?;
        let kept = self.lingering.get(&id);
        let tokens = kept.unwrap_or_else(|| self.open(&id));
        let visit = Visit {
            sessions: self,
            tokens: &tokens,
            brought: brought.as_ref(),
            peer: presented.peer,
            now,
        };
        let token = visit.token().await;
        match &token {
            Ok(_) => self.lingering.keep(&id, &tokens, now),
            Err(Error::Ended { .. }) => self.lingering.remove(&id),
            Err(_) => {}
        }
        Ok(Presentation {
            token: token?,
            id,
            brought,
            tokens,
        })
    }

    /// The session that is presented, and the pair that is brought for it.
    fn read(
        &self,
        presented: &Presented,
        now: Timestamp,
    ) -> Result<(SessionId, Option<Brought>), Error> {
        let shared = &self.group.shared;
        match &presented.what {
            // Others can compute the id of such a session, who have had its first token.
            What::Id(id) if id.is_of_a_token() => Err(Error::NoSession),
            What::Id(id) => Ok((id.clone(), None)),
            What::Copy(pair) => {
                let brought = pair.brought(now, shared.clock.wall());
                Ok((pair.id().clone(), Some(brought)))
            }
            What::Bare(pair) => {
                let refresh = pair.refresh.as_ref().ok_or(Error::NoSession)?;
                self.check_policy(presented.policy.as_deref())?;
                let id = SessionId::of_token(refresh, presented.policy.clone());
                let family = TokenFamily::random().map_err(rotation::no_random)?;
                let brought = Brought {
                    pair: taken_over((**pair).clone(), &shared.prefix, shared.clock.wall()),
                    pair_id: PairId { family, version: 1 },
                    number: 0,
                    sign_ins: 1,
                    sent_at: now,
                    began: now,
                    upstream: None,
                    is_ours: false,
                };
                Ok((id, Some(brought)))
            }
        }
    }
}

/// One presentation, until its token is known.
struct Visit<'a> {
    sessions: &'a Sessions,
    tokens: &'a TokenManager,
    brought: Option<&'a Brought>,
    peer: Option<IpAddr>,
    now: Timestamp,
}

impl Visit<'_> {
    async fn token(&self) -> Result<Token, Error> {
        let session = &self.tokens.session;
        let is_bare = self.brought.is_some_and(|brought| !brought.is_ours);
        let is_here = !is_bare && session.presents_held(self.brought) && self.is_within_limits();
        let known = match is_here {
            true => None,
            false => Some(self.look_up().await?),
        };
        let began = known.map_or(self.now, |known| known.began);
        let needs_note = session.presented(self.brought, began, self.now);
        if known.is_some_and(|known| known.needs_proof) {
            // One exchange for all that present it. Its commit stores what is known of the browser.
            return self.tokens.rotate().await;
        }
        if let Some(token) = self.tokens.quiet_token() {
            if needs_note {
                rotation::note(session);
            }
            return Ok(token);
        }
        let before = session.lock().pair_id();
        let token = self.tokens.token().await;
        let is_issued = |token: &Token| session.lock().was_issued(token.pair_id());
        // A rotation that failed, that is still under way, or that found the pair of another instance has noted nothing in the record.
        let is_new = |token: &Token| Some(token.pair_id()) != before && is_issued(token);
        if needs_note && !token.as_ref().is_ok_and(is_new) {
            rotation::note(session);
        }
        let token = token?;
        if let Some(brought) = self.brought.filter(|_| is_here)
            && !session.holds(&brought.pair)
        {
            // This process held the pair, and another one may have replaced it long ago.
            match rotation::place_now(session, brought, self.now).await {
                // The pair that this process got is good, also while the store is down.
                Err(Error::Store { .. }) if is_issued(&token) => {}
                placed => placed?,
            }
        }
        Ok(token)
    }

    /// Reads the store, and refuses what it does not accept.
    async fn look_up(&self) -> Result<Known, Error> {
        let session = &self.tokens.session;
        let may_take_up = || match self.brought {
            Some(brought) if !brought.is_ours => self.sessions.attempts.count(self.peer, self.now),
            _ => Ok(()),
        };
        let known = rotation::look_up(session, self.brought, may_take_up).await?;
        match self.over_by(known) {
            None => Ok(known),
            Some(reason) => {
                let tokens = self.tokens.clone();
                session.shared.runtime.spawn(async move {
                    // The browser has its answer already. A step that fails is tried again in the background.
                    drop(tokens.logout().await);
                });
                Err(Error::ended(reason))
            }
        }
    }

    /// Whether the session is within its limits, as far as this process knows.
    fn is_within_limits(&self) -> bool {
        let session = &self.tokens.session;
        let has_limits = session
            .policy()
            .is_some_and(|policy| policy.idle.is_some() || policy.absolute.is_some());
        if !has_limits {
            return true;
        }
        let spans = session.idle_and_age(self.now);
        spans.is_some_and(|spans| self.over(spans).is_none())
    }

    /// Whether the session was idle for too long, or has lasted too long, as far as this process and the record know.
    fn over_by(&self, known: Known) -> Option<EndReason> {
        let age = self.now.since(known.began);
        let idle = self.now.since(known.seen_at);
        match self.tokens.session.idle_and_age(self.now) {
            Some((idle_here, age_here)) => self.over((idle.min(idle_here), age.max(age_here))),
            // Only the record speaks, which does not know of the last uses.
            None => {
                let limit = self.tokens.session.policy().and_then(|policy| policy.idle);
                let unknown = limit.unwrap_or_default() / NOTES_IN_IDLE;
                self.over((idle.saturating_sub(unknown), age))
            }
        }
    }

    fn over(&self, (idle, age): (Duration, Duration)) -> Option<EndReason> {
        let policy = self.tokens.session.policy()?;
        let is_over = |span: Duration, limit: Option<Duration>| limit.is_some_and(|it| span >= it);
        if is_over(age, policy.absolute) {
            return Some(EndReason::AgeLimit);
        }
        is_over(idle, policy.idle).then_some(EndReason::IdleLimit)
    }
}

/// An accepted presentation: the token with which the request goes on, the manager of the session, and what the browser needs.
#[derive(Clone)]
pub struct Presentation {
    token: Token,
    id: SessionId,
    brought: Option<Brought>,
    tokens: TokenManager,
}

impl Presentation {
    /// The token with which the request goes on.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// The manager of the session, to send requests, to report a rejected token, to log out.
    #[must_use]
    pub fn tokens(&self) -> &TokenManager {
        &self.tokens
    }

    /// The id of the session.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// The copy of the pair that the browser needs by now; `None` if it has presented that pair, if it presented an id alone, and
    /// after a logout. Ask when the headers of the answer are made: a rotation may have come in between, also one that another
    /// request began.
    #[must_use]
    pub fn renewal(&self) -> Option<BrowserPair> {
        let brought = self.brought.as_ref()?;
        let session = &self.tokens.session;
        let is_same = brought.is_ours && session.holds(&brought.pair);
        self.pair().filter(|_| !is_same)
    }

    /// The copy of the session's current pair, for a browser that has none yet; `None` after a logout.
    #[must_use]
    pub fn pair(&self) -> Option<BrowserPair> {
        let session = &self.tokens.session;
        let copy = session.copy()?;
        Some(BrowserPair::new(self.id.clone(), copy, session))
    }

    /// How long it is until a request begins a rotation, as far as the strategy says: when an idle browser sends a request, so that
    /// its session goes on. At most half of the time for which the session may be [idle](crate::SessionPolicy::idle). `None` if
    /// neither is known.
    #[must_use]
    pub fn next_heartbeat(&self) -> Option<Duration> {
        let session = &self.tokens.session;
        let idle = session.policy().and_then(|policy| policy.idle);
        let idle = idle.map(|idle| idle / 2);
        session.next_rotation().into_iter().chain(idle).min()
    }

    /// Why the session is over, if it ended since.
    #[cfg(feature = "gateway")]
    pub(crate) fn end(&self) -> Option<EndReason> {
        let session = &self.tokens.session;
        session.lock().end().cloned()
    }

    /// Whether a rotation is under way.
    #[cfg(feature = "gateway")]
    pub(crate) fn is_rotating(&self) -> bool {
        self.tokens.session.lock().flight().is_some()
    }

    /// Waits for a rotation that is under way, until the caller's deadline at most.
    #[cfg(feature = "gateway")]
    pub(crate) async fn settled(&self) {
        self.tokens.settled().await;
    }

    /// How long a cookie of the session is good from now on, if that is known: as long as the policy says. A cookie that has the
    /// pair, and that each rotation makes anew, is good as long as the refresh token otherwise.
    #[cfg(feature = "gateway")]
    pub(crate) fn lasts_for(&self, has_pair: bool) -> Option<Duration> {
        let session = &self.tokens.session;
        let now = session.now();
        let absolute = session.policy().and_then(|policy| policy.absolute);
        let age = session
            .idle_and_age(now)
            .map_or(Duration::ZERO, |(_, age)| age);
        let left = absolute.map(|absolute| absolute.saturating_sub(age));
        let of_pair = || session.refresh_lives_for(now).filter(|_| has_pair);
        left.or_else(of_pair)
    }

    /// Permits a job that was started with the presented pair to present it on for `span`, whatever replaces the pair. The
    /// permission lasts as long as the [policy](crate::SessionPolicy::pinned) permits at most; returns how long that is. A session
    /// that was presented by its id needs no permission, and the call does nothing. A session has eight pins at most; one more takes
    /// the place of the one that ends first.
    ///
    /// # Errors
    ///
    /// [`Error::PinNotPermitted`]; [`Error::NoSession`] if the session has ended; [`Error::Store`].
    pub async fn pin(&self, span: Duration) -> Result<Duration, Error> {
        let session = &self.tokens.session;
        let longest = session.policy().and_then(|policy| policy.pinned);
        let longest = longest.ok_or(Error::PinNotPermitted)?;
        let span = span.min(longest);
        if let Some(brought) = &self.brought {
            rotation::pin(session, brought, span).await?;
        }
        Ok(span)
    }
}

/// Shows the key and the id of the pair, and not a secret.
impl fmt::Debug for Presentation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presentation")
            .field("token", &self.token)
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}
