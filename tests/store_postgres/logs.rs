//! The log of this thread.

use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, NoSubscriber};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

pub(crate) struct Logs {
    lines: Lines,
    /// While there is one subscriber only, tracing asks the current thread whether a log line is wanted, and another
    /// thread may be the first to log it. With a second subscriber tracing asks all of them.
    _second: Dispatch,
}

impl Logs {
    /// The log of this level and above, until the guard is dropped.
    pub(crate) fn of(level: tracing::Level) -> (Self, DefaultGuard) {
        let lines = Lines::default();
        let written = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(move || written.clone())
            .with_ansi(false)
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        let _second = Dispatch::new(NoSubscriber::default());
        (Self { lines, _second }, guard)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.lines.0.lock()).into_owned()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
