//! What becomes of a grant that has arrived, whichever way it came: it waits, meets its fault, and is
//! decided. It knows nothing of HTTP.

use std::time::Duration;

use super::super::fault::{Fault, fill};
use super::super::latency::{Latency, pass};
use super::AuthorizationServer;
use super::rules::Client;
use super::state::Refusal;
use crate::endpoint::Issued;
use crate::token::{AccessToken, RefreshToken, Scope};

/// What a client asks for.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    /// For this scope; for what it had before, if it names none.
    Refresh(RefreshToken, Scope),
    SignIn,
    /// Not a grant this server knows.
    Malformed(Refusal),
}

/// Who asks, or why that could not be made out.
pub(super) type Credentials = Result<Option<Client>, Refusal>;

/// What goes back to the client.
#[derive(Debug)]
pub(super) enum Reply {
    Issued(Issued),
    Refused(Refusal),
    Scripted {
        status: u16,
        body: String,
        retry_after: Option<Duration>,
    },
    /// This answer, of which only half arrives.
    Truncated(Issued),
    Dropped,
}

impl AuthorizationServer {
    /// Decides a grant that has arrived, and takes the second half of the latency for it.
    ///
    /// Run it in a task of its own: what has arrived at a server is not undone when the client
    /// hangs up.
    pub(super) async fn decide(self, ask: Ask, client: Credentials) -> Reply {
        let fault = self.arrive(&ask);
        self.released().await;
        if let Some(Fault::DelayBefore(delay)) = fault {
            pass(delay).await;
        }
        let late = match fault {
            Some(Fault::Delay(delay)) => delay,
            _ => Duration::ZERO,
        };
        let reply = self.reply(&ask, client, fault);
        pass(late).await;
        self.back().await;
        reply
    }

    /// The first half of the latency: the request is on its way.
    pub(super) async fn there(&self) {
        Latency::of(self.latency()).there().await;
    }

    /// The second half: the answer is.
    pub(super) async fn back(&self) {
        Latency::of(self.latency()).back().await;
    }

    fn arrive(&self, ask: &Ask) -> Option<Fault> {
        let mut inner = self.shared.inner.lock();
        match ask {
            Ask::Refresh(..) => self.shared.exchanges.send_modify(|count| *count += 1),
            Ask::SignIn => inner.state.counters.sign_ins += 1,
            Ask::Malformed(_) => {}
        }
        inner.faults.next()
    }

    async fn released(&self) {
        let mut holds = self.shared.holds.subscribe();
        // The sender lives as long as this server does.
        let _ = holds.wait_for(|holds| *holds == 0).await;
    }

    fn reply(&self, ask: &Ask, client: Credentials, fault: Option<Fault>) -> Reply {
        let now = self.shared.clock.now();
        let mut inner = self.shared.inner.lock();
        let state = &mut inner.state;
        let undone = matches!(fault, Some(Fault::Status { .. } | Fault::DropBefore));
        if let Ask::Refresh(token, _) = ask
            && (undone || client.is_err())
        {
            state.note_replay(token.expose());
        }
        match fault {
            Some(Fault::DropBefore) => return Reply::Dropped,
            Some(Fault::Status {
                status,
                body,
                retry_after,
            }) => {
                return Reply::Scripted {
                    status,
                    body,
                    retry_after,
                };
            }
            _ => {}
        }
        let decided = client.and_then(|client| match ask {
            Ask::Refresh(token, scope) => {
                state.refresh_for(scope, token.expose(), client.as_ref(), now)
            }
            Ask::SignIn => state.sign_in(client.as_ref(), now),
            Ask::Malformed(refusal) => Err(*refusal),
        });
        match (decided, fault) {
            (_, Some(Fault::DropAfter)) => Reply::Dropped,
            (Err(refusal), _) => Reply::Refused(refusal),
            (Ok(issued), Some(Fault::Truncate)) => Reply::Truncated(issued),
            (Ok(issued), Some(Fault::Body { status, body })) => Reply::Scripted {
                status,
                body: filled(&body, &issued),
                retry_after: None,
            },
            (Ok(issued), _) => Reply::Issued(issued),
        }
    }
}

fn filled(template: &str, issued: &Issued) -> String {
    let access = issued.access.as_ref().map_or("", AccessToken::expose);
    let refresh = issued.refresh.as_ref().map_or("", RefreshToken::expose);
    fill(template, access, refresh)
}
