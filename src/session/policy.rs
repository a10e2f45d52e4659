//! What holds for the sessions of one kind of client, such as a browser or a mobile application.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::strategy::RefreshStrategy;
use crate::user_code::UserStrategy;

/// What holds for the sessions of one kind of client of [`Sessions`](crate::Sessions): when their pairs are rotated, which pairs
/// may be presented, and how long a session lasts.
///
/// ```
/// use std::time::Duration;
///
/// use evertoken::{BackgroundTimer, OAuth2, Sessions, SessionPolicy};
///
/// # fn build() -> Result<Sessions, Box<dyn std::error::Error>> {
/// let endpoint = OAuth2::new("https://id.example.org/token", "service")?;
/// let page = SessionPolicy::new()
///     .strategy(BackgroundTimer::default())
///     .retired_for(Duration::from_secs(30))
///     .idle(Duration::from_secs(30 * 60))
///     .absolute(Duration::from_secs(12 * 3_600));
/// let sessions = Sessions::builder(endpoint).policy("page", page).build()?;
/// # Ok(sessions)
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct SessionPolicy {
    strategy: Option<UserStrategy>,
    pub(crate) retired_for: Duration,
    pub(crate) idle: Option<Duration>,
    pub(crate) absolute: Option<Duration>,
    pub(crate) pinned: Option<Duration>,
}

impl SessionPolicy {
    /// Makes the strictest policy: a replaced pair is refused, and nothing is pinned. The session lasts as long as the server
    /// lets it, and the strategy is the one of the builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the strategy of these sessions. Default: the [strategy](crate::Builder::strategy) of the builder.
    pub fn strategy(mut self, strategy: impl RefreshStrategy) -> Self {
        self.strategy = Some(UserStrategy::new(Arc::new(strategy)));
        self
    }

    /// Sets for how long a replaced pair is accepted after the pair that replaced it was presented for the first time. Until
    /// then it is accepted without a limit: the answer with the new pair has not arrived. Default: zero, which accepts no
    /// replaced pair.
    ///
    /// A browser loses the cookies of an answer as a matter of course: where a request is aborted, where a navigation overtakes
    /// another one, where a tab is closed. With zero, each of these signs the user out. 30 s cover the requests that a browser
    /// sent before it got the new pair.
    pub fn retired_for(mut self, span: Duration) -> Self {
        self.retired_for = span;
        self
    }

    /// Sets for how long a session may go without being presented. The next presentation after that logs it out. The moments of
    /// other instances count, to an eighth of this time. Default: no limit.
    pub fn idle(mut self, limit: Duration) -> Self {
        self.idle = Some(limit);
        self
    }

    /// Sets how long a session lasts from its sign-in on, whatever it is used for. The next presentation after that logs it out.
    /// Default: no limit.
    pub fn absolute(mut self, limit: Duration) -> Self {
        self.absolute = Some(limit);
        self
    }

    /// Permits to [pin](crate::Presentation::pin) a pair, for this long at most: a job that was started with the pair may present
    /// it on, whatever replaces it. Default: not permitted.
    pub fn pinned(mut self, longest: Duration) -> Self {
        self.pinned = Some(longest);
        self
    }

    /// The strategy of the policy, or else that of the builder.
    pub(crate) fn strategy_or<'a>(&'a self, other: &'a UserStrategy) -> &'a UserStrategy {
        self.strategy.as_ref().unwrap_or(other)
    }

    /// Whether the record has to know of the browser.
    pub(crate) fn keeps_browser(&self) -> bool {
        let is_limited = self.idle.is_some() || self.absolute.is_some();
        !self.retired_for.is_zero() || is_limited || self.pinned.is_some()
    }

    /// A value that makes no sense, with the problem.
    pub(crate) fn problem(&self) -> Option<(&'static str, &'static str)> {
        let spans = [
            ("idle", self.idle),
            ("absolute", self.absolute),
            ("pinned", self.pinned),
        ];
        let is_zero = |(_, span): &(_, Option<Duration>)| span.is_some_and(|span| span.is_zero());
        let (name, _) = spans.into_iter().find(is_zero)?;
        Some((name, "must not be zero"))
    }
}

/// For how long a session that was presented stays in memory, unless the builder says otherwise.
const KEPT_FOR: Duration = Duration::from_secs(300);

/// How many unknown pairs are accepted from one address in a minute, unless the builder says otherwise.
const UNKNOWN_PAIRS: u32 = 10;

/// The longest name of a policy, which becomes a part of a cookie.
const LONGEST_NAME: usize = 32;

/// What a builder has for many sessions beside the settings that each of them has.
#[derive(Debug)]
pub(crate) struct Policies {
    default: Arc<SessionPolicy>,
    named: BTreeMap<Box<str>, Arc<SessionPolicy>>,
    pub(crate) kept_for: Duration,
    pub(crate) unknown_pairs: u32,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            default: Arc::default(),
            named: BTreeMap::new(),
            kept_for: KEPT_FOR,
            unknown_pairs: UNKNOWN_PAIRS,
        }
    }
}

impl Policies {
    /// Sets the policy of this name, or the one for sessions without a name.
    pub(crate) fn set(&mut self, name: Option<&str>, policy: SessionPolicy) {
        let policy = Arc::new(policy);
        match name {
            Some(name) => drop(self.named.insert(name.into(), policy)),
            None => self.default = policy,
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    /// The policy of this name. A name that the builder does not have, such as one of an earlier configuration, has the policy of
    /// sessions without a name.
    pub(crate) fn of(&self, name: Option<&str>) -> &Arc<SessionPolicy> {
        let named = name.and_then(|name| self.named.get(name));
        named.unwrap_or(&self.default)
    }

    /// A policy that makes no sense, with the problem.
    pub(crate) fn problem(&self) -> Option<(&'static str, String)> {
        let of = |name: Option<&str>, policy: &SessionPolicy| {
            let (setting, problem) = policy.problem()?;
            Some(match name {
                Some(name) => ("policy", format!("{name}: `{setting}` {problem}")),
                None => ("default_policy", format!("`{setting}` {problem}")),
            })
        };
        let misnamed = self.named.keys().find(|name| !is_name(name));
        let misnamed = misnamed.map(|name| {
            let problem = format!(
                "must be named by 1 to {LONGEST_NAME} letters a to z, digits and hyphens, which {name:?} is not"
            );
            ("policy", problem)
        });
        let kept = self.kept_for.is_zero();
        misnamed
            .or_else(|| of(None, &self.default))
            .or_else(|| {
                self.named
                    .iter()
                    .find_map(|(name, policy)| of(Some(name), policy))
            })
            .or_else(|| kept.then(|| ("kept_for", "must not be zero".to_owned())))
    }
}

/// Whether this is a name of a policy.
pub(crate) fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(is_part)
}
