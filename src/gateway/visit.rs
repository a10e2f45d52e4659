//! One request of a browser: what it presents, and what its response sets.
//!
//! The session is looked up when something asks for it, so that a page or a script without a token waits for nothing.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tokio::sync::OnceCell;

use super::Gateway;
use super::caching;
use super::content::{Content, Held};
use super::cookie::{Numbers, SIGN_INS};
use super::error::{GatewayError, NO_STORE, SignedOut};
use super::request::Asked;
use crate::error::{EndReason, Error};
use crate::sessions::Presentation;

/// How long an `EventSource` is held between two attempts, where the failure does not say.
const HELD: Duration = Duration::from_secs(1);

/// One request of a browser.
#[derive(Debug)]
pub(super) struct Visit {
    gateway: Gateway,
    asked: Asked,
    /// The last sign-in that the browser has, if its cookies are whole and of this gateway.
    sign_in: Option<Arc<Content>>,
    /// The parts of the cookies that the browser has of each sign-in.
    has: [Option<Numbers>; SIGN_INS],
    outcome: OnceCell<Result<Presentation, Error>>,
}

impl Visit {
    pub(super) fn new(gateway: Gateway, asked: Asked, headers: &HeaderMap) -> Self {
        let mut has = [None; SIGN_INS];
        let mut sign_in: Option<Arc<Content>> = None;
        let carried = gateway.shared.cookies.carried(headers);
        for (place, carried) in has.iter_mut().zip(carried) {
            *place = Some(carried.numbers());
            let content = gateway.shared.envelope.open(&carried);
            let is_newer = |content: &Arc<Content>| {
                let best = sign_in.as_ref();
                best.is_none_or(|best| best.signed_in < content.signed_in)
            };
            sign_in = content.filter(is_newer).or(sign_in);
        }
        Self {
            gateway,
            asked,
            sign_in,
            has,
            outcome: OnceCell::new(),
        }
    }

    pub(super) fn is_of(&self, gateway: &Gateway) -> bool {
        Arc::ptr_eq(&self.gateway.shared, &gateway.shared)
    }

    /// The session of the browser. All that ask during one request get one answer.
    pub(super) async fn presentation(&self) -> Result<&Presentation, GatewayError> {
        let outcome = self.outcome.get_or_init(|| self.present()).await;
        outcome.as_ref().map_err(|error| match &self.sign_in {
            Some(_) => error.clone().into(),
            None => GatewayError::SignedOut { source: None },
        })
    }

