//! The observer's view of a record, read from the serialized form.

use evertoken::Key;
use evertoken::protocol::Record;
use serde::Deserialize;

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct View {
    pub(crate) family: String,
    pub(crate) version: u64,
    pub(crate) pair: Option<Pair>,
    pub(crate) state: State,
    pub(crate) lease: Option<Lease>,
    pub(crate) not_before: Option<NotBefore>,
    pub(crate) sign_ins: u64,
    pub(crate) next_number: u64,
    pub(crate) committed_number: u64,
    #[serde(skip)]
    pub(crate) digest: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Pair {
    pub(crate) access_token: Option<String>,
    pub(crate) refresh_token: Option<String>,
}

/// A record. All times are store time, in milliseconds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct NotBefore {
    pub(crate) until: u64,
    pub(crate) class: String,
    pub(crate) failures: u32,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum State {
    Active,
    Rejected { digest: String },
    OutcomeUnknown { digest: String },
    LoggedOut,
    Expired,
    Idle,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Lease {
    pub(crate) owner: String,
    pub(crate) number: u64,
    pub(crate) digest: String,
    pub(crate) since: u64,
    pub(crate) duration: u64,
    pub(crate) doubtful: Option<u64>,
    pub(crate) by: Option<By>,
    pub(crate) sendings: u32,
    pub(crate) released: bool,
}

/// What left a lease doubtful.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    Unavailable,
    Silence,
}

impl View {
    pub(crate) fn of(record: &Record) -> Self {
        let json = serde_json::to_vec(record).expect("a record serializes");
        let mut view: Self = serde_json::from_slice(&json).expect("a record as it was written");
        view.digest = record.digest().to_string();
        view
    }

    pub(crate) fn access(&self) -> Option<&str> {
        self.pair.as_ref()?.access_token.as_deref()
    }

    pub(crate) fn refresh(&self) -> Option<&str> {
        self.pair.as_ref()?.refresh_token.as_deref()
    }

    /// The lease, if it is on the current token or on a sign-in.
    pub(crate) fn binding(&self, key: &Key) -> Option<&Lease> {
        let is_sign_in = key.digest().to_string();
        self.lease
            .as_ref()
            .filter(|lease| lease.digest == self.digest || lease.digest == is_sign_in)
    }

    /// The record as text, without anything that differs between two runs of the same seed.
    pub(crate) fn show(&self, key: &Key) -> String {
        let state = match &self.state {
            State::Active => "active",
            State::Rejected { .. } => "rejected",
            State::OutcomeUnknown { .. } => "outcome unknown",
            State::LoggedOut => "logged out",
            State::Expired => "expired",
            State::Idle => "idle",
        };
        let lease = self.lease.as_ref().map_or_else(String::new, |lease| {
            let doubtful = match (lease.doubtful, lease.by) {
                (None, _) => "",
                (Some(_), None) => " doubtful",
                (Some(_), Some(By::Unavailable)) => " doubtful by a page",
                (Some(_), Some(By::Silence)) => " doubtful by silence",
            };
            let released = if lease.released { " released" } else { "" };
            let stray = if self.binding(key).is_none() {
                " stray"
            } else {
                ""
            };
            let (number, sendings) = (lease.number, lease.sendings);
            format!(", lease {number}{doubtful}{released}{stray}, sent again {sendings}")
        });
        let pause = self.not_before.as_ref().map_or_else(String::new, |pause| {
            format!(", a pause after {} ({})", pause.class, pause.failures)
        });
        let pair = if self.pair.is_some() { "" } else { " empty" };
        format!(
            "v{} {state}{pair}, sign-in {}, committed {}, next {}{lease}{pause}",
            self.version, self.sign_ins, self.committed_number, self.next_number
        )
    }
}
