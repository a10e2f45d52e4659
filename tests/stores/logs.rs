//! The log lines of all threads, at all levels.

use std::io;
use std::sync::Mutex;

use tracing_subscriber::filter::LevelFilter;

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Collects the log lines from now on.
pub(crate) fn collect() {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(|| Writer)
        .init();
}

/// Returns whether a log line holds the text.
pub(crate) fn hold(text: &str) -> bool {
    let log = LOG.lock().unwrap();
    log.windows(text.len()).any(|part| part == text.as_bytes())
}

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
