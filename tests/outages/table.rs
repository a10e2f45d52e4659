//! The outages of a token endpoint that pass by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use evertoken::testing::{Answer, Outage};
use evertoken::{Event, TokenManager};
use tokio::time::sleep;

use crate::import::{STRATEGIES, Strategy, World, all, import, rotated, through};
use crate::{GIVE_UP, IMPORT, OUTAGE, ROTATIONS};

const JSON: &str = "application/json";

pub(crate) const INVALID_CLIENT: &str = r#"{"error":"invalid_client"}"#;

pub(crate) const HTML: &str = "<html><body>something is in the way</body></html>";

/// The treatment of a request during an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Out {
    /// No connection is accepted.
    Refused,
    /// Status, content type and body.
    Answered(u16, &'static str, &'static str),
    /// The connection is reset in the middle of an answer.
    Reset,
}

impl Out {
    fn outage(self) -> Outage {
        match self {
            Self::Refused => Outage::Refused,
            Self::Reset => Outage::Reset,
            Self::Answered(status, content_type, body) => {
                let answer = Answer::status(status).header("content-type", content_type);
                Outage::Answered(answer.body(body))
            }
        }
    }
}

const OUTAGES: [(&str, Out); 15] = [
    ("refused connections", Out::Refused),
    ("503", Out::Answered(503, JSON, "")),
    ("502", Out::Answered(502, "text/html", HTML)),
    ("504", Out::Answered(504, "text/html", HTML)),
    ("500", Out::Answered(500, JSON, "")),
    ("404", Out::Answered(404, "text/html", HTML)),
    ("403", Out::Answered(403, "text/html", HTML)),
    ("413", Out::Answered(413, "text/html", HTML)),
    ("400 with HTML", Out::Answered(400, "text/html", HTML)),
    ("401 with HTML", Out::Answered(401, "text/html", HTML)),
    ("301", Out::Answered(301, "text/html", HTML)),
    ("200 with a page", Out::Answered(200, "text/html", HTML)),
    ("408", Out::Answered(408, JSON, "")),
    ("reset in mid-answer", Out::Reset),
    ("invalid_client", Out::Answered(401, JSON, INVALID_CLIENT)),
];

/// The most attempts during an outage. The pauses are 2, 4, 8 and 16 s, each up to a fifth shorter, and a token that is
/// still valid adds early attempts.
pub(crate) const ATTEMPTS: u64 = 9;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_through_any_outage_of_the_token_endpoint() {
    let mut imports = tokio::task::JoinSet::new();
    for strategy in STRATEGIES {
        for (name, out) in OUTAGES {
            imports.spawn(async move {
                let said = goes_through(strategy, out).await;
                said.map_err(|said| format!("{strategy:?}, {name}: {said}"))
            });
        }
    }
    all(imports).await;
}

async fn goes_through(strategy: Strategy, out: Out) -> Result<(), String> {
    let world = World::new().await;
    let tokens = world.builder(strategy).build();
    let tokens = tokens.expect("the settings are valid");
    let failures = counted_failures(&tokens);
    let batches = through(&world, &tokens, IMPORT, async {
        let begun = world.front.begin(out.outage()).await;
        begun.expect("the port of the front is free");
        sleep(OUTAGE).await;
        world.front.end().expect("the port of the front is free");
    })
    .await?;
    let shutdown = tokens.shutdown().await;
    drop(tokens);
    let failures = failures.await.expect("the counting task does not panic");
    let attempts = world.front.answered();
    let is_reported = out == Out::Refused || failures == attempts;
    let checks = [
        (attempts <= ATTEMPTS, "too many attempts"),
        (failures > 0, "the outage was not reported"),
        (is_reported, "a failure is not reported once"),
        (shutdown.is_ok(), "the manager does not shut down"),
    ];
    for (holds, what) in checks {
        if !holds {
            return Err(format!(
                "{what} ({batches} batches, {attempts} attempts, {failures} failures)"
            ));
        }
    }
    Ok(())
}

/// Counts the reported failures until the manager is gone.
pub(crate) fn counted_failures(tokens: &TokenManager) -> tokio::task::JoinHandle<u64> {
    let mut events = tokens.subscribe();
    tokio::spawn(async move {
        let mut failures = 0;
        while let Some(event) = events.recv().await {
            failures += u64::from(matches!(event, Event::Failed { .. }));
        }
        failures
    })
}

/// All callers of a process, and two processes together, make one attempt for each pause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_and_instances_make_one_attempt_in_each_pause() {
    let world = World::new().await;
    let directory = tempfile::tempdir().expect("a directory");
    let seed = world.server.issue();
    let open = || {
        evertoken::FileStore::new(directory.path().join("session"))
            .expect("the directory can be used")
    };
    let build = || {
        let builder =
            TokenManager::builder(world.endpoint("secret")).origin(world.records.origin());
        let builder = builder.seed(seed.clone()).store(open());
        builder.build().expect("the settings are valid")
    };
    let instances = [build(), build()];
    let stop = Arc::new(AtomicBool::new(false));
    let url = world.records.url();
    let mut imports = tokio::task::JoinSet::new();
    for tokens in &instances {
        for _ in 0..10 {
            imports.spawn(import(tokens.clone(), url.to_owned(), stop.clone()));
        }
    }
    rotated(&world.server, 1).await;
    let unavailable = Out::Answered(503, "text/html", HTML).outage();
    let begun = world.front.begin(unavailable).await;
    begun.expect("the port of the front is free");
    sleep(OUTAGE).await;
    world.front.end().expect("the port of the front is free");
    let so_far = world.server.rotations();
    tokio::select! {
        () = rotated(&world.server, so_far + ROTATIONS) => {}
        () = sleep(GIVE_UP) => {}
    }
    stop.store(true, Ordering::SeqCst);
    for imported in imports.join_all().await {
        imported.expect("no call fails");
    }
    let attempts = world.front.answered();
    assert!((3..=ATTEMPTS).contains(&attempts), "{attempts}");
    assert_eq!(world.server.families_revoked(), 0);
}
