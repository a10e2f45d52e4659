//! The gate between an instance and the world: whether the instance runs, stands still or is dead, and which ambushes
//! wait at its points.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use crate::observer::{NodeId, Observer};
use crate::scenario::{Ambush, Point, seconds};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Runs,
    Paused,
    Dead,
    /// Dead, with no task left that waits.
    Gone,
}

/// The action of the user, or the fate of the instance, comes before the instance goes on.
const AT_ONCE: Duration = Duration::from_millis(1);

/// The instance has died.
#[derive(Debug)]
pub(crate) struct Gone;

/// What the user of an instance does, or what happens to the instance, while a call is under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strike {
    pub(crate) node: usize,
    pub(crate) what: Ambush,
}

pub(crate) struct Gate {
    pub(crate) id: NodeId,
    mode: watch::Sender<Mode>,
    /// The ambushes of an instance outlive its lives.
    ambushes: Arc<Mutex<Vec<(Point, Ambush)>>>,
    strikes: mpsc::UnboundedSender<Strike>,
    panics: AtomicBool,
    pub(crate) observer: Arc<Observer>,
}

impl Gate {
    pub(crate) fn new(
        id: NodeId,
        ambushes: Arc<Mutex<Vec<(Point, Ambush)>>>,
        strikes: mpsc::UnboundedSender<Strike>,
        observer: Arc<Observer>,
    ) -> Self {
        Self {
            id,
            mode: watch::Sender::new(Mode::Runs),
            ambushes,
            strikes,
            panics: AtomicBool::new(false),
            observer,
        }
    }

    pub(crate) fn set_panics(&self, panics: bool) {
        self.panics.store(panics, Ordering::Relaxed);
    }

    /// The library calls user code here, and the user code may panic instead of returning.
    pub(crate) fn may_panic(&self, what: &'static str) {
        if self.panics.swap(false, Ordering::Relaxed) {
            let id = self.id;
            self.observer.note(|| format!("{id}'s {what} panics"));
            // `resume_unwind` skips the panic hook, so this panic is not printed.
            std::panic::resume_unwind(Box::new(what));
        }
    }

    /// Lays an ambush for the instance at this point.
    pub(crate) fn lay(&self, point: Point, what: Ambush) {
        self.ambushes.lock().push((point, what));
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_if_modified(|now| {
            let may = *now != Mode::Gone && (*now != Mode::Dead || mode == Mode::Gone);
            if may {
                *now = mode;
            }
            may
        });
    }

    pub(crate) fn is_dead(&self) -> bool {
        matches!(*self.mode.borrow(), Mode::Dead | Mode::Gone)
    }

    /// The instance reaches this point. The call returns when the instance goes on.
    pub(crate) async fn pass(&self, point: Point) -> Result<(), Gone> {
        let ambush = {
            let mut ambushes = self.ambushes.lock();
            let next = ambushes.iter().position(|(at, _)| *at == point);
            next.filter(|_| !self.is_dead())
                .map(|next| ambushes.remove(next).1)
        };
        if let Some(what) = ambush {
            let id = self.id;
            self.observer
                .note(|| format!("{id} at {point:?}: {what:?}"));
            let (mode, span) = match what {
                Ambush::Hang(span) | Ambush::Overtake(span) => (None, seconds(span)),
                Ambush::Crash(_) => (Some(Mode::Dead), AT_ONCE),
                Ambush::Pause(_) => (Some(Mode::Paused), AT_ONCE),
                Ambush::Logout | Ambush::Replace => (None, AT_ONCE),
            };
            mode.into_iter().for_each(|mode| self.set(mode));
            if !matches!(what, Ambush::Hang(_)) {
                let node = self.id.node;
                let _ = self.strikes.send(Strike { node, what });
            }
            tokio::time::sleep(span).await;
        }
        let mut mode = self.mode.subscribe();
        let runs = mode.wait_for(|mode| matches!(mode, Mode::Runs | Mode::Gone));
        match runs.await.map(|mode| *mode) {
            Ok(Mode::Runs) => Ok(()),
            _ => Err(Gone),
        }
    }
}
