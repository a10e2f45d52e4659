//! A record as the observer sees it: what it says in its serialized form.

use evertoken::{Key, Record};
use serde::Deserialize;

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct View {
    pub(crate) lineage: String,
    pub(crate) version: u64,
    pub(crate) pair: Option<Pair>,
    pub(crate) state: State,
    pub(crate) claim: Option<Claim>,
    pub(crate) next_number: u64,
    pub(crate) committed_number: u64,
    #[serde(skip)]
    pub(crate) digest: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Pair {
    pub(crate) refresh_token: Option<String>,
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
pub(crate) struct Claim {
    pub(crate) owner: String,
    pub(crate) number: u64,
    pub(crate) digest: String,
    pub(crate) since: u64,
    pub(crate) doubtful: Option<u64>,
    pub(crate) released: bool,
    pub(crate) replays: u32,
    pub(crate) resorts: u32,
}

impl View {
    pub(crate) fn of(record: &Record) -> Self {
        let json = serde_json::to_vec(record).expect("a record serializes");
        let mut view: Self = serde_json::from_slice(&json).expect("a record as it was written");
        view.digest = record.digest().to_string();
        view
    }

    pub(crate) fn refresh(&self) -> Option<&str> {
        self.pair.as_ref()?.refresh_token.as_deref()
    }

    /// Whether the claim names the token that is current, or a sign-in.
    pub(crate) fn binding(&self, key: &Key) -> Option<&Claim> {
        let is_sign_in = key.digest().to_string();
        self.claim
            .as_ref()
            .filter(|claim| claim.digest == self.digest || claim.digest == is_sign_in)
    }

    /// Without anything that another run of the same seed would have otherwise.
    pub(crate) fn show(&self, key: &Key) -> String {
        let state = match &self.state {
            State::Active => "active",
            State::Rejected { .. } => "rejected",
            State::OutcomeUnknown { .. } => "outcome unknown",
            State::LoggedOut => "logged out",
            State::Expired => "expired",
            State::Idle => "idle",
        };
        let claim = self.claim.as_ref().map_or_else(String::new, |claim| {
            let doubtful = if claim.doubtful.is_some() {
                " doubtful"
            } else {
                ""
            };
            let released = if claim.released { " released" } else { "" };
            let stray = if self.binding(key).is_none() {
                " stray"
            } else {
                ""
            };
            let (replays, resorts) = (claim.replays, claim.resorts);
            format!(
                ", claim {}{doubtful}{released}{stray} {replays}/{resorts}",
                claim.number
            )
        });
        let pair = if self.pair.is_some() { "" } else { " empty" };
        format!(
            "v{} {state}{pair}, committed {}, next {}{claim}",
            self.version, self.committed_number, self.next_number
        )
    }
}
