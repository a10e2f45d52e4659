//! How one pair, or one session, takes the place of another.

use super::{Exit, Held, Leaving, Pause, Progress, State};
use crate::token::Lineage;

impl State {
    /// The user does something with the session: a rotation under way goes on for nobody, and whoever
    /// waited for it decides again.
    fn turn(&mut self) {
        self.epoch += 1;
        if let Some(flight) = self.flight.take() {
            flight.send_replace(Progress::Again);
        }
    }

    /// A newer pair takes the place of the one held, whose token nobody gets any more. Returns whether it
    /// may: nothing of a session that was logged out comes back.
    pub(crate) fn hold(&mut self, held: Held) -> bool {
        match self.exit {
            Some(Exit::Asked) => return false,
            Some(Exit::Written(lineage)) if lineage == held.identity.lineage => return false,
            _ => {}
        }
        self.begin(held);
        true
    }

    /// The same for a pair that the user brings.
    pub(crate) fn begin(&mut self, held: Held) {
        self.saw_next_number(held.number + 1);
        // What was outrun in another session is nothing to fall back on in this one.
        self.spare
            .take_if(|spare| spare.identity.lineage != held.identity.lineage);
        self.held = Some(held);
        self.end = None;
        self.exit = None;
        self.rejections.renew();
        self.pause = Pause::default();
        self.warned = false;
        self.seed = None;
    }

    /// The same, in place of whatever is being done about the session that was.
    pub(crate) fn begin_anew(&mut self, held: Held) {
        self.begin(held);
        self.turn();
    }

    /// The session begins anew, with a sign-in to come.
    pub(crate) fn reopen(&mut self) {
        // A rotation of a session that goes on is what is wanted.
        if self.exit.is_some() || self.end.is_some() {
            self.turn();
        }
        if self.exit.is_some() {
            self.seed = None;
        }
        self.exit = None;
        self.end = None;
        self.pause = Pause::default();
    }

    pub(crate) fn exit(&self) -> Option<Exit> {
        self.exit
    }

    pub(crate) fn leaves(&self) -> u64 {
        self.leaves
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The user logs out: what is left of the session is handed over.
    pub(crate) fn leave(&mut self) -> Leaving {
        self.leaves += 1;
        self.turn();
        self.exit = Some(Exit::Asked);
        Leaving {
            held: self.held.take(),
            spare: self.spare.take(),
            // Until the logout is stored, so that another one knows it too.
            seed: self.seed.clone(),
        }
    }

    /// The logout is stored.
    pub(crate) fn left(&mut self, lineage: Lineage) {
        if self.exit == Some(Exit::Asked) {
            self.exit = Some(Exit::Written(lineage));
            self.seed = None;
        }
    }
}
