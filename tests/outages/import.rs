//! An import in the form of the README: one batch after the other, with `?`, and without a retry of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evertoken::testing::{AuthorizationServer, Front, HttpServer, ImportApi};
use evertoken::{BackgroundTimer, Builder, OAuth2, OnRequest, OptimisticEarly, TokenManager};

use crate::reasons::{self, chain};
use crate::{GIVE_UP, ROTATIONS, TTL};

/// A strict server behind a front, and an API that accepts its tokens.
pub(crate) struct World {
    pub(crate) server: AuthorizationServer,
    pub(crate) front: Front,
    pub(crate) api: ImportApi,
    pub(crate) records: HttpServer,
    _listening: HttpServer,
}

impl World {
    pub(crate) async fn new() -> Self {
        let server = AuthorizationServer::builder()
            .access_ttl(TTL)
            .client("importer", "secret")
            .build();
        let listening = server.listen().await.expect("a port");
        let api = ImportApi::builder(&server).build();
        Self {
            front: Front::before(listening.addr()).await.expect("a port"),
            records: api.listen().await.expect("a port"),
            _listening: listening,
            server,
            api,
        }
    }

    pub(crate) fn endpoint(&self, secret: &str) -> OAuth2 {
        endpoint(&format!("{}/token", self.front.origin()), secret)
    }

    /// A builder with default settings.
    pub(crate) fn builder(&self, strategy: Strategy) -> Builder {
        let builder = TokenManager::builder(self.endpoint("secret"))
            .seed(self.server.issue())
            .origin(self.records.origin());
        strategy.of(builder)
    }
}

pub(crate) fn endpoint(url: &str, secret: &str) -> OAuth2 {
    OAuth2::new(url, "importer")
        .expect("a URL")
        .client_secret(secret)
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Strategy {
    OnRequest,
    BackgroundTimer,
    OptimisticEarly,
}

impl Strategy {
    /// The builder with this strategy.
    pub(crate) fn of(self, builder: Builder) -> Builder {
        match self {
            Self::OnRequest => builder.strategy(OnRequest::default()),
            Self::BackgroundTimer => builder.strategy(BackgroundTimer::default()),
            Self::OptimisticEarly => builder.strategy(OptimisticEarly::default()),
        }
    }
}

pub(crate) const STRATEGIES: [Strategy; 3] = [
    Strategy::OnRequest,
    Strategy::BackgroundTimer,
    Strategy::OptimisticEarly,
];

/// Returns when the server has rotated this number of times.
pub(crate) async fn rotated(server: &AuthorizationServer, times: u64) {
    while server.rotations() < times {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Sends batches until the test stops the import, and counts the batches.
pub(crate) async fn import(
    tokens: TokenManager,
    url: String,
    stop: Arc<AtomicBool>,
) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    let http = reqwest::Client::new();
    let mut batches = 0;
    while !stop.load(Ordering::SeqCst) {
        let batch = http.post(&url).body("record\u{1d}");
        tokens.send(batch).await?.error_for_status()?;
        batches += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(batches)
}

/// Imports through an outage of at least this length, which begins after the first rotation. The import ends when the
/// server has rotated some times since the outage. Returns the number of batches that arrived.
pub(crate) async fn through(
    world: &World,
    tokens: &TokenManager,
    length: Duration,
    outage: impl Future<Output = ()>,
) -> Result<u64, String> {
    let ends = tokio::time::Instant::now() + length;
    let mut events = tokens.subscribe();
    let stop = Arc::new(AtomicBool::new(false));
    let url = world.records.url().to_owned();
    let importing = tokio::spawn(import(tokens.clone(), url, stop.clone()));
    rotated(&world.server, 1).await;
    outage.await;
    let enough = world.server.rotations() + ROTATIONS;
    tokio::select! {
        () = rotated(&world.server, enough) => tokio::time::sleep_until(ends).await,
        // An import that has failed does not rotate any more.
        () = tokio::time::sleep(GIVE_UP) => {}
    }
    stop.store(true, Ordering::SeqCst);
    let batches = importing.await.expect("the import does not panic");
    let batches = batches.map_err(|error| format!("a call failed: {error} {error:?}"))?;
    let last = tokens.token().await.map_err(|error| chain(&error))?;
    while let Some(event) = events.try_recv() {
        let shown = format!("{event:?}");
        if let Some(lacking) = reasons::lacking_in_event(&event) {
            return Err(format!("{lacking}: {shown}"));
        }
        if shown.contains(last.expose()) {
            return Err("an event holds a token".to_owned());
        }
    }
    let rotations = world.server.rotations();
    let is_unharmed = world.server.families_revoked() == 0;
    for (holds, what) in [
        (rotations >= enough, "too few rotations after the outage"),
        (is_unharmed, "the session was revoked"),
        (world.api.records() == batches, "records were lost"),
    ] {
        if !holds {
            return Err(format!("{what}: {batches} batches, {rotations} rotations"));
        }
    }
    Ok(batches)
}

/// Waits for all imports, and reports the failure of each.
pub(crate) async fn all(imports: tokio::task::JoinSet<Result<(), String>>) {
    let ended = imports.join_all().await;
    let failed: Vec<_> = ended.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}
