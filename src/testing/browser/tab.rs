//! A tab: which of its requests still count.

use std::sync::Arc;

use tokio::sync::watch;

use super::Browser;
use super::call::{Call, Kind};
use super::request::Request;
use crate::testing::clock::until;

/// A tab of a browser. Dropping it closes it.
///
/// ```
/// use evertoken::testing::Browser;
/// use http::{HeaderMap, StatusCode};
///
/// let browser = Browser::new("https://app.example.org")?;
/// let tab = browser.tab();
/// let first = tab.navigate("/");
/// let reload = tab.navigate("/");
/// // The browser no longer waits for the first response, so what it sets is lost.
/// let mut headers = HeaderMap::new();
/// headers.insert("set-cookie", "session=2; Path=/".parse().unwrap());
/// assert!(first.arrived(StatusCode::OK, &headers).is_lost());
/// assert_eq!(browser.value("session"), None);
/// assert!(!reload.is_lost());
/// # Ok::<(), evertoken::BuildError>(())
/// ```
#[derive(Debug)]
pub struct Tab {
    browser: Browser,
    state: Arc<watch::Sender<State>>,
}

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    /// The number of the last navigation.
    navigation: u64,
    /// The number of the page that the tab shows.
    page: u64,
    /// The navigation that brought the page.
    shown: Option<Call>,
}

/// What a request of a tab is bound to.
#[derive(Debug)]
pub(super) struct Ticket {
    tab: Arc<watch::Sender<State>>,
    bound: Bound,
}

#[derive(Debug)]
enum Bound {
    /// To nothing: the request outlives its tab.
    Free,
    Navigation(u64),
    Page(u64),
}

impl Tab {
    pub(super) fn new(browser: Browser) -> Self {
        let state = Arc::new(watch::Sender::new(State::default()));
        Self { browser, state }
    }

    /// Sends a request, with the cookies as they are now. A navigation takes the place of the one that is under way, which is
    /// [lost](Request::is_lost). Other requests belong to the page that the tab shows.
    pub fn send(&self, call: impl Into<Call>) -> Request {
        let call = call.into();
        let bound = match call.kind {
            Kind::Navigation => {
                let mut number = 0;
                self.state.send_modify(|tab| {
                    tab.navigation += 1;
                    number = tab.navigation;
                });
                Bound::Navigation(number)
            }
            _ if call.keepalive => Bound::Free,
            _ => Bound::Page(self.state.borrow().page),
        };
        let tab = Arc::clone(&self.state);
        let ticket = Ticket { tab, bound };
        Request::sent(self.browser.clone(), Some(ticket), call)
    }

    /// Sends a navigation that the user begins.
    pub fn navigate(&self, path: impl Into<String>) -> Request {
        self.send(Call::navigation(path))
    }

    /// Loads the page that the tab shows anew, if it shows one. The initiator stays: a page that another site linked to gets no
    /// `SameSite=Strict` cookie from a reload either, so a gateway that signs in for want of that cookie signs in for ever.
    pub fn reload(&self) -> Option<Request> {
        let shown = self.state.borrow().shown.clone();
        shown.map(|call| self.send(call))
    }

    /// Closes the tab. Its requests are [lost](Request::is_lost), but for those with [`keepalive`](Call::keepalive).
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        self.state.send_modify(|tab| tab.is_closed = true);
    }
}

impl Ticket {
    pub(super) fn is_lost(&self) -> bool {
        self.bound.is_lost(&self.tab.borrow())
    }

    pub(super) async fn lost(&self) {
        until(&self.tab, |tab| self.bound.is_lost(tab)).await;
    }

    /// Runs this while the request counts, so that the end of the request comes before or after all of it. The page of a
    /// navigation is shown with it.
    pub(super) fn unless_lost<T>(
        &self,
        page: Option<&Call>,
        apply: impl FnOnce() -> T,
    ) -> Option<T> {
        let mut applied = None;
        self.tab.send_if_modified(|tab| {
            if self.bound.is_lost(tab) {
                return false;
            }
            applied = Some(apply());
            if let Some(page) = page {
                tab.page += 1;
                tab.shown = Some(page.clone());
            }
            page.is_some()
        });
        applied
    }
}

impl Bound {
    fn is_lost(&self, tab: &State) -> bool {
        match self {
            Self::Free => false,
            Self::Navigation(number) => tab.is_closed || tab.navigation != *number,
            Self::Page(number) => tab.is_closed || tab.page != *number,
        }
    }
}