    async fn present(&self) -> Result<Presentation, Error> {
        let sign_in = self.sign_in.as_ref().ok_or(Error::NoSession)?;
        loop {
            let presented = self.gateway.shared.sessions.present(sign_in.presented());
            match presented.await {
                // Any status but 200 would end the stream for good.
                Err(error) if self.asked.is_event_stream && error.is_retryable() => {
                    let pause = error.retry_after().unwrap_or_default().max(HELD);
                    tokio::time::sleep(pause).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// The sign-in that the browser presents, whatever became of its session.
    pub(super) fn sign_in(&self) -> Option<&Arc<Content>> {
        self.sign_in.as_ref()
    }

    /// Whether the response has to wait for a rotation: no other instance knows of its pair, so the browser has to get it.
    pub(super) fn unsettled(&self) -> Option<Presentation> {
        let Some(Ok(presentation)) = self.outcome.get() else {
            return None;
        };
        let waits = !self.gateway.shared.mode.shares_store() && presentation.is_rotating();
        waits.then(|| presentation.clone())
    }

    /// Sets and deletes what the browser needs after this response, and sends a page to the login.
    pub(super) fn finish<B>(&self, response: &mut Response<B>) {
        // A sign-in or a logout in this response counts, and not the session before it.
        match self.gateway.shared.cookies.are_set_by(response.headers()) {
            true => set(response, self.deletions_of_others(response.headers())),
            false => self.follow(response),
        }
        if response.extensions_mut().remove::<SignedOut>().is_some()
            && let Some(page) = self.asked.page()
            && let Some(login) = &self.gateway.shared.login
            && let Ok(location) = HeaderValue::try_from(login(&page))
        {
            *response.status_mut() = StatusCode::SEE_OTHER;
            response.headers_mut().insert(LOCATION, location);
            response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
        }
        // An answer for which nothing asked for the session is the same for all.
        if self.outcome.initialized() {
            caching::restrict(response.headers_mut(), self.asked.is_navigation);
        }
    }

    /// Gives the browser what has become of its session.
    fn follow<B>(&self, response: &mut Response<B>) {
        match self.outcome.get() {
            Some(Ok(presentation)) => match presentation.end() {
                Some(reason) if self.is_known_everywhere(&reason) => self.clear(response),
                Some(_) => {}
                None => self.renew(presentation, response),
            },
            Some(Err(error)) if self.is_over(error) => self.clear(response),
            _ => {}
        }
    }

    /// Gives the browser the current pair, unless it has that.
    fn renew<B>(&self, presentation: &Presentation, response: &mut Response<B>) {
        let Some(sign_in) = &self.sign_in else { return };
        let Some(pair) = presentation.renewal() else {
            return;
        };
        let content = Content {
            signed_in: sign_in.signed_in,
            held: Held::Pair(Arc::new(pair)),
        };
        match self.gateway.lines(&content, presentation, &self.has) {
            Ok(lines) => set(response, lines),
            // The browser keeps the pair that it has, which the session accepts for a while.
            Err(error) => tracing::error!(
                key = %presentation.tokens().key(),
                %error,
                "a browser does not get the new pair of its session"
            ),
        }
    }

    /// Deletes the cookies of all sign-ins that the browser has: the last one is over, and an older one must not come back.
    fn clear<B>(&self, response: &mut Response<B>) {
        set(response, self.deletions());
    }

    /// The lines that delete the cookies of all sign-ins that the browser has.
    pub(super) fn deletions(&self) -> Vec<HeaderValue> {
        let cookies = &self.gateway.shared.cookies;
        let lines = self.has.iter().flatten();
        lines.flat_map(|has| cookies.delete(*has)).collect()
    }

    /// The lines that delete the cookies of the sign-ins that a response neither sets nor deletes.
    fn deletions_of_others(&self, headers: &HeaderMap) -> Vec<HeaderValue> {
        let cookies = &self.gateway.shared.cookies;
        let others = self.has.iter().flatten();
        let others = others.filter(|has| !cookies.sets(headers, has.tag));
        others.flat_map(|has| cookies.delete(*has)).collect()
    }

    /// Whether the session is over on every instance.
    fn is_over(&self, error: &Error) -> bool {
        match error {
            Error::Ended { reason, .. } => self.is_known_everywhere(reason),
            Error::NoSession => self.sign_in.is_some() && self.gateway.shared.mode.shares_store(),
            _ => false,
        }
    }

    /// Whether an end that this instance knows of is the end on all. Without a shared store, another instance may have rotated the
    /// token that the server refused here, and the browser may have its pair by now.
    fn is_known_everywhere(&self, reason: &EndReason) -> bool {
        let is_by_rule = matches!(
            reason,
            EndReason::LoggedOut | EndReason::IdleLimit | EndReason::AgeLimit
        );
        is_by_rule || self.gateway.shared.mode.shares_store()
    }
}

/// Adds the lines to a response. No cache keeps it then, whatever the service or the API said: a cached cookie would give the
/// session to the next visitor.
pub(super) fn set<B>(response: &mut Response<B>, lines: Vec<HeaderValue>) {
    if lines.is_empty() {
        return;
    }
    let headers = response.headers_mut();
    for line in lines {
        headers.append(SET_COOKIE, line);
    }
    headers.insert(CACHE_CONTROL, NO_STORE);
}
