//! What an import says while it runs: what it waits for, the first time that it does.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What is waited for. Each has one notice in an import: an API that is busy may have many short waits.
#[derive(Debug)]
pub(crate) struct Notices {
    sender: UnboundedSender<String>,
    token: AtomicBool,
    api: AtomicBool,
}

impl Notices {
    pub(crate) fn new() -> (Self, UnboundedReceiver<String>) {
        let (sender, receiver) = unbounded_channel();
        let notices = Self {
            sender,
            token: AtomicBool::new(false),
            api: AtomicBool::new(false),
        };
        (notices, receiver)
    }

    pub(crate) fn waits_for_token(&self, why: impl Display) {
        self.once(&self.token, || format!("waits for a token: {why}"));
    }

    pub(crate) fn waits_for_api(&self, why: impl Display) {
        self.once(&self.api, || format!("waits for the API: {why}"));
    }

    fn once(&self, said: &AtomicBool, notice: impl FnOnce() -> String) {
        if !said.swap(true, Ordering::Relaxed) {
            // The receiver is gone at the end of the import.
            let _ = self.sender.send(notice());
        }
    }
}
