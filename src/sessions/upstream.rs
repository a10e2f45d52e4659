//! Logouts that an OpenID provider sends: all sessions end that a session or a user of the provider has here.

use std::collections::HashSet;
use std::fmt;

use futures_util::{StreamExt, stream};

use super::Sessions;
use crate::error::Error;
use crate::record::marks::Marks;
use crate::rotation::{LoggedOut, is_inside_any, patiently};
use crate::session::Session;
use crate::store::StoreError;
use crate::token::Key;

/// How many sessions are ended at once.
const AT_ONCE: usize = 16;

/// What an OpenID provider calls a session, by the claims `sid` and `sub` of an ID token and of a logout token (OpenID Connect
/// Back-Channel Logout 1.0 section 2.4). Both are texts of the issuer of the endpoint.
///
/// `Debug` shows which of them is there, and not its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Upstream {
    sid: Option<String>,
    subject: Option<String>,
}

impl Upstream {
    /// Takes the claims `sid` and `sub`. Returns `None` if there is neither: such a logout token is invalid (section 2.6). An
    /// empty text counts as none.
    ///
    /// ```
    /// use evertoken::Upstream;
    ///
    /// assert!(Upstream::from_claims("08a5019c", "248289761001").is_some());
    /// assert!(Upstream::from_claims(None, Some("248289761001")).is_some());
    /// assert!(Upstream::from_claims(None, "").is_none());
    /// ```
    #[must_use]
    pub fn from_claims<'a>(
        sid: impl Into<Option<&'a str>>,
        subject: impl Into<Option<&'a str>>,
    ) -> Option<Self> {
        let text = |claim: Option<&str>| claim.filter(|text| !text.is_empty()).map(str::to_owned);
        let (sid, subject) = (text(sid.into()), text(subject.into()));
        (sid.is_some() || subject.is_some()).then_some(Self { sid, subject })
    }

    pub(super) fn marks(&self, key: &Key) -> Option<Marks> {
        Marks::new(key, self.sid.as_deref(), self.subject.as_deref())
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("has_sid", &self.sid.is_some())
            .field("has_subject", &self.subject.is_some())
            .finish()
    }
}

/// The sessions of a provider's logout could not all be ended. Another call ends the others.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "a logout of the provider ended {ended} sessions, and others may go on: fix the cause and call again"
)]
#[non_exhaustive]
pub struct EndWhereError {
    /// The number of sessions that were ended.
    pub ended: usize,
    /// The keys of the sessions that may go on in the store, each with its error. This process serves none of them any more if
    /// the store failed while it was written. Empty if the search itself failed.
    pub failed: Vec<(Key, Error)>,
    /// The error of the search, or else of the first session. [`Error::Store`] also where the store cannot search for such
    /// sessions.
    pub source: Error,
}

impl EndWhereError {
    fn before_all(source: Error) -> Self {
        Self {
            ended: 0,
            failed: Vec::new(),
            source,
        }
    }
}

impl Sessions {
    /// Ends the sessions that an OpenID provider has logged out, on this process and for all instances that share the store.
    /// Returns how many there were. It is for the back-channel logout of OpenID Connect: the program verifies the logout token,
    /// and passes its claims on.
    ///
    /// A `sid` means the sessions that signed in [with it](super::SignIn::upstream), unless they signed in with another `sub` than the
    /// logout has. Without a `sid`, all sessions of the `sub` are meant. Only sessions of the issuer, the client and the tenant
    /// of the endpoint's [key](Self::key) are.
    ///
    /// Each session ends as by [`TokenManager::logout`](crate::TokenManager::logout): in this process before it is stored, and
    /// on another instance as soon as that reads the store, which is before its next rotation at the latest. The call returns
    /// when the logouts are stored. The pairs are revoked at the endpoint after that, because the provider may keep
    /// their tokens alive; whether that succeeds is in the logs alone. Dropping the future does not stop the call.
    ///
    /// A session that signs in while the call runs is ended if its record was stored before the search, and the sign-in then
    /// fails with [`Error::Ended`]. A later one goes on, because the call cannot know whether the provider's logout came
    /// before it. A session that another sign-in has replaced goes on.
    ///
    /// # Errors
    ///
    /// If the store fails or cannot search ([`TokenStore::find_by_upstream`](crate::TokenStore::find_by_upstream)), if a
    /// session is being shut down, or for a call from within an endpoint or a store. The other sessions have ended, and so have
    /// those that were found in the memory of this process. The call can be made again.
    pub async fn end_where(&self, upstream: Upstream) -> Result<usize, EndWhereError> {
        if is_inside_any() {
            return Err(EndWhereError::before_all(Error::Reentrant));
        }
        let Some(meant) = upstream.marks(&self.group.key) else {
            return Ok(0);
        };
        let runtime = self.group.shared.runtime.clone();
        let sessions = self.clone();
        let ending = runtime.spawn(async move { end_all(&sessions, meant).await });
        ending.await.unwrap_or_else(|died| {
            let retry_after = self.group.shared.settings.cool_down.expired;
            Err(EndWhereError::before_all(match died.is_panic() {
                true => Error::TaskDied { retry_after },
                false => Error::RuntimeGone,
            }))
        })
    }
}

