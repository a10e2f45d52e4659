//! `--faults`: outages of the embedded token endpoint, one after the other. A front before the endpoint answers in its place,
//! as proxies, gateways and deployments do.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use evertoken::testing::{self, Answer, Front};
use evertoken::{Event, Events};
use tokio::time::sleep;

use crate::tally::Tally;

/// The length of an outage: longer than a token of the embedded server lives, so that requests find the token expired
/// and the endpoint out of order.
const SPAN: Duration = Duration::from_millis(2_500);

const PAGE: &str = "<html><body>This service is being maintained.</body></html>";

/// An outage and its name.
type Outage = (&'static str, Effect);

/// How the endpoint behaves during an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Refused,
    /// The front answers with a status and an HTML page.
    Page(u16),
    /// The front answers with a status and a JSON body.
    Json(u16, &'static str),
    Reset,
}

impl Effect {
    /// Whether the outage ends with the first request instead of lasting for [`SPAN`].
    fn is_once(self) -> bool {
        matches!(self, Self::Json(500, _) | Self::Reset)
    }

    fn outage(self) -> testing::Outage {
        let answer = |status, content_type, body: &'static str| {
            Answer::status(status)
                .header("content-type", content_type)
                .body(body)
        };
        testing::Outage::Answered(match self {
            Self::Refused => return testing::Outage::Refused,
            Self::Reset => return testing::Outage::Reset,
            Self::Json(status, body) => answer(status, "application/json", body),
            Self::Page(status @ 300..=399) => {
                answer(status, "text/html", PAGE).header("location", "/sign-in")
            }
            Self::Page(status) => answer(status, "text/html", PAGE),
        })
    }
}

const OUTAGES: [Outage; 14] = [
    ("refused", Effect::Refused),
    ("503", Effect::Page(503)),
    ("502", Effect::Page(502)),
    ("504", Effect::Page(504)),
    ("500", Effect::Json(500, "")),
    ("404", Effect::Page(404)),
    ("403", Effect::Page(403)),
    ("413", Effect::Page(413)),
    ("400", Effect::Page(400)),
    ("401", Effect::Page(401)),
    ("301", Effect::Page(301)),
    ("200", Effect::Page(200)),
    ("408", Effect::Page(408)),
    ("reset", Effect::Reset),
];

/// A refusal by the authorization server itself. It counts as an outage only for a client that the server accepted before,
/// so it is not among the outages of `all`.
const INVALID_CLIENT: Outage = (
    "invalid_client",
    Effect::Json(401, r#"{"error":"invalid_client"}"#),
);

/// Outages in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Faults(Vec<Outage>);

impl Faults {
    /// All outages, or one by its name.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        if name == "all" {
            return Ok(Self(OUTAGES.to_vec()));
        }
        let mut outages = OUTAGES.iter().chain([&INVALID_CLIENT]);
        match outages.find(|outage| outage.0 == name) {
            Some(outage) => Ok(Self(vec![*outage])),
            None => {
                let all = Self([&OUTAGES[..], &[INVALID_CLIENT]].concat());
                Err(format!("must be `all` or one of {all}"))
            }
        }
    }

    pub(crate) fn is_long(&self) -> bool {
        self.0.len() > 1
    }

    /// Begins each outage after a rotation of the manager, and notes its begin and its end.
    pub(crate) async fn run(self, front: Arc<Front>, mut events: Events, tally: Arc<Tally>) {
        for (name, effect) in self.0 {
            loop {
                match events.recv().await {
                    Some(Event::Rotated { .. }) => break,
                    Some(_) => {}
                    None => return,
                }
            }
            let answered = front.answered();
            tally.outage_begins(name);
            if let Err(error) = front.begin(effect.outage()).await {
                // The import goes on without this outage.
                tracing::warn!(%error, "the token endpoint cannot be put out of order");
            }
            match effect.is_once() {
                true => front.answers(answered + 1).await,
                false => sleep(SPAN).await,
            }
            if let Err(error) = front.end() {
                tracing::warn!(%error, "the outage of the token endpoint cannot be ended");
            }
            tally.outage_ends();
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|(name, _)| *name).collect();
        f.write_str(&names.join(", "))
    }
}
