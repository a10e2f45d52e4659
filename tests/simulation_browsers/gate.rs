//! The gate between an instance and the world: whether the instance runs or is dead, and at which point it dies next.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use crate::observer::Life;
use crate::scenario::Point;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Runs,
    /// Whatever it waits for never comes.
    Dead,
    /// Dead, with no task left that waits.
    Gone,
}

/// The instance has died.
#[derive(Debug)]
pub(crate) struct Gone;

/// The deaths that wait for an instance, also in its next life, each with the span until it starts anew.
pub(crate) type Deaths = Arc<Mutex<Vec<(Point, u64)>>>;

pub(crate) struct Gate {
    pub(crate) life: Life,
    mode: watch::Sender<Mode>,
    deaths: Deaths,
    died: mpsc::UnboundedSender<(usize, u64)>,
}

impl Gate {
    pub(crate) fn new(
        life: Life,
        deaths: Deaths,
        died: mpsc::UnboundedSender<(usize, u64)>,
    ) -> Self {
        Self {
            life,
            mode: watch::Sender::new(Mode::Runs),
            deaths,
            died,
        }
    }

    pub(crate) fn die(&self) {
        let _ = self.mode.send_if_modified(|mode| {
            let runs = *mode == Mode::Runs;
            if runs {
                *mode = Mode::Dead;
            }
            runs
        });
    }

    /// Lets the tasks of a dead instance end.
    pub(crate) fn vanish(&self) {
        self.mode.send_replace(Mode::Gone);
    }

    pub(crate) fn is_dead(&self) -> bool {
        *self.mode.borrow() != Mode::Runs
    }

    /// Returns when the instance dies.
    pub(crate) async fn dead(&self) {
        let mut mode = self.mode.subscribe();
        let _ = mode.wait_for(|mode| *mode != Mode::Runs).await;
    }

    /// The instance comes to this point. The call returns if it goes on.
    pub(crate) async fn pass(&self, point: Point) -> Result<(), Gone> {
        if !self.is_dead() {
            let mut deaths = self.deaths.lock();
            if let Some(next) = deaths.iter().position(|(at, _)| *at == point) {
                let (_, back_after) = deaths.remove(next);
                self.die();
                let _ = self.died.send((self.life.node, back_after));
            }
        }
        self.runs().await
    }

    /// The instance is at any other point.
    pub(crate) async fn runs(&self) -> Result<(), Gone> {
        let mut mode = self.mode.subscribe();
        let runs = mode.wait_for(|mode| *mode != Mode::Dead).await;
        match runs.map(|mode| *mode) {
            Ok(Mode::Runs) => Ok(()),
            _ => Err(Gone),
        }
    }
}
