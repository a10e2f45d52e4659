//! The actions of the user: `rotation/logout.rs`, and `replace` of `rotation/begin.rs`.

use crate::instance::{Chore, Instance, LogoutStage, Write};
use crate::record::{Record, RecordState};
use crate::row::{Held, Status, Token, family, key, stored};
use crate::server::revoke;
use crate::turn::{Swap, Turn};

/// The family of a logout that found no session.
const NOBODYS: u8 = 15;

impl Instance {
    /// `State::log_out`.
    pub(crate) fn log_out(&mut self) {
        self.turn();
        self.logout_stage = Some(LogoutStage::Asked);
        for chore in &mut self.chores {
            if let Chore::Replace { left, .. } | Chore::ReplaceSwap { left, .. } = chore {
                *left = true;
            }
        }
        let (held, spare) = (self.held.take(), self.spare.take());
        self.out |= held.map_or(0, |held| 1 << held.family);
        self.chores.push(Chore::Leave { held, spare });
    }

    pub(crate) fn sign_in(&mut self, token: Token) {
        self.chores.push(Chore::Replace { token, left: false });
    }
}

impl Turn<'_> {
    fn next_chore(&mut self, chore: Chore) {
        self.me().chores[0] = chore;
    }

    fn chore_done(&mut self) {
        self.me().chores.remove(0);
    }

    pub(crate) fn chore(&mut self) {
        match self.me().chores[0] {
            Chore::Leave { held, spare } => self.log_out(held, spare),
            Chore::LeaveSwap { held, spare, write } => match self.swap(write) {
                Swap::Swapped => {
                    self.logout_stored(write.next.family);
                    self.revoke_left(held, spare, write);
                }
                Swap::Lost | Swap::Error => self.next_chore(Chore::Leave { held, spare }),
            },
            Chore::Clear(write) => {
                self.swap(write);
                self.chore_done();
            }
            Chore::Replace { token, left } => self.replace(token, left),
            Chore::ReplaceSwap {
                token,
                left,
                behind,
                write,
            } => {
                let swapped = self.swap(write);
                if swapped == Swap::Lost {
                    return self.next_chore(Chore::Replace { token, left });
                }
                // The store may have applied the swap without an answer, so the pair is revoked in both cases.
                if let Some(behind) = behind {
                    revoke(&mut self.world.truths, behind);
                }
                if swapped == Swap::Swapped {
                    self.begun(token, left, write);
                }
                self.chore_done();
            }
        }
    }

    /// `logout::write`, up to its swap.
    fn log_out(&mut self, held: Option<Held>, spare: Option<Held>) {
        if self.load_fails() {
            return;
        }
        if self.me().logout_stage != Some(LogoutStage::Asked) {
            // The user has signed in anew meanwhile.
            for held in held.into_iter().chain(spare) {
                revoke(&mut self.world.truths, held.token);
            }
            return self.chore_done();
        }
        let row = self.world.store;
        if let Some(row) = row.filter(|row| row.state == Status::LoggedOut) {
            self.logout_stored(row.family);
            let write = Write {
                next: row,
                fresh: true,
            };
            return self.revoke_left(held, spare, write);
        }
        let last = match (row, held) {
            (Some(row), _) => row.record(),
            (None, Some(held)) => {
                Record::forwarded(None, key(), held.summary(), stored(held.token), 0)
            }
            (None, None) => Record::vacant(key().clone(), family(NOBODYS)),
        };
        let write = self.write(&last.ended(RecordState::LoggedOut), true);
        self.next_chore(Chore::LeaveSwap { held, spare, write });
    }

    /// `State::logout_stored`.
    fn logout_stored(&mut self, family: u8) {
        self.me().out |= 1 << family;
        if self.me().logout_stage == Some(LogoutStage::Asked) {
            self.me().logout_stage = Some(LogoutStage::Written);
        }
    }

    /// Revokes the pairs that are not in the record, and then the pair of the record. `ended` is the record that the
    /// store has.
    fn revoke_left(&mut self, held: Option<Held>, spare: Option<Held>, ended: Write) {
        let theirs = ended.next.token;
        for held in held.into_iter().chain(spare) {
            if Some(held.token) != theirs {
                revoke(&mut self.world.truths, held.token);
            }
        }
        let Some(token) = theirs else {
            return self.chore_done();
        };
        revoke(&mut self.world.truths, token);
        let write = self.write(&ended.next.record().cleared(), true);
        self.next_chore(Chore::Clear(write));
    }

    /// `replace`, up to its swap.
    fn replace(&mut self, token: Token, left: bool) {
        if self.load_fails() {
            return self.chore_done();
        }
        if left {
            revoke(&mut self.world.truths, token);
            return self.chore_done();
        }
        let number = self.world.truths[usize::from(token)].family;
        let row = self.world.store;
        let is_logging_out = self.me().logout_stage == Some(LogoutStage::Asked);
        let left_behind = row.filter(|row| is_logging_out || row.state == Status::LoggedOut);
        let known = self.me().sign_ins.into();
        let next = match row {
            Some(row) => row
                .record()
                .replaced(family(number), Some(stored(token)), known),
            None => Record::first(key().clone(), family(number), stored(token), known + 1),
        };
        let write = self.write(&next, true);
        self.next_chore(Chore::ReplaceSwap {
            token,
            left,
            behind: left_behind.and_then(|row| row.token),
            write,
        });
    }

    /// `Session::begin`.
    fn begun(&mut self, token: Token, left: bool, write: Write) {
        if left {
            return;
        }
        let row = write.next;
        let held = Held::of(&row, token);
        self.notice_held(held);
        let me = self.me();
        me.saw(&row);
        me.begin(held);
        me.turn();
    }
}
