//! The pause after a failed attempt: `rotation/failure.rs`, and the loop of `Rotation::run`.

use crate::instance::Phase;
use crate::row::Row;
use crate::turn::Turn;

impl Turn<'_> {
    /// `Rotation::fail`. Returns for how many ticks the instance sends nothing. A rotation without a waiter does not
    /// count a failure.
    pub(crate) fn fail(&mut self) -> u8 {
        if self.rotation().orphan {
            return 0;
        }
        let pause = self.config.pause;
        self.me().pause = pause;
        pause
    }

    /// `forbids`. Returns for how many ticks the instance must send nothing, by its own memory and the record.
    pub(crate) fn forbidden(&mut self, row: &Row) -> u8 {
        let me = self.me();
        me.pause = me.pause.max(row.pause);
        me.pause
    }

    /// `wait_for_pause_end`.
    pub(crate) fn wait_for_pause_end(&mut self, left: u8) {
        self.go(Phase::Pause { fresh: true, left });
    }

    /// A call of the store has failed. The instance repeats the call after a pause.
    pub(crate) fn failed(&mut self) {
        let pause = self.fail();
        if self.rotation().orphan {
            self.finish();
        } else if pause > 0 {
            self.wait_for_pause_end(pause);
        } else {
            self.go(Phase::Reconciled);
        }
    }
}
