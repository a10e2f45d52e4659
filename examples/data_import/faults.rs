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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outage {
    name: &'static str,
    effect: Effect,
    /// Whether the outage ends with the first request instead of lasting for [`SPAN`].
    is_once: bool,
}

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
    outage("refused", Effect::Refused),
    outage("503", Effect::Page(503)),
    outage("502", Effect::Page(502)),
    outage("504", Effect::Page(504)),
    once("500", Effect::Json(500, "")),
    outage("404", Effect::Page(404)),
    outage("403", Effect::Page(403)),
    outage("413", Effect::Page(413)),
    outage("400", Effect::Page(400)),
    outage("401", Effect::Page(401)),
    outage("301", Effect::Page(301)),
    outage("200", Effect::Page(200)),
    outage("408", Effect::Page(408)),
    once("reset", Effect::Reset),
];

/// A refusal by the authorization server itself. It counts as an outage only for a client that the server accepted before,
/// so it is not among the outages of `all`.
const INVALID_CLIENT: Outage = outage(
    "invalid_client",
    Effect::Json(401, r#"{"error":"invalid_client"}"#),
);

const fn outage(name: &'static str, effect: Effect) -> Outage {
    Outage {
        name,
        effect,
        is_once: false,
    }
}

const fn once(name: &'static str, effect: Effect) -> Outage {
    Outage {
        name,
        effect,
        is_once: true,
    }
}

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
        match outages.find(|outage| outage.name == name) {
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
        for outage in self.0 {
            loop {
                match events.recv().await {
                    Some(Event::Rotated { .. }) => break,
                    Some(_) => {}
                    None => return,
                }
            }
            let answered = front.answered();
            tally.outage_begins(outage.name);
            if let Err(error) = front.begin(outage.effect.outage()).await {
                // The import goes on without this outage.
                tracing::warn!(%error, "the token endpoint cannot be put out of order");
            }
            match outage.is_once {
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
        let names: Vec<_> = self.0.iter().map(|outage| outage.name).collect();
        f.write_str(&names.join(", "))
    }
}
