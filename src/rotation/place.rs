//! Takes a place at the token endpoint before a token is leased, where many sessions share the endpoint.
//!
//! The place comes before the lease, because the send window of a lease would be used up in the queue. With the place, a
//! rotation reads the record once more at most, writes its lease and sends; the place is given back when the endpoint has
//! answered, before anything is stored, and before the rotation waits for anything else.

use std::sync::Arc;

use super::{Rotation, Seen};
use crate::error::Error;
use crate::session::Urgency;
use crate::state::Progress;

impl Rotation {
    /// Takes a place. Returns `false` if the rotation has waited for the place, which it has then: what was decided from the
    /// record before has to be decided again.
    pub(super) async fn enter(&mut self, seen: &Seen) -> Result<bool, Error> {
        let session = Arc::clone(self.session());
        let Some(gate) = session.shared.gate.as_ref() else {
            return Ok(true);
        };
        if self.place.is_some() {
            return Ok(true);
        }
        let is_leased = self.has_leased(seen);
        // A rejection after this line moves the rotation up.
        let mut may_rise = !is_leased && session.usable().is_some();
        let urgency = match is_leased {
            true => Urgency::Leased,
            false => session.urgency(),
        };
        let mut ticket = match gate.enter(urgency) {
            Ok(place) => {
                self.place = Some(place);
                return Ok(true);
            }
            Err(ticket) => ticket,
        };
        tracing::debug!(key = %session.key, "a rotation waits for a place at the token endpoint");
        let began = session.now();
        self.flight.report(Progress::Waiting);
        loop {
            tokio::select! {
                called = ticket.called() => {
                    self.place = Some(called.ok_or(Error::Pending)?);
                    break;
                }
                // Nothing is sent yet, so a shutdown does not wait for this rotation. The rotation does not end with its last
                // manager: where managers are made for a request, no early rotation would ever have its turn.
                () = session.closing() => return Err(Error::ShutDown),
                () = self.flight.superseded() => return Err(Error::Pending),
                () = session.unusable(), if may_rise => {
                    may_rise = false;
                    match gate.enter(session.urgency()) {
                        Ok(place) => {
                            self.place = Some(place);
                            break;
                        }
                        Err(earlier) => ticket = earlier,
                    }
                }
            }
        }
        self.flight.report(Progress::Running);
        self.has_paused = true;
        // A record that is older than an answer of the store may be is read again: another instance is likely to have rotated
        // it, and the store's time is not carried on for long. A younger one is as good as it was.
        if session.now().since(began) <= session.settings().store_timeout {
            self.answered = Some(seen.clone());
        }
        Ok(false)
    }

    /// Whether a lease of this instance stands in the record, and is not given up: after an unclear answer, or where the answer
    /// to the lease's own swap was lost.
    fn has_leased(&self, seen: &Seen) -> bool {
        let owner = self.session().shared.owner;
        let lease = seen.record().and_then(|record| record.lease.as_ref());
        lease.is_some_and(|lease| lease.owner == owner && !lease.released)
    }

    /// Gives the place back, if the rotation has one.
    pub(super) fn leave(&mut self) {
        self.place = None;
    }
}
