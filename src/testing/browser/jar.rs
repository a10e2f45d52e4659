//! The cookies of a browser for one host: which one takes whose place, which ones a request gets, and which ones go where
//! there are too many.

use std::cmp::Reverse;
use std::time::Duration;

use cookie::SameSite;
use http::HeaderValue;

use super::set_cookie::{Cookie, Refusal};

/// The most cookies of a site, in Chromium.
const MOST: usize = 180;

/// How many cookies Chromium leaves where there were too many.
const LEFT: usize = 150;

/// How long a cookie without `SameSite` goes along with a cross-site POST of a tab (RFC 6265bis section 5.6.7.2).
const LAX_ALLOWS_UNSAFE: Duration = Duration::from_secs(2 * 60);

/// How long after a use Chromium does not note the next use of a cookie.
const USE_IS_NOTED_AFTER: Duration = Duration::from_secs(60);

/// Where a request comes from, as far as `SameSite` asks (RFC 6265bis section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    /// From the same site, or from the user.
    SameSite,
    /// From another site, as a navigation of a tab with a safe method.
    CrossSiteNavigation,
    /// From another site, as a navigation of a tab with another method.
    CrossSitePost,
    /// From another site, and no navigation of a tab.
    CrossSite,
}

#[derive(Default)]
pub(super) struct Jar {
    cookies: Vec<Kept>,
    /// Counts what happened, to order what happened at one time.
    events: u64,
}

struct Kept {
    cookie: Cookie,
    created: Moment,
    used: Moment,
}

/// The wall clock, and the number of the event.
type Moment = (Duration, u64);

/// What became of a cookie that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The browser has the cookie.
    Stored,
    /// The cookie ends in the past, so the browser has it no more.
    Deleted,
    /// The browser ignores the line.
    Refused(Refusal),
}

impl Jar {
    pub(super) fn set(&mut self, cookie: Cookie, is_script: bool, now: Duration) -> Outcome {
        let moment = self.moment(now);
        self.forget_ended(now);
        let mut kept = self.cookies.iter();
        let place = kept.position(|kept| cookie.replaces(&kept.cookie));
        if is_script && place.is_some_and(|place| self.cookies[place].cookie.is_http_only) {
            return Outcome::Refused(Refusal::HttpOnly);
        }
        let old = place.map(|place| self.cookies.remove(place));
        if cookie.has_ended(now) {
            return Outcome::Deleted;
        }
        // Chromium keeps the age of a cookie whose value is set again.
        let same = old.filter(|old| old.cookie.value == cookie.value);
        self.cookies.push(Kept {
            cookie,
            created: same.map_or(moment, |same| same.created),
            used: moment,
        });
        self.purge();
        Outcome::Stored
    }

    /// Those that are not `Secure` go first, and of these the ones that were not used for longest. Chromium's quotas by
    /// `Priority` are left out.
    fn purge(&mut self) {
        if self.cookies.len() > MOST {
            let cookies = &mut self.cookies;
            cookies.sort_by_key(|kept| (kept.cookie.is_secure, kept.used));
            cookies.drain(..cookies.len() - LEFT);
        }
    }

    /// The cookies of a request in the order of RFC 6265bis section 5.8.3, each as a field.
    pub(super) fn of_request(
        &mut self,
        path: &str,
        context: Context,
        now: Duration,
    ) -> Vec<HeaderValue> {
        let moment = self.moment(now);
        let fits = |kept: &Kept| kept.cookie.matches(path) && kept.goes_with(context, now);
        let mut found = self.found(now, fits);
        for kept in &mut found {
            if now.saturating_sub(kept.used.0) >= USE_IS_NOTED_AFTER {
                kept.used = moment;
            }
        }
        found.iter().filter_map(|kept| kept.field()).collect()
    }

    /// The cookies that a script sees on a page.
    pub(super) fn of_script(&mut self, path: &str, now: Duration) -> String {
        let fits = |kept: &Kept| !kept.cookie.is_http_only && kept.cookie.matches(path);
        let found = self.found(now, fits);
        let pairs: Vec<_> = found.iter().map(|kept| kept.pair()).collect();
        pairs.join("; ")
    }

    pub(super) fn value(&mut self, name: &str, now: Duration) -> Option<String> {
        let found = self.found(now, |kept| kept.cookie.name == name);
        let first = found.first()?;
        Some(first.cookie.value.as_str().to_owned())
    }

    pub(super) fn names(&mut self, now: Duration) -> Vec<String> {
        let found = self.found(now, |_| true);
        found.iter().map(|kept| kept.cookie.name.clone()).collect()
    }

    pub(super) fn clear(&mut self) {
        self.cookies.clear();
    }

    /// Longer paths first, and of one length the oldest first.
    fn found(&mut self, now: Duration, fits: impl Fn(&Kept) -> bool) -> Vec<&mut Kept> {
        self.forget_ended(now);
        let cookies = self.cookies.iter_mut();
        let mut found: Vec<_> = cookies.filter(|kept| fits(kept)).collect();
        found.sort_by_key(|kept| (Reverse(kept.cookie.path.len()), kept.created.1));
        found
    }

    /// Chromium deletes a cookie that has ended when it comes across it.
    fn forget_ended(&mut self, now: Duration) {
        self.cookies.retain(|kept| !kept.cookie.has_ended(now));
    }

    fn moment(&mut self, now: Duration) -> Moment {
        self.events += 1;
        (now, self.events)
    }
}

impl Kept {
    fn goes_with(&self, context: Context, now: Duration) -> bool {
        match (self.cookie.same_site, context) {
            (_, Context::SameSite) | (Some(SameSite::None), _) => true,
            (Some(SameSite::Strict), _) | (_, Context::CrossSite) => false,
            (Some(SameSite::Lax) | None, Context::CrossSiteNavigation) => true,
            (Some(SameSite::Lax), Context::CrossSitePost) => false,
            (None, Context::CrossSitePost) => {
                now.saturating_sub(self.created.0) <= LAX_ALLOWS_UNSAFE
            }
        }
    }

    fn pair(&self) -> String {
        format!("{}={}", self.cookie.name, self.cookie.value.as_str())
    }

    fn field(&self) -> Option<HeaderValue> {
        // A cookie has no control character, so each is a field.
        let mut field = HeaderValue::try_from(self.pair().into_bytes()).ok()?;
        field.set_sensitive(true);
        Some(field)
    }
}
