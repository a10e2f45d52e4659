//! `--faults`: outages of the embedded token endpoint, one after the other. What stands before it answers in its
//! place, as proxies, gateways and deployments do.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use evertoken::testing::{Answer, Front};
use evertoken::{Event, Events, testing};
use tokio::time::sleep;

use crate::tally::Tally;

/// How long an outage lasts: longer than a token of the embedded server lives, so that requests come too late for
/// the last one.
const SPAN: Duration = Duration::from_millis(2_500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outage {
    name: &'static str,
    effect: Effect,
    length: Length,
}

/// What the client meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Refused,
    /// Status, content type and body.
    Answered(u16, &'static str, &'static str),
    Reset,
}

impl Effect {
    fn outage(self) -> testing::Outage {
        match self {
            Self::Refused => testing::Outage::Refused,
            Self::Reset => testing::Outage::Reset,
            Self::Answered(status, content_type, body) => {
                let answer = Answer::status(status)
                    .header("content-type", content_type)
                    .body(body);
                testing::Outage::Answered(match status {
                    300..=399 => answer.header("location", "/sign-in"),
                    _ => answer,
                })
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    /// As many requests as the manager sends meanwhile meet it.
    Span,
    /// It is over with the first request.
    Once,
}

const HTML: &str = "text/html";
const JSON: &str = "application/json";

const OUTAGES: [Outage; 14] = [
    for_a_span("refused", Effect::Refused),
    for_a_span("503", Effect::Answered(503, HTML, PAGE)),
    for_a_span("502", Effect::Answered(502, HTML, PAGE)),
    for_a_span("504", Effect::Answered(504, HTML, PAGE)),
    once("500", Effect::Answered(500, JSON, "")),
    for_a_span("404", Effect::Answered(404, HTML, PAGE)),
    for_a_span("403", Effect::Answered(403, HTML, PAGE)),
    for_a_span("413", Effect::Answered(413, HTML, PAGE)),
    for_a_span("400", Effect::Answered(400, HTML, PAGE)),
    for_a_span("401", Effect::Answered(401, HTML, PAGE)),
    for_a_span("301", Effect::Answered(301, HTML, PAGE)),
    for_a_span("200", Effect::Answered(200, HTML, PAGE)),
    for_a_span("408", Effect::Answered(408, HTML, PAGE)),
    once("reset", Effect::Reset),
];

const PAGE: &str = "<html><body>This service is being maintained.</body></html>";

/// The server's own word, which counts as an outage only where this client was accepted before. It comes only where
/// it is asked for.
const INVALID_CLIENT: Outage = for_a_span(
    "invalid_client",
    Effect::Answered(401, JSON, r#"{"error":"invalid_client"}"#),
);

const fn for_a_span(name: &'static str, effect: Effect) -> Outage {
    Outage {
        name,
        effect,
        length: Length::Span,
    }
}

const fn once(name: &'static str, effect: Effect) -> Outage {
    Outage {
        name,
        effect,
        length: Length::Once,
    }
}

/// Outages in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Faults(Vec<Outage>);

impl Faults {
    /// All of them, or one by its name.
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

    /// Begins each outage when the manager has rotated, and notes when it was.
    pub(crate) async fn pass(self, front: Arc<Front>, mut events: Events, tally: Arc<Tally>) {
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
            match outage.length {
                Length::Span => sleep(SPAN).await,
                Length::Once => front.answers(answered + 1).await,
            }
            if let Err(error) = front.end() {
                tracing::warn!(%error, "the token endpoint cannot be put in order again");
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
