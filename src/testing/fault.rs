use std::collections::VecDeque;
use std::time::Duration;

/// What goes wrong with one grant.
///
/// They differ in what becomes of the refresh token, which is what the client cannot see. Where it
/// is presented ("rotated"), the server does with it whatever it would have done without the fault.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Answered with this status, and nothing rotated.
    Status {
        /// The status code.
        status: u16,
        /// The body, as `application/json`.
        body: String,
        /// The `Retry-After` header, in whole seconds.
        retry_after: Option<Duration>,
    },
    /// Rotated at once, answered this much later.
    Delay(Duration),
    /// Rotated this much later, then answered: the request lay in a queue.
    DelayBefore(Duration),
    /// The connection is closed, and nothing rotated.
    DropBefore,
    /// Rotated, then the connection is closed without an answer.
    DropAfter,
    /// Rotated, and the connection is closed in the middle of the answer's body.
    Truncate,
    /// Rotated, and answered with something else: `{access_token}` and `{refresh_token}` in the
    /// body stand for the new tokens. A refusal stays what it is.
    Body {
        /// The status code.
        status: u16,
        /// The body, as `application/json`.
        body: String,
    },
}

impl Fault {
    /// Answered with this status and an empty body, and nothing rotated.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Status {
            status,
            body: String::new(),
            retry_after: None,
        }
    }
}

/// The faults to come.
#[derive(Debug, Default)]
pub(super) struct Faults {
    queue: VecDeque<Fault>,
    always: Option<Fault>,
}

impl Faults {
    pub(super) fn queue(&mut self, fault: Fault) {
        self.queue.push_back(fault);
    }

    pub(super) fn always(&mut self, fault: Option<Fault>) {
        self.always = fault;
    }

    /// The fault of the grant that arrives now.
    pub(super) fn next(&mut self) -> Option<Fault> {
        self.queue.pop_front().or_else(|| self.always.clone())
    }
}

/// The body of [`Fault::Body`] with the new tokens in it.
pub(super) fn fill(template: &str, access: &str, refresh: &str) -> String {
    template
        .replace("{access_token}", access)
        .replace("{refresh_token}", refresh)
}