/// What became of the sessions so far.
#[derive(Default)]
struct Ending {
    seen: HashSet<Key>,
    ended: usize,
    failed: Vec<(Key, Error)>,
    stored: Vec<LoggedOut>,
}

async fn end_all(sessions: &Sessions, meant: Marks) -> Result<usize, EndWhereError> {
    let mut ending = Ending::default();
    // Those in memory first: they end also where the store fails, or has lost their records.
    let is_meant = |session: &Session| session.is_meant_by(&meant) == Some(true);
    let live = sessions.group.keys_of(is_meant);
    ending.end(sessions, live, meant).await;
    let found = search(sessions, meant).await;
    let (found, error) = match found {
        Ok(found) => (found, None),
        Err(error) => (Vec::new(), Some(Error::from(error))),
    };
    ending.end(sessions, found, meant).await;
    let Ending {
        ended,
        failed,
        stored,
        ..
    } = ending;
    if !stored.is_empty() {
        let revoking = stream::iter(stored).for_each_concurrent(AT_ONCE, LoggedOut::finish);
        sessions.group.shared.runtime.spawn(revoking);
    }
    match error.or_else(|| failed.first().map(|(_, error)| error.clone())) {
        None => Ok(ended),
        Some(source) => Err(EndWhereError {
            ended,
            failed,
            source,
        }),
    }
}

/// The keys of the sessions that the logout may mean.
async fn search(sessions: &Sessions, meant: Marks) -> Result<Vec<Key>, StoreError> {
    let Some(mark) = meant.narrowest() else {
        return Ok(Vec::new());
    };
    let store = &sessions.group.shared.store;
    let found = patiently(|| store.find_by_upstream(&mark)).await?;
    found.ok_or_else(|| {
        StoreError::new(
            "the store cannot search for the sessions of a provider; use a store with `find_by_upstream`",
        )
    })
}

impl Ending {
    /// Ends those of the sessions with these keys that are meant, some of them at once.
    async fn end(&mut self, sessions: &Sessions, keys: Vec<Key>, meant: Marks) {
        let new: Vec<_> = keys
            .into_iter()
            .filter(|key| self.seen.insert(key.clone()))
            .collect();
        let mut done = stream::iter(new)
            .map(|key| async move {
                let logout = sessions.manager(key.clone()).log_out_if_meant(meant).await;
                (key, logout)
            })
            .buffer_unordered(AT_ONCE);
        while let Some((key, logout)) = done.next().await {
            match logout {
                Ok(None) => {}
                Err(error) => self.failed.push((key, error)),
                Ok(Some(logout)) => match logout.is_stored() {
                    Ok(is_ended) => {
                        self.ended += usize::from(is_ended);
                        self.stored.push(logout);
                    }
                    Err(error) => {
                        self.failed.push((key, error.into()));
                        // It is tried again until the store is back, which may take a while.
                        sessions.group.shared.runtime.spawn(logout.finish());
                    }
                },
            }
        }
    }
}
